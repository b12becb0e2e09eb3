/* What the points of the map can be coloured by. */

/** Colourings by name: group `of` a point, `colors`, `name` and `counts` of the groups, `middles` at which names stand. */
asterism.mapColorings = (data, x, y) => {
  const { colors, classNames, classColors, standsFor, sizes, none } = asterism.shared;
  const n = x.length;
  const MOST_NAMES = 60; // more cannot be read on a map

  /** Of each group a point in its middle, and how far a quarter of the others lie from there. */
  const middles = (groups, of) => {
    if (groups > MOST_NAMES) return null;
    const members = Array.from({ length: groups }, () => []);
    for (let i = 0; i < n; i++) members[of(i)].push(i);
    const sorted = (values) => values.sort((a, b) => a - b);
    return members.map((list) => {
      if (!list.length) return null;
      const [left, top] = [x, y].map((at) => sorted(list.map((i) => at[i]))[list.length >> 1]);
      const far = (i, u, v) => Math.hypot(x[i] - u, y[i] - v);
      const middle = list.reduce((best, i) => (far(i, left, top) < far(best, left, top) ? i : best));
      return { point: middle, reach: sorted(list.map((i) => far(i, x[middle], y[middle])))[list.length >> 2] };
    });
  };

  const { className } = asterism;
  const clusterOf = (i) => data.clusters[i];
  const short = (one) => (one === none ? "none" : String(one));
  const clusterName = (one) => (standsFor[one] >= 0 ? `${one} · ${className(standsFor[one])}` : short(one));
  const clusters = {
    of: clusterOf, colors, name: clusterName, short, counts: sizes, middles: middles(sizes.length, clusterOf),
  };
  const confidence = asterism.ramp((i) => data.confidence[i]);
  if (!data.classes) return { clusters, confidence };

  const nowhere = classNames.length; // the group of images whose class is not known, where there are any
  const whole = data.perClass[nowhere] === 0;
  const classOf = (i) => (data.classes[i] < 0 ? nowhere : data.classes[i]);
  const unscored = (i) => data.classes[i] < 0 || clusterOf(i) === none;
  const wrong = (i) => (unscored(i) ? 2 : Number(standsFor[clusterOf(i)] !== classOf(i)));
  const brief = (name) => (name.length > 24 ? `${[...name].slice(0, 23).join("")}…` : name);
  const [names, shades] = whole ? [classNames, classColors] : [[...classNames, "?"], [...classColors, "#7b8794"]];
  const verdicts = ["right", "wrong", whole ? "in no group" : none === null ? "not known" : "not known, or in no group"].slice(0, whole && none === null ? 2 : 3);
  return {
    clusters,
    confidence,
    classes: {
      of: classOf, colors: shades, name: (one) => className(one === nowhere ? -1 : one), short: (one) => brief(names[one]),
      counts: data.perClass.slice(0, names.length), middles: middles(names.length, classOf),
    },
    wrong: {
      of: wrong, colors: ["#3fa35b", "#dc4b52", "#7b8794"], name: (one) => verdicts[one],
      counts: data.verdicts.slice(0, verdicts.length),
    },
  };
};

/** A colouring by a number in [0, 1], dark to bright. */
asterism.ramp = (value) => {
  const stops = ["#3b2f80", "#3a5fb0", "#2b93a8", "#55bd7c", "#e6d14a"].map(asterism.rgb);
  const shade = (i) => {
    const at = Math.min(0.9999, Math.max(0, value(i))) * (stops.length - 1);
    const [low, high, part] = [stops[Math.floor(at)], stops[Math.floor(at) + 1], at % 1];
    return low.map((one, channel) => one + (high[channel] - one) * part);
  };
  const background = `linear-gradient(90deg, ${stops.map((one) => `rgb(${one})`)})`;
  const bar = () => asterism.element("i", { style: { background } });
  const ends = ["0", "1"].map((text) => asterism.element("span", {}, text));
  return { of: () => 0, shade, ramp: () => asterism.element("p", { class: "ramp" }, ends[0], bar(), ends[1]) };
};
