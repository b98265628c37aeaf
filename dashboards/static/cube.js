// A cube: which wavelengths become the image, and the spectrum of a spaxel or a region.

import { LineMarkers } from "./lines.js";
import { fill } from "./tools.js";

const PLAY_MS = 120;
const element = (id) => document.getElementById(id);

export class CubePanel {
  // `wish()` asks for the image anew.
  constructor(models, wish) {
    this.models = models;
    this.wish = wish;
    this.cube = null;
    this.whole = true;
    this.timer = null;
    this.markers = new LineMarkers(models);
    element("cube-play").onclick = () => this.play();
    for (const id of ["cube-first", "cube-last"]) element(id).oninput = () => { this.whole = false; this.changed(); };
    element("cube-how").onchange = () => { this.whole = this.whole && this.how() === "mean"; this.changed(); };
    // A place chosen on the spectrum becomes the slice that is shown.
    models.spectrumPlot.on_event("tap", (event) => this.jump(event.x));
  }

  how() {
    return element("cube-how").value;
  }

  // Take what the shown image says of its cube; returns true when one has just appeared.
  take(cube) {
    const fresh = cube && (!this.cube || ["bins", "wave_first_um", "wave_step_um"].some((key) => this.cube[key] !== cube[key]));
    const appeared = cube && !this.cube;
    this.cube = cube;
    element("cube-box").hidden = !cube;
    if (fresh) {
      for (const id of ["cube-first", "cube-last"]) element(id).max = cube.bins - 1;
      element("cube-first").value = 0;
      element("cube-last").value = cube.bins - 1;
      element("cube-how").value = "mean";
      this.whole = true;
    }
    if (cube) this.describe();
    return appeared;
  }

  bins() {
    const first = Number(element("cube-first").value);
    return this.how() === "slice" ? [first, first] : [Math.min(first, Number(element("cube-last").value)), Math.max(first, Number(element("cube-last").value))];
  }

  wave(bin) {
    return this.cube.wave_first_um + bin * this.cube.wave_step_um;
  }

  jump(wave_um) {
    if (!this.cube) return;
    const bin = Math.round((wave_um - this.cube.wave_first_um) / this.cube.wave_step_um);
    element("cube-how").value = "slice";
    element("cube-first").value = Math.min(this.cube.bins - 1, Math.max(0, bin));
    this.whole = false;
    this.changed();
  }

  step(by) {
    if (!this.cube) return false;
    if (this.how() === "slice") this.jump(this.wave(this.bins()[0] + by));
    else this.jump(this.wave(Math.round((this.bins()[0] + this.bins()[1]) / 2)));
    return true;
  }

  // Run through the slices, from the first again after the last, or stop.
  play() {
    const playing = this.timer === null && this.cube !== null;
    clearInterval(this.timer);
    this.timer = playing ? setInterval(() => this.next(), PLAY_MS) : null;
    element("cube-play").setAttribute("aria-pressed", playing);
    element("cube-play").textContent = playing ? "stop" : "play";
    if (playing && this.how() !== "slice") this.jump(this.wave(this.bins()[0]));
    return this.cube !== null;
  }

  next() {
    if (!this.cube) { this.play(); return; }
    const at = this.bins()[0];
    this.jump(this.wave(at + 1 < this.cube.bins ? at + 1 : 0));
  }

  changed() {
    this.describe();
    this.wish();
  }

  describe() {
    const [first, last] = this.bins();
    element("cube-last-box").hidden = this.how() === "slice";
    const words = first === last ? `${this.wave(first).toFixed(5)} µm · slice ${first}` : `${this.wave(first).toFixed(4)} – ${this.wave(last).toFixed(4)} µm`;
    element("cube-wave").textContent = words;
    element("cube-box").querySelector("em").textContent = `${this.cube.awaited ? "white light, cube to come, " : this.cube.provisional ? "provisional, " : ""}${this.cube.status}`;
    for (const [name, bin] of [["firstLine", first], ["lastLine", last]]) this.models[name].setv({ location: this.wave(bin), visible: !this.whole });
    element("app").dataset.slice = this.whole ? "all" : `${first}-${last}`;
  }

  wishes() {
    if (!this.cube || this.whole) return {};
    const [first, last] = this.bins();
    return { collapse: { how: this.how() === "slice" ? "mean" : this.how(), first, last } };
  }

  show(spectrum) {
    const nans = (values) => (values ?? []).map((value) => value ?? NaN);
    const known = spectrum && !spectrum.why;
    element("spectrum-note").textContent = spectrum?.why ?? (known ? `of ${spectrum.spaxels} spaxel${spectrum.spaxels === 1 ? "" : "s"}, ${spectrum.units}` : "enter: of the spaxel at the cursor");
    const values = known ? nans(spectrum.values) : [];
    const errors = known ? nans(spectrum.errors) : [];
    fill(this.models.spectrumData, {
      wave: known ? nans(spectrum.wave_um) : [], value: values, other: known ? (spectrum.other ? nans(spectrum.other) : values.map(() => NaN)) : [],
      low: values.map((value, index) => value - errors[index]), high: values.map((value, index) => value + errors[index]),
    });
    this.markers.over(known ? spectrum.wave_um : [], values);
  }
}
