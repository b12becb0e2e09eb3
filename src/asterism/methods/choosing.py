"""What ``--method auto`` takes: which method, and which pre-trained network, suits images, and how long it takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asterism.errors import MissingDataError, reason_of
from asterism.images.fetch import check_online
from asterism.networks.recommended import RECOMMENDED, TO_FETCH, Recommended, known_network, recommended, seconds_for

if TYPE_CHECKING:
    from asterism.images import ImageSource
    from asterism.images.listing import Listed

SMALL_SIDE = 64  # pixels: grey images up to this are digits, letters, faces, not photographs
PEEKED = 200  # files of a folder that are looked at
# JULE merges neighbours, 10 of each image in small groups: a group must have more than those.
JULE_GROUP, JULE_MOST = 20, 20_000
# The features where no network's weights can be had, or training takes too long. Beside pixels, one seed each, ACC:
# USPS .698 → .869, MNIST's test images .821 → .919.
WEIGHTLESS = "hog-color"
# Where groups are small the paper merges a fifth of the clusters a period instead of nine tenths (its faces): more
# periods, so for sets that do not take hours. Trials, one seed each: UMist .675 → .791, 20 of CMU-PIE's .914 → 1.000.
SMALL_GROUP, SLOWLY, SLOW_MOST = 100, "unroll_rate=0.2", 5_000
# Seconds of one processor for each image of 28×28 pixels, of the recorded runs (MNIST, USPS, CMU-PIE, within a factor
# of two), for the whole training. They hardly fall with more threads.
JULE_SECONDS, SLOW_SECONDS, DBC_SECONDS = 0.1, 0.2, 0.04
TRAINED_SIDE, LEAST_AREA = 28, 0.5
PATIENCE = 1800.0  # seconds of training that nobody has asked for
HALF_PRECISION = "bf16-mixed"
WORTH_HALVING = 60.0  # seconds of a feature pass from which half precision is worth its rounding


@dataclass(frozen=True)
class Choice:
    """A method, its settings as ``--set`` spells them, and why, in a clause.

    Attributes
    ----------
    method : str
    settings : tuple of str
    reason : str
    seconds : float or None
        About how long features or training will take on the processor; None where it is a few seconds.
    small : (int, int) or None
        Number and side of images that are grey and small, for which the choice depends on the number of groups.
    """

    method: str
    settings: tuple[str, ...]
    reason: str
    seconds: float | None = None
    small: tuple[int, int] | None = field(default=None, repr=False, compare=False)

    def for_groups(self, n_clusters: int) -> Choice:
        """The choice for the same images, now that the number of groups is known; nothing is looked at again."""
        return self if self.small is None else _for_small(*self.small, n_clusters)

    @property
    def network(self) -> str | None:
        """The network whose features are taken, as ``--set backbone.name`` spells it; None for the method's own."""
        return network_of(self.settings)

    @property
    def line(self) -> str:
        """The choice in one line."""
        takes = f"; this takes {about(self.seconds)} without a GPU" if self.seconds and self.seconds >= 10 else ""
        return f"auto: {self.method}, because {self.reason}{takes}; another with --method"


VECTORS = Choice("discriminant-diffusion", (), "these are vectors")


def choose(
    images: str,
    color: str | None = None,
    layout: str | None = None,
    n_clusters: int | None = None,
    *,
    say: Callable[[str], None] | None = None,
    reading: Mapping[str, Any] | None = None,
    network: str | None = None,
) -> Choice:
    """What suits images.

    Photographs and vectors get diffusion maps and a head that learns from their groups: photographs on the features of
    the best network of `asterism.networks.recommended` that is here; where none is, DINOv2-S is fetched, and where it
    cannot be had, diffusion maps of histograms of gradients and colours serve. Small grey images get a network that is
    learnt from them, unless that takes more than half an hour: then the same histograms.

    Parameters
    ----------
    images : str
        As ``asterism cluster`` takes them.
    color, layout, n_clusters
        As ``asterism cluster`` takes them.
    say : callable, optional
        Is told, in a line, that weights are about to be fetched.
    reading : mapping, optional
        Scale, pages and bands, as `asterism.images.open_images` takes them, where an array needs them.
    network : str, optional
        The network that was asked for by name: images of any kind are then grouped on its features.

    Returns
    -------
    Choice

    Raises
    ------
    InputError, MissingDataError
        If the images cannot be opened.

    Examples
    --------
    >>> from asterism.methods.choosing import choose
    >>> choose("photos/").line  # doctest: +SKIP
    """
    channels, side, n = _look(images, {"layout": layout, **(reading or {})}, say is not None)
    channels = {"rgb": 3, "grey": 1, "gray": 1}.get(color or "", channels)
    if side == 1:
        return VECTORS
    if network is not None:
        method = "diffusion" if network == WEIGHTLESS else "discriminant-diffusion"
        return Choice(method, (f"backbone.name={network}",), "backbone.name is set", seconds_for(network, n))
    if channels == 1 and side <= SMALL_SIDE:
        return _for_small(n, side, n_clusters)
    return _for_photographs(n, say)


def network_of(settings: Sequence[str]) -> str | None:
    """The network that ``backbone.name=NAME`` asks for, the last of several; None where no setting does."""
    named = {path.strip(): text.strip() for path, _, text in (one.partition("=") for one in settings)}
    return named.get("backbone.name") or None


def _for_small(n: int, side: int, n_clusters: int | None) -> Choice:
    """For n grey images of at most `SMALL_SIDE` pixels."""
    small = f"the images are grey and at most {SMALL_SIDE} pixels a side"
    looked, area = (n, side), max(LEAST_AREA, (side / TRAINED_SIDE) ** 2)
    trained = Choice("dbc", (), small, DBC_SECONDS * n * area, looked)
    if n_clusters is not None and n <= JULE_MOST and n >= JULE_GROUP * n_clusters:
        slowly = n < SMALL_GROUP * n_clusters and n <= SLOW_MOST
        seconds = (SLOW_SECONDS if slowly else JULE_SECONDS) * n * area
        trained = Choice("jule", (SLOWLY,) if slowly else (), f"{small}, {JULE_GROUP} a group or more", seconds, looked)
    if trained.seconds is None or trained.seconds <= PATIENCE:
        return trained
    why = f"{small}, and {trained.method}, which learns from them, would train {about(trained.seconds)}"
    reason = f"{why} (better groups: --method {trained.method})"
    return Choice("diffusion", (f"backbone.name={WEIGHTLESS}",), reason, small=looked)


def _for_photographs(n: int, say: Callable[[str], None] | None) -> Choice:
    """For n photographs: with the best network that is here, else the one that is fetched, else none."""
    network, why = known_network(), "are here"
    if network is None:
        wanted = next(one for one in RECOMMENDED if one.name == TO_FETCH)
        try:
            _fetch(wanted, say)
        except MissingDataError as error:
            better = f"much better groups: let {wanted.megabytes} MB be fetched, or see asterism backbones"
            reason = f"these are photographs, and no weights of a network could be had: {error} ({better})"
            return Choice("diffusion", (f"backbone.name={WEIGHTLESS}",), reason)
        network, why = TO_FETCH, "were fetched"
    reason = f"these are photographs and the weights of {network} {why}"
    return Choice("discriminant-diffusion", (f"backbone.name={network}",), reason, seconds_for(network, n))


def _fetch(network: Recommended, say: Callable[[str], None] | None) -> None:
    """Fetch the weights of a network; on a terminal a bar shows how much has come.

    Raises
    ------
    MissingDataError
        If fetching is not permitted, or nobody answers within seconds; the message is short.
    """
    try:
        check_online()
    except OSError as error:
        raise MissingDataError(str(error)) from error
    if say is not None:
        say(f"auto: fetching {network.name} ({network.megabytes} MB, {network.licence}), once; --offline does without")
    from asterism.networks import weights

    try:
        weights.fetched(network.name)
    except MissingDataError as error:
        raise MissingDataError(f"{network.name} cannot be fetched ({reason_of(error.__cause__ or error)})") from error


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers faster than float32 (AVX-512 BF16 or AMX)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def suitable_precision(choice: Choice) -> str | None:
    """``"bf16-mixed"`` where it halves a feature pass of a minute or more on this processor; else None.

    Features then have rounding errors of about a hundredth of their size.
    """
    known = choice.network is not None and recommended(choice.network) is not None
    worth = choice.seconds is not None and choice.seconds >= WORTH_HALVING
    return HALF_PRECISION if known and worth and has_fast_bfloat16() else None


def about(seconds: float) -> str:
    """A duration as one says it: "about 40 s", "about 2 min", "about 3 h"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 90 * 60 else f"about {round(seconds / 3600)} h"


def _look(images: str, reading: Mapping[str, Any], tell: bool) -> tuple[int, int, int]:
    """Channels, longer side and number of images; of files, from some of them. Colours may all be grey.

    Where it is to ``tell``, a bar shows how many files are listed.
    """
    from asterism.images import open_images
    from asterism.images.catalogue import PREFIX, named_set
    from asterism.images.convert import has_color
    from asterism.images.open import list_source
    from asterism.images.paths import TABLE_ENDINGS
    from asterism.training.progress import decoding_bar

    path = images
    if images.startswith(PREFIX):
        named = named_set(images)
        path = str(named.path or "") if named is not None else ""
    with decoding_bar(tell) as progress:
        listing = list_source(path, progress) if path else None
    if listing is None and path.lower().endswith(TABLE_ENDINGS) and os.path.isfile(os.path.expanduser(path)):
        return 1, 1, 0  # vectors, which are read when they are grouped
    if listing is None:
        source: ImageSource = open_images(images, **reading)  # raises here what the fit would raise
        channels, height, width = source.shape
        pixels = source.pixels[:: -(-len(source) // PEEKED) or 1]
        grey = channels == 3 and not has_color(pixels.numpy())  # stored in colour
        return 1 if grey else channels, max(height, width), len(source)
    return _look_into(listing.files)


def _look_into(files: list[Listed]) -> tuple[int, int, int]:
    from asterism.images.convert import has_color
    from asterism.images.decode import Unreadable, decode, read_header, read_sample

    step = -(-len(files) // PEEKED) or 1
    sides, grey, channels = [0], True, [0]
    for file in files[::step]:
        try:
            content = file.content
            header = read_header(content)
            sides.append(max(header.size))
            channels.append(header.n_channels)
            if grey and header.n_channels > 1:  # photographs end this at the first
                pixels = None
                if sides[-1] <= SMALL_SIDE:
                    pixels = read_sample(content, SMALL_SIDE**2) if header.is_deep else decode(content)
                grey = pixels is not None and not has_color(pixels)
        except Unreadable:
            continue
    return max(1 if grey else 3, 0 if max(channels) == 3 else max(channels)), max(sides), len(files)
