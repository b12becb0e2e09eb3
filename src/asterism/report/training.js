/* Reading a curve: the value at the round under the pointer, or under the arrow keys. */

asterism.draw.training = (section, curves) => {
  section.querySelectorAll("figure.curve").forEach((figure, number) => {
    const { rounds, shown } = curves[number];
    const [plot, cursor, output] = [".plot", ".cursor", "output"].map((one) => figure.querySelector(one));
    const resting = output.textContent;
    const length = rounds[rounds.length - 1] - rounds[0] || 1;
    let at = rounds.length - 1;

    const read = (index) => {
      at = Math.max(0, Math.min(rounds.length - 1, index));
      cursor.hidden = false;
      cursor.style.left = `${(100 * (rounds[at] - rounds[0])) / length}%`;
      output.textContent = `${shown[at] ?? "–"} in round ${rounds[at]}`;
    };
    const rest = () => {
      cursor.hidden = true;
      output.textContent = resting;
    };
    const follow = (event) => {
      const box = plot.getBoundingClientRect();
      const round = rounds[0] + (length * (event.clientX - box.left)) / box.width;
      const after = rounds.findIndex((one) => one >= round);
      const closer = after > 0 && round - rounds[after - 1] < rounds[after] - round ? after - 1 : after;
      read(after < 0 ? rounds.length - 1 : closer);
    };
    for (const type of ["pointerdown", "pointermove"]) plot.addEventListener(type, follow); // a finger that taps does not move
    plot.addEventListener("pointerleave", (event) => event.pointerType === "touch" || rest());
    plot.addEventListener("blur", rest);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      read(at + step);
    });
  });
};
