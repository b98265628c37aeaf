// One trace: its spectrum with the lines and the lamps' list, and below the residuals, both over the same pixels.

import { COLOURS, Plane, Span, chebyshev, segment } from "./plane.js";

const LIST_PX = 26;
const LABEL_PX = 84;
const NEAR_PX = 14;
const SCALES = ["root", "linear", "log"];

export function kindOf(line) {
  if (line.wave === null) return line.state !== 0 ? "bad" : "unnamed";
  if (line.mark === 1) return "masked";
  if (line.used) return line.mark === 2 ? "held" : "used";
  if (line.state !== 0) return "bad";
  return line.blend ? "blend" : "clipped";
}

export class TraceView {
  // `select(line, more)` is told of clicks on lines.
  constructor(spectrum, fit, select) {
    this.data = null;
    this.chosen = new Set();
    this.scale = "root";
    this.curve = false;
    this.x = new Span();
    this.level = new Span();
    this.away = new Span();
    const margin = { left: 52, right: 10, top: 8, bottom: 20 };
    this.spectrum = new Plane(spectrum, { x: this.x, y: this.level, zoomed: [this.x], draw: () => this.drawSpectrum(), margin });
    this.fit = new Plane(fit, { x: this.x, y: this.away, zoomed: [this.x], draw: () => this.drawFit(), margin });
    for (const plane of [this.spectrum, this.fit]) {
      plane.onClick = (place, event) => {
        const line = this.lineAt(plane, place);
        if (line !== null) select(line, event.shiftKey);
      };
      plane.onRange = (low, high) => {
        const within = this.data.lines.flatMap((line, index) => (line.x >= low && line.x <= high ? [index] : []));
        within.forEach((line, count) => select(line, count > 0));
      };
    }
  }

  show(data, fresh) {
    this.data = data;
    if (fresh) this.x.fit(-1, data.length);
    this.steps = data.light ? data.light.filter((value) => value !== null).sort((a, b) => a - b) : [];
    const low = this.steps.length ? this.steps[Math.floor(this.steps.length * 0.02)] : 0;
    const high = this.steps.length ? this.steps[this.steps.length - 1] : Math.max(1, ...data.lines.map((line) => line.flux ?? 0));
    this.base = Math.min(low, 0);
    this.noise = Math.max(1e-6 * (high - this.base), (this.steps[Math.floor(this.steps.length * 0.6)] ?? 0) - low, 1e-12);
    this.highest = high;
    const worst = Math.max(0, ...data.lines.filter((line) => line.used && line.away !== null).map((line) => Math.abs(line.away)));
    const reach = Math.max(0.05, worst * 1.25);
    this.away.fit(-reach, reach);
    this.redraw();
  }

  redraw() {
    this.spectrum.redraw();
    this.fit.redraw();
  }

  nextScale() {
    this.scale = SCALES[(SCALES.indexOf(this.scale) + 1) % SCALES.length];
    this.redraw();
  }

  wave(x) {
    return chebyshev(this.data.series, (2 * x) / (this.data.length - 1) - 1);
  }

  lineAt(plane, place) {
    let best = null;
    let nearest = NEAR_PX;
    this.data.lines.forEach((line, index) => {
      const away = Math.abs(plane.px(line.x) - place.px);
      if (away < nearest) [best, nearest] = [index, away];
    });
    return best;
  }

  // Height of a flux in the picture, as a part of the room above the list.
  part(value) {
    const t = Math.max(0, value - this.base) / Math.max(1e-30, this.highest - this.base);
    if (this.scale === "linear") return t;
    if (this.scale === "root") return Math.sqrt(t);
    const floor = this.noise / Math.max(1e-30, this.highest - this.base);
    return Math.log10(1 + t / floor) / Math.log10(1 + 1 / floor);
  }

  drawSpectrum() {
    if (!this.data) return;
    const { spectrum: plane } = this;
    const { pen, frame } = plane;
    const floor = frame.top + frame.height - LIST_PX;
    const room = floor - frame.top - LABEL_PX;
    const up = (value) => floor - this.part(value) * room;
    plane.axes({ xText: (x) => (this.data.series.length ? this.wave(x).toFixed(4) : String(x)), yTicks: [], xLabel: "µm" });
    document.getElementById("scale-note").textContent = this.data.light ? `${this.scale} scale (l)` : "the file holds no spectra: lines alone";
    plane.clip(() => {
      this.marks(plane, floor);
      if (this.data.light) this.drawLight(plane, up);
      this.drawLines(plane, up, floor);
      this.drawList(plane, floor);
    });
  }

  drawLight(plane, up) {
    const { pen } = plane;
    pen.strokeStyle = "#c9d3dc";
    pen.lineWidth = 1.1;
    pen.beginPath();
    let drawing = false;
    this.data.light.forEach((value, x) => {
      if (value === null) { drawing = false; return; }
      const [left, right] = [plane.px(x - 0.5), plane.px(x + 0.5)];
      if (drawing) pen.lineTo(left, up(value)); else pen.moveTo(left, up(value));
      pen.lineTo(right, up(value));
      drawing = true;
    });
    pen.stroke();
  }

  top(line, up) {
    if (!this.data.light) return up(line.flux ?? 0);
    const x = Math.round(line.x);
    return up(Math.max(...[x - 1, x, x + 1].map((one) => this.data.light[one] ?? -Infinity)));
  }

  drawLines(plane, up, floor) {
    const { pen } = plane;
    const byStrength = this.data.lines.map((line, index) => [line, index]).sort(([a], [b]) => (b.snr ?? 0) - (a.snr ?? 0));
    const taken = [];
    for (const [line, index] of byStrength) {
      const [x, y] = [plane.px(line.x), this.top(line, up)];
      const colour = COLOURS[kindOf(line)];
      pen.strokeStyle = pen.fillStyle = colour;
      pen.lineWidth = this.chosen.has(index) ? 2 : 1.2;
      if (!this.data.light) segment(pen, x, floor, x, y);
      segment(pen, x, y - 4, x, y - 11);
      const crowded = taken.some((other) => Math.abs(other - x) < 12);
      if (crowded && !this.chosen.has(index)) continue;
      taken.push(x);
      pen.save();
      pen.translate(x + 4, y - 14);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "left";
      pen.fillText(line.wave === null ? "?" : `${line.wave.toFixed(5)} ${line.element}`, 0, 0);
      pen.restore();
    }
  }

  // The lamps' lines where the fit puts them; a line that has a name is joined to its own.
  drawList(plane, floor) {
    const { pen, frame } = plane;
    const bottom = frame.top + frame.height;
    pen.fillStyle = "#10151a";
    pen.fillRect(frame.left, floor, frame.width, LIST_PX);
    const names = new Map(this.data.lines.filter((line) => line.wave !== null).map((line) => [line.wave.toFixed(7), line]));
    const strongest = Math.max(1e-12, ...this.data.list.map((one) => one[1]));
    for (const [wave, intensity, , at] of this.data.list) {
      const line = names.get(wave.toFixed(7));
      const x = plane.px(at);
      pen.strokeStyle = line ? COLOURS[kindOf(line)] : "#66717d";
      pen.lineWidth = 1.3;
      segment(pen, x, bottom, x, bottom - 3 - (LIST_PX - 9) * (intensity / strongest) ** 0.35);
      if (line) {
        pen.lineWidth = 0.7;
        segment(pen, x, bottom - 3 - (LIST_PX - 9) * (intensity / strongest) ** 0.35, plane.px(line.x), floor);
      }
    }
  }

  marks(plane, floor = null) {
    const { pen, frame } = plane;
    for (const index of this.chosen) {
      const line = this.data.lines[index];
      if (!line) continue;
      const x = plane.px(line.x);
      pen.fillStyle = "rgb(255 255 255 / 0.09)";
      pen.fillRect(x - 9, frame.top, 18, (floor ?? frame.top + frame.height) - frame.top);
    }
  }

  drawFit() {
    if (!this.data) return;
    if (this.curve) this.drawCurve(); else this.drawResiduals();
  }

  drawResiduals() {
    const { fit: plane } = this;
    const { pen, frame } = plane;
    plane.axes({ xLabel: "pixel of the trace", yLabel: "fit less list, px" });
    plane.clip(() => {
      this.marks(plane);
      pen.strokeStyle = "#4a5663";
      pen.lineWidth = 1;
      segment(pen, frame.left, plane.py(0), frame.left + frame.width, plane.py(0));
      this.data.lines.forEach((line, index) => {
        if (line.away === null) return;
        const x = plane.px(line.x);
        const inside = Math.abs(line.away) <= this.away.now[1];
        const y = inside ? plane.py(line.away) : line.away > 0 ? frame.top + 7 : frame.top + frame.height - 7;
        this.dot(pen, x, y, kindOf(line), this.chosen.has(index), inside ? 0 : Math.sign(line.away));
        if (line.err && line.used) {
          pen.lineWidth = 1;
          segment(pen, x, plane.py(line.away - line.err), x, plane.py(line.away + line.err));
        }
      });
    });
  }

  // What the polynomial does beyond a straight line, in pixels.
  drawCurve() {
    const { fit: plane, data } = this;
    const { pen } = plane;
    const [first, last] = [this.wave(0), this.wave(data.length - 1)];
    const perPx = (last - first) / (data.length - 1);
    const bend = (x, wave) => (wave - first) / perPx - x;
    const points = Array.from({ length: 201 }, (_, k) => (k / 200) * (data.length - 1));
    const values = points.map((x) => bend(x, this.wave(x)));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const spare = Math.max(0.5, (high - low) * 0.15);
    this.away.whole = this.away.now = [low - spare, high + spare];
    plane.axes({ xLabel: "pixel of the trace", yLabel: "fit less straight line, px" });
    plane.clip(() => {
      this.marks(plane);
      pen.strokeStyle = "#9fb0bf";
      pen.lineWidth = 1.3;
      pen.beginPath();
      points.forEach((x, k) => pen.lineTo(plane.px(x), plane.py(values[k])));
      pen.stroke();
      data.lines.forEach((line, index) => {
        if (line.wave !== null) this.dot(pen, plane.px(line.x), plane.py(bend(line.x, line.wave)), kindOf(line), this.chosen.has(index), 0);
      });
    });
  }

  dot(pen, x, y, kind, chosen, beyond) {
    pen.strokeStyle = pen.fillStyle = COLOURS[kind];
    pen.lineWidth = 1.6;
    pen.beginPath();
    if (beyond) {
      pen.moveTo(x - 4, y + 3 * beyond);
      pen.lineTo(x, y - 4 * beyond);
      pen.lineTo(x + 4, y + 3 * beyond);
      pen.closePath();
    } else pen.arc(x, y, chosen ? 5.5 : 4, 0, 2 * Math.PI);
    if (kind === "used" || kind === "held") pen.fill(); else pen.stroke();
    if (kind === "masked") { segment(pen, x - 5, y - 5, x + 5, y + 5); segment(pen, x - 5, y + 5, x + 5, y - 5); }
    if (chosen) { pen.strokeStyle = "#ffffff"; pen.beginPath(); pen.arc(x, y, 7.5, 0, 2 * Math.PI); pen.stroke(); }
  }
}
