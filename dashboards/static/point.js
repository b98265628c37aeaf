// Target acquisition: a click proposes an offset, the arrow keys nudge it, a person sends it.

import { fillFacts } from "./panels.js";
import { fill } from "./tools.js";

const element = (id) => document.getElementById(id);

const CONFIRMED_MS = 4000; // after so long without a word from the event service a person is told

export class Point {
  // `send(request)` goes to the server; `place(detector, x, y)` turns detector pixels into those of the scene.
  constructor(models, send, place) {
    this.models = models;
    this.send = send;
    this.place = place;
    this.target = null;
    this.mayAct = false;
    this.requested = null; // what was sent and has not been seen in the event service yet
    element("send-target").onclick = () => { if (this.target) this.send({ type: "confirm", key: this.target.key }); };
    element("drop-target").onclick = () => this.forget();
    element("login").onsubmit = (event) => {
      event.preventDefault();
      this.send({ type: "login", token: element("token").value.slice(0, 200) });
      element("token").value = "";
    };
  }

  greet(message) {
    this.allow(message.may_act);
  }

  allow(mayAct) {
    this.mayAct = mayAct;
    element("login-box").hidden = mayAct;
    element("app").dataset.act = mayAct ? "yes" : "no";
  }

  propose({ x, y }, centroid = !element("raw-position").checked) {
    this.send({ type: "propose", x, y, centroid });
  }

  // Returns false where there is nothing to nudge, so that the arrows pan.
  nudge(dx, dy, fine) {
    if (!this.target) return false;
    const step = fine ? 0.1 : 1;
    const spot = this.place(this.target.detector, this.target.x + dx * step, this.target.y + dy * step);
    if (spot) this.propose(spot, false);
    return true;
  }

  reply(message) {
    if (message.to === "login") {
      this.allow(message.ok);
      element("login-note").textContent = message.ok ? "" : "that is not the token";
    } else if (message.to === "propose") {
      if (message.ok) this.show(message);
      else this.refuse(message.why);
    } else if (message.to === "confirm") {
      if (message.ok) this.sent();
      else this.refuse(message.why);
    }
  }

  show(target) {
    this.target = target;
    this.requested = null;
    this.open(`${target.detector}, ${target.method}`);
    const arcsec = (value) => (value === null ? "not known: no pointing" : `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(4)}″`);
    fillFacts(element("target-box").querySelector("dl"), [
      ["pixel", `x ${target.x.toFixed(2)}  y ${target.y.toFixed(2)}`],
      ["to the middle", `x ${target.reference_x.toFixed(1)}  y ${target.reference_y.toFixed(1)}`],
      ["instrument x", arcsec(target.instrument_x_arcsec)], ["instrument y", arcsec(target.instrument_y_arcsec)],
      ["east", arcsec(target.east_arcsec)], ["north", arcsec(target.north_arcsec)],
      ["seen in", target.exposure_id],
    ]);
    element("send-target").disabled = !this.mayAct;
    const spot = this.place(target.detector, target.x, target.y);
    fill(this.models.targetMark, spot ? { x: [spot.x], y: [spot.y] } : { x: [], y: [] });
    element("app").dataset.target = target.method;
  }

  open(words) {
    element("target-box").hidden = false;
    element("target-box").querySelector("em").textContent = words;
    element("target-why").hidden = true;
  }

  refuse(why) {
    element("target-box").hidden = false;
    element("target-why").hidden = false;
    element("target-why").textContent = `Refused: ${why}.`;
    element("app").dataset.target = "refused";
  }

  sent() {
    element("app").dataset.target = "sent";
    element("target-box").querySelector("em").textContent = "sent";
    element("send-target").disabled = true;
    this.requested = this.target?.key ?? null;
    this.target = null;
    setTimeout((key) => { if (key && this.requested === key) this.doubt(); }, CONFIRMED_MS, this.requested);
  }

  doubt() {
    element("app").dataset.target = "unconfirmed";
    element("target-why").hidden = false;
    element("target-why").textContent = "The event service has not told of it: the telescope may not know. Choose the target anew to try again.";
  }

  // The event service tells everybody of a request, us included: then the telescope's side has it, too.
  takeState({ arrived }) {
    if (!this.requested || !arrived.includes(this.requested)) return;
    this.requested = null;
    element("app").dataset.target = "arrived";
    element("target-box").querySelector("em").textContent = "sent, and in the event service";
    element("target-why").hidden = true;
  }

  forget() {
    this.target = null;
    element("target-box").hidden = true;
    element("app").dataset.target = "none";
    fill(this.models.targetMark, { x: [], y: [] });
  }
}
