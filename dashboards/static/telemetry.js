// The page of all telemetry: a table with search, strip charts of chosen keys with the exposures marked, and
// the residual dispersion of each detector as a vector. It asks the server a few times a second.

import { GOAL, reach, residualWords } from "./compass.js";

const PERIOD_MS = 250;
const SPAN_S = 600;
const MAX_CHARTS = 6;
const WORST = ["MISSING", "SUSPECT", "STALE", "AGE", "OK"];

const rows = new Map();
const charts = new Map();
const body = document.getElementById("rows");
const search = document.getElementById("search");
const counts = document.getElementById("counts");
let state = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
}

function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join("  ");
  return typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(8).replace(/\.?0+$/, "") : String(value);
}

const short = (value) => String(Number(value.toPrecision(5)));

function age(seconds) {
  return Math.abs(seconds) < 90 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} min`;
}

function row(name) {
  let line = rows.get(name);
  if (!line) {
    line = document.createElement("tr");
    line.tabIndex = 0;
    for (let i = 0; i < 6; i += 1) line.append(document.createElement("td"));
    line.addEventListener("click", () => toggle(name));
    line.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(name); });
    rows.set(name, line);
    body.append(line);
  }
  return line;
}

function drawRows() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const tally = {};
  for (const one of state.rows) {
    const texts = [one.status, one.name, one.fits, shown(one.value), one.unit, age(one.age)];
    const line = row(one.name);
    texts.forEach((text, i) => { if (line.cells[i].textContent !== text) line.cells[i].textContent = text; });
    line.cells[0].className = one.status;
    line.title = one.name;
    const all = texts.join(" ").toLowerCase();
    line.hidden = !words.every((word) => all.includes(word));
    tally[one.status] = (tally[one.status] || 0) + 1;
  }
  const parts = WORST.filter((status) => tally[status]).map((status) => `${tally[status]} ${status}`);
  counts.textContent = `${parts.join(", ")}; ${state.counters.events || 0} events, ${state.counters.unknown || 0} unknown`;
}

function toggle(name) {
  if (charts.has(name)) { charts.get(name).remove(); charts.delete(name); return; }
  if (charts.size >= MAX_CHARTS) return;
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.width = 420;
  canvas.height = 140;
  const caption = document.createElement("figcaption");
  const close = document.createElement("button");
  close.textContent = "×";
  close.title = "Close";
  close.addEventListener("click", () => toggle(name));
  figure.append(caption, canvas, close);
  document.getElementById("charts").append(figure);
  charts.set(name, figure);
}

async function drawChart(name, figure) {
  const answer = await fetch(`../telemetry/past.json?key=${encodeURIComponent(name)}`);
  const points = (await answer.json()).filter(([time]) => time >= state.now - SPAN_S);
  const canvas = figure.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  const x = (time) => width - ((state.now - time) / SPAN_S) * width;
  const caption = figure.querySelector("figcaption");
  const marked = state.exposures.filter((one) => one.end >= state.now - SPAN_S);
  for (const one of marked) {
    pen.globalAlpha = 0.25;
    pen.fillStyle = colour(one.excluded ? "warn" : "accent");
    pen.fillRect(x(one.start), 0, Math.max(x(one.end) - x(one.start), 1), height);
    pen.globalAlpha = 1;
  }
  canvas.title = marked.map((one) => `${one.detector} ${one.id}${one.excluded ? `, ${one.excluded} reads left out` : ""}`).join("\n");
  if (!points.length) { caption.textContent = `${name}: no numbers in ten minutes`; return; }
  const values = points.map(([, value]) => value);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const reach = high - low || 1;
  const unit = state.rows.find((one) => one.name === name)?.unit ?? "";
  caption.textContent = `${name}: ${shown(values.at(-1))} ${unit} (${short(low)} to ${short(high)})`;
  pen.strokeStyle = colour("text");
  pen.beginPath();
  points.forEach(([time, value], i) => {
    const y = height - 8 - ((value - low) / reach) * (height - 16);
    if (i) pen.lineTo(x(time), y); else pen.moveTo(x(time), y);
  });
  pen.stroke();
  pen.fillStyle = colour("dim");
  pen.fillText(short(high), 4, 10);
  pen.fillText(short(low), 4, height - 2);
}

function guideWords(guides) {
  if (!guides) return "";
  const rest = guides.unexplained === null ? "" : `, ${guides.unexplained.toFixed(1)} mas not from dispersion`;
  return `\nguide stars ${guides.elongation.toFixed(1)} mas longer at ${guides.axis.toFixed(0)}°${rest}`;
}

function drawResiduals() {
  const place = document.getElementById("residuals");
  for (const [detector, adc] of Object.entries(state.adc)) {
    let figure = place.querySelector(`[data-detector="${CSS.escape(detector)}"]`);
    if (!figure) {
      figure = document.createElement("figure");
      figure.dataset.detector = detector;
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 90;
      figure.append(canvas, document.createElement("figcaption"));
      place.append(figure);
    }
    const pen = figure.querySelector("canvas").getContext("2d");
    pen.clearRect(0, 0, 90, 90);
    pen.strokeStyle = colour("line");
    pen.beginPath();
    pen.arc(45, 45, GOAL, 0, 2 * Math.PI);
    pen.stroke();
    const size = adc.edge ? Math.hypot(...adc.edge) : 0;
    if (size > 0) {
      pen.strokeStyle = colour({ OK: "ok", OUT: "bad" }[adc.status] ?? "warn");
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(45, 45);
      pen.lineTo(45 + (adc.edge[0] / size) * reach(size), 45 - (adc.edge[1] / size) * reach(size));
      pen.stroke();
      pen.lineWidth = 1;
    }
    figure.querySelector("figcaption").textContent = `${detector} ${residualWords(adc).replace("\n", ", ")}${guideWords(adc.guides)}`;
    figure.title = "Residual dispersion, the line to where the blue is; the circle is 1 mas";
  }
}

async function tick() {
  try {
    state = await (await fetch("../telemetry.json")).json();
    drawRows();
    drawResiduals();
    await Promise.all([...charts].map(([name, figure]) => drawChart(name, figure)));
  } catch {
    counts.textContent = "the display does not answer; trying again";
  }
  setTimeout(tick, PERIOD_MS);
}

search.addEventListener("input", () => { if (state) drawRows(); });
tick();
