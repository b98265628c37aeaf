// A surface in three dimensions, drawn far to near on a canvas; it can be turned.

let turn = 0.6;
let tilt = 0.55;
let shown = null;

export function drawSurface(canvas, surface) {
  shown = surface;
  if (!canvas.dataset.ready) listen(canvas);
  paint(canvas);
}

function listen(canvas) {
  canvas.dataset.ready = "yes";
  let from = null;
  canvas.onpointerdown = (event) => { from = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); };
  canvas.onpointerup = () => { from = null; };
  canvas.onpointermove = (event) => {
    if (!from) return;
    rotate(canvas, (event.clientX - from[0]) * 0.01, (event.clientY - from[1]) * 0.008);
    from = [event.clientX, event.clientY];
  };
  const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.08], ArrowDown: [0, 0.08] };
  canvas.onkeydown = (event) => {
    if (!(event.key in steps)) return;
    rotate(canvas, ...steps[event.key]);
    event.preventDefault();
    event.stopPropagation();
  };
}

function rotate(canvas, byTurn, byTilt) {
  turn += byTurn;
  tilt = Math.min(1.4, Math.max(0.1, tilt + byTilt));
  paint(canvas);
}

function paint(canvas) {
  const width = (canvas.width = canvas.clientWidth * devicePixelRatio);
  const height = (canvas.height = canvas.clientHeight * devicePixelRatio);
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  if (!shown || shown.why) {
    pen.fillStyle = getComputedStyle(canvas).color;
    pen.fillText(shown?.why ?? "", 10, 20);
    return;
  }
  const { rows, columns, values } = shown;
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const side = Math.max(rows, columns) - 1;
  const at = (row, column) => {
    const value = values[row * columns + column];
    const x = (column - (columns - 1) / 2) / side;
    const y = (row - (rows - 1) / 2) / side;
    const across = x * Math.cos(turn) - y * Math.sin(turn);
    const away = x * Math.sin(turn) + y * Math.cos(turn);
    const up = value === null ? 0 : (value - low) / span;
    return { x: width / 2 + across * width * 0.62, y: height * 0.68 - away * Math.sin(tilt) * height * 0.5 - up * Math.cos(tilt) * height * 0.5, away, up };
  };
  const faces = [];
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      const corners = [at(row, column), at(row, column + 1), at(row + 1, column + 1), at(row + 1, column)];
      faces.push([corners, corners[0].away + corners[2].away, Math.max(...corners.map((corner) => corner.up))]);
    }
  }
  faces.sort((one, other) => other[1] - one[1]);
  for (const [corners, , up] of faces) {
    pen.beginPath();
    corners.forEach((corner, index) => (index ? pen.lineTo(corner.x, corner.y) : pen.moveTo(corner.x, corner.y)));
    pen.closePath();
    pen.fillStyle = `hsl(${205 - 160 * up} 55% ${22 + 48 * up}%)`;
    pen.strokeStyle = "rgb(0 0 0 / 0.35)";
    pen.lineWidth = 0.6;
    pen.fill();
    pen.stroke();
  }
}
