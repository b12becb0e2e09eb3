/* Sets the page in motion: pictures are painted as they come near, then each section's script gets its data. */

asterism.shared = asterism.json(document.getElementById("shared"));

asterism.painter = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries.filter((entry) => entry.isIntersecting)) {
      asterism.painter.unobserve(target);
      asterism.sprites.get(target.closest("section"))?.paint(target, Number(target.dataset.sprite));
    }
  },
  { rootMargin: "400px" },
);

for (const section of document.querySelectorAll("main > section")) {
  const layout = section.querySelector("script.layout");
  if (layout) {
    const sheets = [...section.querySelectorAll("script.sheet")];
    asterism.sprites.set(section, new asterism.Sprites(asterism.json(layout), sheets));
  }
  for (const canvas of section.querySelectorAll("canvas[data-sprite]")) {
    asterism.sprites.get(section)?.fit(canvas);
    asterism.painter.observe(canvas);
  }
}

for (const section of document.querySelectorAll("main > section")) {
  const data = section.querySelector("script.data");
  if (!data) continue;
  try {
    asterism.draw[section.id](section, asterism.json(data), asterism.sprites.get(section));
  } catch (error) {
    // one part that fails must not take the others with it
    section.append(asterism.element("p", { class: "warning" }, `This part could not be drawn: ${error.message}`));
    console.error(error);
  }
}

/* The tip of pictures: under the pointer, and by arrow keys within a group of pictures. */
document.addEventListener("pointerover", ({ target }) => {
  if (target.matches?.("canvas[data-sprite]")) asterism.showPicture(target);
  else if (!target.closest?.("canvas.map")) asterism.tip.hide();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") asterism.tip.hide();
  const group = event.target.closest?.(".pictures");
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!group || !step || event.altKey || event.ctrlKey || event.metaKey) return; // Alt and an arrow goes back a page
  event.preventDefault();
  const pictures = [...group.querySelectorAll("canvas[data-sprite]")];
  const at = pictures.findIndex((canvas) => canvas.classList.contains("active"));
  pictures[at]?.classList.remove("active");
  const next = pictures[Math.max(0, Math.min(pictures.length - 1, at + step))];
  next.classList.add("active");
  next.scrollIntoView({ block: "nearest" });
  asterism.showPicture(next);
});

document.addEventListener("focusout", ({ target }) => {
  target.querySelector?.("canvas.active")?.classList.remove("active");
  asterism.tip.hide();
});

for (const group of document.querySelectorAll(".pictures:not([tabindex])")) {
  group.tabIndex = 0;
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", group.closest("section").querySelector("h2").textContent);
}

/* In full screen nothing is seen but what lies within it. */
document.addEventListener("fullscreenchange", () => {
  (document.fullscreenElement ?? document.body).append(document.getElementById("tip"));
});

/* Cards are made by script: a link to one that came with the address finds it only now. */
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

/* Paper shows all pictures, in light colours: those that were not looked at yet are painted while nothing else is done. */
asterism.paintAll = (deadline) => {
  for (const canvas of document.querySelectorAll("main canvas[data-sprite]:not([data-painted])")) {
    if (deadline && deadline.timeRemaining() < 5) return void requestIdleCallback(asterism.paintAll);
    asterism.sprites.get(canvas.closest("section"))?.paint(canvas, Number(canvas.dataset.sprite));
  }
};
if (document.querySelectorAll("main canvas[data-sprite]").length <= 4000) {
  (window.requestIdleCallback ?? setTimeout)(asterism.paintAll); // Safari never says that it is idle
}

for (const [type, printing] of [["beforeprint", true], ["afterprint", false]]) {
  window.addEventListener(type, () => {
    document.documentElement.classList.toggle("printing", printing);
    asterism.tip.hide();
    asterism.map?.draw();
    if (printing) asterism.paintAll();
  });
}
