// All traces: their lines' residuals over the detector, and the list that leads to the worst.

import { Plane, Span, diverging, segment } from "./plane.js";

const BAD = { FAILED: 0, SHIFTED: 1, OK: 2 };
const MOST_ROWS = 400;

export class Detector {
  // `go(id)` opens a trace; `go(id, x)` the line nearest to a pixel of it.
  constructor(canvas, list, sort, go) {
    Object.assign(this, { list, sort, go, rows: [], current: null, limit: 0.1 });
    this.x = new Span();
    this.y = new Span();
    const margin = { left: 42, right: 8, top: 6, bottom: 20 };
    this.plane = new Plane(canvas, { x: this.x, y: this.y, zoomed: [this.x, this.y], draw: () => this.draw(), margin });
    this.plane.onClick = (place) => {
      const row = this.nearest(place);
      if (row) go(row.id, place.x - row.x0);
    };
    this.plane.onMove = (place) => this.hover(place);
    sort.onchange = () => this.fill();
    list.onclick = (event) => {
      const row = event.target.closest(".row");
      if (row) go(Number(row.dataset.id));
    };
  }

  take(rows, shape) {
    if (shape) {
      this.rows = rows;
      this.x.fit(0, shape[1]);
      // Spectra without a detector are rows of one: leave them room.
      const lowest = Math.min(...rows.map((row) => row.y));
      const highest = Math.max(...rows.map((row) => row.y));
      const spare = Math.max(1, (highest - lowest) * 0.05);
      this.y.fit(Math.max(lowest - spare, -1), Math.min(highest + spare, Math.max(shape[0], highest + 1)));
    } else for (const row of rows) this.rows[row.index] = row;
    const sizes = this.rows.flatMap((row) => (row.away ?? []).filter((_, k) => row.kept[k]).map((one) => Math.abs(one ?? 0))).sort((a, b) => a - b);
    this.limit = Math.max(0.02, sizes[Math.floor(sizes.length * 0.98)] ?? 0.1);
    document.getElementById("map-note").textContent = `colour: −${this.limit.toFixed(2)} to +${this.limit.toFixed(2)} px`;
    this.fill();
    this.plane.redraw();
  }

  show(id) {
    this.current = id;
    const row = this.rows.find((one) => one.id === id);
    if (row) this.y.reveal(row.y);
    for (const one of this.list.children) {
      const chosen = Number(one.dataset.id) === id;
      if ((one.getAttribute("aria-selected") === "true") !== chosen) one.setAttribute("aria-selected", chosen);
      if (chosen) one.scrollIntoView({ block: "nearest" });
    }
    this.plane.redraw();
  }

  ranked() {
    return [...this.rows].sort((a, b) => BAD[a.status] - BAD[b.status] || (b.rms ?? 0) - (a.rms ?? 0));
  }

  fill() {
    const rows = this.sort.value === "worst" ? this.ranked() : this.rows;
    const shown = rows.slice(0, MOST_ROWS);
    this.list.replaceChildren(...shown.map((row) => this.entry(row)));
    if (rows.length > shown.length) {
      const more = document.createElement("p");
      more.textContent = `${rows.length - shown.length} more: choose them on the map, or by the arrow keys`;
      more.style.cssText = "padding: 4px 9px; color: #84909d";
      this.list.append(more);
    }
  }

  entry(row) {
    const line = document.createElement("div");
    line.className = row.edited ? "row edited" : "row";
    line.role = "option";
    line.dataset.id = row.id;
    line.dataset.status = row.status;
    line.setAttribute("aria-selected", row.id === this.current);
    line.title = row.reason;
    const status = document.createElement("i");
    status.textContent = row.status;
    const texts = [`${row.id}`, status, row.rms === undefined ? "" : `${row.rms?.toFixed(3)} px`, `${row.used ?? 0}/${row.found}`, row.reason];
    line.append(...texts.map((text) => {
      const cell = document.createElement("span");
      cell.append(text);
      return cell;
    }));
    return line;
  }

  nearest(place) {
    let best = null;
    for (const row of this.rows) if (!best || Math.abs(row.y - place.y) < Math.abs(best.y - place.y)) best = row;
    return best;
  }

  hover(place) {
    const row = place && this.nearest(place);
    const text = row ? `trace ${row.id}, ${row.status}${row.rms === undefined ? "" : `, rms ${row.rms?.toFixed(3)} px`}` : "";
    if (this.plane.canvas.title !== text) this.plane.canvas.title = text;
  }

  draw() {
    const { plane } = this;
    const { pen } = plane;
    plane.axes({ xLabel: "column", yLabel: "row" });
    plane.clip(() => {
      for (const row of this.rows) this.drawRow(pen, row);
      const row = this.rows.find((one) => one.id === this.current);
      if (!row) return;
      pen.strokeStyle = "#ffffff";
      pen.lineWidth = 1;
      pen.setLineDash([4, 3]);
      segment(pen, plane.px(row.x0), plane.py(row.y), plane.px(row.x0 + row.length), plane.py(row.y));
      pen.setLineDash([]);
      this.drawRow(pen, row, 2);
    });
  }

  drawRow(pen, row, extra = 0) {
    const { plane } = this;
    const y = plane.py(row.y);
    if (row.status === "FAILED") {
      pen.strokeStyle = "#e0645c";
      pen.lineWidth = 1.5;
      segment(pen, plane.px(row.x0), y, plane.px(row.x0 + row.length), y);
      return;
    }
    const size = Math.min(6, Math.max(2, plane.frame.height / (2.5 * this.rows.length))) + extra;
    row.x.forEach((x, k) => {
      if (!row.kept[k] || row.away[k] === null) return;
      pen.fillStyle = diverging(row.away[k] / this.limit);
      pen.fillRect(plane.px(row.x0 + x) - size / 2, y - size / 2, size, size);
    });
  }
}
