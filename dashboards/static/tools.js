// The tools on the image: cuts, regions, a source. They say what is to be measured; `measure.js` shows the answers.

import { make } from "./panels.js";

const NOTHING = { cut: null, region: null, star: null, surface: null, spectrum: null };
export const MODES = {
  pan: ["pan", "p", "Pan and zoom"],
  line: ["cut", "l", "Drag a line: the values under it"],
  rectangle: ["box", "b", "Drag a rectangle: its statistics"],
  circle: ["circle", "o", "Drag a circle from its middle: its statistics"],
  star: ["source", "s", "Click near a source: place, width, light, S/N"],
  target: ["target", "t", "Click where the telescope shall point"],
};

export class Tools {
  // `ask()` sends the tools to the server; `onTarget(point)` is told of a click in target mode.
  constructor(models, pane, ask, onTarget) {
    this.models = models;
    this.pane = pane;
    this.ask = ask;
    this.onTarget = onTarget;
    this.wanted = { ...NOTHING };
    this.mode = "pan";
    this.start = null;
    this.wantedSnr = 100;
    this.radius = 40;
    const { figure } = models;
    figure.on_event("panstart", (event) => this.dragStart(event));
    figure.on_event("pan", (event) => this.drag(event));
    figure.on_event("panend", (event) => this.dragEnd(event));
    figure.on_event("tap", (event) => this.tap(event));
    this.panTool = figure.toolbar.tools.find((tool) => tool.type === "PanTool");
  }

  setMode(mode) {
    this.mode = mode;
    const { toolbar } = this.models.figure;
    toolbar.active_drag = mode === "pan" || mode === "star" || mode === "target" ? this.panTool : null;
    if (this.panTool) this.panTool.active = toolbar.active_drag !== null;
    document.getElementById("image").dataset.mode = mode;
    for (const button of document.querySelectorAll("#tools [data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
  }

  buttons() {
    return Object.entries(MODES).map(([mode, [word, key, words]]) => {
      const button = make("button", "", word);
      button.type = "button";
      button.dataset.mode = mode;
      button.title = `${words} (${key})`;
      button.setAttribute("aria-pressed", String(mode === this.mode));
      button.onclick = () => this.setMode(mode);
      return button;
    });
  }

  dragging() {
    return ["line", "rectangle", "circle"].includes(this.mode);
  }

  dragStart(event) {
    if (this.dragging()) this.start = { x: event.x, y: event.y };
  }

  drag(event) {
    if (this.start) this.draft(event);
  }

  dragEnd(event) {
    if (!this.start) return;
    this.draft(event);
    this.start = null;
    this.ask();
  }

  draft({ x, y }) {
    const { x: x0, y: y0 } = this.start;
    if (this.mode === "line") this.wanted.cut = { x0, y0, x1: x, y1: y };
    else if (this.mode === "rectangle") this.wanted.region = { shape: "rectangle", x0, y0, x1: x, y1: y };
    else {
      const radius = Math.max(0.5, Math.hypot(x - x0, y - y0));
      this.wanted.region = { shape: "circle", x0: x0 - radius, x1: x0 + radius, y0: y0 - radius, y1: y0 + radius };
    }
    if (this.mode !== "line") this.wanted.spectrum = this.wanted.region;
    if (this.mode !== "line" && this.wanted.surface) this.wanted.surface = this.wanted.region;
    this.draw();
  }

  tap({ x, y }) {
    if (this.mode === "star") this.measureAt({ x, y });
    else if (this.mode === "target") this.onTarget({ x, y });
  }

  measureAt({ x, y }) {
    this.wanted.star = { x, y, reach: this.reach(), radius: this.radius, wanted_snr: this.wantedSnr };
    this.ask();
  }

  spectrumAt({ x, y }) {
    this.wanted.spectrum = { shape: "rectangle", x0: Math.round(x), x1: Math.round(x), y0: Math.round(y), y1: Math.round(y) };
    this.ask();
  }

  // As far as 12 pixels of the screen, and never less than 6 of the detector.
  reach() {
    const { x_range, inner_width } = this.models.figure;
    return Math.min(200, Math.max(6, (12 * (x_range.end - x_range.start)) / inner_width));
  }

  // A cut through a point across all that is seen: "h", "v" or "x" (diagonal), or the other diagonal again with "x".
  cutThrough(point, kind) {
    const seen = this.pane.region().region;
    if (!seen) return;
    const [x0, x1, y0, y1] = seen;
    const { x, y } = point;
    if (kind === "h") this.wanted.cut = { x0, y0: y, x1, y1: y };
    else if (kind === "v") this.wanted.cut = { x0: x, y0, x1: x, y1 };
    else {
      const rising = !(this.diagonal = !this.diagonal) ? -1 : 1;
      const back = Math.min(x - x0, rising > 0 ? y - y0 : y1 - y);
      const ahead = Math.min(x1 - x, rising > 0 ? y1 - y : y - y0);
      this.wanted.cut = { x0: x - back, y0: y - rising * back, x1: x + ahead, y1: y + rising * ahead };
    }
    this.draw();
    this.ask();
  }

  toggleSurface() {
    const seen = this.pane.region().region;
    if (this.wanted.surface || !seen) this.wanted.surface = null;
    else {
      const [x0, x1, y0, y1] = seen;
      this.wanted.surface = this.wanted.region ?? { shape: "rectangle", x0, x1, y0, y1 };
    }
    this.ask();
  }

  clear() {
    this.wanted = { ...NOTHING };
    this.start = null;
    this.draw();
    this.ask();
  }

  draw() {
    const { cut, region } = this.wanted;
    fill(this.models.cutLine, { x: cut ? [cut.x0, cut.x1] : [], y: cut ? [cut.y0, cut.y1] : [] });
    const box = region?.shape === "rectangle" ? [region] : [];
    fill(this.models.rectangle, {
      left: box.map((one) => Math.min(one.x0, one.x1)), right: box.map((one) => Math.max(one.x0, one.x1)),
      bottom: box.map((one) => Math.min(one.y0, one.y1)), top: box.map((one) => Math.max(one.y0, one.y1)),
    });
    const round = region?.shape === "circle" ? [region] : [];
    fill(this.models.circle, {
      x: round.map((one) => (one.x0 + one.x1) / 2), y: round.map((one) => (one.y0 + one.y1) / 2),
      width: round.map((one) => one.x1 - one.x0), height: round.map((one) => one.y1 - one.y0),
    });
  }

  request(extra) {
    return { type: "tools", ...this.wanted, ...extra };
  }
}

export function fill(source, columns) {
  Object.assign(source.data, columns);
  source.change.emit();
}
