// The panels beside the image: one is open.

import { make } from "./panels.js";

const WORDS = { now: "Now", look: "Look", measure: "Measure", point: "Point", night: "Night" };

export class Tabs {
  // `changed()` is told when another panel is open.
  constructor(names, changed) {
    this.names = names;
    this.changed = changed;
    this.current = null;
    document.getElementById("tabs").replaceChildren(...names.map((name) => {
      const button = make("button", "", WORDS[name]);
      button.type = "button";
      button.id = `tab-${name}`;
      button.setAttribute("role", "tab");
      button.setAttribute("aria-controls", `panel-${name}`);
      button.onclick = () => this.show(name);
      return button;
    }));
  }

  show(name) {
    if (name === this.current) return;
    const first = this.current === null;
    this.current = name;
    for (const one of this.names) {
      document.getElementById(`panel-${one}`).hidden = one !== name;
      document.getElementById(`tab-${one}`).setAttribute("aria-selected", String(one === name));
    }
    if (!first) this.changed();
  }
}
