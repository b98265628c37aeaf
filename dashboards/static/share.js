// What leaves the page: a link that shows the same, the frame as FITS, the frame to other programs.

const element = (id) => document.getElementById(id);
const VALUES = ["limits", "percentile", "low", "high", "stretch", "colours", "brightness", "contrast", "smooth", "smoothSize", "contourCount"];
const SWITCHES = ["invert", "bad"];

// The view as text behind the # of the address: the browser keeps that to itself, it is in no log of the server.
export function describeView(models, chosen, pane, past, look) {
  const words = new URLSearchParams();
  if (chosen || pane.scene) words.set("detector", chosen || pane.scene.name);
  words.set("view", models.views[models.view.active]);
  for (const name of VALUES) words.set(name, models[name].value);
  for (const name of SWITCHES) words.set(name, models[name].active ? 1 : 0);
  if (look.marks.size) words.set("marks", look.chosen().join(" "));
  if (pane.scene && !pane.fitted) {
    const { x_range: x, y_range: y } = models.figure;
    words.set("at", [x.start, x.end, y.start, y.end].map((value) => value.toFixed(2)).join(" "));
  }
  const entry = past.at === null ? null : past.entries.find((one) => one.number === past.at);
  if (entry) words.set("frame", entry.exposure);
  return `#${words}`;
}

// Returns what the address asks for beyond the controls, which are set at once.
export function applyView(models, look, hash) {
  const words = new URLSearchParams(hash.slice(1));
  for (const name of VALUES) {
    if (!words.has(name)) continue;
    const { options } = models[name];
    const value = words.get(name);
    if (options ? options.some(([known]) => known === value) : Number.isFinite(Number(value))) models[name].value = options ? value : Number(value);
  }
  for (const name of SWITCHES) if (words.has(name)) models[name].active = words.get(name) === "1";
  const view = models.views.indexOf(words.get("view"));
  if (view >= 0) models.view.active = view;
  for (const kind of (words.get("marks") ?? "").split(" ")) if (kind in models.kinds) look.toggleKind(kind, true);
  const at = (words.get("at") ?? "").split(" ").map(Number);
  return {
    detector: (words.get("detector") ?? "").slice(0, 64), frame: words.get("frame"),
    at: at.length === 4 && at.every(Number.isFinite) && at[1] > at[0] && at[3] > at[2] ? at : null,
  };
}

export function say(words, bad = false) {
  const note = element("note");
  note.textContent = words;
  note.hidden = false;
  note.dataset.level = bad ? "bad" : "ok";
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { note.hidden = true; }, 6000);
}

export async function copyLink(hash) {
  history.replaceState(null, "", hash);
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link to this view is copied.");
  } catch {
    say("The link to this view is in the address bar.");
  }
}

export function saveFits(past) {
  const number = past.shownNumber();
  if (number === null) return say("There is no frame yet.", true);
  const link = document.createElement("a");
  link.href = `frame/${past.session}-${number}.fits`;
  link.download = "";
  link.click();
}
