// The night: alarms, charts of numbers with an exposure at each point, the log of exposures.

import { make } from "./panels.js";
import { fill } from "./tools.js";

const element = (id) => document.getElementById(id);
const COLUMNS = ["utc", "detector", "exposure", "filter", "effective_s", "fwhm_mas", "sky"];
const HEADS = { utc: "UTC", detector: "det", exposure: "exposure", filter: "filter", effective_s: "s", fwhm_mas: "FWHM", sky: "sky" };

export class Night {
  // `send(request)` goes to the server; `open()` tells whether the panel is open.
  constructor(models, send, open) {
    this.models = models;
    this.send = send;
    this.open = open;
    this.version = null;
    this.alarms = [];
    for (const id of ["quantity", "chart-detector"]) element(id).onchange = () => this.ask();
    element("search").oninput = () => {
      element("csv").href = `log.csv?search=${encodeURIComponent(element("search").value)}`;
      this.ask();
    };
    element("sound").checked = localStorage.getItem("quicklook.sound") === "on";
    element("sound").onchange = () => localStorage.setItem("quicklook.sound", element("sound").checked ? "on" : "off");
  }

  takeState(state) {
    this.showAlarms(state.alarms);
    const names = ["*", ...state.detectors.map((detector) => detector.name)];
    const select = element("chart-detector");
    if (names.join() !== [...select.options].map((option) => option.value).join()) {
      const kept = select.value;
      select.replaceChildren(...names.map((name) => new Option(name === "*" ? "all" : name, name)));
      if (names.includes(kept)) select.value = kept;
    }
    if (state.night !== this.version && this.open()) {
      this.version = state.night;
      this.ask();
    }
  }

  ask() {
    this.send({
      type: "night", search: element("search").value.slice(0, 200),
      quantity: element("quantity").value || "fwhm_mas", detector: element("chart-detector").value || "*",
    });
  }

  take(message) {
    const select = element("quantity");
    const names = message.quantities.map(([name]) => name).join();
    if (names !== [...select.options].map((option) => option.value).join()) {
      const kept = select.value;
      select.replaceChildren(...message.quantities.map(([name, words]) => new Option(words, name)));
      if (kept) select.value = kept;
    }
    const { chart } = message;
    fill(this.models.nightData, byDetector(chart));
    element("app").dataset.charted = chart.value.length;
    const table = make("table", "");
    const head = make("tr", "");
    head.append(...COLUMNS.map((name) => make("th", "", HEADS[name])));
    table.append(head, ...message.rows.map((row) => {
      const line = make("tr", "");
      line.append(...COLUMNS.map((name) => make("td", "", cell(name, row[name]))));
      line.title = `${row.exposure}\n${row.object} ${row.type} ${row.mode}, ${row.reads_used} reads, ${row.reads_lost} lost`;
      return line;
    }));
    element("log").replaceChildren(message.rows.length ? table : make("p", "dim", "no exposure yet"));
  }

  showAlarms(alarms) {
    const fresh = alarms.filter((alarm) => !alarm.acknowledged);
    const known = new Set(this.alarms.map((alarm) => alarm.key + alarm.since_utc));
    if (fresh.some((alarm) => !known.has(alarm.key + alarm.since_utc)) && element("sound").checked) beep();
    this.alarms = alarms;
    const sign = element("alarm");
    sign.hidden = fresh.length === 0;
    sign.dataset.level = fresh.some((alarm) => alarm.level === "alarm") ? "alarm" : "warn";
    sign.textContent = fresh.length ? `${fresh[0].name} · ${fresh[0].detector}${fresh.length > 1 ? ` and ${fresh.length - 1} more` : ""}` : "";
    const rows = alarms.map((alarm) => {
      const row = make("div", "alarm");
      row.dataset.level = alarm.level;
      const words = make("div", "");
      words.append(make("b", "", `${alarm.name} · ${alarm.detector}`), make("span", "", `${alarm.words}, since ${alarm.since_utc.slice(11)}`));
      const button = make("button", "small", alarm.acknowledged ? "seen" : "acknowledge");
      button.type = "button";
      button.disabled = alarm.acknowledged;
      button.onclick = () => this.send({ type: "acknowledge", alarm: alarm.key });
      row.append(words, button);
      return row;
    });
    element("alarms-box").querySelector(".list").replaceChildren(...(rows.length ? rows : [make("p", "dim", "none is raised")]));
  }
}

// The columns of the chart, detector by detector, with a gap between them: a line joins the points of one alone.
export function byDetector({ time_ms: time, value, detector, exposure }) {
  const order = [];
  for (const name of new Set(detector)) {
    if (order.length) order.push(null);
    detector.forEach((one, index) => { if (one === name) order.push(index); });
  }
  const pick = (column, gap) => order.map((index) => (index === null ? gap : column[index]));
  return { time: pick(time, NaN), value: pick(value, NaN), detector: pick(detector, ""), exposure: pick(exposure, "") };
}

function cell(name, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (name === "utc") return value.slice(11, 19);
  if (name === "exposure") return value.length > 14 ? `…${value.slice(-13)}` : value;
  return typeof value === "number" ? value.toFixed(1) : String(value);
}

function beep() {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  tone.frequency.value = 660;
  tone.connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.25);
  tone.onended = () => audio.close();
}
