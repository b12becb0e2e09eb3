"""The picture of the first page: tiles of two photographs, grouped by Asterism.

    python docs/make_picture.py            # writes docs/photographs.webp, in a minute

The photographs come with scikit-learn (`china.jpg`, danielbuechele; `flower.jpg`, vultilion; both CC BY 2.0), so
nothing is downloaded. They are cut into square tiles. `Diffusion` groups the tiles by histograms of gradients and
colours, which need no weights. It is told the number of groups and nothing else: not from where a tile is.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from asterism import Backbone, Diffusion

SIDE, STEP = 64, 24  # pixels of a tile; from one tile to the next
N_GROUPS, N_SHOWN = 6, 11  # groups; tiles of each in the picture
GAP, FRAME = 4, 12  # pixels between tiles, around all


def tiles():
    """(N, 64, 64, 3): both photographs in overlapping squares."""
    cut = [
        photo[top : top + SIDE, left : left + SIDE]
        for photo in load_sample_images().images
        for top in range(0, photo.shape[0] - SIDE + 1, STEP)
        for left in range(0, photo.shape[1] - SIDE + 1, STEP)
    ]
    return np.stack(cut)


def drawn(images, model):
    """One row a group, the largest first: members from the surest on, at even steps of the surer half."""
    width, height = (2 * FRAME + n * (SIDE + GAP) - GAP for n in (N_SHOWN, N_GROUPS))
    sheet = Image.new("RGB", (width, height), "#d9dee4")
    for row, group in enumerate(np.argsort(-np.bincount(model.labels_, minlength=N_GROUPS))):
        members = np.flatnonzero(model.labels_ == group)
        members = members[np.argsort(-model.confidence_[members], kind="stable")][: max(N_SHOWN, len(members) // 2)]
        for column, one in enumerate(members[np.linspace(0, len(members) - 1, N_SHOWN).round().astype(int)]):
            sheet.paste(Image.fromarray(images[one]), (FRAME + column * (SIDE + GAP), FRAME + row * (SIDE + GAP)))
    return sheet


if __name__ == "__main__":
    images = tiles()
    model = Diffusion(N_GROUPS, backbone=Backbone("hog-color"), random_state=0).fit(images)
    path = Path(__file__).with_name("photographs.webp")
    drawn(images, model).save(path, quality=80, method=6)
    sizes = ", ".join(map(str, sorted(np.bincount(model.labels_), reverse=True)))
    print(f"{len(images)} tiles in groups of {sizes}; stability {float(model.stability_):.2f}; {path}")
