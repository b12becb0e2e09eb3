"""Oxford Buildings and Paris, searched as their authors do: DeepCluster's Table 5.

Both sets are a folder of photographs and one of ground truth, whose ``NAME_query.txt`` holds a photograph and a box in
it, ``NAME_good.txt`` and ``NAME_ok.txt`` what is to be found, and ``NAME_junk.txt`` what counts neither way. A query is
cut out to its box, a photograph's longer side is 1024 pixels, and region vectors are whitened as on the other set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from asterism.errors import InputError, MissingDataError
from asterism.features.reduce import Reduction, fit_reduction
from asterism.files import expanded
from asterism.images import Skipped
from asterism.images.decode import Unreadable, decode, read_header
from asterism.networks.body import Body
from asterism.training import Run
from asterism_papers.transfer.retrieval import FLOOR, average_precision, layer_maps, region_vectors
from asterism_papers.transfer.voc import list_text

LONGER_SIDE = 1024  # pixels of a photograph, §5.3
QUERY, PREFIX = "_query.txt", "oxc1_"  # Oxford's queries name their photographs with a prefix
SUFFIXES = (".jpg", ".jpeg", ".png")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Query:
    """What is asked.

    Attributes
    ----------
    photo : str
    box : tuple of float
        Left, top, right, bottom, in pixels of the photograph.
    wanted : frozenset of str
        Photographs that are good or ok.
    junk : frozenset of str
        Left out of the ranking.
    """

    photo: str
    box: Box
    wanted: frozenset[str]
    junk: frozenset[str]


@dataclass(frozen=True)
class Landmarks:
    """A folder with ground truth.

    Attributes
    ----------
    photos : dict of str to Path
        By their names without folder and ending.
    queries : list of Query
    """

    photos: dict[str, Path]
    queries: list[Query]


@dataclass
class LandmarkScores:
    """How well the queries' landmarks were found.

    Attributes
    ----------
    mean_average_precision : float
        Over the queries.
    n_queries, n_photos : int
    skipped : list of Skipped
        Photographs that cannot be read, some of Paris' are known to be damaged, and those that are listed as good or ok
        and are not there. They are neither found nor wanted.
    """

    mean_average_precision: float
    n_queries: int
    n_photos: int
    skipped: list[Skipped] = field(default_factory=list)


def is_landmarks(folder: str | Path) -> bool:
    """Whether a folder holds ground truth of this kind."""
    root = expanded(folder)
    return root.is_dir() and next(root.rglob(f"*{QUERY}"), None) is not None


def photos_in(folder: str | Path) -> dict[str, Path]:
    """Photographs in a folder and below, by their paths in it.

    Raises
    ------
    MissingDataError
        If there are none.
    """
    root = expanded(folder)
    paths = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise MissingDataError(f"{folder} holds no photographs ({', '.join(SUFFIXES)})")
    return {path.relative_to(root).as_posix(): path for path in paths}


def open_landmarks(folder: str | Path) -> Landmarks:
    """Photographs and ground truth, wherever in the folder they lie.

    Raises
    ------
    InputError
        If a list is not as it should be, or two photographs have one name.
    MissingDataError
        If there are no photographs, or a query's is not among them.
    """
    photos: dict[str, Path] = {}
    for path in photos_in(folder).values():
        if path.stem in photos:
            raise InputError(f"{photos[path.stem]} and {path} have one name, by which the lists call them: remove one")
        photos[path.stem] = path
    return Landmarks(photos, [_query(path, photos) for path in sorted(expanded(folder).rglob(f"*{QUERY}"))])


def _query(path: Path, photos: dict[str, Path]) -> Query:
    words = list_text(path).split()
    try:
        name, (left, top, right, bottom) = words[0].removeprefix(PREFIX), map(float, words[1:])
    except (IndexError, ValueError):
        raise InputError(f"{path}: expected PHOTO LEFT TOP RIGHT BOTTOM") from None
    if not (-math.inf < left < right < math.inf and -math.inf < top < bottom < math.inf):  # nan is none either
        raise InputError(f"{path}: the box {left:g} {top:g} {right:g} {bottom:g} is empty, or endless")
    if name not in photos:
        raise MissingDataError(f"{path}: there is no photograph {name}")
    good, ok, junk = (_listed(path, kind) for kind in ("good", "ok", "junk"))
    return Query(name, (left, top, right, bottom), good | ok, junk)


def _listed(path: Path, kind: str) -> frozenset[str]:
    listed = path.with_name(path.name.removesuffix(QUERY) + f"_{kind}.txt")
    if not listed.is_file():
        raise InputError(f"{listed} is missing beside {path.name}")
    return frozenset(list_text(listed).split())


def load_photo(path: Path, longer_side: int, n_channels: int, box: Box | None = None) -> torch.Tensor:
    """A photograph, or the part of it in a box, at the scale at which its longer side has so many pixels.

    Returns
    -------
    torch.Tensor of shape (1, C, H, W)
        In [0, 1].

    Raises
    ------
    Unreadable
    """
    height, width = read_header(str(path)).size
    scale = longer_side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = decode(str(path), size, n_channels=n_channels)  # (H, W, C)
    if box is not None:
        left, top, right, bottom = (round(edge * scale) for edge in box)
        pixels = pixels[max(0, top) : max(0, top + 1, bottom), max(0, left) : max(0, left + 1, right)]
    if pixels.size == 0:
        raise Unreadable("the query's box lies outside of it")
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float().div_(255)


@torch.no_grad()
def photo_regions(
    body: Body, layer: str, photos: dict[str, Path], longer_side: int, n_channels: int, run: Run, stage: str
) -> tuple[dict[str, torch.Tensor], list[Skipped]]:
    """Region vectors (regions, filters) of each photograph that can be read; each has a size of its own."""
    found, skipped = {}, []
    body.eval()
    run.progress.start(stage, len(photos))
    for name, path in photos.items():
        try:
            found[name] = _regions(body, layer, load_photo(path, longer_side, n_channels), run)
        except (Unreadable, InputError) as error:
            skipped.append(Skipped(str(path), str(error)))
        run.progress.advance(stage)
    run.progress.finish(stage, len(photos))
    return found, skipped


def _regions(body: Body, layer: str, image: torch.Tensor, run: Run) -> torch.Tensor:
    with run.runtime.autocast():
        maps = layer_maps(body, layer, image.to(run.runtime.device))
    return region_vectors(maps.float())[0].cpu()


def descriptor(regions: torch.Tensor, whitening: Reduction) -> torch.Tensor:
    """R-MAC (filters,): regions whitened and of length 1, summed, of length 1."""
    return F.normalize(whitening(regions).sum(0), dim=0)


@torch.no_grad()
def landmark_retrieval(
    body: Body,
    layer: str,
    landmarks: Landmarks,
    run: Run,
    *,
    whiten_on: dict[str, Path] | None = None,
    longer_side: int = LONGER_SIDE,
    n_channels: int = 3,
) -> LandmarkScores:
    """Search every query among all photographs.

    Parameters
    ----------
    body : Body
        On the run's device.
    layer : str
        Whose maps are taken.
    landmarks : Landmarks
    run : Run
    whiten_on : dict of str to Path, optional
        Photographs that the whitening is learnt on (`photos_in`): Paris' for Oxford and the other way round. By
        default those that are searched.
    longer_side : int, default=1024
    n_channels : int
        1 or 3.

    Raises
    ------
    InputError
        If no query can be searched.

    Notes
    -----
    One forward pass a photograph, of either set; memory: some twenty vectors a photograph, 250 MB for 6 000 and VGG-16.
    """
    regions, skipped = photo_regions(body, layer, landmarks.photos, longer_side, n_channels, run, "photos")
    others = regions
    if whiten_on is not None:
        others, more = photo_regions(body, layer, whiten_on, longer_side, n_channels, run, "whitening")
        skipped += [one for one in more if one not in skipped]
    if not regions or not others:
        raise InputError(f"no photograph can be used; {skipped[0].name}: {skipped[0].reason}")
    whitening = fit_reduction(lambda: iter(others.values()), next(iter(others.values())).shape[1], floor=FLOOR)
    names = np.array(list(regions))
    found = torch.stack([descriptor(one, whitening) for one in regions.values()])  # (N, filters)
    precisions = []
    for query in landmarks.queries:
        if query.photo in regions:
            part = _part(landmarks, query, longer_side, n_channels)
            try:
                asked = descriptor(_regions(body, layer, part, run), whitening)
            except InputError as error:
                raise InputError(f"the query's box in {landmarks.photos[query.photo]}: {error}") from None
            order = names[(found @ asked).argsort(descending=True, stable=True).numpy()]
            precisions.append(query_precision(order, query))
    if not precisions:
        raise InputError("no query's photograph can be used")
    listed = sorted(frozenset[str]().union(*(one.wanted for one in landmarks.queries)))
    skipped += [Skipped(name, "listed as good or ok, and not there") for name in listed if name not in landmarks.photos]
    return LandmarkScores(float(np.mean(precisions)), len(precisions), len(regions), skipped)


def _part(landmarks: Landmarks, query: Query, longer_side: int, n_channels: int) -> torch.Tensor:
    try:
        return load_photo(landmarks.photos[query.photo], longer_side, n_channels, query.box)
    except Unreadable as error:
        raise InputError(f"{landmarks.photos[query.photo]}: {error.reason}") from None


def query_precision(order: Iterable[str], query: Query) -> float:
    """Average precision of a ranking of photographs, best first; the query's own photograph is one of them."""
    ranked = np.array([name in query.wanted for name in order if name not in query.junk])
    return average_precision(ranked)
