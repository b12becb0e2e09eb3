/* The map: colours, legend and tips of the points; close up they become pictures. */

asterism.draw.map = (section, data, sprites) => {
  const n = data.x.length;
  const x = Float32Array.from(data.x, (one) => one / data.units);
  const y = Float32Array.from(data.y, (one) => 1 - one / data.units);
  const canvas = section.querySelector("canvas.map");
  const points = new asterism.PointCanvas(canvas, x, y);
  const { context } = points;
  const modes = asterism.mapColorings(data, x, y);
  const ink = new Uint8Array(3 * n); // colour of each point
  const lit = new Uint8Array(n).fill(1); // 0 where another group is highlighted
  const chosen = new Set(); // highlighted groups
  const NAME = 16; // a group's name is so far from a point that it leaves to be seen, in CSS pixels
  const PICTURE = 40; // side of a point's picture, in CSS pixels
  let mode = modes.clusters;
  let pointed = -1;
  let waiting = false;

  /* ---------------------------------------------------------------- drawing */

  const draw = () => {
    if (!points.buffer) return;
    const seen = points.draw(ink, lit, asterism.rgb(asterism.color("--sky")));
    if (sprites && seen.length * PICTURE * PICTURE < 0.9 * points.width * points.height) seen.forEach(drawPicture);
    if (mode.middles) drawNames();
    if (pointed >= 0) drawRing();
  };

  const drawPicture = (i) => {
    const [left, top] = points.pointToScreen(i);
    const { width, height } = sprites.layout;
    const [w, h] = [width, height].map((one) => (one * PICTURE) / Math.max(width, height));
    context.globalAlpha = lit[i] ? 1 : 0.2;
    context.fillStyle = `rgb(${ink.subarray(3 * i, 3 * i + 3).join()})`;
    context.fillRect(left - w / 2 - 2, top - h / 2 - 2, w + 4, h + 4);
    sprites.draw(context, i, left - w / 2, top - h / 2, w, h, request);
    context.globalAlpha = 1;
  };

  /** The name of each group in its middle, above it where it would hide it: colour alone does not reach every eye. */
  const drawNames = () => {
    Object.assign(context, {
      font: `600 14px ${asterism.color("--sans")}`, textAlign: "center", textBaseline: "middle", lineJoin: "round",
      lineWidth: 4, strokeStyle: asterism.color("--sky"), fillStyle: asterism.color("--ink"),
    });
    mode.middles.forEach((middle, group) => {
      if (!middle || (chosen.size && !chosen.has(group))) return;
      const [left, top] = points.pointToScreen(middle.point);
      const above = top - Math.max(0, NAME - middle.reach * points.scale);
      context.strokeText(mode.short(group), left, above);
      context.fillText(mode.short(group), left, above);
    });
  };

  const drawRing = () => {
    context.beginPath();
    context.arc(...points.pointToScreen(pointed), 9, 0, 2 * Math.PI);
    Object.assign(context, { lineWidth: 2, strokeStyle: asterism.color("--ink") });
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

  /* ---------------------------------------------------------------- pointing and highlighting */

  const lines = (i) => [
    data.clusters[i] === asterism.shared.none ? "no group" : `group ${modes.clusters.name(data.clusters[i])}`,
    `confidence ${data.confidence[i].toFixed(3)}`,
    ...(data.classes ? [modes.classes.name(modes.classes.of(i)) + (modes.wrong.of(i) === 1 ? ", put elsewhere" : "")] : []),
  ];

  const unpoint = () => {
    pointed = -1;
    asterism.tip.hide();
    request();
  };

  const point = (px, py, reach = 14) => {
    const found = points.nearest(px, py, reach, lit);
    if (found === pointed && found < 0) return;
    unpoint();
    if (found < 0) return;
    pointed = found;
    const box = canvas.getBoundingClientRect();
    const [left, top] = points.pointToScreen(found);
    const content = { sprites, index: found, title: data.names[found], lines: lines(found) };
    asterism.tip.show(box.left + left, box.top + top, content);
  };

  const entries = section.querySelector(".legend-entries");
  const recolor = () => {
    const palette = mode.colors?.map(asterism.rgb);
    for (let i = 0; i < n; i++) {
      ink.set(palette ? palette[mode.of(i)] : mode.shade(i), 3 * i);
      lit[i] = chosen.size === 0 || chosen.has(mode.of(i)) ? 1 : 0;
    }
    for (const button of entries.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", chosen.has(Number(button.dataset.group)));
    }
    request();
  };

  const highlight = (group, alone = false) => {
    const was = chosen.has(group);
    if (alone || group === null) chosen.clear();
    if (group !== null && !was) chosen.add(group);
    if (was) chosen.delete(group);
    recolor();
  };

  const entry = (group, count) => {
    const swatch = asterism.element("i", { style: { background: mode.colors[group] } });
    const parts = [asterism.element("bdi", {}, mode.name(group)), asterism.element("small", {}, asterism.count(count))];
    const attributes = { type: "button", "data-group": group, "aria-pressed": "false" };
    const button = asterism.element("button", attributes, swatch, ...parts);
    button.addEventListener("click", () => highlight(group));
    return button;
  };

  const select = section.querySelector("select");
  const setMode = (name) => {
    [select.value, mode] = [name, modes[name]];
    chosen.clear();
    entries.replaceChildren(...(mode.colors ? mode.counts.map((count, group) => entry(group, count)) : [mode.ramp()]));
    recolor();
  };

  /* ---------------------------------------------------------------- hands */

  const moving = (name) => (...args) => {
    points[name](...args);
    unpoint();
  };
  const [moveBy, zoomBy, showAll] = ["moveBy", "zoomBy", "showAll"].map(moving);
  asterism.listenToMap(canvas, {
    moveBy, zoomBy, showAll, point, unpoint,
    tap: () => highlight(pointed < 0 || !mode.colors ? null : mode.of(pointed), true),
    clear: () => highlight(null),
    pointMiddle: () => point(points.width / 2, points.height / 2, Infinity),
  });
  const acts = {
    in: () => zoomBy(1.6), out: () => zoomBy(1 / 1.6), all: showAll,
    full: () => (document.fullscreenElement ? document.exitFullscreen() : canvas.parentElement.requestFullscreen()),
  };
  section.querySelectorAll("[data-act]").forEach((button) => button.addEventListener("click", acts[button.dataset.act]));
  section.querySelector("[data-act=full]").hidden = !document.fullscreenEnabled; // an iPhone has none
  select.addEventListener("change", () => setMode(select.value));
  setMode("clusters");
  new ResizeObserver(() => points.resize() && draw()).observe(canvas); // at once: a resized canvas is blank
  asterism.whenThemeChanges(request);

  /** For the gallery ("show on the map") and for tests. */
  asterism.map = {
    draw, points,
    groups: new Set(data.clusters), // a sample may have none of a group
    showCluster: (cluster) => {
      setMode("clusters");
      highlight(cluster, true);
      showAll();
      canvas.focus({ preventScroll: true });
      section.scrollIntoView();
    },
  };
};
