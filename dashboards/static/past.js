// The past: filmstrip, pause, step, back to live, blink and difference of any two.

import { make } from "./panels.js";

const element = (id) => document.getElementById(id);
const BLINK_MS = 700;

export class Past {
  // `wish()` asks for the image anew.
  constructor(wish) {
    this.wish = wish;
    this.entries = [];
    this.at = null; // null: live
    this.other = null;
    this.difference = false;
    this.blinking = null;
    this.flipped = false;
  }

  take(message) {
    this.entries = message.entries;
    this.session = message.session;
    this.findWanted();
    const key = message.session + this.entries.map((entry) => `${entry.number}${entry.part}`).join();
    if (key !== this.drawn) {
      this.drawn = key;
      this.draw(message);
    }
    this.mark();
  }

  draw(message) {
    const kept = new Map([...element("strip").querySelectorAll(".past")].map((box) => [box.dataset.key, box]));
    const boxes = this.entries.map((entry) => {
      const key = `${message.session}-${entry.number}`;
      return kept.get(key) ?? this.box(entry, key);
    });
    const frames = element("strip").firstElementChild;
    const atEnd = frames.scrollLeft + frames.clientWidth > frames.scrollWidth - 40;
    frames.replaceChildren(...boxes);
    if (atEnd || this.at === null) frames.scrollLeft = frames.scrollWidth;
  }

  box(entry, key) {
    const box = make("button", "past");
    box.type = "button";
    box.dataset.key = key;
    box.dataset.number = entry.number;
    box.setAttribute("role", "option");
    box.title = `${entry.exposure} ${entry.part}\n${entry.utc} UTC\nclick: look at it · shift-click: compare with it`;
    const image = make("img", "");
    image.src = `thumb/${key}.png`;
    image.alt = `${entry.exposure} ${entry.part}`;
    image.loading = "lazy";
    box.append(image, make("span", "", entry.utc.slice(11, 19)));
    box.onclick = (event) => (event.shiftKey ? this.compareWith(entry.number) : this.goTo(entry.number));
    return box;
  }

  // A link names an exposure: it is looked for in the first strip that comes.
  findWanted() {
    const wanted = this.wanted;
    this.wanted = null;
    const entry = wanted && this.entries.findLast((one) => one.exposure === wanted);
    if (entry && entry !== this.entries.at(-1)) this.goTo(entry.number);
  }

  shownNumber() {
    return this.at ?? this.entries.at(-1)?.number ?? null;
  }

  index() {
    const number = this.shownNumber();
    return this.entries.findIndex((entry) => entry.number === number);
  }

  goTo(number) {
    this.stopBlinking();
    this.at = number;
    this.change();
  }

  pause() {
    if (this.at === null) this.goTo(this.shownNumber());
    else this.live();
  }

  live() {
    this.stopBlinking();
    this.at = null;
    this.change();
  }

  step(by) {
    const index = this.index();
    const next = this.entries[Math.min(this.entries.length - 1, Math.max(0, (index < 0 ? this.entries.length - 1 : index) + by))];
    if (next) this.goTo(next.number);
  }

  compareWith(number) {
    this.other = this.other === number ? null : number;
    if (this.other === null) { this.difference = false; this.stopBlinking(); }
    this.change();
  }

  // The frame to compare with: the one chosen, else the one before what is shown.
  chooseOther() {
    if (this.entries.some((entry) => entry.number === this.other)) return true;
    const before = this.entries[this.index() - 1];
    this.other = before?.number ?? null;
    return this.other !== null;
  }

  toggleDifference() {
    this.stopBlinking();
    this.difference = !this.difference && this.chooseOther();
    if (!this.difference) this.other = null;
    this.change();
  }

  toggleBlink() {
    if (this.blinking) {
      this.stopBlinking();
      this.other = null;
    } else if (this.chooseOther()) {
      this.difference = false;
      this.at ??= this.shownNumber();
      this.blinking = setInterval(() => { this.flipped = !this.flipped; this.change(); }, BLINK_MS);
    }
    this.change();
  }

  // The frame to compare with is one of a detector and a view.
  forgetOther() {
    this.stopBlinking();
    this.other = null;
    this.difference = false;
  }

  stopBlinking() {
    clearInterval(this.blinking);
    this.blinking = null;
    this.flipped = false;
  }

  change() {
    this.mark();
    this.wish();
  }

  mark() {
    const shown = this.flipped ? this.other : this.shownNumber();
    for (const box of element("strip").querySelectorAll(".past")) {
      const number = Number(box.dataset.number);
      box.setAttribute("aria-selected", String(number === shown));
      box.classList.toggle("other", number === this.other);
    }
    const sign = this.words();
    element("past-sign").hidden = !sign;
    element("past-sign").textContent = sign;
    const app = element("app");
    app.dataset.past = this.blinking ? "blink" : this.difference ? "difference" : this.at === null ? "live" : "paused";
    for (const [id, on] of [["pause", this.at !== null], ["blink", this.blinking !== null], ["difference", this.difference]]) {
      document.querySelector(`#tools [data-act="${id}"]`)?.setAttribute("aria-pressed", String(on));
    }
  }

  words() {
    const index = this.index();
    const newer = this.entries.length - 1 - index;
    const name = (number) => this.entries.find((entry) => entry.number === number)?.utc.slice(11, 19) ?? "one that is gone";
    const parts = [];
    if (this.at !== null && index < 0) parts.push("PAUSED · the frame is not kept any more, the oldest is shown");
    else if (this.at !== null) parts.push(`PAUSED · ${newer ? `${newer} newer` : "the latest"}`);
    if (this.blinking) parts.push(`BLINK with ${name(this.other)}`);
    else if (this.difference) parts.push(`DIFFERENCE minus ${name(this.other)}`);
    else if (this.other !== null) parts.push(`compared with ${name(this.other)}`);
    return parts.join(" · ");
  }

  wishes() {
    const at = this.flipped ? this.other : this.at;
    return { at, other: this.other, difference: this.difference };
  }
}
