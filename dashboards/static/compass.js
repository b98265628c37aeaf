// North and east, and the dispersion that is left, drawn in a corner of the image.

const NS = "http://www.w3.org/2000/svg";
const SIZE = 92;
const ARM = 30; // of north and east
export const GOAL = 18; // radius of the circle of 1 mas
const LONGEST = 40;

// The circle is 1 mas; a longer arrow grows as the root of its length, so that 20 mas still fit.
export function reach(mas) {
  return Math.min(LONGEST, mas <= 1 ? GOAL * mas : GOAL * Math.sqrt(mas));
}

export function residualWords(residual) {
  if (!residual) return "";
  const band = residual.band ? `${residual.band.map((um) => um.toFixed(3)).join("–")} µm` : "";
  const size = residual.edge ? `${Math.hypot(...residual.edge).toFixed(2)} mas` : "dispersion";
  return [`${size} · ${residual.status}`, band].filter(Boolean).join("\n");
}

function part(kind, attributes, text = "") {
  const made = document.createElementNS(NS, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// An arrow from the middle along (x, y), y up, so many pixels long.
function arrow([x, y], length, kind) {
  const group = part("g", { class: kind });
  const [dx, dy] = [x * length, -y * length];
  const head = Math.min(6, length / 2);
  const side = (turn) => {
    const angle = Math.atan2(dy, dx) + turn;
    return `${dx - head * Math.cos(angle)},${dy - head * Math.sin(angle)}`;
  };
  group.append(part("line", { x2: dx, y2: dy }), part("polyline", { points: `${side(0.45)} ${dx},${dy} ${side(-0.45)}` }));
  return group;
}

function letter([x, y], text) {
  return part("text", { x: x * (ARM + 9), y: -y * (ARM + 9), "text-anchor": "middle", "dominant-baseline": "central" }, text);
}

export class Compass {
  constructor(place) {
    this.place = place;
    this.drawn = "";
    this.off = false;
  }

  // Draw what the newest frame shown says; `shown` is null where there is none.
  show(shown) {
    this.shown = shown;
    const { compass, residual } = shown ?? {};
    this.place.hidden = this.off || !(compass || residual);
    const wanted = JSON.stringify([compass, residual]);
    if (this.place.hidden || wanted === this.drawn) return;
    this.drawn = wanted;
    const drawing = part("svg", { viewBox: `${-SIZE / 2} ${-SIZE / 2} ${SIZE} ${SIZE}`, width: SIZE, height: SIZE, "aria-hidden": "true" });
    if (compass) {
      drawing.append(arrow(compass.north, ARM, "sky"), arrow(compass.east, ARM, "sky"), letter(compass.north, "N"), letter(compass.east, "E"));
    }
    const words = residualWords(residual);
    if (residual) drawing.append(part("circle", { r: GOAL, class: "goal" }));
    const mas = residual?.edge ? Math.hypot(...residual.edge) : 0;
    if (mas > 0) drawing.append(arrow(residual.edge.map((one) => one / mas), reach(mas), `left ${residual.status}`));
    const caption = document.createElement("figcaption");
    caption.textContent = words;
    this.place.replaceChildren(drawing, caption);
    this.place.dataset.status = residual?.status ?? "";
    const turn = compass ? `North is ${Math.round((Math.atan2(compass.north[0], compass.north[1]) * 180) / Math.PI)}° right of up. ` : "";
    this.place.setAttribute("aria-label", `${turn}${words && `Residual dispersion, the arrow to where the blue is: ${words.replace("\n", ", ")}`}`.trim());
  }

  toggle() {
    this.off = !this.off;
    this.show(this.shown);
  }
}
