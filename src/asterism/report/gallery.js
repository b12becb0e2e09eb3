/* Cards of groups. Their pictures have their size from the beginning, so that a link lands where it says. */

asterism.draw.gallery = (section, data, sprites) => {
  const { colors, sizes, standsFor } = asterism.shared;
  const { element } = asterism;
  const list = section.querySelector(".cards");
  const { className } = asterism;
  let start = 0;
  const cards = new Map();
  for (const card of data.cards) {
    cards.set(card.cluster, { ...card, start });
    start += card.certain + card.uncertain;
  }

  const lines = (i, cluster) => [
    asterism.groupName(cluster),
    `confidence ${data.confidence[i].toFixed(3)}`,
    ...(data.classes ? [className(data.classes[i])] : []),
  ];

  const picture = (i, cluster) => {
    const canvas = asterism.picture(i, data.names[i], lines(i, cluster));
    canvas.classList.toggle("wrong", Boolean(data.wrong[i]));
    sprites.fit(canvas);
    asterism.painter.observe(canvas);
    return canvas;
  };

  const members = (title, first, length, cluster) => {
    if (!length) return null;
    const indices = Array.from({ length }, (_, i) => first + i);
    const shown = sprites
      ? element("div", { class: "pictures", tabindex: 0, role: "group", "aria-label": `${title} of ${asterism.groupName(cluster)}` },
          ...indices.map((i) => picture(i, cluster)))
      : element("ol", { class: "names" }, ...indices.map((i) =>
          element("li", {}, element("bdi", {}, data.names[i]), element("small", {}, data.confidence[i].toFixed(3)))));
    return element("div", { class: "members" }, element("h4", {}, title), shown);
  };

  /** Twenty bars: how the confidence of the members spreads over 0 … 1. */
  const spread = (card) => {
    const high = Math.max(...card.histogram);
    const bars = card.histogram.map((count) => element("i", { style: { height: `${(100 * count) / high}%` } }));
    const label = `Confidence of the members from 0 to 1, on average ${card.confidence.toFixed(3)}`;
    return element("span", { class: "spread", role: "img", "aria-label": label, title: label }, ...bars);
  };

  const article = (card) => {
    const { cluster } = card;
    const name = standsFor[cluster] >= 0 ? element("bdi", { class: "class" }, className(standsFor[cluster])) : null;
    const heading = element("h3", {},
      element("i", { class: "swatch", style: { background: colors[cluster] } }), cluster === asterism.shared.none ? "No group" : `Group ${cluster}`, name);
    const facts = element("p", { class: "numbers" },
      asterism.images(sizes[cluster]),
      ...(sizes[cluster] ? [spread(card), element("span", {}, `confidence ${card.confidence.toFixed(3)}`)] : []));
    const show = element("button", { type: "button", class: "quiet" }, "Show on the map");
    show.addEventListener("click", () => asterism.map.showCluster(cluster));
    return element("article", { class: "card", id: `group-${cluster}`, "data-cluster": cluster },
      element("header", {}, heading, asterism.map?.groups.has(cluster) ? show : null), facts,
      members("Most certain", card.start, card.certain, cluster),
      members("Least certain", card.start + card.certain, card.uncertain, cluster));
  };
  const articles = [...cards.values()].map(article);
  list.append(...articles);

  const orders = {
    cluster: (a, b) => a.cluster - b.cluster,
    size: (a, b) => sizes[b.cluster] - sizes[a.cluster] || a.cluster - b.cluster,
    confidence: (a, b) => !sizes[a.cluster] - !sizes[b.cluster] || a.confidence - b.confidence || a.cluster - b.cluster,
  };
  const order = section.querySelector(".order");
  order?.addEventListener("change", () => {
    const sorted = [...cards.values()].sort(orders[order.value]);
    list.append(...sorted.map(({ cluster }) => document.getElementById(`group-${cluster}`)));
  });
  const go = section.querySelector(".go");
  go?.addEventListener("change", () => document.getElementById(`group-${go.value && Number(go.value)}`)?.scrollIntoView());
};
