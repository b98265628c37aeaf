// Lines marked on the spectrum: the sky's, and those that a person names, at a redshift.

import { fill } from "./tools.js";

const element = (id) => document.getElementById(id);
const KEPT = "quicklook.lines";
const PLAIN = /^(\d+(\.\d*)?|\.\d+)$/;

// What a person wrote: names of the table and wavelengths [µm], between commas or blanks; and what is none.
export function readLines(text, known) {
  const names = new Map(Object.entries(known).map(([name, wave]) => [name.toLowerCase(), [name, wave]]));
  const lines = [];
  const strange = [];
  for (const word of text.split(/[\s,;]+/).filter(Boolean)) {
    if (PLAIN.test(word) && Number(word) > 0) lines.push([word, Number(word)]);
    else if (names.has(word.toLowerCase())) lines.push(names.get(word.toLowerCase()));
    else strange.push(word);
  }
  return { lines, strange };
}

export class LineMarkers {
  constructor(models) {
    this.models = models;
    this.range = null;
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "null");
    if (kept) {
      element("lines-text").value = kept.text;
      element("redshift").value = kept.z;
      element("oh-lines").checked = kept.oh;
    }
    element("lines-known").append(...Object.keys(models.restLines).map((name) => Object.assign(document.createElement("option"), { value: name })));
    for (const id of ["lines-text", "redshift", "oh-lines"]) element(id).oninput = () => this.draw();
  }

  // Draw over a spectrum of these wavelengths and values; none: nothing is marked.
  over(wave, values) {
    const finite = values.filter(Number.isFinite);
    this.range = finite.length ? { low: wave[0], high: wave[wave.length - 1], top: Math.max(...finite) } : null;
    this.draw();
  }

  draw() {
    const z = Number(element("redshift").value);
    const { lines, strange } = readLines(element("lines-text").value, this.models.restLines);
    localStorage.setItem(KEPT, JSON.stringify({ text: element("lines-text").value, z: element("redshift").value, oh: element("oh-lines").checked }));
    const badRedshift = !Number.isFinite(z) || z <= -1;
    const { low, high, top } = this.range ?? { low: Infinity, high: -Infinity, top: 0 };
    const inside = ([, wave]) => wave >= low && wave <= high;
    const own = badRedshift ? [] : lines.map(([name, wave]) => [name, wave * (1 + z)]);
    const seen = own.filter(inside);
    const sky = element("oh-lines").checked ? this.models.ohLines.filter((wave) => wave >= low && wave <= high) : [];
    fill(this.models.ownLines, { wave: seen.map(([, wave]) => wave), name: seen.map(([name]) => name), top: seen.map(() => top) });
    fill(this.models.skyLines, { wave: sky });
    const words = [];
    if (strange.length) words.push(`not known: ${strange.join(", ")}`);
    if (badRedshift) words.push("a redshift is a number above −1");
    if (this.range && own.length > seen.length) words.push(`${own.length - seen.length} outside the spectrum`);
    element("lines-note").textContent = words.join("; ");
    element("lines-note").classList.toggle("warn", strange.length > 0 || badRedshift);
    element("app").dataset.lines = seen.length;
    element("app").dataset.oh = sky.length;
  }
}
