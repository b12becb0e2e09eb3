/* Points on a canvas, stamped into a pixel buffer: ten thousand take milliseconds, with a GPU or without. */

asterism.mapMargin = 70; // CSS pixels: a picture at the edge is seen whole

/** Where points lie on a canvas, how close one looks, and the drawing of them. */
asterism.PointCanvas = class {
  constructor(canvas, x, y) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    [this.x, this.y, this.n] = [x, y, x.length]; // in the unit square, y downwards
    this.spans = [x, y].map((one) => Math.max(0.05, Math.max(...one) - Math.min(...one)));
    this.view = { x: 0.5, y: 0.5, zoom: 1 }; // what is in the middle, and how close
    [this.width, this.height, this.ratio, this.buffer] = [0, 0, 1, null];
  }

  /** Take the canvas's size on the page; false while it has none. */
  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return false;
    [this.width, this.height, this.ratio] = [clientWidth, clientHeight, Math.min(2, devicePixelRatio || 1)];
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.buffer = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.words = new Uint32Array(this.buffer.data.buffer);
    return true;
  }

  /** CSS pixels a unit. */
  get scale() {
    const [width, height] = [this.width - asterism.mapMargin, this.height - asterism.mapMargin].map((one) => Math.max(one, 1));
    return Math.min(width / this.spans[0], height / this.spans[1]) * this.view.zoom;
  }

  /** A place of the unit square -> CSS pixels on the canvas. */
  toScreen(x, y) {
    const { scale, view, width, height } = this;
    return [(x - view.x) * scale + width / 2, (y - view.y) * scale + height / 2];
  }

  pointToScreen(i) {
    return this.toScreen(this.x[i], this.y[i]);
  }

  moveBy(dx, dy) {
    this.view.x = Math.min(1.2, Math.max(-0.2, this.view.x - dx / this.scale));
    this.view.y = Math.min(1.2, Math.max(-0.2, this.view.y - dy / this.scale));
  }

  /** Zoom by a factor; what lies under (px, py) stays there. */
  zoomBy(factor, px = this.width / 2, py = this.height / 2) {
    const before = this.scale;
    this.view.zoom = Math.min(400, Math.max(0.5, this.view.zoom * factor));
    this.view.x += (px - this.width / 2) * (1 / before - 1 / this.scale);
    this.view.y += (py - this.height / 2) * (1 / before - 1 / this.scale);
  }

  showAll() {
    Object.assign(this.view, { x: 0.5, y: 0.5, zoom: 1 });
  }

  /** The lit point nearest to (px, py) within reach, or −1. */
  nearest(px, py, reach, lit) {
    const [left, top, reached] = [px - this.width / 2, py - this.height / 2, reach * reach];
    const { x, y, n, view, scale } = this;
    let [best, least] = [-1, reached];
    for (let i = 0; i < n; i++) {
      if (!lit[i]) continue;
      const dx = (x[i] - view.x) * scale - left;
      const dy = (y[i] - view.y) * scale - top;
      if (dx * dx + dy * dy < least) [best, least] = [i, dx * dx + dy * dy];
    }
    return best;
  }

  /** Draw all points, lit ones on top; returns those that are in sight. `ink` holds r, g, b of each. */
  draw(ink, lit, [r, g, b]) {
    const { x, y, n, view, scale, width, height, ratio } = this;
    this.words.fill((255 << 24) | (b << 16) | (g << 8) | r);
    const room = Math.sqrt((width * height) / n);
    const disc = asterism.disc(Math.min(6, Math.max(1.5, 0.12 * room) * view.zoom ** 0.35) * ratio);
    const seen = [];
    for (const pass of [0, 1]) {
      for (let i = 0; i < n; i++) {
        if (lit[i] !== pass) continue;
        const left = (x[i] - view.x) * scale + width / 2;
        const top = (y[i] - view.y) * scale + height / 2;
        if (left < 0 || top < 0 || left > width || top > height) continue;
        seen.push(i);
        this.stamp(disc, (left * ratio) | 0, (top * ratio) | 0, ink, 3 * i, pass ? 0.85 : 0.13);
      }
    }
    this.context.putImageData(this.buffer, 0, 0);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return seen;
  }

  /** Blend one disc into the buffer; discs cut by its edge are left out. */
  stamp({ reach, cover }, left, top, ink, color, strength) {
    const { data, width, height } = this.buffer;
    if (left < reach || top < reach || left >= width - reach || top >= height - reach) return;
    const [r, g, b] = [ink[color], ink[color + 1], ink[color + 2]];
    for (let v = -reach, k = 0; v <= reach; v++) {
      let at = 4 * ((top + v) * width + left - reach);
      for (let u = -reach; u <= reach; u++, k++, at += 4) {
        const alpha = cover[k] * strength;
        data[at] += (r - data[at]) * alpha;
        data[at + 1] += (g - data[at + 1]) * alpha;
        data[at + 2] += (b - data[at + 2]) * alpha;
      }
    }
  }
};

/** How much of each pixel of a small square a disc in its middle covers, 0 … 1. */
asterism.disc = (radius) => {
  const reach = Math.ceil(radius);
  const line = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach);
  const cover = line.flatMap((v) => line.map((u) => Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(u, v)))));
  return { reach, cover };
};
