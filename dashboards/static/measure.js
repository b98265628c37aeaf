// What was measured: plots and numbers, as the server found them on the frame's own pixels.

import { fillFacts } from "./panels.js";
import { drawSurface } from "./surface.js";
import { fill } from "./tools.js";

const element = (id) => document.getElementById(id);
const digits = (value, count = 4) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(count))));

export class Measures {
  constructor(models) {
    this.models = models;
    this.last = {};
    models.cutPlot.on_event("mousemove", (event) => this.pointAt(event.x));
    models.cutPlot.on_event("mouseleave", () => fill(models.cutPoint, { x: [], y: [] }));
  }

  // `wanted` is what the tools ask for now: an answer to an older question is not shown.
  show(message, wanted) {
    this.last = message;
    this.showCut(wanted.cut ? message.cut : null);
    this.showRegion(wanted.region ? message.region : null);
    this.showStar(wanted.star ? message.star : null);
    this.showHistogram(message.histogram);
    this.showContours(message.contours);
    this.showSurface(wanted.surface ? message.surface : null);
    const nothing = !wanted.cut && !wanted.region && !wanted.star && !wanted.surface;
    element("no-measure").hidden = !nothing;
    element("app").dataset.measured = message.number ?? "";
  }

  showCut(cut) {
    element("cut-box").hidden = !cut;
    if (!cut) return fill(this.models.cutPoint, { x: [], y: [] });
    const good = cut.values?.filter((value) => value !== null) ?? [];
    element("cut-box").querySelector("em").textContent =
      cut.why ?? (good.length ? `${digits(Math.min(...good))} to ${digits(Math.max(...good))}${cut.averaged > 1 ? `, mean of ${cut.averaged}` : ""}` : "no good pixel");
    const nans = (values) => values.map((value) => value ?? NaN);
    if (cut.values) fill(this.models.cutData, { at: cut.at, values: nans(cut.values), other: nans(cut.other ?? cut.values.map(() => null)) });
  }

  // The place on the image that belongs to a place of the plot.
  pointAt(distance) {
    const { cut } = this.last;
    if (!cut?.at?.length) return;
    let best = 0;
    cut.at.forEach((at, index) => { if (Math.abs(at - distance) < Math.abs(cut.at[best] - distance)) best = index; });
    fill(this.models.cutPoint, { x: [cut.x[best]], y: [cut.y[best]] });
    element("cut-box").querySelector("em").textContent =
      `x ${Math.round(cut.x[best])}  y ${Math.round(cut.y[best])}:  ${digits(cut.values[best], 5)}`;
  }

  showRegion(region) {
    element("region-box").hidden = !region;
    if (!region) return;
    element("region-box").querySelector("em").textContent = region.detector ?? "";
    if (region.why) return fillFacts(element("region-box").querySelector("dl"), [["", region.why, "warn"]]);
    const unit = region.units;
    const bins = region.binning > 1 ? `, binned ${region.binning} × ${region.binning}` : "";
    fillFacts(element("region-box").querySelector("dl"), [
      ["sum", `${digits(region.sum, 6)} ± ${digits(region.error, 2)} ${unit}`],
      ["pixels", `${region.pixels} good, ${region.excluded} left out${bins}`],
      ["area", `${digits(region.area_arcsec2)} arcsec²`],
      ["surface brightness", `${digits(region.surface_brightness)} ${unit}/arcsec²`],
      ["mean · median", `${digits(region.mean, 5)} · ${digits(region.median, 5)}`],
      ["min · max", `${digits(region.min, 5)} · ${digits(region.max, 5)}`],
      ["variance", digits(region.variance)],
      ["std", digits(region.std)],
    ]);
  }

  showStar(star) {
    element("star-box").hidden = !star;
    element("star-box").dataset.found = star && !star.why ? "yes" : "no";
    const rings = star && !star.why ? [star] : [];
    fill(this.models.starRings, {
      x: rings.flatMap((one) => [one.scene_x, one.scene_x]), y: rings.flatMap((one) => [one.scene_y, one.scene_y]),
      width: rings.flatMap((one) => [4 * one.fwhm_px, 2 * (one.radius_mas.at(-1) * one.fwhm_px) / one.fwhm_mas]),
      height: rings.flatMap((one) => [4 * one.fwhm_px, 2 * (one.radius_mas.at(-1) * one.fwhm_px) / one.fwhm_mas]),
    });
    if (!star) return;
    element("star-box").querySelector("em").textContent = star.detector ?? "";
    const list = element("star-box").querySelector("dl");
    const past = star.past?.filter((one) => one.snr !== null) ?? [];
    element("snr-box").hidden = past.length < 2;
    if (star.why) return fillFacts(list, [["", star.why, "warn"]]);
    fillFacts(list, [
      ["centroid", `x ${star.x.toFixed(2)}  y ${star.y.toFixed(2)}`],
      ["FWHM", `${star.fwhm_mas.toFixed(1)} mas · ${star.fwhm_px.toFixed(2)} px`],
      ["elongation", `${(100 * star.ellipticity).toFixed(0)} % at ${star.angle_deg.toFixed(0)}°`],
      ["EE50 · EE(50 mas)", `${star.ee50_mas.toFixed(1)} mas · ${star.ee_50mas === null ? "–" : `${(100 * star.ee_50mas).toFixed(1)} %`}`],
      ["Strehl proxy", star.strehl === null ? "–" : star.strehl.toFixed(2)],
      ["flux", `${digits(star.flux, 5)}${star.error ? ` ± ${digits(star.error, 2)}` : ""} ${star.units}`],
      ["peak · background", `${digits(star.peak)} · ${digits(star.background)}`],
      ["S/N", star.snr === null ? "–" : digits(star.snr)],
      [`to S/N ${digits(star.wanted_snr)}`, timeTo(star)],
    ]);
    fill(this.models.growthData, { radius: [0, ...star.radius_mas], part: [0, ...star.encircled] });
    fill(this.models.snrData, { time: past.map((one) => one.utc_ms), snr: past.map((one) => one.snr) });
  }

  showHistogram(histogram) {
    const empty = !histogram || histogram.why;
    element("histogram-note").textContent = histogram?.why ?? (histogram ? `${histogram.pixels.toLocaleString("en")} px` : "");
    const { counts = [], low = 0, high = 1 } = empty ? {} : histogram;
    this.showLimits(empty ? null : histogram.limits);
    const width = (high - low) / Math.max(1, counts.length);
    fill(this.models.histogramData, {
      left: counts.map((_, index) => low + index * width), right: counts.map((_, index) => low + (index + 1) * width),
      top: counts.map((count) => Math.log10(1 + count)),
    });
  }

  // Where the display's limits lie in the histogram.
  showLimits(limits) {
    ["lowLine", "highLine"].forEach((name, index) => this.models[name].setv(limits ? { location: limits[index], visible: true } : { visible: false }));
  }

  showContours(contours) {
    fill(this.models.contours, { xs: contours?.xs ?? [], ys: contours?.ys ?? [] });
  }

  showSurface(surface) {
    element("surface-box").hidden = !surface;
    if (surface) drawSurface(element("surface"), surface);
  }

  clear() {
    this.show({}, {});
  }
}

function timeTo(star) {
  if (star.frames_to_snr === null || star.frames_to_snr === undefined) return "–";
  const seconds = star.seconds_to_snr === null ? "" : ` · ${digits(star.seconds_to_snr, 3)} s in one CDS`;
  return `${star.frames_to_snr} like this${seconds}`;
}
