/* A confusion too large for a table: one pixel a cell, stretched by the browser; the caption reads the cell. */

asterism.draw.confusion = (section, { clusters, matched, cells }) => {
  const { classNames } = asterism.shared;
  const canvas = section.querySelector(".heat canvas");
  const caption = section.querySelector(".heat figcaption");
  const context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [classNames.length, clusters.length];
  const found = new Map(cells.map(([row, column, count, share]) => [row * classNames.length + column, { count, share }]));

  const draw = () => {
    const picture = context.createImageData(canvas.width, canvas.height);
    const [right, off] = ["--accent", "--bad"].map((name) => asterism.rgb(asterism.color(name)));
    for (const [row, column, , share] of cells) {
      const color = matched[row] === column ? right : off;
      picture.data.set([...color, 255 * Math.sqrt(share)], 4 * (row * canvas.width + column));
    }
    context.putImageData(picture, 0, 0);
  };

  const read = (event) => {
    const column = Math.min(canvas.width - 1, Math.floor((event.offsetX / canvas.clientWidth) * canvas.width));
    const row = Math.min(canvas.height - 1, Math.floor((event.offsetY / canvas.clientHeight) * canvas.height));
    const cell = found.get(row * classNames.length + column) ?? { count: 0, share: 0 };
    const stands = matched[row] >= 0 ? `matched to ${classNames[matched[row]]}` : "not matched";
    caption.textContent = `Group ${clusters[row]} (${stands}), class ${classNames[column]}: ${asterism.images(cell.count)}`
      + `, ${(100 * cell.share).toFixed(1)} % of the group`;
  };
  for (const type of ["pointerdown", "pointermove"]) canvas.addEventListener(type, read); // a finger that taps does not move
  draw();
  asterism.whenThemeChanges(draw);
};
