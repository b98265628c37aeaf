// How the image looks: colours, brightness, contrast, smoothing, flags. Colours answer in the browser, at once.

import { make } from "./panels.js";

const element = (id) => document.getElementById(id);
const KIND_WORDS = {
  saturated: "saturated", jump: "cosmic-ray jump", persistence: "persistence", window: "guide window", dead: "dead or low",
  hot: "hot or warm", unstable: "unstable", unusable: "not to be used", reference: "reference pixel",
};

// Stretch the 255 colours as DS9 does: contrast is the slope, brightness moves the middle.
export function bent(colours, brightness, contrast, inverted) {
  const ramp = inverted ? colours.slice(1).reverse() : colours.slice(1);
  const last = ramp.length - 1;
  const bend = (index) => {
    const place = (index / last - 0.5 + brightness) * contrast + 0.5;
    return ramp[Math.round(Math.min(1, Math.max(0, place)) * last)];
  };
  return [colours[0], ...ramp.map((_, index) => bend(index))];
}

export class Look {
  // `wish()` asks the server for the image anew; `repaint()` changes colours alone.
  constructor(models, repaint, wish) {
    this.models = models;
    this.marks = new Set();
    const on = (name, property, act) => models[name].properties[property].change.connect(act);
    for (const name of ["brightness", "contrast"]) on(name, "value", repaint);
    on("colours", "value", repaint);
    on("invert", "active", repaint);
    for (const name of ["smooth", "smoothSize"]) on(name, "value", wish);
    this.wish = wish;
    element("kinds").replaceChildren(...Object.keys(models.kinds).map((kind) => this.kindBox(kind)));
  }

  kindBox(kind) {
    const label = make("label", "kind");
    const box = make("input", "");
    box.type = "checkbox";
    box.name = kind;
    box.onchange = () => this.toggleKind(kind, box.checked);
    const chip = make("i", "");
    chip.style.background = this.models.kinds[kind];
    label.append(box, chip, make("span", "", KIND_WORDS[kind] ?? kind));
    return label;
  }

  toggleKind(kind, on) {
    if (on) this.marks.add(kind);
    else this.marks.delete(kind);
    for (const box of element("kinds").querySelectorAll("input")) box.checked = this.marks.has(box.name);
    this.showLegend();
    this.wish();
  }

  toggleAll() {
    const all = ["saturated", "jump", "persistence", "window", "dead", "hot", "unstable", "unusable"];
    const off = this.marks.size > 0;
    this.marks = new Set(off ? [] : all);
    for (const box of element("kinds").querySelectorAll("input")) box.checked = this.marks.has(box.name);
    this.showLegend();
    this.wish();
  }

  showLegend() {
    element("legend").hidden = this.marks.size === 0;
    element("legend").replaceChildren(...this.chosen().map((kind) => {
      const item = make("li", "", KIND_WORDS[kind]);
      item.style.setProperty("--chip", this.models.kinds[kind]);
      return item;
    }));
  }

  // In the order of the table: the server numbers kinds by their place in the request.
  chosen() {
    return Object.keys(this.models.kinds).filter((kind) => this.marks.has(kind));
  }

  palette() {
    const { colours, invert, brightness, contrast, palettes } = this.models;
    return bent(palettes[colours.value], brightness.value, contrast.value, invert.active);
  }

  wishes() {
    const { smooth, smoothSize } = this.models;
    const size = Number.isFinite(smoothSize.value) ? Math.min(64, Math.max(0.5, smoothSize.value)) : 2;
    return { smooth: smooth.value, smooth_px: size, marks: this.chosen() };
  }

  reset() {
    this.models.brightness.value = 0;
    this.models.contrast.value = 1;
  }
}
