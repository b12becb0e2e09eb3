/* The map: points stamped into a pixel buffer, as fast on a machine without a GPU; close up they become pictures. */

asterism.draw.map = (section, data, sprites) => {
  const canvas = section.querySelector("canvas.map");
  const context = canvas.getContext("2d", { alpha: false });
  const { colors, classNames, classColors, matched, sizes } = asterism.shared;
  const n = data.x.length;
  const x = Float32Array.from(data.x, (one) => one / data.units);
  const y = Float32Array.from(data.y, (one) => 1 - one / data.units);
  const ink = new Uint8Array(3 * n); // colour of each point
  const lit = new Uint8Array(n).fill(1); // 0 where another group is highlighted
  const [spanX, spanY] = [x, y].map((one) => Math.max(0.05, one.reduce((a, b) => Math.max(a, b)) - one.reduce((a, b) => Math.min(a, b))));
  const view = { x: 0.5, y: 0.5, zoom: 1 }; // what is in the middle, and how close
  const PICTURE = 40; // side of a point's picture, in CSS pixels
  let screen = { width: 0, height: 0, ratio: 1, buffer: null, words: null };
  let pointed = -1;
  let waiting = false;

  /* ---------------------------------------------------------------- colours */

  const isWrong = (i) => matched[data.clusters[i]] !== data.classes[i];
  const className = (one) => (/^\d+$/.test(classNames[one]) ? `class ${classNames[one]}` : classNames[one]);
  const clusterName = (one) => (matched[one] >= 0 ? `${one} · ${className(matched[one])}` : String(one));
  const ramp = ["#3b2f80", "#3a5fb0", "#2b93a8", "#55bd7c", "#e6d14a"].map(asterism.rgb);
  const shade = (share) => {
    const at = Math.min(0.9999, Math.max(0, share)) * (ramp.length - 1);
    const [low, high, part] = [ramp[Math.floor(at)], ramp[Math.floor(at) + 1], at % 1];
    return low.map((one, channel) => one + (high[channel] - one) * part);
  };
  const tally = (groups, of) => {
    const counts = new Array(groups).fill(0);
    for (let i = 0; i < n; i++) counts[of(i)]++;
    return counts;
  };
  /** Median place of each group's points; none for more groups than can be read. */
  const middles = (groups, of) => {
    if (groups > 60) return null;
    const members = Array.from({ length: groups }, () => []);
    for (let i = 0; i < n; i++) members[of(i)].push(i);
    const median = (list, at) => at[list.sort((a, b) => at[a] - at[b])[list.length >> 1]];
    return members.map((list) => [median(list, x), median(list, y)]);
  };
  const verdict = (i) => (isWrong(i) ? 1 : 0);
  const modes = {
    clusters: { of: (i) => data.clusters[i], colors, name: clusterName, counts: sizes, short: String },
    classes: { of: (i) => data.classes[i], colors: classColors, name: className, short: (one) => classNames[one] },
    wrong: { of: verdict, colors: ["#3fa35b", "#dc4b52"], name: (one) => ["right", "wrong"][one] },
    confidence: { of: () => 0 },
  };
  let mode = modes.clusters;
  const chosen = new Set();

  const recolor = () => {
    const palette = mode.colors?.map(asterism.rgb);
    for (let i = 0; i < n; i++) {
      ink.set(palette ? palette[mode.of(i)] : shade(data.confidence[i]), 3 * i);
      lit[i] = chosen.size === 0 || chosen.has(mode.of(i)) ? 1 : 0;
    }
    for (const button of section.querySelectorAll(".legend-entries button")) {
      button.setAttribute("aria-pressed", chosen.has(Number(button.dataset.group)));
    }
    request();
  };

  /* ---------------------------------------------------------------- drawing */

  const scale = () => Math.min(screen.width / spanX, screen.height / spanY) * 0.9 * view.zoom;
  const toScreen = (i, s = scale()) => [
    (x[i] - view.x) * s + screen.width / 2, (y[i] - view.y) * s + screen.height / 2,
  ];

  /** How much of each pixel of a little square a disc covers, 0 … 1. */
  const disc = (radius) => {
    const reach = Math.ceil(radius);
    const cover = [];
    for (let v = -reach; v <= reach; v++) {
      for (let u = -reach; u <= reach; u++) {
        cover.push(Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(u, v))));
      }
    }
    return { reach, cover };
  };

  const stamp = (bytes, width, height, left, top, { reach, cover }, i, strength) => {
    if (left < reach || top < reach || left >= width - reach || top >= height - reach) return;
    for (let v = -reach, k = 0; v <= reach; v++) {
      let at = 4 * ((top + v) * width + left - reach);
      for (let u = -reach; u <= reach; u++, k++, at += 4) {
        const alpha = cover[k] * strength;
        bytes[at] += (ink[3 * i] - bytes[at]) * alpha;
        bytes[at + 1] += (ink[3 * i + 1] - bytes[at + 1]) * alpha;
        bytes[at + 2] += (ink[3 * i + 2] - bytes[at + 2]) * alpha;
      }
    }
  };

  const draw = () => {
    const { width, height, ratio, buffer, words } = screen;
    if (!buffer) return;
    const s = scale();
    const [r, g, b] = asterism.rgb(asterism.color("--sky"));
    words.fill((255 << 24) | (b << 16) | (g << 8) | r);
    const radius = Math.min(6, Math.max(1.5, Math.sqrt((width * height) / n) * 0.12) * view.zoom ** 0.35);
    const shape = disc(radius * ratio);
    const seen = [];
    for (const pass of [0, 1]) { // highlighted points lie on top
      for (let i = 0; i < n; i++) {
        if (lit[i] !== pass) continue;
        const [left, top] = [(x[i] - view.x) * s + width / 2, (y[i] - view.y) * s + height / 2];
        if (left < 0 || top < 0 || left > width || top > height) continue;
        seen.push(i);
        const strength = pass ? 0.85 : 0.13;
        stamp(buffer.data, buffer.width, buffer.height, (left * ratio) | 0, (top * ratio) | 0, shape, i, strength);
      }
    }
    context.putImageData(buffer, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (sprites && seen.length * PICTURE * PICTURE < 0.6 * width * height) seen.forEach((i) => drawPicture(i, s));
    if (mode.middles) names(s);
    if (pointed >= 0) ring(s);
  };

  /** The name of each group in its middle: colour alone does not reach every eye. */
  const names = (s) => {
    context.font = `600 14px ${asterism.color("--sans")}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = asterism.color("--sky");
    context.fillStyle = asterism.color("--ink");
    mode.middles.forEach(([mx, my], group) => {
      if (mx === undefined || (chosen.size && !chosen.has(group))) return;
      const at = [(mx - view.x) * s + screen.width / 2, (my - view.y) * s + screen.height / 2];
      context.strokeText(mode.short(group), ...at);
      context.fillText(mode.short(group), ...at);
    });
  };

  const drawPicture = (i, s) => {
    const [left, top] = toScreen(i, s);
    const { width, height } = sprites.layout;
    const [w, h] = [width, height].map((one) => (one * PICTURE) / Math.max(width, height));
    context.globalAlpha = lit[i] ? 1 : 0.2;
    context.fillStyle = `rgb(${ink.subarray(3 * i, 3 * i + 3).join()})`;
    context.fillRect(left - w / 2 - 2, top - h / 2 - 2, w + 4, h + 4);
    sprites.draw(context, i, left - w / 2, top - h / 2, w, h, request);
    context.globalAlpha = 1;
  };

  const ring = (s) => {
    context.beginPath();
    context.arc(...toScreen(pointed, s), 9, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.strokeStyle = asterism.color("--ink");
    context.stroke();
  };

  const request = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };

  const resize = () => {
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = Math.min(2, devicePixelRatio || 1);
    if (!width || !height) return;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const buffer = context.createImageData(canvas.width, canvas.height);
    screen = { width, height, ratio, buffer, words: new Uint32Array(buffer.data.buffer) };
    draw(); // at once: a resized canvas is blank
  };

  /* ---------------------------------------------------------------- moving and pointing */

  const moveBy = (dx, dy) => {
    view.x = Math.min(1.2, Math.max(-0.2, view.x - dx / scale()));
    view.y = Math.min(1.2, Math.max(-0.2, view.y - dy / scale()));
    request();
  };

  /** Zoom by a factor; what lies under (px, py) stays there. */
  const zoomBy = (factor, px = screen.width / 2, py = screen.height / 2) => {
    const [before, zoom] = [scale(), Math.min(400, Math.max(0.5, view.zoom * factor))];
    view.zoom = zoom;
    view.x += (px - screen.width / 2) * (1 / before - 1 / scale());
    view.y += (py - screen.height / 2) * (1 / before - 1 / scale());
    request();
  };

  const showAll = () => {
    Object.assign(view, { x: 0.5, y: 0.5, zoom: 1 });
    request();
  };

  const nearest = (px, py, reach) => {
    const s = scale();
    let [best, least] = [-1, reach * reach];
    for (let i = 0; i < n; i++) {
      if (!lit[i]) continue;
      const dx = (x[i] - view.x) * s + screen.width / 2 - px;
      const dy = (y[i] - view.y) * s + screen.height / 2 - py;
      if (dx * dx + dy * dy < least) [best, least] = [i, dx * dx + dy * dy];
    }
    return best;
  };

  const lines = (i) => [
    `cluster ${clusterName(data.clusters[i])}`,
    `confidence ${data.confidence[i].toFixed(3)}`,
    ...(data.classes ? [`class ${classNames[data.classes[i]]}${isWrong(i) ? " (elsewhere)" : ""}`] : []),
  ];

  const point = (px, py, reach = 14) => {
    const found = nearest(px, py, reach);
    if (found !== pointed) request();
    pointed = found;
    if (found < 0) return asterism.tip.hide();
    const box = canvas.getBoundingClientRect();
    const [left, top] = toScreen(found);
    const content = { sprites, index: found, title: data.names[found], lines: lines(found) };
    return asterism.tip.show(box.left + left, box.top + top, content);
  };

  const leave = () => {
    pointed = -1;
    asterism.tip.hide();
    request();
  };

  const highlight = (group, alone = false) => {
    if (alone) chosen.clear();
    if (group === null) chosen.clear();
    else if (!chosen.delete(group)) chosen.add(group);
    recolor();
  };

  asterism.listenToMap(canvas, {
    moveBy, zoomBy, point, leave, showAll,
    tap: () => highlight(pointed < 0 || !mode.colors ? null : mode.of(pointed), true),
    clear: () => highlight(null),
    pointMiddle: () => point(screen.width / 2, screen.height / 2, Infinity),
  });

  /* ---------------------------------------------------------------- legend and buttons */

  const entries = section.querySelector(".legend-entries");
  const entry = (group, count) => {
    const swatch = asterism.element("i", { style: { background: mode.colors[group] } });
    const parts = [asterism.element("bdi", {}, mode.name(group)), asterism.element("small", {}, asterism.count(count))];
    const button = asterism.element(
      "button", { type: "button", "data-group": group, "aria-pressed": "false" }, swatch, ...parts,
    );
    button.addEventListener("click", () => highlight(group));
    return button;
  };
  const setMode = (name) => {
    mode = modes[name];
    chosen.clear();
    if (mode.colors) {
      mode.counts ??= tally(mode.colors.length, mode.of);
      if (mode.short) mode.middles ??= middles(mode.colors.length, mode.of);
      entries.replaceChildren(...mode.counts.map((count, group) => entry(group, count)));
    } else {
      entries.replaceChildren(asterism.element("p", { class: "ramp" }, asterism.element("span", {}, "0"),
        asterism.element("i", { style: { background: `linear-gradient(90deg, ${ramp.map((one) => `rgb(${one})`)})` } }),
        asterism.element("span", {}, "1")));
    }
    recolor();
  };

  const select = section.querySelector("select");
  select.addEventListener("change", () => setMode(select.value));
  const acts = {
    in: () => zoomBy(1.6), out: () => zoomBy(1 / 1.6), all: showAll,
    full: () => (document.fullscreenElement ? document.exitFullscreen() : canvas.parentElement.requestFullscreen()),
  };
  section.querySelectorAll("[data-act]").forEach((button) => button.addEventListener("click", acts[button.dataset.act]));
  setMode("clusters");
  new ResizeObserver(resize).observe(canvas);
  asterism.whenThemeChanges(request);

  /** For the gallery ("show on the map") and for tests. */
  asterism.map = {
    draw, view, toScreen, moveBy, zoomBy,
    showCluster: (cluster) => {
      select.value = "clusters";
      setMode("clusters");
      highlight(cluster, true);
      showAll();
      canvas.focus({ preventScroll: true });
      section.scrollIntoView();
    },
  };
};

/** Pointer, wheel, fingers and keys on the map's canvas -> its actions. */
asterism.listenToMap = (canvas, act) => {
  const down = new Map(); // pointers that press: one drags, two pinch
  let travelled = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    travelled = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = place(event);
    const before = down.get(event.pointerId);
    if (!before) return act.point(px, py);
    const [dx, dy] = [px - before[0], py - before[1]];
    travelled += Math.hypot(dx, dy);
    if (down.size === 2) {
      const [ox, oy] = [...down].find(([id]) => id !== event.pointerId)[1];
      const grown = Math.hypot(px - ox, py - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy));
      act.zoomBy(grown, (px + ox) / 2, (py + oy) / 2);
    }
    act.moveBy(dx / down.size, dy / down.size);
    return down.set(event.pointerId, [px, py]);
  });
  const release = (event) => {
    const tapped = down.delete(event.pointerId) && down.size === 0 && travelled < 5;
    if (!tapped || event.type === "pointercancel") return;
    act.point(...place(event), event.pointerType === "mouse" ? 14 : 28);
    if (event.pointerType === "mouse") act.tap();
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", act.leave);
  canvas.addEventListener("blur", act.leave);

  canvas.addEventListener("wheel", (event) => {
    // a page that is scrolled past must not be caught by the map: only once it was clicked, or with Ctrl
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    act.zoomBy(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0018)), ...place(event));
  }, { passive: false });

  const keys = {
    ArrowLeft: () => act.moveBy(60, 0), ArrowRight: () => act.moveBy(-60, 0),
    ArrowUp: () => act.moveBy(0, 60), ArrowDown: () => act.moveBy(0, -60),
    "+": () => act.zoomBy(1.4), "=": () => act.zoomBy(1.4), "-": () => act.zoomBy(1 / 1.4), 0: act.showAll,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return act.clear();
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return undefined;
    event.preventDefault();
    keys[event.key]();
    return act.pointMiddle();
  });
};
