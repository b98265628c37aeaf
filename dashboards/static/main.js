// Wires the page: controls to wishes, messages to panes, clocks to ages and warnings.

import { ImagePane } from "./image.js";
import { Link } from "./link.js";
import { detectorOf, duration, showState } from "./panels.js";

const STALE_PERIODS = 3;
const SLOWEST_TICK_MS = 250;
const VIEW_NAMES = { raw: "raw read", ramp: "ramp in progress", reduced: "reduced frame" };

const element = (id) => document.getElementById(id);
const models = await window.quicklook;
const pane = new ImagePane(models, () => wish());
let state = null;
let offsetMs = -Infinity; // server's monotonic clock minus ours: the message that took the shortest time tells best
let chosen = ""; // "" lets the server choose
let focus = null;
let pointer = null;
let asked = false;

const address = new URL("stream", document.baseURI);
address.protocol = address.protocol.replace("http", "ws");
const link = new Link(address, receive, () => { asked = false; tick(); });

function receive(message, pixels) {
  if (message.kind === "hello") greet(message);
  else if (message.kind === "probe") return readOut(message);
  else if (message.kind === "state") takeState(message);
  else if (!pane.take(message, pixels)) return;
  else showTitle();
  link.send({ type: "ack" });
}

function greet(message) {
  if (message.build !== document.documentElement.dataset.build) location.reload();
  offsetMs = message.now_ms - performance.now();
  wish();
}

const now = () => performance.now() + offsetMs;

// ---- what is wanted ----------------------------------------------------------------------------------------

function wish() {
  const number = (control, fallback) => (Number.isFinite(control.value) ? control.value : fallback);
  link.send({
    type: "view",
    detector: chosen,
    view: models.views[models.view.active],
    limits: models.limits.value,
    percentile: number(models.percentile, 99.5),
    low: number(models.low, 0),
    high: number(models.high, 1),
    stretch: models.stretch.value,
    mark_bad: models.bad.active,
    // What is seen of another scene says nothing about the one that is asked for.
    ...(chosen && chosen !== pane.scene?.name ? {} : pane.region()),
  });
}

function choose(detector) {
  chosen = detector;
  focus = detector === "MOSAIC" ? null : detector;
  showDetectors();
  wish();
}

function showDetectors() {
  if (!state) return;
  const names = state.detectors.map((detector) => detector.name);
  const labels = state.mosaic.length > 1 ? ["Mosaic", ...names] : names;
  if (labels.join() !== models.detector.labels.join() && labels.length) models.detector.labels = labels;
  const current = chosen || pane.scene?.name || "";
  const index = labels.indexOf(current === "MOSAIC" ? "Mosaic" : current);
  if (index >= 0) models.detector.active = index;
}

function showLimits() {
  const kind = models.limits.value;
  element("percentile-box").hidden = kind !== "percentile";
  element("limits-box").classList.toggle("wide", kind !== "percentile");
  for (const box of document.querySelectorAll(".manual")) box.hidden = kind !== "manual";
}

// Manual limits start from the ones on the screen.
function startManual() {
  if (models.limits.value !== "manual" || !pane.shown) return;
  models.low.value = Number(pane.shown.low.toPrecision(4));
  models.high.value = Number(pane.shown.high.toPrecision(4));
}

const changes = (model, name, act) => model.properties[name].change.connect(act);
changes(models.detector, "active", () => {
  const label = models.detector.labels[models.detector.active];
  const detector = label === "Mosaic" ? "MOSAIC" : label;
  if (detector && detector !== (chosen || pane.scene?.name)) choose(detector);
});
for (const [name, property] of [["view", "active"], ["percentile", "value"], ["low", "value"], ["high", "value"],
  ["stretch", "value"], ["bad", "active"]]) changes(models[name], property, wish);
changes(models.limits, "value", () => { showLimits(); startManual(); wish(); });
changes(models.colours, "value", paint);
changes(models.invert, "active", paint);
models.fit.on_click(() => pane.fit());
models.pixels.on_click(() => pane.realPixels());
element("theme").onclick = () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("quicklook.theme", theme);
  paint();
};

function paint() {
  const colours = models.palettes[models.colours.value];
  const palette = models.invert.active ? [colours[0], ...colours.slice(1).reverse()] : colours;
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "field", "line", "text", "dim", "label"];
  pane.paint(palette, Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])));
}

// ---- what is shown -----------------------------------------------------------------------------------------

function takeState(message) {
  state = message;
  showDetectors();
  showState(state, focus ?? state.detectors[0]?.name, choose);
  tick();
}

function showTitle() {
  const { scene, tiles } = pane.shown;
  const shown = tiles.map((tile) => tile.shown).filter(Boolean);
  const newest = shown.reduce((best, one) => (!best || one.number > best.number ? one : best), null);
  element("units").textContent = pane.shown.units;
  const name = scene.name === "MOSAIC" ? "Mosaic" : scene.name;
  element("what").textContent = [name, VIEW_NAMES[scene.view], newest?.filter].filter(Boolean).join(" · ");
  element("which").textContent = newest ? describe(scene, shown, newest) : "nothing received yet";
  element("app").dataset.sequence = newest?.sequence ?? "";
  element("app").dataset.exposure = newest?.exposure_id ?? "";
  element("app").dataset.scene = `${scene.name}/${scene.view}`;
  showDetectors();
  if (pointer) ask();
  tick();
}

function describe(scene, shown, newest) {
  const others = new Set(shown.map((one) => one.exposure_id)).size - 1;
  const part = scene.view === "reduced"
    ? `frame ${newest.sequence}, ${newest.ramps} ramp${newest.ramps === 1 ? "" : "s"}${newest.revision ? `, revision ${newest.revision}` : ""}`
    : `ramp ${newest.ramp + 1}, read ${newest.read + 1}${newest.reads_planned ? ` of ${newest.reads_planned}` : ""}`;
  const time = newest.last_read_utc.replace("T", " ");
  return `${newest.exposure_id}${others ? ` and ${others} other${others > 1 ? "s" : ""}` : ""} · ${part} · last read ${time} UTC`;
}

// ---- the cursor --------------------------------------------------------------------------------------------

models.figure.on_event("mousemove", (event) => { pointer = { x: event.x, y: event.y }; ask(); });
models.figure.on_event("mouseleave", () => { pointer = null; element("at").textContent = "\u00a0"; clearValue(); });
models.figure.on_event("doubletap", () => pane.fit());

// One question at a time: the answer asks the next if the cursor has moved on.
function ask() {
  if (asked || !pointer || !link.open) return;
  asked = { ...pointer };
  link.send({ type: "probe", ...asked });
}

function clearValue() {
  element("value").textContent = "";
  element("flags").textContent = "";
}

function readOut(answer) {
  const last = asked;
  asked = false;
  if (!pointer) return;
  if (last.x !== pointer.x || last.y !== pointer.y) ask();
  clearValue();
  if (answer.detector === null) {
    element("at").textContent = "off the detectors";
    return;
  }
  element("at").textContent = `${answer.detector}  x ${answer.x}  y ${answer.y}`;
  if (pane.scene.name === "MOSAIC" && focus !== answer.detector) {
    focus = answer.detector;
    if (state) showState(state, focus, choose);
  }
  if (answer.units === undefined) return;
  const digits = (value) => Number(value.toPrecision(5)).toString();
  const error = answer.error === null ? "" : ` ± ${Number(answer.error.toPrecision(2))}`;
  const mean = answer.binning > 1 ? `  (mean of ${answer.binning} × ${answer.binning})` : "";
  element("value").textContent =
    answer.value === null ? "no value" : `${digits(answer.value)}${error} ${answer.units}${mean}`;
  element("flags").textContent = answer.dq.join(" · ");
}

// ---- clocks ------------------------------------------------------------------------------------------------

// Returns the level of trust and what to say; "ok" alone needs no banner.
function health() {
  if (!link.open) {
    const since = link.lostAt === null ? "" : ` for ${duration((performance.now() - link.lostAt) / 1000)}`;
    return pane.shown || link.lostAt !== null
      ? ["gone", "server gone", `The display server has not answered${since}. The image is old. Reconnecting…`]
      : ["wait", "connecting", ""];
  }
  if (!state?.daemon) return ["wait", "no reducer yet", "Waiting for the reducer: no status has been heard."];
  const silent = now() - state.status_heard_ms;
  if (silent > STALE_PERIODS * state.daemon.period_ms) {
    return ["stale", "stale", `No sign of the reducer for ${duration(silent / 1000)}. The image is old.`];
  }
  if (state.daemon.state !== "running") return ["wait", state.daemon.state, ""];
  return ["ok", "live", ""];
}

function tick() {
  const [level, word, words] = health();
  element("health").dataset.level = level;
  element("health-text").textContent = word;
  element("banner").hidden = !words;
  element("banner").dataset.level = level;
  if (element("banner").textContent !== words) element("banner").textContent = words;
  element("app").dataset.health = level;
  const ages = (pane.shown?.tiles ?? []).filter((tile) => tile.shown).map((tile) => now() - tile.shown.published_ms);
  element("age").textContent = ages.length ? duration(Math.max(0, Math.min(...ages)) / 1000) : "–";
  element("utc").textContent = new Date().toISOString().slice(11, 19);
}

showLimits();
paint();
tick();
setInterval(tick, SLOWEST_TICK_MS);
wish();
