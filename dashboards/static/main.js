// Wires the page: controls to wishes, messages to panes, keys to acts.

import { bindings } from "./bindings.js";
import { Compass } from "./compass.js";
import { CubePanel } from "./cube.js";
import { Health } from "./health.js";
import { ImagePane } from "./image.js";
import { Keys } from "./keys.js";
import { Link } from "./link.js";
import { Look } from "./look.js";
import { Measures } from "./measure.js";
import { Night } from "./night.js";
import { make, showState } from "./panels.js";
import { Past } from "./past.js";
import { Point } from "./point.js";
import { Readout } from "./readout.js";
import { applyView, copyLink, describeView, saveFits, say } from "./share.js";
import { Tabs } from "./tabs.js";
import { Tools } from "./tools.js";

const VIEW_NAMES = { raw: "raw read", ramp: "ramp in progress", reduced: "reduced frame" };

const element = (id) => document.getElementById(id);
const models = await window.quicklook;
let state = null;
let chosen = ""; // "" lets the server choose
let focus = null;

const pane = new ImagePane(models, () => { wish(); });
const look = new Look(models, paint, wish);
const compass = new Compass(element("compass"));
const past = new Past(wish);
const measures = new Measures(models);
const cube = new CubePanel(models, () => { wish(); });
const send = (request) => link.send(request);
const point = new Point(models, send, (detector, x, y) => pane.sceneOf(detector, x, y));
const tools = new Tools(models, pane, ask, (spot) => { tabs.show("point"); point.propose(spot); });
const tabs = new Tabs(["now", "look", "measure", "point", "night"], () => { ask(); if (tabs.current === "night") night.ask(); });
const night = new Night(models, send, () => tabs.current === "night");

const address = new URL("stream", document.baseURI);
address.protocol = address.protocol.replace("http", "ws");
const link = new Link(address, receive, () => { readout.asked = null; health.tick(); });
const health = new Health(link, pane, () => state);
const readout = new Readout(models, link, pane, (detector) => {
  if (focus === detector) return;
  focus = detector;
  showPanel();
});

const ANSWERS = {
  probe: (message) => readout.show(message),
  reply: (message) => (message.to === "samp" ? toldOfSamp(message) : point.reply(message)),
  night: (message) => night.take(message),
};
const TAKE = {
  hello: greet,
  state: takeState,
  strip: (message) => past.take(message),
  measures: (message) => { measures.show(message, tools.wanted); cube.show(message.spectrum); },
};

function receive(message, pixels) {
  if (message.kind in ANSWERS) return ANSWERS[message.kind](message);
  if (message.kind === "image") {
    if (!pane.take(message, pixels)) return;
    showTitle();
  } else TAKE[message.kind]?.(message);
  link.send({ type: "ack" });
}

function greet(message) {
  if (message.build !== document.documentElement.dataset.build) location.reload();
  health.greet(message);
  point.greet(message);
  wish();
  ask();
}

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
    ...look.wishes(),
    ...past.wishes(),
    ...cube.wishes(),
    // What is seen of another scene says nothing about the one that is asked for.
    ...(chosen && chosen !== pane.scene?.name ? {} : pane.region()),
  });
}

// The tools, with what the panel that is open needs.
function ask() {
  const count = models.contourCount.value;
  link.send(tools.request({
    histogram: tabs.current === "look",
    contours: Number.isFinite(count) ? Math.min(20, Math.max(0, Math.round(count))) : 0,
    contours_of: element("contours-of").checked ? "other" : "shown",
  }));
  const { cut, region, star, surface, spectrum } = tools.wanted;
  if (!(cut || region || star || surface || spectrum || count || tabs.current === "look")) measures.clear();
}

function measureNow() {
  tabs.show("measure");
  ask();
}

function choose(detector) {
  if (chosen !== detector) { tools.clear(); past.forgetOther(); point.forget(); }
  chosen = detector;
  focus = detector === "MOSAIC" ? null : detector;
  showDetectors();
  showPanel();
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
  element("percentile-box").hidden = models.limits.value !== "percentile";
  element("manual-box").hidden = models.limits.value !== "manual";
}

// Limits by hand start from the ones on the screen.
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
changes(models.view, "active", () => { past.forgetOther(); wish(); });
for (const [name, property] of [["percentile", "value"], ["low", "value"], ["high", "value"],
  ["stretch", "value"], ["bad", "active"]]) changes(models[name], property, wish);
changes(models.limits, "value", () => { showLimits(); startManual(); wish(); });
changes(models.contourCount, "value", ask);
element("contours-of").onchange = ask;
models.fit.on_click(() => pane.fit());
models.pixels.on_click(() => pane.realPixels());
models.figure.on_event("doubletap", () => pane.fit());
for (const event of ["panend", "tap"]) models.figure.on_event(event, () => { if (!["pan", "target"].includes(tools.mode)) tabs.show("measure"); });
for (const [id, name] of [["wanted-snr", "wantedSnr"], ["star-radius", "radius"]]) {
  element(id).onchange = ({ target }) => {
    const value = Number(target.value);
    if (!(value >= Number(target.min) && value <= Number(target.max))) return;
    tools[name] = value;
    if (tools.wanted.star) tools.measureAt(tools.wanted.star);
  };
}

// ---- colours -----------------------------------------------------------------------------------------------

function switchTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("quicklook.theme", theme);
  paint();
}

function paint() {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "field", "line", "text", "dim", "label"];
  const colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  pane.paint(look.palette(), colours);
  for (const plot of Object.values(models).filter((model) => model?.type === "Figure" && model !== models.figure)) {
    for (const axis of [...plot.below, ...plot.left]) {
      axis.setv({ axis_line_color: colours.line, major_tick_line_color: colours.line, major_label_text_color: colours.dim, axis_label_text_color: colours.dim });
    }
    for (const grid of plot.center) if (grid.type === "Grid") grid.grid_line_color = colours.dim;
  }
}

// ---- what is shown -----------------------------------------------------------------------------------------

function takeState(message) {
  state = message;
  showDetectors();
  showPanel();
  night.takeState(state);
  point.takeState(state);
  health.tick();
}

function showPanel() {
  if (state) showState(state, focus ?? state.detectors[0]?.name, choose);
}

function showTitle() {
  const { scene, tiles } = pane.shown;
  const shown = tiles.map((tile) => tile.shown).filter(Boolean);
  const newest = shown.reduce((best, one) => (!best || one.number > best.number ? one : best), null);
  element("units").textContent = pane.shown.units;
  const name = scene.name === "MOSAIC" ? "Mosaic" : scene.name;
  element("what").textContent = [name, VIEW_NAMES[scene.view], newest?.filter].filter(Boolean).join(" · ");
  element("which").textContent = newest ? describe(scene, shown, newest) : "nothing received yet";
  Object.assign(element("app").dataset, {
    sequence: newest?.sequence ?? "", exposure: newest?.exposure_id ?? "", scene: `${scene.name}/${scene.view}`,
  });
  compass.show(newest);
  if (cube.take(tiles.length === 1 ? (tiles[0].shown?.cube ?? null) : null)) tabs.show("measure");
  showDetectors();
  readout.ask();
  health.tick();
}

function describe(scene, shown, newest) {
  const others = new Set(shown.map((one) => one.exposure_id)).size - 1;
  const part = scene.view === "reduced" || newest.cube
    ? `frame ${newest.sequence}, ${newest.ramps} ramp${newest.ramps === 1 ? "" : "s"}${newest.revision ? `, revision ${newest.revision}` : ""}`
    : `ramp ${newest.ramp + 1}, read ${newest.read + 1}${newest.reads_planned ? ` of ${newest.reads_planned}` : ""}`;
  const time = newest.last_read_utc.replace("T", " ");
  return `${newest.exposure_id}${others ? ` and ${others} other${others > 1 ? "s" : ""}` : ""} · ${part} · last read ${time} UTC`;
}

// ---- what leaves the page ----------------------------------------------------------------------------------

function toldOfSamp(message) {
  say(message.ok ? `Sent to ${message.to_whom}.` : `Not sent: ${message.why}.`, !message.ok);
}

const shareLink = () => copyLink(describeView(models, chosen, pane, past, look));
const sendAway = () => {
  const number = past.shownNumber();
  if (number !== null) link.send({ type: "samp", number });
};

// ---- tools and keys ----------------------------------------------------------------------------------------

function act(id, word, title, run) {
  const button = make("button", "", word);
  button.type = "button";
  button.dataset.act = id;
  button.title = title;
  button.setAttribute("aria-label", title);
  button.onclick = run;
  return button;
}

element("tools").replaceChildren(
  ...tools.buttons(),
  make("hr", ""),
  act("surface", "surface", "The view or the region in three dimensions (j)", () => { tools.toggleSurface(); measureNow(); }),
  act("clear", "clear", "Take away cuts, regions and sources (esc)", () => tools.clear()),
  make("hr", ""),
  act("back", "◀", "One frame back (,)", () => past.step(-1)),
  act("pause", "pause", "Hold this frame, or go on (space)", () => past.pause()),
  act("forward", "▶", "One frame forward (.)", () => past.step(1)),
  act("live", "live", "Back to the latest frame (backspace)", () => past.live()),
  act("blink", "blink", "Blink with the frame before, or the one chosen by shift-click (/)", () => past.toggleBlink()),
  act("difference", "difference", "Minus the frame before, or the one chosen by shift-click (=)", () => past.toggleDifference()),
);
element("help-button").after(
  act("link", "link", "Copy a link that shows this view (shift L)", shareLink),
  act("fits", "FITS", "Save the frame that is shown as FITS (shift F)", () => saveFits(past)),
  act("samp", "SAMP", "Send the frame to DS9 and others on the display's machine (shift S)", sendAway),
);

const acts = {
  choose, measureNow, shareLink, sendAway, switchTheme, saveFits: () => saveFits(past), help: () => keys.help(),
};
const keys = new Keys(
  bindings({ models, pane, look, compass, past, tools, tabs, point, cube, readout, state: () => state, acts }),
  element("help"),
);
element("alarm").onclick = () => tabs.show("night");
element("help-button").onclick = () => keys.help();
element("theme").onclick = switchTheme;

const wanted = applyView(models, look, location.hash);
chosen = wanted.detector;
past.wanted = wanted.frame;
pane.wanted = wanted.at;
showLimits();
tabs.show("now");
paint();
health.start();
wish();
