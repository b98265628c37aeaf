// What is under the cursor, read from the frame itself by the server.

const element = (id) => document.getElementById(id);

export class Readout {
  // `onDetector(name)` is told over which detector of the mosaic the cursor is.
  constructor(models, link, pane, onDetector) {
    this.link = link;
    this.pane = pane;
    this.onDetector = onDetector;
    this.pointer = null;
    this.asked = null;
    models.figure.on_event("mousemove", (event) => { this.pointer = { x: event.x, y: event.y }; this.ask(); });
    models.figure.on_event("mouseleave", () => { this.pointer = null; element("at").textContent = "\u00a0"; this.clear(); });
  }

  // One question at a time: the answer asks the next if the cursor has moved on.
  ask() {
    if (this.asked || !this.pointer || !this.link.open) return;
    this.asked = { ...this.pointer };
    this.link.send({ type: "probe", ...this.asked });
  }

  clear() {
    element("value").textContent = "";
    element("flags").textContent = "";
    element("sky").textContent = "";
  }

  show(answer) {
    const last = this.asked;
    this.asked = null;
    if (!this.pointer) return;
    if (last && (last.x !== this.pointer.x || last.y !== this.pointer.y)) this.ask();
    this.clear();
    if (answer.detector === null) {
      element("at").textContent = "off the detectors";
      return;
    }
    element("at").textContent = `${answer.detector}  x ${answer.x}  y ${answer.y}`;
    if (this.pane.scene?.name === "MOSAIC") this.onDetector(answer.detector);
    if (answer.units === undefined) return;
    const digits = (value) => Number(value.toPrecision(5)).toString();
    const error = answer.error === null ? "" : ` ± ${Number(answer.error.toPrecision(2))}`;
    const mean = answer.binning > 1 ? `  (mean of ${answer.binning} × ${answer.binning})` : "";
    element("value").textContent =
      answer.value === null ? "no value" : `${digits(answer.value)}${error} ${answer.units}${mean}`;
    element("sky").textContent = answer.sky;
    element("flags").textContent = answer.dq.join(" · ");
  }
}
