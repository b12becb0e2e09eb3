"""How many clusters? Vectors tell that only roughly; here are a number and a range around it.

Samples are merged along their neighbourhood graph (graph degree linkage), and the number of groups is where the graph's
modularity is highest (Newman and Girvan 2004): where links inside of groups exceed most what chance would put there.
That depends on how many neighbours the graph has. Few show small groups, many show large ones, and in a graph with more
neighbours than a group has members the group cannot be seen. So it is asked with 5, 10, 20 and 40, and what they say is
their answer; of many small groups they see too few. Two halves of the samples, each without the other, are asked too
(`asterism.clustering.stability`): on how many groups do they agree best, for the many that they tell apart? Their
answer is often above the true number, the graph's below; k is the geometric mean of the two, and the range holds both.
Equal samples count once; near copies too, where what is left falls into groups clearly.

Shown beside: silhouette (Rousseeuw 1987) and the gap after the k-th eigenvalue of the graph Laplacian (von Luxburg
2007). They decide nothing: silhouette likes two groups of nearly anything.

Around the groups of a run there are coarser and finer numbers, where groups are most stable (`stable_levels`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.utils import check_array

from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
from asterism.clustering.linkage import cut, merge
from asterism.clustering.linkage_tree import distinct_rows
from asterism.clustering.stability import stability_curve
from asterism.clustering.units import near_one
from asterism.clustering.wide import narrowed
from asterism.errors import InputError, reason_of
from asterism.runtime import usual_torch

GRID = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500)
SIZES = (5, 10, 20, 40)  # neighbours
MOST_SAMPLES = 2000  # of more images, so many are looked at
DIM = 50  # principal components
N_NEIGHBORS = 15  # of the graph whose eigenvalues are taken, and of the halves' graphs
PER_CLUSTER = 4  # images a cluster at least
NEAR_COPY = 0.005  # of the points' root mean square distance: nearer ones are copies but for noise
GIVEN = "choose the number yourself (-k, n_clusters)"
AGREED = 0.3  # stability from which two halves agree on a number of groups
SURE = 1.5  # answers of the neighbourhoods that differ by a smaller factor agree
LEVELS = ("coarse", "medium", "fine")
NEAR = 1.5  # a medium level has up to so many times more or fewer groups than the run
FARTHEST = 6  # a fine level has up to so many times more


@dataclass(frozen=True)
class Advice:
    """What `suggest_k` found.

    Attributes
    ----------
    ks : list of int
        The k that the curves are of.
    modularity : ndarray of shape (len(ks),)
        Mean over the neighbourhoods that count, each taken from its own highest: 0 is best.
    stability, silhouette, eigengap : ndarray of shape (len(ks),)
        The adjusted Rand index between what two halves say; the mean silhouette; the k-th gap over its neighbours'
        mean, times the k-th eigenvalue.
    answers : dict of int to int
        For each number of neighbours that counts, the k of highest modularity.
    agreed : int or None
        The k of highest stability · √(log k); None where no stability is above .3.
    k : int
        The geometric mean of the answers' own mean and of ``agreed``.
    low, high : int
        The least and the largest of all that was said.
    """

    ks: list[int]
    modularity: np.ndarray
    stability: np.ndarray
    silhouette: np.ndarray
    eigengap: np.ndarray
    answers: dict[int, int]
    agreed: int | None
    k: int
    low: int
    high: int

    @property
    def sentence(self) -> str:
        """What may be said, in one sentence."""
        seen = ", ".join(f"{k} with {size} neighbours" for size, k in self.answers.items())
        seen += "" if self.agreed is None else f"; two halves agree best on {self.agreed}"
        if self.agreed is None:
            reach, middle = f"k = {self.k}", ""
            if self.low < self.high:
                reach, middle = f"between {self.low} and {self.high}", f"; k = {self.k} is the middle"
            return f"unsure: {reach}, or no groups at all, for two halves agree on no number{middle} ({seen})."
        if len(self.answers) == 1:
            return f"unsure: k = {self.k} from a single view ({seen}); groups so small show in no larger one."
        if self.low == self.high:
            return f"k = {self.k}: the graph falls into so many groups however many neighbours it has ({seen})."
        if self.high <= SURE * self.low:
            return f"k = {self.k}, give or take: between {self.low} and {self.high} ({seen})."
        return (
            f"unsure: between {self.low} and {self.high}; k = {self.k} is the middle ({seen}): there are groups within "
            "groups, or none that stand apart."
        )


@usual_torch()
def suggest_k(X: np.ndarray, k_max: int | None = None, random_state: int = 0) -> Advice:
    """Sweep k over vectors.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Features, such as a pre-trained network gives; 50 principal components of at most 2 000 rows are used. Of
        equal rows one counts.
    k_max : int, optional
        Largest k; by default a quarter of the rows, 500 at most.
    random_state : int

    Returns
    -------
    Advice

    Raises
    ------
    InputError
        With fewer than 12 different rows, rows that are all the same, or fewer than two values of k to compare.

    Notes
    -----
    Cost: neighbours and silhouettes are O(n²·50), the eigenvalues O(n³) at worst, n at most 2 000; ten mergings.
    """
    if not (k_max is None or isinstance(k_max, (int, np.integer))):
        raise InputError(f"k_max={k_max!r} cannot be used: k_max must be an integer or None")
    try:
        rows = check_array(np.asarray(X), dtype=[np.float64, np.float32], ensure_min_samples=0)
    except (TypeError, ValueError) as error:
        raise InputError(reason_of(error)) from error
    rng, n_seen = np.random.RandomState(random_state), len(rows)
    kept = distinct_rows(rows)[0]  # copies of an image are no group
    rows = near_one(rows[kept[chosen_rows(len(kept), random_state)]])
    if len(rows) == 1 < n_seen:
        raise InputError(f"all images are the same: there is no number of groups to be found; {GIVEN}")
    if len(rows) < 3 * PER_CLUSTER:
        different = f"{len(rows)} different images (of {n_seen}) are" if len(rows) < n_seen else f"{n_seen} images are"
        few = different if n_seen > 1 else "1 image is"
        raise InputError(f"{few} too few to compare numbers of groups, for which {3 * PER_CLUSTER} are needed; {GIVEN}")
    limit = min(len(rows) // PER_CLUSTER, GRID[-1] if k_max is None else int(k_max))
    if limit < 3:
        raise InputError(f"k_max={k_max} leaves fewer than two numbers of groups to compare; give 3 or more")
    width = min(DIM, len(rows) - 1, rows.shape[1])
    with np.errstate(invalid="ignore"):  # vectors that are all the same have no share of variance to tell
        pca = PCA(width, random_state=rng).set_output(transform="default")  # a user may want tables of all that is his
        points = np.ascontiguousarray(pca.fit_transform(rows), np.float32)
    every, curves, answers = _asked(points, limit)
    apart = points[_first_of_heaps(points)]  # heaps of near copies are groups only where there are no larger ones
    if 3 * PER_CLUSTER <= len(apart) < len(points):
        without = _asked(apart, min(len(apart) // PER_CLUSTER, limit))
        if len(without[2]) > 1 and max(without[2].values()) <= SURE * min(without[2].values()):
            points, (every, curves, answers) = apart, without
    grid = sorted({one for one in GRID if one <= every[-1]} | {*answers.values()})
    stable = stability_curve(torch.from_numpy(points), grid, rng)
    agreed = _agreed(grid, stable)
    middle = float(np.mean(np.log([*answers.values()])))
    k = round(float(np.exp(middle if agreed is None else (middle + np.log(agreed)) / 2)))
    said = [*answers.values()] if agreed is None else [*answers.values(), agreed]
    ks = sorted({*grid, k})
    modularity = np.mean([curves[size] - curves[size].max() for size in answers], axis=0)[np.array(ks) - 2]
    graph, history = _tree(points, N_NEIGHBORS)
    silhouette = np.array([_silhouette(points, _groups(history, one)) for one in ks])
    stable = np.interp(ks, grid, np.nan_to_num(stable))  # 0 where halves have too few samples
    return Advice(ks, modularity, stable, silhouette, _eigengaps(graph, ks), answers, agreed, k, min(said), max(said))


def _agreed(ks: list[int], stable: np.ndarray) -> int | None:
    """The k of highest stability · √(log k): two halves agree on two groups of nearly anything, which says little."""
    worth = np.nan_to_num(stable * np.sqrt(np.log(ks)), nan=-1.0)
    best = int(worth.argmax())
    return ks[best] if np.nan_to_num(stable[best]) >= AGREED else None


def chosen_rows(n: int, random_state: int = 0) -> np.ndarray:
    """Which of n images are looked at, in order: all, or `MOST_SAMPLES` drawn at random."""
    return np.sort(np.random.RandomState(random_state).permutation(n)[:MOST_SAMPLES])


def _asked(points: np.ndarray, limit: int) -> tuple[np.ndarray, dict[int, np.ndarray], dict[int, int]]:
    """Every k, its modularity in graphs of so many neighbours, and the best k of those graphs that count."""
    n_initial = int(nearest_neighbor_components(knn(points, 1)[0]).max()) + 1
    every = np.arange(2, max(3, min(limit, n_initial)) + 1)
    curves = {size: _modularities(points, size, every) for size in SIZES if size < len(points)}
    answers = {size: int(every[values.argmax()]) for size, values in curves.items()}
    # A graph counts whose neighbourhoods are at most half of the groups that it shows.
    counted = {size: k for size, k in answers.items() if 2 * size * k <= len(points)}
    return every, curves, counted or dict([*answers.items()][:1])


def _first_of_heaps(points: np.ndarray) -> np.ndarray:
    """One point of each heap of near copies, as an image saved anew or cut by a pixel is."""
    found, squared = knn(points, min(N_NEIGHBORS, len(points) - 1))
    near = squared <= NEAR_COPY**2 * 2 * float(points.var(0, dtype=np.float64).sum())
    rows, columns = np.repeat(np.arange(len(points)), near.sum(1)), found[near]
    links = scipy.sparse.coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(len(points),) * 2)
    return np.unique(connected_components(links, directed=False)[1], return_index=True)[1]


def _tree(points: np.ndarray, size: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """A graph, and the linkage matrix of graph degree linkage on it, from samples joined with their nearest ones."""
    found = knn(points, size)
    initial = nearest_neighbor_components(found[0])
    start = initial if initial.max() > 0 else None  # else they are all one, as duplicates are
    graph = affinity_graph(found, size)[0]
    return graph, merge(graph, start, 2, features=points, isolated="always").history


def _groups(history: np.ndarray, k: int) -> np.ndarray:
    """Labels of k groups, or of as many as the tree begins with."""
    return cut(history, min(k, len(history) + 1 - int((history[:, 2] == 0).sum())))


def _modularities(points: np.ndarray, size: int, ks: np.ndarray) -> np.ndarray:
    """Q = Σ_c (links inside of c / all links − (degree of c / all degrees)²) of the merged groups, for each k."""
    graph, history = _tree(points, size)
    links = (graph + graph.T).tocoo()
    degrees = np.bincount(links.row, links.data, len(points)) / links.data.sum()
    found = []
    for k in ks:
        labels = _groups(history, int(k))
        inside = links.data[labels[links.row] == labels[links.col]].sum() / links.data.sum()
        found.append(inside - (np.bincount(labels, degrees) ** 2).sum())
    return np.array(found)


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    n_groups = len(np.unique(labels))
    return float(silhouette_score(points, labels)) if 1 < n_groups < len(points) else -1.0


def _eigengaps(graph: scipy.sparse.csr_matrix, ks: list[int]) -> np.ndarray:
    """λ_{k+1} − λ_k of I − D^(−½) A D^(−½), A of a graph of neighbours, over the mean of the gaps from k/2 to 2k.

    The gaps themselves shrink with k; over those around it a gap stands out or does not. The quotient is weighed with
    1 − λ_k: only where that is near 1 are there k groups with few links between them.
    """
    n, A = graph.shape[0], graph.maximum(graph.T)
    degree = scipy.sparse.diags(1 / np.sqrt(np.maximum(np.asarray(A.sum(1)).ravel(), 1e-12)))
    wanted = min(2 * ks[-1] + 2, n - 2)
    if wanted > n // 3:  # most of them: all at once is faster
        values = np.linalg.eigvalsh((degree @ A @ degree).toarray())[::-1][:wanted]
    else:
        start = np.full(n, n**-0.5)
        values = scipy.sparse.linalg.eigsh(degree @ A @ degree, wanted, which="LA", v0=start, return_eigenvectors=False)
        values = np.sort(values)[::-1]
    gaps = values[:-1] - values[1:]  # gaps[k − 1]: between the k-th and the next
    outstanding = [gaps[k - 1] / max(float(gaps[k // 2 : 2 * k].mean()), 1e-12) for k in ks]
    return np.array(outstanding) * np.maximum(values[np.array(ks) - 1], 0)


@dataclass(frozen=True)
class Level:
    """A number of groups, and how stable so many are.

    Attributes
    ----------
    name : {"coarse", "medium", "fine"}
    n_clusters : int
        The one of highest stability · √(log k) between ``low`` and ``high``.
    stability : float
        See `asterism.clustering.stability.stability_curve`.
    low, high : int
        Of the numbers that were tried.
    """

    name: str
    n_clusters: int
    stability: float
    low: int
    high: int


def stable_levels(rows: np.ndarray, n_clusters: int, random_state: np.random.RandomState) -> list[Level]:
    """Up to three levels: one coarser than the groups of a run, one about as fine, one finer.

    Parameters
    ----------
    rows : ndarray of shape (N, D)
        Features; of more than 2 000 so many are drawn. Wide ones are seen in their principal axes (`narrowed`).
    n_clusters : int
        Groups of the run.
    random_state : RandomState

    Returns
    -------
    list of Level
        From coarse to fine; a level is left out where there are no numbers of groups to choose from.
    """
    drawn = narrowed(rows, np.sort(random_state.permutation(len(rows))[:MOST_SAMPLES]))
    most = min(FARTHEST * n_clusters, len(drawn) // PER_CLUSTER)
    ks = np.array(sorted({k for k in (*GRID, n_clusters) if 2 <= k <= most}))
    stable = stability_curve(torch.from_numpy(near_one(drawn)), ks.tolist(), random_state)
    return levels_of_curve(ks, stable, n_clusters)


def levels_of_curve(ks: np.ndarray, stable: np.ndarray, n_clusters: int) -> list[Level]:
    """The levels around a number of groups, from the stability of several numbers.

    Parameters
    ----------
    ks : int64 ndarray of shape (n,)
        In increasing order.
    stable : ndarray of shape (n,)
        See `asterism.clustering.stability.stability_curve`; NaN, or 0, where it could not be told.
    n_clusters : int
        Levels have up to six times more.
    """
    known = (np.nan_to_num(stable) > 0) & (ks <= FARTHEST * n_clusters)
    ks, stable = ks[known], stable[known]
    coarse, fine = n_clusters > NEAR * ks, NEAR * n_clusters < ks
    found = []
    for name, there in zip(LEVELS, (coarse, ~coarse & ~fine, fine), strict=True):
        if there.any():
            best = int((stable * np.sqrt(np.log(ks)))[there].argmax())
            low, high = int(ks[there].min()), int(ks[there].max())
            found.append(Level(name, int(ks[there][best]), float(stable[there][best]), low, high))
    return found


def named_level(levels: list[Level], name: str) -> Level:
    """The level of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    for level in levels:
        if level.name == name:
            return level
    known = ", ".join(level.name for level in levels) or "none: the images are too few"
    raise InputError(f"there is no {name} level of these groups (levels: {known}); give a number of groups with -k")
