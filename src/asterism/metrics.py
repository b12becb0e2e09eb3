"""How well clusters agree with known classes: pure functions of two lists of labels.

Notation: n_ij samples lie in class i and cluster j, of N in all; a_i = Σ_j n_ij and b_j = Σ_i n_ij. Labels may be any
integers or strings, but not None or nan; only which samples share one matters, and a label such as −1 is a cluster like
any other. Every score is at most 1, and 1 where the two partitions are the same. One class and one cluster (or one
sample) are the same partition and score 1 everywhere; where only one side is split, NMI and ARI are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import linear_sum_assignment

from asterism.errors import InputError

# NMI's denominator, of both entropies. docs/papers/jule.md says which paper uses which.
AVERAGES: dict[str, Callable[[float, float], float]] = {
    "sqrt": lambda one, other: math.sqrt(one * other),
    "max": max,
    "arithmetic": lambda one, other: (one + other) / 2,
}

Labels = Sequence[Any] | np.ndarray


def contingency(y: Labels, labels: Labels) -> np.ndarray:
    """Count the samples of each class in each cluster.

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters, integers or strings.

    Returns
    -------
    (n_classes, n_clusters) int64 array
        n_ij, classes and clusters in sorted order. O(N log N) time.

    Raises
    ------
    InputError
        If the lengths differ, there is no sample, or one without a label (None, nan).
    """
    return _counted(y, labels)[0].toarray()


def accuracy(y: Labels, labels: Labels) -> float:
    """Clustering accuracy (ACC): the share of samples that the best one-to-one map of clusters to classes gets right.

    ACC = max_m (1/N) Σ_j n_{m(j) j} over the injective maps m, by the Hungarian method on the contingency table. Where
    the numbers of classes and clusters differ, samples in a cluster that is left without a class are wrong. JULE's
    bestMap, DBC and GSNMF all use this (docs/papers/jule.md).

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters.

    Returns
    -------
    float
        In (0, 1]. O(N log N + K³) time and O(N + K²) memory for K the number of classes and clusters that share samples
        with several.

    References
    ----------
    H. W. Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    return _accuracy(_counted(y, labels)[0])


def nmi(y: Labels, labels: Labels, average: str) -> float:
    """Normalised mutual information, NMI = I(y; labels) / M(H(y), H(labels)).

    I = Σ_ij (n_ij/N) log(N n_ij / (a_i b_j)) and H(y) = −Σ_i (a_i/N) log(a_i/N). The papers differ in M, so it is never
    left unnamed: on poor clusterings the choice moves the third digit and sometimes the second (docs/papers/jule.md).

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters; exchanging them changes nothing.
    average : {"sqrt", "max", "arithmetic"}
        M: √(H·H') (JULE, DeepCluster), max(H, H') (DBC, GSNMF) or (H+H')/2 (scikit-learn since 0.22).

    Returns
    -------
    float
        In [0, 1]; 1 where neither side is split, 0 where only one is. O(N log N).

    Raises
    ------
    InputError
        For another ``average``, or labels of different lengths.

    References
    ----------
    A. Strehl, J. Ghosh, "Cluster ensembles", 2002 (sqrt); T. O. Kvålseth, "Entropy and correlation", 1987 (arithmetic).
    """
    if average not in AVERAGES:
        raise InputError(f"average={average!r} cannot be used: average must be one of {', '.join(map(repr, AVERAGES))}")
    return _nmi(_counted(y, labels)[0], average)


def ari(y: Labels, labels: Labels) -> float:
    """Adjusted Rand index: agreement on pairs of samples, 0 on average for random labels.

    ARI = (S − E) / ((A + B)/2 − E) with S = Σ_ij C(n_ij, 2), A = Σ_i C(a_i, 2), B = Σ_j C(b_j, 2), E = A·B / C(N, 2).

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters; exchanging them changes nothing.

    Returns
    -------
    float
        In [−0.5, 1]. O(N log N).

    References
    ----------
    L. Hubert, P. Arabie, "Comparing partitions", 1985.
    """
    return _ari(_counted(y, labels)[0])


def purity(y: Labels, labels: Labels) -> float:
    """Share of samples that belong to the commonest class of their cluster: (1/N) Σ_j max_i n_ij.

    Rises to 1 as clusters become single samples, so it compares clusterings of the same number of clusters only.

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters.

    Returns
    -------
    float
        In (0, 1], never below the accuracy. O(N log N).

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schütze, "Introduction to Information Retrieval", 2008, §16.3.
    """
    return _purity(_counted(y, labels)[0])


def match_clusters(y: Labels, labels: Labels) -> dict[Any, Any]:
    """Name clusters by classes: the one-to-one map that `accuracy` counts with.

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters.

    Returns
    -------
    dict
        Cluster -> class, in the types that came in. With more clusters than classes, those left without a class are
        not in it; nor is a cluster whose class would share no sample with it.
    """
    table, classes, clusters = _counted(y, labels)
    pairs = zip(*_matched(table), strict=True)
    return dict(sorted((clusters[col].item(), classes[row].item()) for row, col in pairs))


def scores(y: Labels, labels: Labels) -> dict[str, float]:
    """Every score that the papers' tables print.

    Parameters
    ----------
    y, labels : array-like of shape (N,)
        Known classes and found clusters.

    Returns
    -------
    dict
        ``acc``, ``nmi_sqrt``, ``nmi_max``, ``nmi_arith``, ``ari``, ``purity`` and ``n_clusters``, the number of
        different labels.
    """
    table, _, clusters = _counted(y, labels)
    return {
        "acc": _accuracy(table),
        "nmi_sqrt": _nmi(table, "sqrt"),
        "nmi_max": _nmi(table, "max"),
        "nmi_arith": _nmi(table, "arithmetic"),
        "ari": _ari(table),
        "purity": _purity(table),
        "n_clusters": len(clusters),
    }


def _counted(y: Labels, labels: Labels) -> tuple[scipy.sparse.csr_array, np.ndarray, np.ndarray]:
    """The contingency table without its zeros (it has as many numbers as samples at most), its classes and clusters."""
    first, second = _vector("y", y), _vector("labels", labels)
    if len(first) != len(second):
        raise InputError(
            f"y has {len(first)} entries and labels has {len(second)}: they must describe the same samples"
        )
    if len(first) == 0:
        raise InputError("y and labels are empty (n_samples=0): there is nothing to score")
    classes, i = np.unique(first, return_inverse=True)
    clusters, j = np.unique(second, return_inverse=True)
    counts = scipy.sparse.coo_array((np.ones(len(i), np.int64), (i, j)), shape=(len(classes), len(clusters)))
    return counts.tocsr(), classes, clusters


def _vector(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "cpu"):  # a tensor, perhaps on a GPU, of a kind that numpy has not
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    if np.ma.is_masked(values):
        values = values.tolist()  # None where masked
    try:
        vector = np.asarray(values)
        if vector.dtype.kind == "U" and not isinstance(values, np.ndarray):  # of a list: a nan in it became a text
            vector = np.asarray(values, object)
    except ValueError as error:
        raise InputError(
            f"{name} must be one label a sample, shape (N,); its entries are of several lengths"
        ) from error
    if vector.ndim != 1:
        raise InputError(f"{name} must be one label a sample, shape (N,); got shape {vector.shape}")
    if n_missing := _n_missing(vector):
        raise InputError(
            f"{name} has no label for {n_missing} of {len(vector)} samples (None or nan): leave them out of both lists"
        )
    if vector.dtype == object:  # as pandas holds them: numbers stay numbers
        plain = np.array([str(one) if isinstance(one, str) else one for one in vector.tolist()])
        vector = plain if plain.ndim == 1 and plain.dtype != object else vector.astype(str)
    return vector


def _n_missing(vector: np.ndarray) -> int:
    """How many entries are no label: nan, None, pandas' NA."""
    if vector.dtype.kind != "O":
        return int(np.isnan(vector).sum()) if vector.dtype.kind in "fcmM" else 0
    odd = (one for one in vector.tolist() if not isinstance(one, (str, int)))
    return sum(one is None or str(one) in ("nan", "<NA>", "NaT") for one in odd)


def _matched(table: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Classes and clusters of the best one-to-one map: pairs that share samples.

    Of classes that lie in one cluster alone its largest is the only one that matters to it, and the other way round. So
    little is left for a dense table where nearly all labels differ.
    """
    pairs = table.tocoo()
    order = np.argsort(-pairs.data, kind="stable")
    i, j = pairs.row[order], pairs.col[order]
    for _ in range(2):  # classes, then clusters
        several, first = np.bincount(i)[i] > 1, np.zeros(len(i), bool)
        first[np.unique(np.where(several, -1, j), return_index=True)[1]] = True
        i, j = j[several | first], i[several | first]
    alone = (np.bincount(i)[i] == 1) & (np.bincount(j)[j] == 1)
    rows, columns = np.unique(i[~alone]), np.unique(j[~alone])
    rest = table[rows][:, columns].toarray()
    row, column = linear_sum_assignment(rest, maximize=True)
    shared = rest[row, column] > 0
    return np.append(i[alone], rows[row[shared]]), np.append(j[alone], columns[column[shared]])


def _accuracy(table: scipy.sparse.csr_array) -> float:
    return float(table[_matched(table)].sum() / table.sum())


def _purity(table: scipy.sparse.csr_array) -> float:
    return float(table.max(axis=0).sum() / table.sum())


def _nmi(table: scipy.sparse.csr_array, average: str) -> float:
    if max(table.shape) == 1:
        return 1.0
    n, rows, columns = table.sum(), table.sum(axis=1), table.sum(axis=0)
    pairs = table.tocoo()
    i, j, shares = pairs.row, pairs.col, pairs.data / n
    mutual = float((shares * (np.log(shares) - np.log(rows[i] / n) - np.log(columns[j] / n))).sum())
    if mutual <= np.finfo(float).eps:
        return 0.0
    return min(1.0, mutual / AVERAGES[average](_entropy(rows / n), _entropy(columns / n)))


def _entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log(shares)).sum())


def _ari(table: scipy.sparse.csr_array) -> float:
    """From the pairs of samples, in integers of any length: those of both sides, of one alone, of neither."""
    n = int(table.sum())
    both, rows, columns = (int((one.astype(object) ** 2).sum()) for one in (table.data, table.sum(1), table.sum(0)))
    same, first, second = both - n, rows - both, columns - both
    none = n * n - first - second - both
    if first == second == 0:
        return 1.0
    return 2 * (same * none - first * second) / ((same + first) * (first + none) + (same + second) * (second + none))
