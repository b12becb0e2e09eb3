"use strict";
/* What the sections share: elements made of text only, sprites decoded when first looked at, and the tip. */

const asterism = { draw: {}, sprites: new Map() };

/** A DOM element. Text goes in as text: nothing here ever parses markup. */
asterism.element = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") Object.assign(element.style, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

asterism.json = (script) => JSON.parse(script.textContent);

asterism.color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** "#4e79d8" -> [78, 121, 216] */
asterism.rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

asterism.count = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

asterism.images = (number) => `${asterism.count(number)} ${number === 1 ? "image" : "images"}`;

/** A class in words: a bare number would be taken for a group. */
asterism.className = (one) => {
  if (one < 0) return "class not known";
  const name = asterism.shared.classNames[one];
  return /^\d+$/.test(name) ? `class ${name}` : name;
};

/** A group in words: the last one may be of images that are in none. */
asterism.groupName = (one) => (one === asterism.shared.none ? "no group" : `group ${one}`);

asterism.whenThemeChanges = (action) =>
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", action);

/** Pictures of one size on sheets; a sheet is decoded when one of its pictures is first wanted. */
asterism.Sprites = class {
  constructor(layout, sheets) {
    this.layout = layout;
    this.sheets = sheets; // script elements whose text is a data: address
    this.decoded = new Map();
    this.coming = new Map();
  }

  /** The sheet if it is decoded already; else undefined, and `later` is called when it is. */
  sheet(number, later) {
    if (!this.decoded.has(number)) this.decode(number).then(later);
    return this.decoded.get(number);
  }

  decode(number) {
    if (!this.coming.has(number)) {
      const image = new Image();
      image.src = this.sheets[number].textContent;
      this.coming.set(number, image.decode().then(() => this.decoded.set(number, image)));
    }
    return this.coming.get(number);
  }

  /** Draw picture `index` into a box; false if it comes later. */
  draw(context, index, x, y, width, height, later) {
    const { cell, columns, perSheet, width: w, height: h } = this.layout;
    const sheet = this.sheet(Math.floor(index / perSheet), later);
    if (!sheet) return false;
    const place = index % perSheet;
    const [left, top] = [(place % columns) * cell[0], Math.floor(place / columns) * cell[1]];
    context.imageSmoothingEnabled = w > 40; // small images are looked at pixel by pixel
    context.drawImage(sheet, left, top, w, h, x, y, width, height);
    return true;
  }

  /** Give a canvas the size of a picture: what lies below must not move when it is painted. */
  fit(canvas) {
    const { width, height } = this.layout;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.classList.toggle("fine", width > 40);
    canvas.style.setProperty("--shape", Math.sqrt(width / height)); // a strip has the area of a square
  }

  /** Fill a canvas with a picture, now or when its sheet is there. */
  paint(canvas, index) {
    const { width, height } = this.layout;
    canvas.dataset.painted = index;
    this.fit(canvas);
    const again = () => canvas.dataset.painted === String(index) && this.paint(canvas, index);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    this.draw(context, index, 0, 0, width, height, again);
  }
};

/** The tip beside the pointer: picture, name, a few lines. One for the page; screen readers hear its text. */
asterism.tip = (() => {
  const tip = document.getElementById("tip");
  const canvas = asterism.element("canvas", { "aria-hidden": "true" });
  const name = asterism.element("strong");
  const text = asterism.element("span");
  tip.append(canvas, asterism.element("span", { class: "words" }, name, text));

  const show = (x, y, { sprites, index, title, lines }) => {
    canvas.hidden = !sprites;
    if (sprites) {
      const { width, height } = sprites.layout;
      const scale = 144 / Math.max(width, height);
      Object.assign(canvas.style, { width: `${width * scale}px`, height: `${height * scale}px` });
      sprites.paint(canvas, index);
    }
    name.textContent = title || "";
    text.textContent = lines.join("\n");
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const [right, bottom] = [document.documentElement.clientWidth, window.innerHeight];
    const left = x + 16 + box.width > right ? x - 16 - box.width : x + 16;
    tip.style.left = `${Math.max(4, Math.min(left, right - box.width - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(y - box.height / 3, bottom - box.height - 4))}px`;
  };
  return { show, hide: () => (tip.hidden = true) };
})();

/** A small picture with what its tip says. */
asterism.picture = (index, title, lines) =>
  asterism.element("canvas", {
    "data-sprite": index, "data-name": title, "data-tip": lines.join("\n"), role: "img",
    "aria-label": [title, ...lines].join(", "),
  });

/** Show the tip of a picture on the page. */
asterism.showPicture = (canvas) => {
  const sprites = asterism.sprites.get(canvas.closest("section"));
  const box = canvas.getBoundingClientRect();
  const lines = canvas.dataset.tip ? canvas.dataset.tip.split("\n") : [canvas.getAttribute("aria-label")];
  const content = { sprites, index: Number(canvas.dataset.sprite), title: canvas.dataset.name, lines };
  asterism.tip.show(box.right - 8, box.top + box.height / 2, content);
};
