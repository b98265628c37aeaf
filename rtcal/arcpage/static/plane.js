// A canvas with axes: ranges that zoom by wheel and move by drag, and what drawing on it needs.

export const COLOURS = {
  used: "#63b27f", held: "#5aa9c9", masked: "#e0645c", clipped: "#d8a548", blend: "#b39ae6", unnamed: "#c8d0d8", bad: "#5d6670",
};
const DIM = "#84909d";
const GRID = "#1d242c";
const CLICK_PX = 4;

// A range that several planes may share.
export class Span {
  constructor() {
    this.whole = [0, 1];
    this.now = [0, 1];
    this.watchers = [];
  }

  fit(low, high) {
    this.whole = [low, high];
    this.set(low, high);
  }

  set(low, high) {
    const [first, last] = this.whole;
    const size = Math.min(Math.max(high - low, (last - first) / 2000), last - first);
    const start = Math.min(Math.max(low, first), last - size);
    this.now = [start, start + size];
    for (const watcher of this.watchers) watcher();
  }

  zoom(at, factor) {
    const [low, high] = this.now;
    this.set(at - (at - low) * factor, at + (high - at) * factor);
  }

  reveal(at) {
    const [low, high] = this.now;
    if (at < low || at > high) this.set(at - (high - low) / 2, at + (high - low) / 2);
  }
}

export class Plane {
  // `draw(plane)` paints; `x` and `y` are Spans; `zoomed` names those that mouse and wheel move.
  constructor(canvas, { x, y, zoomed, draw, margin = { left: 52, right: 10, top: 8, bottom: 22 } }) {
    Object.assign(this, { canvas, x, y, zoomed, paint: draw, margin, waiting: false });
    this.pen = canvas.getContext("2d");
    this.onClick = () => {};
    this.onRange = () => {};
    this.onMove = () => {};
    for (const span of new Set([x, y])) span.watchers.push(() => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => { if (!event.buttons) this.onMove(this.at(event), event); });
    canvas.addEventListener("pointerleave", (event) => this.onMove(null, event));
    canvas.addEventListener("dblclick", () => { for (const span of this.zoomed) span.set(...span.whole); });
  }

  get frame() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { left, right, top, bottom } = this.margin;
    return { left, top, width: Math.max(1, width - left - right), height: Math.max(1, height - top - bottom) };
  }

  px(value) {
    const { left, width } = this.frame;
    return left + ((value - this.x.now[0]) / (this.x.now[1] - this.x.now[0])) * width;
  }

  py(value) {
    const { top, height } = this.frame;
    return top + height - ((value - this.y.now[0]) / (this.y.now[1] - this.y.now[0])) * height;
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { left, top, width, height } = this.frame;
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return {
      x: this.x.now[0] + ((x - left) / width) * (this.x.now[1] - this.x.now[0]),
      y: this.y.now[0] + ((top + height - y) / height) * (this.y.now[1] - this.y.now[0]), px: x, py: y,
    };
  }

  wheel(event) {
    event.preventDefault();
    const place = this.at(event);
    const factor = Math.exp(Math.sign(event.deltaY) * 0.2);
    for (const span of this.zoomed) span.zoom(span === this.x ? place.x : place.y, factor);
  }

  press(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    const start = this.at(event);
    const spans = new Map(this.zoomed.map((span) => [span, [...span.now]]));
    let moved = false;
    const move = (later) => {
      const here = this.at(later);
      moved = moved || Math.hypot(here.px - start.px, here.py - start.py) > CLICK_PX;
      if (!moved || event.shiftKey) { this.band = moved ? [start.px, here.px] : null; this.redraw(); return; }
      for (const [span, [low, high]] of spans) {
        const { width, height } = this.frame;
        const by = span === this.x ? -((here.px - start.px) / width) * (high - low) : ((here.py - start.py) / height) * (high - low);
        span.set(low + by, high + by);
      }
    };
    const end = (later) => {
      this.canvas.removeEventListener("pointermove", move);
      this.canvas.removeEventListener("pointerup", end);
      const here = this.at(later);
      this.band = null;
      if (!moved) this.onClick(here, later);
      else if (event.shiftKey) this.onRange(Math.min(start.x, here.x), Math.max(start.x, here.x));
      this.redraw();
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", end);
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.drawNow(); });
  }

  drawNow() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.clearRect(0, 0, width, height);
    this.pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    this.paint(this);
    if (this.band) {
      this.pen.fillStyle = "rgb(90 169 201 / 0.2)";
      this.pen.fillRect(this.band[0], this.frame.top, this.band[1] - this.band[0], this.frame.height);
    }
  }

  // Draw grid and numbers; `label(value)` writes them.
  axes({ xLabel, yLabel, xText = plain, yText = plain, xTicks = null, yTicks = null }) {
    const { pen, frame } = this;
    pen.lineWidth = 1;
    pen.strokeStyle = GRID;
    pen.fillStyle = DIM;
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    const bottom = frame.top + frame.height;
    for (const [value, place] of xTicks ?? ticks(this.x.now, frame.width / 90).map((v) => [v, this.px(v)])) {
      segment(pen, place, frame.top, place, bottom);
      pen.textAlign = place > frame.left + frame.width - 20 ? "right" : "center"; // whole to the last
      pen.fillText(xText(value), Math.min(place, frame.left + frame.width + 8), bottom + 13);
    }
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const [value, place] of yTicks ?? ticks(this.y.now, frame.height / 45).map((v) => [v, this.py(v)])) {
      segment(pen, frame.left, place, frame.left + frame.width, place);
      pen.fillText(yText(value), frame.left - 5, place);
    }
    pen.textBaseline = "alphabetic";
    if (xLabel) pen.fillText(xLabel, frame.left + frame.width, bottom - 5);
    if (yLabel) {
      pen.textAlign = "left";
      pen.fillText(yLabel, frame.left + 6, frame.top + 12);
    }
  }

  clip(paint) {
    const { pen, frame } = this;
    pen.save();
    pen.beginPath();
    pen.rect(frame.left, frame.top, frame.width, frame.height);
    pen.clip();
    paint();
    pen.restore();
  }
}

export function segment(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

export function ticks([low, high], count) {
  const rough = (high - low) / Math.max(2, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const out = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k += 1) out.push(k * step);
  return out;
}

export function plain(value) {
  return String(Number(value.toPrecision(6)));
}

// The sum of a Chebyshev series at u (Clenshaw).
export function chebyshev(series, u) {
  let [one, two] = [0, 0];
  for (let k = series.length - 1; k > 0; k -= 1) [one, two] = [2 * u * one - two + series[k], one];
  return u * one - two + (series[0] ?? NaN);
}

// Blue below zero, grey at zero, red above, at most at the limit.
export function diverging(part) {
  const t = Math.max(-1, Math.min(1, part));
  const [r, g, b] = t < 0 ? [70, 150, 255] : [255, 105, 80];
  const mix = (colour) => Math.round(120 + (colour - 120) * Math.abs(t) ** 0.7);
  return `rgb(${mix(r)} ${mix(g)} ${mix(b)})`;
}
