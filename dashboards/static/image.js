// The image pane: fills Bokeh's image columns from the websocket and keeps pan and zoom.

const MARGIN = 0.015;
const REGION_DELAY_MS = 60;
const CLOSEST_PIXELS = 8; // detector pixels across the pane
const FARTHEST = 4; // sizes of the scene across the pane

export class ImagePane {
  // `models` are Bokeh's; `onRegion()` is called when the visible part has changed.
  constructor(models, onRegion) {
    this.models = models;
    this.figure = models.figure;
    this.onRegion = onRegion;
    this.scene = null;
    this.shown = null;
    this.pending = null;
    this.fitted = true;
    this.timer = null;
    const ranges = [this.figure.x_range, this.figure.y_range];
    for (const range of ranges) {
      for (const end of ["start", "end"]) {
        range.properties[end].change.connect(() => this.moved());
      }
    }
    for (const side of ["inner_width", "inner_height"]) {
      this.figure.properties[side].change.connect(() => this.resized());
    }
  }

  // Take a layer: the base waits for its detail, so that one picture never lies on another's.
  take(message, pixels) {
    if (message.layer === "base") {
      this.pending = [message, pixels];
      return false;
    }
    const [base, basePixels] = this.pending ?? [null, null];
    if (base) this.showBase(base, basePixels);
    this.pending = null;
    this.fill(this.models.detail, message.images, pixels);
    const marked = [[message, pixels], [base, basePixels]].find(([one]) => one?.images.some((image) => image.marks));
    if (marked) this.fill(this.models.marks, marked[0].images, marked[1], true);
    else if (message.images.length || base) this.models.marks.visible = false;
    return true;
  }

  showBase(message, pixels) {
    this.fill(this.models.base, message.images, pixels);
    const before = this.scene;
    this.shown = message;
    this.scene = message.scene;
    this.drawTiles(message.tiles);
    this.labelBar(message);
    for (const axis of [...this.figure.below, ...this.figure.left]) axis.visible = message.tiles.length === 1;
    const same = before && ["name", "width", "height"].every((key) => before[key] === this.scene[key]);
    if (!same) this.fit();
    if (this.wanted) this.lookAgain();
  }

  // One typed array for each image is kept and set; only a change of shape makes a new one. The flags of an image
  // follow its pixels.
  fill(layer, images, pixels, flags = false) {
    layer.visible = images.length > 0; // Bokeh leaves the last image on the canvas when the columns are empty
    if (!images.length) return;
    const columns = layer.data_source.data;
    const NdArray = columns.image[0].constructor;
    let offset = 0;
    images.forEach((image, index) => {
      const size = image.rows * image.columns;
      const first = offset + (flags && image.marks ? size : 0);
      const bytes = pixels.subarray(first, first + size);
      offset += image.marks ? 2 * size : size;
      const kept = columns.image[index];
      if (kept && kept.shape[0] === image.rows && kept.shape[1] === image.columns) kept.set(bytes);
      else columns.image[index] = new NdArray(bytes, [image.rows, image.columns]);
      for (const key of ["x", "y", "dw", "dh"]) columns[key][index] = image[key];
    });
    for (const key of ["image", "x", "y", "dw", "dh"]) columns[key].length = images.length;
    layer.data_source.change.emit();
  }

  drawTiles(tiles) {
    const alone = tiles.length === 1;
    const waiting = { raw: "waiting for a read", ramp: "waiting for a ramp", reduced: "waiting for the first frame" };
    const room = (this.figure.inner_width / this.scene.width) * Math.min(...tiles.map((tile) => tile.width)); // on the screen
    const word = room < 190 ? "waiting" : waiting[this.scene.view];
    const columns = this.models.tiles.data;
    Object.assign(columns, {
      left: tiles.map((tile) => tile.x0 - 0.5),
      right: tiles.map((tile) => tile.x0 + tile.width - 0.5),
      bottom: tiles.map((tile) => tile.y0 - 0.5),
      top: tiles.map((tile) => tile.y0 + tile.height - 0.5),
      x: tiles.map((tile) => tile.x0 + tile.width / 2),
      y: tiles.map((tile) => tile.y0 + tile.height / 2),
      label: tiles.map((tile) => tile.detector),
      note: tiles.map((tile) => (tile.shown ? "" : word)),
    });
    this.models.label.visible = !alone;
    this.models.tiles.change.emit();
  }

  labelBar(message) {
    const ticks = this.models.bar.ticker.ticks;
    const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(message.high - message.low, 1e-9))));
    const text = (value) => value.toFixed(Math.min(digits, 6));
    this.models.bar.visible = true;
    this.models.bar.major_label_overrides = new Map(ticks.map((tick, index) => [tick, text(message.ticks[index])]));
  }

  // What a link asks to be seen, once there is an image; the size of the window may be another.
  lookAgain() {
    const [x0, x1, y0, y1] = this.wanted;
    this.wanted = null;
    const { inner_width: across, inner_height: up } = this.figure;
    this.fitted = false;
    this.look((x0 + x1) / 2, (y0 + y1) / 2, Math.max((x1 - x0) / across, (y1 - y0) / up));
    this.fitted = false;
  }

  // Where a detector's pixel lies in the scene; null if it is not in it.
  sceneOf(detector, x, y) {
    const tile = this.shown?.tiles.find((one) => one.detector === detector);
    return tile ? { x: x + tile.x0, y: y + tile.y0 } : null;
  }

  fit() {
    const { width, height } = this.scene;
    const { inner_width: across, inner_height: up } = this.figure;
    if (!(across > 0 && up > 0)) return;
    const scale = (1 + 2 * MARGIN) * Math.max(width / across, height / up);
    this.limitZoom();
    this.look(width / 2 - 0.5, height / 2 - 0.5, scale);
    this.fitted = true;
  }

  limitZoom() {
    const side = Math.max(this.scene.width, this.scene.height);
    for (const range of [this.figure.x_range, this.figure.y_range]) {
      range.setv({ min_interval: CLOSEST_PIXELS, max_interval: FARTHEST * side });
    }
  }

  // One detector pixel on one pixel of the screen, around the middle of what is seen.
  realPixels() {
    const { x_range: x, y_range: y } = this.figure;
    this.look((x.start + x.end) / 2, (y.start + y.end) / 2, 1 / window.devicePixelRatio);
    this.fitted = false;
  }

  look(x, y, scale) {
    const { x_range, y_range, inner_width, inner_height } = this.figure;
    this.own = true;
    x_range.setv({ start: x - (scale * inner_width) / 2, end: x + (scale * inner_width) / 2 });
    y_range.setv({ start: y - (scale * inner_height) / 2, end: y + (scale * inner_height) / 2 });
    this.own = false;
    this.moved();
  }

  // Zoom around a point, by default the middle.
  zoom(factor, point) {
    const { x_range: x, y_range: y } = this.figure;
    if (!this.scene) return;
    const { x: px, y: py } = point ?? { x: (x.start + x.end) / 2, y: (y.start + y.end) / 2 };
    x.setv({ start: px + (x.start - px) * factor, end: px + (x.end - px) * factor });
    y.setv({ start: py + (y.start - py) * factor, end: py + (y.end - py) * factor });
  }

  pan(across, up) {
    const { x_range: x, y_range: y } = this.figure;
    const [dx, dy] = [across * (x.end - x.start), up * (y.end - y.start)];
    x.setv({ start: x.start + dx, end: x.end + dx });
    y.setv({ start: y.start + dy, end: y.end + dy });
  }

  centre({ x: px, y: py }) {
    const { x_range: x, y_range: y } = this.figure;
    const [half, high] = [(x.end - x.start) / 2, (y.end - y.start) / 2];
    x.setv({ start: px - half, end: px + half });
    y.setv({ start: py - high, end: py + high });
  }

  moved() {
    if (this.own) return;
    this.fitted = false;
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.onRegion();
    }, REGION_DELAY_MS);
  }

  resized() {
    if (!this.scene) return;
    const { x_range: x, y_range: y, inner_width: across } = this.figure;
    if (this.fitted) this.fit();
    else if (across > 0) this.look((x.start + x.end) / 2, (y.start + y.end) / 2, (x.end - x.start) / across);
  }

  // What is seen of the scene, and how many pixels of the screen its longer side has.
  region() {
    if (!this.scene) return {};
    const { x_range: x, y_range: y, inner_width, inner_height } = this.figure;
    const clip = (value, most) => Math.min(Math.max(value, -0.5), most - 0.5);
    const box = [
      clip(x.start, this.scene.width), clip(x.end, this.scene.width),
      clip(y.start, this.scene.height), clip(y.end, this.scene.height),
    ];
    const across = (window.devicePixelRatio * inner_width * (box[1] - box[0])) / (x.end - x.start);
    const up = (window.devicePixelRatio * inner_height * (box[3] - box[2])) / (y.end - y.start);
    const screen = Math.round(Math.min(Math.max(across, up, 16), 8192));
    return Number.isFinite(screen) ? { region: box, screen_pixels: screen } : {};
  }

  paint(palette, colours) {
    this.models.mapper.palette = palette;
    this.models.barMapper.palette = palette.slice(1);
    const { figure, bar, outline, label, note } = this.models;
    figure.setv({
      background_fill_color: colours.field, border_fill_color: colours.page, border_line_color: colours.page,
    });
    for (const axis of [...figure.below, ...figure.left]) {
      axis.setv({
        axis_line_color: colours.line, major_tick_line_color: colours.line, minor_tick_line_color: null,
        major_label_text_color: colours.dim,
      });
    }
    bar.major_label_text_color = colours.text;
    outline.line_color = { value: colours.line };
    label.glyph.text_color = { value: colours.label };
    note.text_color = { value: colours.label };
  }
}
