"""The papers' figures that are pictures and no numbers: the commands that draw them."""

from __future__ import annotations

from dataclasses import dataclass

_FIT = "asterism cluster data:{data} -k {k} --method {method} --out RUN"


@dataclass(frozen=True)
class Picture:
    """A figure without values to compare.

    Attributes
    ----------
    name : str
        As a table's, ``PAPER-figNUMBER``.
    title : str
    commands : tuple of str
        One after the other.
    shown : str
        Where to look then.
    """

    name: str
    title: str
    commands: tuple[str, ...]
    shown: str


_JULE = _FIT.format(data="mnist-test", k=10, method="jule")
_DBC = _FIT.format(data="mnist-test", k=10, method="dbc")
_DEEPCLUSTER = _FIT.format(data="cifar10-train", k=100, method="deepcluster")
_FILTERS = "asterism filters RUN"
_PAGE = "RUN/report.html"

PICTURES = {
    one.name: one
    for one in (
        Picture("jule-fig1", "Clusters at stages of the merging", (_JULE,), f"{_PAGE}, the stages and the merge tree"),
        Picture("jule-fig9", "Images in their embedding", (_JULE,), f"{_PAGE}, the map; 2-D embeddings: jule-13"),
        Picture("dbc-fig5", "Filters of FCAE", (_DBC,), f"{_PAGE}, the filters"),
        Picture("deepcluster-fig3", "First-layer filters", (_DEEPCLUSTER, _FILTERS), "RUN/filters/first-layer.png"),
        Picture("deepcluster-fig4", "Images made for a filter", (_DEEPCLUSTER, _FILTERS), "RUN/filters/*-ascent.png"),
        Picture(
            "deepcluster-fig5", "Images that please it most", (_DEEPCLUSTER, _FILTERS), "RUN/filters/*-strongest.png"
        ),
    )
}
