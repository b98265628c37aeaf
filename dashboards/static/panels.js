// The side panel. What comes from the stream is only ever written as text, never as markup.

const element = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const sign = seconds < 0 ? "−" : "";
  const size = Math.abs(seconds);
  if (size < 10) return `${sign}${size.toFixed(1)} s`;
  if (size < 120) return `${sign}${size.toFixed(0)} s`;
  if (size < 7200) return `${sign}${(size / 60).toFixed(0)} min`;
  if (size < 172800) return `${sign}${(size / 3600).toFixed(1)} h`;
  return `${sign}${(size / 86400).toFixed(1)} d`;
}

// The detector that the panel speaks of: the one alone on the screen, else the last one pointed at.
export function detectorOf(state, name) {
  return state.detectors.find((detector) => detector.name === name) ?? state.detectors[0];
}

export function showState(state, focus, choose) {
  showProblems(state.problems);
  showRamps(state.detectors, focus, choose);
  const detector = detectorOf(state, focus);
  for (const name of ["ramps", "references"]) element(name).hidden = !detector;
  element("controls").dataset.detectors = state.detectors.length;
  showFrame(detector);
  showQuality(detector);
  showReferences(detector);
  showCounters(state, detector);
}

function showProblems(problems) {
  element("problems").hidden = problems.length === 0;
  element("problems").querySelector("ul").replaceChildren(...problems.map((text) => make("li", "", text)));
}

const referencesOf = (detector) =>
  detector?.frame?.references?.length ? detector.frame.references : (detector?.references ?? []);

// The status that a person should know of without opening the list.
function worst(references) {
  const found = new Set(references.map((reference) => reference.status));
  return ["MISSING", "MISMATCH", "DUMMY", "STALE"].find((status) => found.has(status)) ?? "OK";
}

function showRamps(detectors, focus, choose) {
  const rows = detectors.filter((detector) => !detector.name.endsWith("-cube")).map((detector) => {
    const { ramp = 0, read = 0, ramps_planned: ramps = 0, reads_planned: reads = 0, exposure_id } = detector.progress;
    const row = make("div", detector.name === focus ? "ramp focus" : "ramp");
    row.dataset.detector = detector.name;
    row.onclick = () => choose(detector.name);
    const bar = make("div", "bar");
    const done = make("i");
    done.style.width = reads ? `${Math.min(100, (100 * (read + 1)) / reads)}%` : "0";
    bar.append(done);
    const lost = detector.progress.reads_lost ?? 0;
    const text = exposure_id
      ? `read ${read + 1}${reads ? `/${reads}` : ""} · ramp ${ramp + 1}${ramps ? `/${ramps}` : ""}`
      : "idle";
    const words = make("span", "", text);
    if (lost) words.prepend(make("b", "bad", `${lost} lost · `));
    const name = make("b", "", detector.name);
    name.dataset.worst = worst(referencesOf(detector));
    row.append(name, bar, words);
    return row;
  });
  element("ramps").querySelector(".list").replaceChildren(...rows);
}

const MODES = { cds: () => "CDS", utr: () => "up the ramp", mcds: (frame) => `MCDS-${frame.reads_per_end}` };

function showFrame(detector) {
  const frame = detector?.frame;
  element("frame").querySelector("em").textContent = detector?.name ?? "";
  const facts = frame
    ? [
        ["exposure", frame.exposure_id],
        ["mode", MODES[frame.mode](frame)],
        ["ramps", `${frame.ramps}${frame.ramps_planned ? ` of ${frame.ramps_planned}` : ""}${frame.final ? "" : ", more to come"}`],
        ["reads", `${frame.reads_used} used · ${frame.reads_lost} lost · ${frame.reads_rejected} rejected`,
          frame.reads_lost || frame.reads_rejected ? "warn" : ""],
        ["effective time", `${frame.effective_s.toFixed(2)} s`],
        ["complete", frame.complete ? "yes" : "no", frame.complete ? "" : "warn"],
        ...(frame.sky_scale === null ? [] : [["sky scale", frame.sky_scale.toFixed(3)]]),
        ["latency", duration(detector.latency_s)],
        ...frame.notes.map((note) => ["note", note, "warn"]),
      ]
    : [["", "no frame yet"]];
  fillFacts(element("frame").querySelector("dl"), facts);
}

// How good the frame is; the read noise is that of the typical and of the worst channel.
function showQuality(detector) {
  const quality = detector?.frame?.quality;
  element("quality").hidden = !quality;
  if (!quality) return;
  element("quality").querySelector("em").textContent = detector.name;
  const number = (value, digits, unit = "") => (value === null ? "–" : `${value.toFixed(digits)}${unit}`);
  const noise = [...quality.read_noise_e].sort((one, other) => one - other);
  fillFacts(element("quality").querySelector("dl"), [
    ["FWHM · Strehl proxy", `${number(quality.fwhm_mas, 1, " mas")} · ${number(quality.strehl, 2)}  (${quality.sources} stars)`],
    ["EE50 · EE(50 mas)", `${number(quality.ee50_mas, 1, " mas")} · ${quality.ee_50mas === null ? "–" : `${(100 * quality.ee_50mas).toFixed(1)} %`}`],
    ["sky", `${number(quality.sky, 2)} ± ${number(quality.sky_noise, 2)} e-/s${quality.sky_mag_arcsec2 === null ? "" : ` · ${quality.sky_mag_arcsec2.toFixed(1)} mag`}`],
    ["saturated · fullest", `${(100 * quality.saturated_fraction).toFixed(4)} % · ${quality.peak_fraction === null ? "–" : `${(100 * quality.peak_fraction).toFixed(0)} %`}`],
    ["read noise", noise.length ? `${noise[noise.length >> 1].toFixed(1)} e-, worst ${noise.at(-1).toFixed(1)}` : "–"],
    ["jumps", `${quality.jumps.toLocaleString("en")} · ${number(quality.jumps_per_s_cm2, 1, " /s/cm²")}`],
    ...(quality.persistent ? [["may glow", `${quality.persistent} pixels`, "warn"]] : []),
  ]);
}

export function fillFacts(list, facts) {
  list.replaceChildren(...facts.flatMap(([name, text, level]) => [make("dt", "", name), make("dd", level, text)]));
}

function showReferences(detector) {
  const references = referencesOf(detector);
  element("references").querySelector("em").textContent = detector?.name ?? "";
  const rows = references.map((reference) => {
    const row = make("div", "reference");
    row.dataset.status = reference.status;
    row.title = [reference.name, reference.note].filter(Boolean).join("\n");
    const age = reference.age_s === null ? "" : duration(reference.age_s);
    row.append(
      make("b", "", reference.reftype),
      make("span", "name", reference.note && reference.status !== "OK" ? reference.note : reference.name || "–"),
      make("span", "age", age),
      make("em", "status", reference.status === "NA" ? "off" : reference.status),
    );
    return row;
  });
  if (!rows.length) rows.push(make("p", "dim", "none named yet"));
  element("references").querySelector(".list").replaceChildren(...rows);
  const crds = detector?.frame?.crds_context;
  element("references").querySelector("p.dim:last-child").textContent = crds ? `context ${crds}` : "";
}

// A counter of something that went wrong is coloured once it is not zero.
const TROUBLE = /lost|reject|drop|late|gap|duplicate|error|fail|malformed|abandon|thinned|too_|unexpected|overflow/;

function showCounters(state, detector) {
  const row = (name, count) => [name.replaceAll("_", " "), count.toLocaleString("en"), count && TROUBLE.test(name) ? "warn" : ""];
  const of = (counters, where) => Object.entries(counters).map(([name, count]) => row(where + name, count));
  fillFacts(element("counters").querySelector("dl"), [
    ...(state.daemon?.software ? [["reducer", state.daemon.software]] : []),
    ...of(state.daemon?.counters ?? {}, ""),
    ...of(detector?.counters ?? {}, `${detector?.name} `),
    ...of(state.display, "display "),
  ]);
}
