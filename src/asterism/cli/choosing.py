"""``--method auto``: which method, and which pre-trained network, suits the images."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asterism.cli.request import Request

if TYPE_CHECKING:
    from asterism.images import ImageSource
    from asterism.images.listing import Listed

AUTO = "auto"
SMALL_SIDE = 64  # pixels: grey images up to this are digits, letters, faces, not photographs
PEEKED = 200  # files of a folder that are looked at
# JULE merges neighbours, 10 of each image in small groups: a group must have more than those. Its time grows with the
# images, DBC's beyond some thousands does not.
JULE_GROUP, JULE_MOST = 20, 20_000
WEIGHTLESS = "hog-color"  # the features of photographs where no network's weights are here
# Where groups are small the paper merges a fifth of the clusters a period instead of nine tenths (its faces): more
# periods, so for sets that do not take hours. Trials, one seed each: UMist .675 → .791, 20 of CMU-PIE's .914 → 1.000.
SMALL_GROUP, SLOWLY, SLOW_MOST = 100, "unroll_rate=0.2", 5_000


@dataclass(frozen=True)
class Choice:
    """A method, its settings as ``--set`` spells them, and why, in a clause."""

    method: str
    settings: tuple[str, ...]
    reason: str


VECTORS = Choice("diffusion", (), "these are vectors")


def settled(request: Request) -> Request:
    """The request with a method instead of ``auto``, and in ``chosen`` the line that says so.

    Where a run is resumed or copied, its own method stands. ``--set`` without ``--method`` sets parameters of DBC.
    """
    asked = request.method in (None, AUTO)
    if not asked or request.images is None or request.like is not None or (request.resume and request.out is not None):
        return replace(request, method=None) if request.method == AUTO else request
    if request.method is None and request.settings:
        return request
    if request.features is not None:
        chosen = VECTORS
    else:
        chosen = choose(request.images, request.color, request.layout, request.n_clusters)
    line = f"auto: {chosen.method}, because {chosen.reason}; another with --method"
    lines = "\n".join(filter(None, (request.chosen, line)))
    return replace(request, method=chosen.method, settings=[*chosen.settings, *request.settings], chosen=lines)


def choose(images: str, color: str | None = None, layout: str | None = None, n_clusters: int | None = None) -> Choice:
    """What suits images: photographs and vectors diffusion maps, small grey images a network that is learnt from them.

    Parameters
    ----------
    images, color, layout, n_clusters
        As the command line takes them.
    """
    channels, side, n = _look(images, layout)
    channels = channels if color is None else 3 if color == "rgb" else 1
    if side == 1:
        return VECTORS
    if channels == 1 and side <= SMALL_SIDE:
        small = f"the images are grey and at most {SMALL_SIDE} pixels a side"
        if n_clusters is not None and n <= JULE_MOST and n >= JULE_GROUP * n_clusters:
            slowly = n < SMALL_GROUP * n_clusters and n <= SLOW_MOST
            return Choice("jule", (SLOWLY,) if slowly else (), f"{small}, {JULE_GROUP} a group or more")
        return Choice("dbc", (), small)
    network = known_network()
    if network is None:
        better = "much better: --set backbone.name=mobilenet_v2, which fetches 14 MB"
        reason = f"these are photographs, and no weights of a pre-trained network are here ({better})"
        return Choice("diffusion", (f"backbone.name={WEIGHTLESS}",), reason)
    reason = f"these are photographs and the weights of {network} are here"
    return Choice("diffusion", (f"backbone.name={network}",), reason)


def known_network() -> str | None:
    """The network that is the default on this machine, if its weights are here."""
    from asterism.networks import weights

    return weights.known_network()


def _look(images: str, layout: str | None) -> tuple[int, int, int]:
    """Channels, longer side and number of images; of a folder, from some of its files. Colours may all be grey."""
    from asterism.images import named_sets, open_images
    from asterism.images.paths import list_images
    from asterism.images.shard_names import is_shards

    folder = os.path.expanduser(images)
    if images.startswith("data:"):
        found = next((one.path for one in named_sets() if f"data:{one.name}" == images), None)
        folder = str(found) if found is not None else ""
    listing = None if not folder or is_shards(folder) else list_images(folder)
    if listing is None:
        source: ImageSource = open_images(images, layout=layout)  # raises here what the fit would raise
        channels, height, width = source.shape
        pixels = source.pixels[:: -(-len(source) // PEEKED) or 1]
        grey = channels == 3 and not _has_color(pixels)  # stored in colour
        return 1 if grey else channels, max(height, width), len(source)
    return _look_into(listing.files)


def _look_into(files: list[Listed]) -> tuple[int, int, int]:
    from asterism.images.decode import Unreadable, decode, read_header

    step = -(-len(files) // PEEKED) or 1
    sides, grey = [0], True
    for file in files[::step]:
        try:
            header = read_header(file.path)
            sides.append(max(header.size))
            if grey and not header.is_grey:  # photographs end this at the first
                grey = sides[-1] <= SMALL_SIDE and not _has_color(decode(file.path))
        except Unreadable:
            continue
    return (1 if grey else 3), max(sides), len(files)


def _has_color(pixels: Any) -> bool:
    """Whether channels, the last axis, differ anywhere."""
    return bool((pixels != pixels[..., :1]).any())
