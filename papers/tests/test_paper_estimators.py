"""scikit-learn's own checks for the methods that only a table needs."""

import pytest

from asterism_papers.methods import (
    AECNN,
    CNN,
    EPCNN,
    LLECNN,
    NNAECNN,
    PCACNN,
    DAEKMeans,
    DeepSemiNMF,
    GraphNMF,
    InfiniteEnsemble,
    NormalizedCuts,
    TaskSpecificClustering,
)
from test_estimators import SAE_SHORT, SHORT, named_checks

CHECKED = [
    CNN(3),
    PCACNN(3),
    DAEKMeans(3, autoencoder=SAE_SHORT),
    AECNN(3, training=SHORT),
    EPCNN(3, n_sets=2),
    LLECNN(3),
    NNAECNN(3, training=SHORT, assign="spectral"),
    DeepSemiNMF(3, widths=(8, 4), max_updates=20),
    GraphNMF(3, n_factors=2),
    NormalizedCuts(3),
    InfiniteEnsemble(3, n_partitions=5),
    TaskSpecificClustering(3, n_atoms=8, training=SHORT),
]


@pytest.mark.parametrize(("estimator", "check"), named_checks(CHECKED))
def test_scikit_learn(estimator, check):
    check(estimator)
