// The keyboard: one table that acts and that is the help.

import { make } from "./panels.js";

export class Keys {
  // `groups` is a list of [title, list of [key, words, act]]; `act(event)` may return false to leave the key alone.
  constructor(groups, dialog) {
    this.groups = groups;
    this.dialog = dialog;
    this.acts = new Map(groups.flatMap(([, keys]) => keys.map(([key, , act]) => [key, act])));
    document.addEventListener("keydown", (event) => this.pressed(event));
    dialog.querySelector(".keys").replaceChildren(...groups.map(([title, keys]) => this.group(title, keys)));
  }

  group(title, keys) {
    const box = make("section", "");
    const list = make("dl", "");
    for (const [key, words] of keys) {
      if (!words) continue; // one of a series: its first names them all
      const term = make("dt", "");
      term.append(make("kbd", "", LABELS[key] ?? key));
      list.append(term, make("dd", "", words));
    }
    box.append(make("h3", "", title), list);
    return box;
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event)) {
      if (event.key === "Escape") event.composedPath()[0].blur(); // the next key is the page's again
      return;
    }
    if (this.dialog.open) {
      if (event.key === "?") this.dialog.close(); // Escape closes it without our help
      return;
    }
    const act = this.acts.get(event.key);
    if (act && act(event) !== false) event.preventDefault();
  }

  help() {
    if (this.dialog.open) this.dialog.close();
    else this.dialog.showModal();
  }
}

const LABELS = {
  " ": "space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "esc", Enter: "enter", Backspace: "⌫", Tab: "tab",
};

// A key pressed while a person writes into a field is that field's; Bokeh's fields lie in shadow trees.
function typing(event) {
  const target = event.composedPath()[0];
  if (target.type === "range") return event.key.startsWith("Arrow");
  return ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName) && target.type !== "checkbox" && target.type !== "radio";
}
