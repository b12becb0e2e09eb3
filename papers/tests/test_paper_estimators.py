"""scikit-learn's own checks for the methods that only a table needs."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

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

# One of each base that the methods share; the others are checked by `make slow`.
CHECKED = [
    DAEKMeans(3, autoencoder=SAE_SHORT),
    EPCNN(3, n_sets=2),
    DeepSemiNMF(3, widths=(8, 4), max_updates=20),
    InfiniteEnsemble(3, n_partitions=5),
    TaskSpecificClustering(3, n_atoms=8, training=SHORT),
]
ALIKE = [
    CNN(3),
    PCACNN(3),
    AECNN(3, training=SHORT),
    LLECNN(3),
    NNAECNN(3, training=SHORT, assign="spectral"),
    GraphNMF(3, n_factors=2),
    NormalizedCuts(3),
]


@pytest.mark.parametrize(("estimator", "check"), named_checks(CHECKED))
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALIKE, ids=lambda one: type(one).__name__)
def test_scikit_learn_once_more(estimator):
    check_estimator(estimator, on_skip=None)
