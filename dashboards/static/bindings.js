// What each key does: groups of [key, words for the help, act]; an act that returns false leaves the key to the browser.

const ZOOM_STEP = 1.5;
const PAN_STEP = 0.2;

// The parts of the page by their names in `main.js`; `state()` is the latest, `acts` is what `main.js` does itself.
export function bindings({ models, pane, look, compass, past, tools, tabs, point, cube, readout, state, acts }) {
  const cycle = (model) => {
    const values = model.options.map(([value]) => value);
    model.value = values[(values.indexOf(model.value) + 1) % values.length];
  };
  const atCursor = (run) => () => (readout.pointer ? run(readout.pointer) : false);
  const arrow = (dx, dy) => (event) => { if (!point.nudge(dx, dy, event.shiftKey)) pane.pan(dx * PAN_STEP, dy * PAN_STEP); };
  const view = (index) => () => { models.view.active = index; };
  const detectors = Array.from({ length: 9 }, (_, index) => [String(index + 1), index === 0 ? "… 9: a detector" : "", () => {
    const name = state()?.detectors[index]?.name;
    return name ? acts.choose(name) : false;
  }]);
  return [
    ["What is shown", [
      ["m", "mosaic", () => (state()?.mosaic.length > 1 ? acts.choose("MOSAIC") : false)], ...detectors,
      ["q", "raw read", view(0)], ["w", "ramp in progress", view(1)], ["e", "reduced frame", view(2)],
    ]],
    ["Look", [
      ["z", "zscale limits", () => { models.limits.value = "zscale"; }],
      ["n", "min – max limits", () => { models.limits.value = "minmax"; }],
      ["y", "next stretch", () => cycle(models.stretch)], ["c", "next colour map", () => cycle(models.colours)],
      ["i", "invert", () => { models.invert.active = !models.invert.active; }],
      ["a", "all flags on or off", () => look.toggleAll()],
      ["u", "smoothing: next kind", () => cycle(models.smooth)],
      ["C", "compass and dispersion on or off", () => compass.toggle()],
      ["k", "contours on or off", () => { models.contourCount.value = models.contourCount.value ? 0 : 6; }],
      ["[", "less contrast", () => { models.contrast.value = Math.max(0.2, models.contrast.value / 1.2); }],
      ["]", "more contrast", () => { models.contrast.value = Math.min(5, models.contrast.value * 1.2); }],
      ["{", "darker", () => { models.brightness.value = Math.max(-1, models.brightness.value - 0.05); }],
      ["}", "brighter", () => { models.brightness.value = Math.min(1, models.brightness.value + 0.05); }],
      ["0", "brightness and contrast as they were", () => look.reset()],
    ]],
    ["Where", [
      ["f", "fit", () => pane.fit()], ["g", "1 : 1", () => pane.realPixels()],
      ["+", "nearer", () => pane.zoom(1 / ZOOM_STEP, readout.pointer)], ["-", "farther", () => pane.zoom(ZOOM_STEP, readout.pointer)],
      ["r", "cursor to the middle", atCursor((point) => pane.centre(point))],
      ["ArrowLeft", "pan, or nudge the target (shift: finely)", arrow(-1, 0)], ["ArrowRight", "", arrow(1, 0)],
      ["ArrowUp", "", arrow(0, 1)], ["ArrowDown", "", arrow(0, -1)],
    ]],
    ["Measure at the cursor", [
      ["h", "horizontal cut", atCursor((point) => { tools.cutThrough(point, "h"); acts.measureNow(); })],
      ["v", "vertical cut", atCursor((point) => { tools.cutThrough(point, "v"); acts.measureNow(); })],
      ["x", "diagonal cut, the other one again", atCursor((point) => { tools.cutThrough(point, "x"); acts.measureNow(); })],
      ["s", "source: centroid, FWHM, S/N", atCursor((point) => { tools.measureAt(point); acts.measureNow(); })],
      ["l", "drag a cut", () => tools.setMode("line")], ["b", "drag a box", () => tools.setMode("rectangle")],
      ["o", "drag a circle", () => tools.setMode("circle")], ["p", "pan again", () => tools.setMode("pan")],
      ["t", "click a target for the telescope", () => { tools.setMode("target"); tabs.show("point"); }],
      ["Enter", "spectrum of the spaxel", atCursor((spot) => { if (!cube.cube) return false; tools.spectrumAt(spot); acts.measureNow(); return true; })],
      ["<", "one wavelength down", () => cube.step(-1)], [">", "one wavelength up", () => cube.step(1)],
      ["P", "run through the slices", () => cube.play()],
      ["j", "surface of the view or region", () => { tools.toggleSurface(); acts.measureNow(); }],
      ["Escape", "take all of it away", () => { tools.clear(); tools.setMode("pan"); }],
    ]],
    ["Time", [
      [" ", "hold, go on", () => past.pause()], [",", "one frame back", () => past.step(-1)],
      [".", "one frame forward", () => past.step(1)], ["Backspace", "back to live", () => past.live()],
      ["/", "blink", () => past.toggleBlink()], ["=", "difference", () => past.toggleDifference()],
    ]],
    ["Elsewhere", [
      ["L", "link to this view", acts.shareLink], ["F", "save as FITS", () => acts.saveFits()], ["S", "send by SAMP", acts.sendAway],
    ]],
    ["The page", [
      ["Tab", "next control", () => false], ["d", "dark or light", acts.switchTheme], ["?", "this help", () => acts.help()],
    ]],
  ];
}
