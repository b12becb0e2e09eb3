/* Pointer, wheel, fingers and keys on the map. */

/** What is done to the canvas -> the map's actions. */
asterism.listenToMap = (canvas, act) => {
  const down = new Map(); // pointers that press: one drags, two pinch
  let travelled = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return; // of the menu, which may swallow that it is let go
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
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "touch" || act.unpoint()); // a finger that is lifted leaves
  canvas.addEventListener("blur", act.unpoint);

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
    if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return undefined;
    event.preventDefault();
    keys[event.key]();
    return act.pointMiddle();
  });
};
