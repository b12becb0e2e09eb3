"""Methods that only the papers' tables compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:  # `__getattr__` below finds the classes; this is for type checkers and editors
    from asterism_papers.methods.cnn_baselines import AECNN, CNN, EPCNN, LLECNN, NNAECNN, PCACNN
    from asterism_papers.methods.denoising import DAEKMeans
    from asterism_papers.methods.ensemble import InfiniteEnsemble
    from asterism_papers.methods.factorisation import DeepSemiNMF, GraphNMF
    from asterism_papers.methods.normalized_cuts import NormalizedCuts
    from asterism_papers.methods.task_specific import TaskSpecificClustering

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "cnn_baselines": ("AECNN", "CNN", "EPCNN", "LLECNN", "NNAECNN", "PCACNN"),
        "denoising": ("DAEKMeans",),
        "ensemble": ("InfiniteEnsemble",),
        "factorisation": ("DeepSemiNMF", "GraphNMF"),
        "normalized_cuts": ("NormalizedCuts",),
        "task_specific": ("TaskSpecificClustering",),
    },
)
