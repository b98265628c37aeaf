// The page of an arc: what it shows of the solution, and what a person does to it.

import { Detector } from "./detector.js";
import { TraceView, kindOf } from "./trace.js";

const element = (id) => document.getElementById(id);
const HIGHEST_ORDER = 8;
const CANDIDATES = 8;
const WORDS = {
  used: "used", held: "held by you", masked: "masked by you", clipped: "left out by the fit", blend: "a blend in the list",
  unnamed: "no name", bad: "saturated or of a wrong width",
};

let rows = [];
let current = null; // the id of the trace that is open
let chosen = []; // indices of its lines, the last the one that keys speak of
let visited = new Set();
let queue = Promise.resolve();

const view = new TraceView(element("spectrum"), element("fit"), choose);
const detector = new Detector(element("map"), element("traces"), element("sort"), open);

async function ask(path, body) {
  const given = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(path, given);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function say(text) {
  const note = element("note");
  note.textContent = text;
  note.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { note.hidden = true; }, 5000);
}

// Requests go out one after another, so that keys pressed fast do what they would have done slowly.
function later(work) {
  queue = queue.then(work).catch((error) => say(`the editor does not answer: ${error.message}`));
  return queue;
}

async function start() {
  const told = await ask("arc.json");
  document.title = `${told.file} · arc`;
  element("file").textContent = told.file;
  element("facts").textContent = Object.values(told.facts).join(" · ");
  element("facts").title = Object.entries(told.facts).map(([key, value]) => `${key} ${value}`).join("\n");
  element("save-path").value = told.proposed;
  rows = told.rows;
  detector.take(rows, told.shape);
  summarise(told.summary);
  open(detector.ranked()[0].id);
}

function summarise(told) {
  element("solved").textContent = `${told.solved} of ${told.traces}`;
  element("used").textContent = told.lines;
  element("rms").textContent = `${told.rms_px?.toFixed(4)} px · ${told.rms_km_s?.toFixed(2)} km/s`;
  element("edited").textContent = told.edited;
  for (const [id, words] of [["undo", told.undo], ["redo", told.redo]]) {
    element(id).disabled = !words;
    element(id).title = words ? `${id}: ${words}` : "";
  }
  element("reset-all").disabled = !told.edited;
}

function open(id, x = null) {
  return later(async () => {
    const data = await ask(`trace.json?id=${id}`);
    current = id;
    visited.add(id);
    chosen = [];
    view.show(data, true);
    if (x !== null) choose(nearestTo(x), false);
    else choose(data.lines.length ? worstLine(data.lines) : null, false);
    detector.show(id);
    describe();
  });
}

function nearestTo(x) {
  const { lines } = view.data;
  return lines.length ? lines.reduce((best, line, index) => (Math.abs(line.x - x) < Math.abs(lines[best].x - x) ? index : best), 0) : null;
}

// The line to look at first: of those in use the one that fits least.
function worstLine(lines) {
  const size = (line) => (line.used ? Math.abs(line.away ?? 0) : -1);
  return lines.reduce((best, line, index) => (size(line) > size(lines[best]) ? index : best), 0);
}

function choose(line, more) {
  if (line === null) chosen = [];
  else if (!more) chosen = [line];
  else chosen = chosen.includes(line) ? chosen.filter((one) => one !== line) : [...chosen, line];
  view.chosen = new Set(chosen);
  if (line !== null) view.x.reveal(view.data.lines[line].x);
  closeNaming();
  describe();
  view.redraw();
}

const rowOf = (id) => rows.find((row) => row.id === id);

function describe() {
  const row = rowOf(current);
  if (!row || !view.data) return;
  const title = element("trace-title");
  const name = document.createElement("b");
  name.textContent = `Trace ${row.id}`;
  const fit = row.rms === undefined ? "no fit" : `${row.used} of ${row.found} lines, rms ${row.rms?.toFixed(4)} px`;
  title.replaceChildren(name, `  ${row.status}, ${fit}${row.reason ? `: ${row.reason}` : ""}`);
  title.title = row.reason;
  element("app").dataset.trace = row.id;
  element("app").dataset.status = row.status;
  for (const button of element("orders").querySelectorAll("button")) {
    const order = Number(button.dataset.order);
    button.setAttribute("aria-pressed", order > 0 && order === row.order);
    button.disabled = order > 0 && order + 2 > (row.found ?? 0);
  }
  element("line-text").textContent = lineText();
  for (const button of element("line-buttons").children) button.disabled = chosen.length === 0;
}

function lineText() {
  if (!chosen.length) return view.data.lines.length ? "Choose a line: click on it, or ← →" : "No lines were found in this trace";
  if (chosen.length > 1) return `${chosen.length} lines`;
  const line = view.data.lines[chosen[0]];
  const named = line.wave === null ? `at ${line.at?.toFixed(5) ?? "?"} µm by the fit` : `${line.wave.toFixed(6)} µm ${line.element}`;
  const away = line.away === null ? "" : `, ${line.away >= 0 ? "+" : "−"}${Math.abs(line.away).toFixed(3)} px`;
  return `x ${line.x.toFixed(2)}, S/N ${line.snr?.toFixed(0)}, FWHM ${(2.355 * (line.sigma ?? NaN)).toFixed(1)} px: ${named}${away}, ${WORDS[kindOf(line)]}`;
}

function change(edit) {
  const begun = performance.now();
  return later(async () => {
    const told = await ask("edit", edit);
    if (told.why) { say(told.why); return; }
    for (const row of told.rows) rows[row.index] = row;
    detector.take(told.rows);
    summarise(told.summary);
    const alone = told.rows.length === 1 ? told.rows[0].id : null;
    if (told.trace && told.trace.id === current) view.show({ light: view.data.light, ...told.trace }, false);
    else if (alone !== null && alone !== current) { open(alone); return; } // undone on another trace: go there
    else if (told.rows.length > 1) view.show(await ask(`trace.json?id=${current}`), false);
    chosen = chosen.filter((line) => line < view.data.lines.length);
    view.chosen = new Set(chosen);
    detector.show(current);
    describe();
    element("app").dataset.took = Math.round(performance.now() - begun);
  });
}

const onLines = (kind) => () => { if (chosen.length) change({ type: kind, trace: current, lines: chosen }); };

function setOrder(order) {
  change({ type: "order", order, trace: element("for-all").checked ? null : current });
}

function stepLine(by) {
  const { lines } = view.data;
  if (!lines.length) return;
  const at = chosen.length ? chosen[chosen.length - 1] : by > 0 ? -1 : lines.length;
  choose(Math.min(lines.length - 1, Math.max(0, at + by)), false);
}

function stepTrace(by) {
  const at = rows.findIndex((row) => row.id === current);
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  if (next.id !== current) open(next.id);
}

function worst() {
  const ranked = detector.ranked();
  let next = ranked.find((row) => !visited.has(row.id));
  if (!next) { visited = new Set(); [next] = ranked; }
  open(next.id);
}

function identify() {
  if (chosen.length !== 1) { say("choose one line to name"); return; }
  const line = view.data.lines[chosen[0]];
  const taken = new Map(view.data.lines.filter((one) => one.wave !== null).map((one) => [one.wave.toFixed(7), one]));
  const near = view.data.list.map(([wave, intensity, name, at]) => ({ wave, intensity, name, by: at - line.x }))
    .sort((a, b) => Math.abs(a.by) - Math.abs(b.by)).slice(0, CANDIDATES);
  element("naming-title").textContent = `Line at pixel ${line.x.toFixed(2)}${line.at ? `, ${line.at.toFixed(5)} µm by the fit` : ""}`;
  element("candidates").replaceChildren(...near.map((one, index) => {
    const entry = document.createElement("li");
    entry.className = index === 0 ? "first" : "";
    const other = taken.get(one.wave.toFixed(7));
    const note = other === line ? "its name now" : other ? `now of x ${other.x.toFixed(1)}` : `strength ${one.intensity.toPrecision(1)}`;
    for (const text of [`${index + 1}`, one.name, one.wave.toFixed(6), `${one.by >= 0 ? "+" : "−"}${Math.abs(one.by).toFixed(2)} px`, note]) {
      const cell = document.createElement("span");
      cell.textContent = text;
      entry.append(cell);
    }
    entry.onclick = () => give(one.wave);
    return entry;
  }));
  const form = element("naming");
  form.hidden = false;
  const box = element("spectrum").getBoundingClientRect();
  const left = box.left + view.spectrum.px(line.x) + 20;
  form.style.left = `${Math.min(left, window.innerWidth - 440)}px`;
  form.style.top = `${box.top + 20}px`;
  element("typed").value = "";
  form.candidates = near;
}

function give(wave) {
  closeNaming();
  change({ type: "name", trace: current, line: chosen[0], wavelength_um: wave });
}

function closeNaming() {
  element("naming").hidden = true;
  element("typed").blur();
}

async function save() {
  const said = element("save-said");
  said.className = "";
  said.replaceChildren(entry("writing …"));
  element("save-go").disabled = true;
  try {
    const wish = { path: element("save-path").value, replace: element("save-replace").checked, add: element("save-add").checked };
    const told = await ask("save", wish);
    said.className = told.why ? "refused" : "";
    said.replaceChildren(...(told.done ?? [told.why]).map(entry));
  } catch (error) {
    said.className = "refused";
    said.replaceChildren(entry(error.message));
  }
  element("save-go").disabled = false;
}

function entry(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

const KEYS = [
  ["ArrowLeft", "← →", "line before, after", () => stepLine(-1)],
  ["ArrowRight", "", "", () => stepLine(1)],
  ["ArrowDown", "↑ ↓", "trace below, above on the detector", () => stepTrace(-1)],
  ["ArrowUp", "", "", () => stepTrace(1)],
  ["w", "w", "the worst trace not yet looked at", worst],
  ["i", "i", "identify: then 1 … 8 or enter for a line of the list, or type its wavelength", identify],
  ["m", "m", "mask the chosen lines", onLines("mask")],
  ["u", "u", "use them: takes a mask off, or holds what the fit leaves out", onLines("use")],
  ["d", "d", "drop their names", onLines("unname")],
  ["a", "a", "name by the present fit all lines that you did not touch", () => change({ type: "auto", trace: current })],
  ["0", "1 … 8", "order of the polynomial; 0: what the lines ask for", () => setOrder(0)],
  ...Array.from({ length: HIGHEST_ORDER }, (_, k) => [`${k + 1}`, "", "", () => setOrder(k + 1)]),
  ["g", "g", "orders count for all traces, or for this one", () => { element("for-all").checked = !element("for-all").checked; }],
  ["r", "r", "this trace as the file has it", () => change({ type: "reset", trace: current })],
  ["z", "z", "undo", () => change({ type: "undo" })],
  ["y", "y", "redo", () => change({ type: "redo" })],
  ["s", "s", "save as a reference", () => element("save").showModal()],
  ["+", "+ −", "zoom about the chosen line; the wheel does so about the cursor", () => zoom(0.6)],
  ["-", "", "", () => zoom(1 / 0.6)],
  ["f", "f", "the whole trace; so does a double click", () => view.x.set(...view.x.whole)],
  ["l", "l", "root, linear, logarithmic spectrum", () => view.nextScale()],
  ["c", "c", "residuals, or the fit's bend", () => { view.curve = !view.curve; view.show(view.data, false); }],
  ["?", "?", "this help", () => element("help").showModal()],
];

function zoom(factor) {
  const line = chosen.length ? view.data.lines[chosen[chosen.length - 1]].x : (view.x.now[0] + view.x.now[1]) / 2;
  view.x.zoom(line, factor);
}

function keyInNaming(event) {
  const form = element("naming");
  if (event.key === "Escape") closeNaming();
  else if (event.target === element("typed") && event.key !== "Enter") return false;
  else if (event.key === "Enter") {
    const typed = Number(element("typed").value.replace(",", "."));
    if (element("typed").value.trim() === "") { if (form.candidates.length) give(form.candidates[0].wave); }
    else if (typed > 0.1 && typed < 40) give(typed);
    else say("type the wavelength in µm, e.g. 1.694058");
  } else if (/^[1-9]$/.test(event.key) && form.candidates[event.key - 1]) give(form.candidates[event.key - 1].wave);
  else if (/^[.,]$/.test(event.key)) element("typed").focus();
  else return event.key.startsWith("Arrow") ? false : true;
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (!element("naming").hidden && keyInNaming(event)) { event.preventDefault(); return; }
  if (event.target.tagName === "SELECT" || event.target.type === "text" || !view.data) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (!found) return;
  event.preventDefault();
  found[3](event);
});

const press = (key) => KEYS.find(([one]) => one === key)[3]();
element("keys").append(...KEYS.filter(([, label]) => label).flatMap(([, label, words]) => {
  const [term, what] = [document.createElement("dt"), document.createElement("dd")];
  term.innerHTML = `<kbd>${label}</kbd>`;
  what.textContent = words;
  return [term, what];
}));
element("orders").append("order ", ...[0, ...Array.from({ length: HIGHEST_ORDER }, (_, k) => k + 1)].map((order) => {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.order = order;
  button.textContent = order || "auto";
  button.onclick = () => setOrder(order);
  return button;
}));
for (const button of element("line-buttons").children) button.onclick = () => press(button.dataset.key);
for (const [id, key] of [["undo", "z"], ["redo", "y"], ["auto", "a"], ["reset", "r"], ["save-button", "s"], ["help-button", "?"]]) element(id).onclick = () => press(key);
element("reset-all").onclick = () => change({ type: "reset" });
element("save-go").onclick = save;
element("naming").onsubmit = (event) => event.preventDefault();
window.addEventListener("beforeunload", (event) => { if (Number(element("edited").textContent)) event.preventDefault(); });
// A button that was clicked must not take the space bar and the arrow keys for itself.
document.addEventListener("click", (event) => { if (event.target.closest("button")) document.activeElement.blur(); });
later(start);
