"""k-means against hand-made values, a slow transcription, scikit-learn and itself by other ways."""

import importlib
import os
import subprocess
import sys
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import typeof
from sklearn.cluster import KMeans

from asterism.clustering import kmeans_step
from asterism.clustering.kmeans import assign, kmeans
from asterism.clustering.kmeans_step import ProductStep, TileStep, Workers
from asterism.errors import InputError

module = importlib.import_module("asterism.clustering.kmeans")  # of which the package's name is the function


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2  # k-means gives back what it changed
    torch.set_num_threads(before)


def blobs(n, dim, k, spread=1.0, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    means = spread * rng.normal(size=(k, dim))
    return (means[rng.integers(k, size=n)] + rng.normal(size=(n, dim)) + shift).astype(np.float32)


def some_rows(X, k, seed=1):
    return X[np.random.default_rng(seed).choice(len(X), k, replace=False)]


def squared_distances(X, centers):
    return ((X[:, None].astype(float) - np.asarray(centers)[None].astype(float)) ** 2).sum(2)


def slow_lloyd(X, centers, max_iter):
    """The definition, in float64; empty clusters keep their center."""
    labels = None
    for _ in range(max_iter):
        before, labels = labels, squared_distances(X, centers).argmin(1)
        if before is not None and (before == labels).all():
            break
        centers = np.stack(
            [X[labels == j].astype(float).mean(0) if (labels == j).any() else c for j, c in enumerate(centers)]
        )
    distances = squared_distances(X, centers)
    return distances.argmin(1), centers, distances.min(1).sum()


# --- values by hand ---------------------------------------------------------------------------------------------------


def test_four_points_by_hand():
    found = kmeans(np.array([[0.0], [1], [10], [11]]), 2, init=[[0.0], [1]], tol=0)
    # 0 | 1 10 11 → means 0, 22/3; 0 1 | 10 11 → means 1/2, 21/2; the same again
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.labels.dtype == np.int64
    assert found.centers.ravel().tolist() == [0.5, 10.5]
    assert (found.inertia, found.n_iter, found.n_empty) == (1.0, 3, 0)


def test_split_moves_both_halves_by_the_rule_of_faiss():
    centers = torch.tensor([[1024.0, 2048, -1024], [5, 5, 5], [7, 7, 7]], dtype=torch.float64)
    found = module._split(centers, torch.tensor([9.0, 0, 1]), np.random.RandomState(0))
    assert found[1].tolist() == [1025, 2046, -1025]
    assert found[0].tolist() == [1023, 2050, -1023]
    assert found[2].tolist() == [7, 7, 7]  # a single row is never split


def test_split_halves_the_count_of_the_donor():
    """Two empty clusters, one donor of 3: after 3 → 1 + 2 → (1 + 1) nothing is left to split."""
    centers = torch.tensor([[64.0], [0], [0], [0]], dtype=torch.float64)
    found = module._split(centers, torch.tensor([3.0, 0, 0, 0]), np.random.RandomState(0))
    assert found[1] != 0 and found[2] != 0 and found[3] == 0


def test_spherical_compares_angles():
    X = np.array([[1.0, 0.1], [100, -10], [0.1, 1], [-3, 30]])
    found = kmeans(X, 2, init=[[5.0, 1], [1, 5]], spherical=True, tol=0)
    assert found.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.centers, [[1, 0], [0, 1]], atol=1e-7)
    cosine = 1 / np.sqrt(1.01)
    assert found.inertia == pytest.approx(4 * (2 - 2 * cosine), rel=1e-5)


def test_one_cluster_is_the_mean_and_n_clusters_are_the_rows():
    X = blobs(50, 3, 2)
    np.testing.assert_allclose(kmeans(X, 1).centers[0], X.mean(0), atol=1e-6)
    found = kmeans(X, 50, random_state=0)
    assert found.inertia == 0 and found.n_empty == 0
    assert sorted(found.labels.tolist()) == list(range(50))


def test_sums_are_exact_far_from_zero():
    """float32 sums of many rows near 1000 are off in the fourth digit; ours are not."""
    X = (1000 + np.random.default_rng(0).normal(size=(400_000, 1))).astype(np.float32)
    assert kmeans(X, 1).centers[0, 0] == np.float32(X.astype(float).mean())


# --- oracles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, dim, k", [(500, 2, 3), (2000, 30, 10), (1500, 8, 80), (300, 5, 64)])
@pytest.mark.parametrize("shift", [0, 300])
def test_equals_the_definition(n, dim, k, shift):
    X = blobs(n, dim, k, spread=2, shift=shift)
    init = some_rows(X, k)
    labels, centers, inertia = slow_lloyd(X, init, 50)
    found = kmeans(X, k, init=init, tol=0, max_iter=50, empty="keep")
    assert found.inertia == pytest.approx(inertia, rel=1e-5)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.centers, centers, atol=1e-5 * (1 + shift))


@pytest.mark.parametrize("n, dim, k", [(3000, 12, 8), (3000, 40, 100)])
def test_equals_scikit_learn(n, dim, k):
    X = blobs(n, dim, k, spread=2)
    init = some_rows(X, k)
    theirs = KMeans(k, init=init, n_init=1, tol=0, max_iter=30).fit(X)
    ours = kmeans(X, k, init=init, tol=0, max_iter=30)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    assert ours.n_iter == theirs.n_iter_


def test_tolerance_is_that_of_scikit_learn():
    X = blobs(3000, 5, 6, spread=0.5)
    init = some_rows(X, 6)
    for tol in (1e-2, 1e-3, 1e-4):
        theirs = KMeans(6, init=init, n_init=1, tol=tol).fit(X)
        assert kmeans(X, 6, init=init, tol=tol).n_iter == theirs.n_iter_


def test_farthest_equals_scikit_learn():
    X = blobs(2000, 6, 5, spread=4)
    init = np.concatenate([some_rows(X, 3), np.full((2, 6), 1e3, np.float32)])  # two that no row is near to
    theirs = KMeans(5, init=init, n_init=1, tol=0).fit(X)
    ours = kmeans(X, 5, init=init, tol=0, empty="farthest")
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)


@pytest.mark.parametrize(
    "n, dim, k, n_init, shift",
    [
        (2000, 3, 4, 3, 0),
        (3000, 10, 30, 2, 0),
        (3000, 6, 64, 2, 0),
        (4000, 20, 150, 1, 0),
        (3000, 8, 1300, 1, 0),
        (2000, 6, 90, 1, 50),
    ],
)
def test_every_label_of_every_step_is_the_nearest(monkeypatch, n, dim, k, n_init, shift):
    """Bounds skip most distances; none that mattered. Structureless data has the most near ties."""
    X, steps = blobs(n, dim, 1, shift=shift), []
    plain = TileStep.step

    def checked(self, centers, previous, runs):
        found = plain(self, centers, previous, runs)
        for a, run in enumerate(runs):
            distances = torch.cdist(
                torch.from_numpy(X).double(), centers[a], compute_mode="donot_use_mm_for_euclid_dist"
            )
            own = distances.gather(1, self.labels(0, run)[:, None])[:, 0]
            gap = (own.square() - distances.amin(1).square()).max() / X.var(0).sum()
            assert gap < (1e-5 if shift else 3e-6)
            steps.append(run)
        return found

    monkeypatch.setattr(TileStep, "step", checked)
    kmeans(X, k, init="random", n_init=n_init, tol=0, max_iter=25, random_state=0)
    assert len(steps) > 3


# --- the same by another way ------------------------------------------------------------------------------------------


def same(one, other, exact=True):
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.centers, other.centers, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)
    assert one.inertia == pytest.approx(other.inertia, rel=1e-6)
    assert (one.n_iter, one.n_empty) == (other.n_iter, other.n_empty)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("spherical", [False, True])
def test_blocks_equal_the_whole(tmp_path, init, spherical):
    X = blobs(900, 7, 5)
    parts = [X[:400], X[400:401], X[401:401], X[401:]]
    run = partial(kmeans, n_clusters=5, init=init, n_init=2, spherical=spherical, random_state=3)
    whole = run(X)
    same(run(parts), whole, exact=False)
    same(run(lambda: iter(parts)), whole, exact=False)
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no word about memory that cannot be written to
        same(run([np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in (0, 1, 3)]), whole, exact=False)
    labels, distances = assign(parts, whole.centers, spherical)
    np.testing.assert_array_equal(labels, whole.labels)
    assert distances.sum() == pytest.approx(whole.inertia, rel=1e-5)


class TwoRanks:
    """An all-reduce between two threads, in place, as process groups may do it."""

    def __init__(self):
        self.barrier, self.slots = threading.Barrier(2, timeout=30), [None, None]

    def reduce(self, rank, value):
        self.slots[rank] = value.clone()
        self.barrier.wait()
        value.copy_(self.slots[0] + self.slots[1])
        self.barrier.wait()
        return value

    def run(self, parts, seeds=(0, 0), **settings):
        results = [None, None]

        def work(rank):
            try:
                group = {"reduce": partial(self.reduce, rank), "rank": rank, "random_state": seeds[rank]}
                results[rank] = kmeans(parts[rank], **group, **settings)
            except Exception as error:
                results[rank] = error
                self.barrier.abort()

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        torch.set_num_threads(torch.get_num_threads())  # what the threads set became the default of new threads
        return results


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("k, empty", [(6, "split"), (80, "split"), (6, "farthest")])
def test_two_ranks_equal_one(init, k, empty):
    X = blobs(1200, 6, k, spread=3)
    settings = {"n_clusters": k, "init": init, "n_init": 2, "empty": empty, "random_state": 5, "max_iter": 40}
    one = kmeans(X, **settings)
    del settings["random_state"]  # that of the first counts
    first, second = TwoRanks().run([X[:500], [X[500:700], X[700:]]], seeds=(5, None), **settings)
    np.testing.assert_array_equal(first.centers, second.centers)
    assert first[2:] == second[2:]
    joined = first._replace(labels=np.concatenate([first.labels, second.labels]))
    same(joined, one, exact=False)


def test_two_ranks_relocate_and_split_alike():
    X = blobs(800, 4, 4, spread=5)
    init = np.concatenate([some_rows(X, 2), np.full((3, 4), 1e3, np.float32)])
    for empty in ("farthest", "split", "keep"):
        one = kmeans(X, 5, init=init, empty=empty, tol=0, random_state=0)
        first, second = TwoRanks().run([X[:100], X[100:]], n_clusters=5, init=init, empty=empty, tol=0)
        same(first._replace(labels=np.concatenate([first.labels, second.labels])), one, exact=False)


def test_two_ranks_must_say_which_they_are():
    settings = {"n_clusters": 2, "random_state": 0}
    barrier = TwoRanks()
    results = [None, None]

    def work(i):
        with pytest.raises(InputError, match="pass rank=, 0 to 1") as caught:
            kmeans(blobs(50, 2, 2), reduce=partial(barrier.reduce, i), **settings)
        results[i] = caught

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(results)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    """A real process group."""
    X = blobs(1000, 6, 4)
    np.save(tmp_path / "X.npy", X)
    script = """
import sys, numpy as np, torch, torch.distributed as group
from asterism.clustering.kmeans import kmeans
rank, folder = int(sys.argv[1]), sys.argv[2]
group.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
def reduce(value):
    group.all_reduce(value)
    return value
X = np.load(folder + "/X.npy")[rank::2]
found = kmeans(X, 4, reduce=reduce, rank=rank, random_state=0)
np.savez(f"{folder}/{rank}.npz", **found._asdict())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script]
    processes = [subprocess.Popen([*command, str(rank), str(tmp_path)], env=environment) for rank in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    one = kmeans(np.concatenate([X[::2], X[1::2]]), 4, random_state=0)
    parts = [np.load(tmp_path / f"{rank}.npz", allow_pickle=False) for rank in range(2)]
    np.testing.assert_array_equal(parts[0]["centers"], parts[1]["centers"])
    np.testing.assert_array_equal(np.concatenate([part["labels"] for part in parts]), one.labels)
    np.testing.assert_allclose(parts[0]["centers"], one.centers, atol=1e-5)


def test_restarts_side_by_side_equal_restarts_alone():
    X = blobs(3000, 9, 12)
    starts = np.stack([some_rows(X, 12, seed) for seed in range(7)])
    alone = [kmeans(X, 12, init=start, tol=1e-3) for start in starts]
    together = kmeans(X, 12, init=starts, tol=1e-3)
    best = min(alone, key=lambda found: found.inertia)
    same(together, best, exact=False)
    assert len({round(found.inertia) for found in alone}) > 1


def test_same_seed_same_result_whatever_the_threads():
    X = blobs(20_000, 20, 8, spread=0.5)
    run = partial(kmeans, X, 8, init="random", n_init=3, tol=0, max_iter=30, random_state=7)
    one = run()
    same(run(), one)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        same(run(), one)
    torch.set_num_threads(2)
    assert (run(random_state=8).labels != one.labels).any()


@pytest.mark.parametrize("n_rows", [1, 7])
def test_smaller_tiles_change_nothing(n_rows, monkeypatch):
    X = blobs(150, 4, 70)
    for k in (5, 70):
        whole = kmeans(X, k, random_state=0)
        with monkeypatch.context() as patched:
            patched.setattr(kmeans_step, "MAX_ROWS", n_rows)
            same(kmeans(X, k, random_state=0), whole, exact=False)


@pytest.mark.parametrize("k, shift", [(6, 0), (100, 0), (6, 500)])
def test_plain_torch_equals_tiles(monkeypatch, k, shift):
    """The way of the GPU, on the CPU."""
    X = torch.from_numpy(blobs(1500, 10, k, spread=2, shift=shift))
    run = partial(kmeans, [X[:600], X[600:]], k, n_init=2, random_state=1, max_iter=20)
    tiles = run()

    def step(rows, n_runs, k, workers):
        found = ProductStep(rows, n_runs, k)
        found.chunk = 128
        return found

    monkeypatch.setattr(module, "_step", step)
    same(run(), tiles, exact=False)
    same(run(empty="farthest"), tiles, exact=False)


@pytest.mark.gpu
def test_gpu_equals_cpu():
    X = torch.from_numpy(blobs(5000, 16, 10, spread=2))
    on_gpu = kmeans(X.cuda(), 10, random_state=0)
    assert on_gpu.labels.is_cuda
    same(
        on_gpu._replace(labels=on_gpu.labels.cpu(), centers=on_gpu.centers.cpu()), kmeans(X, 10, random_state=0), False
    )


# --- empty clusters, duplicates, limits -------------------------------------------------------------------------------


def test_what_an_empty_cluster_does():
    X = blobs(300, 3, 2, spread=6)
    far = np.full((1, 3), 1e3, np.float32)
    init = np.concatenate([some_rows(X, 2), far])
    kept = kmeans(X, 3, init=init, empty="keep")
    assert kept.n_empty == 1
    np.testing.assert_array_equal(kept.centers[2], far[0])
    for empty in ("split", "farthest"):
        found = kmeans(X, 3, init=init, empty=empty, random_state=0)
        assert found.n_empty == 0 and found.inertia < kept.inertia


@pytest.mark.parametrize("empty", ["split", "farthest", "keep"])
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("spherical", [False, True])
def test_fewer_distinct_rows_than_clusters(empty, init, spherical):
    for distinct in (1, 3):
        X = np.repeat(blobs(distinct, 4, 2, seed=2), 10, axis=0)
        found = kmeans(X, 6, empty=empty, init=init, spherical=spherical, random_state=0, n_init=4)
        assert found.inertia < 1e-4
        assert found.n_empty >= 6 - distinct
        assert found.n_iter <= (20 if empty == "split" or spherical else 4)  # and not max_iter
        for i in range(distinct):
            assert len(set(found.labels[10 * i : 10 * i + 10])) == 1
    zeros = kmeans(np.zeros((9, 2)), 3, empty=empty, init=init, spherical=spherical, random_state=0)
    assert np.isfinite(zeros.centers).all() and set(zeros.labels) == {0}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 12), dim=st.integers(1, 5), duplicates=st.booleans())
def test_inertia_never_rises(seed, k, dim, duplicates):
    X = blobs(60, dim, 3, seed=seed)
    X = np.round(X) if duplicates else X
    init = some_rows(X, k, seed)
    inertias = [kmeans(X, k, init=init, tol=0, max_iter=n, empty="keep").inertia for n in range(1, 6)]
    assert all(later <= earlier * (1 + 1e-5) + 1e-6 for earlier, later in zip(inertias, inertias[1:], strict=False))
    found = kmeans(X, k, init=init, tol=0, empty="keep")
    assert inertias[-1] >= squared_distances(X, found.centers).min(1).sum() * (1 - 1e-5) - 1e-6
    np.testing.assert_array_equal(assign(X, found.centers)[0], found.labels)


def test_plus_plus_finds_every_far_blob():
    X = blobs(2000, 5, 8, spread=100)
    for seed in range(5):
        found = kmeans(X, 8, random_state=seed)
        assert found.inertia < 1.1 * 5 * 2000


def test_plus_plus_draws_in_proportion_to_the_squared_distance():
    """Rows at 0, 1 and 3 from the first center, one candidate each time: 1 : 9."""
    sample = torch.tensor([[0.0], [1], [3]])
    chosen = [module._plus_plus(sample, 2, [np.random.RandomState(seed)])[0].tolist() for seed in range(400)]
    from_zero = [second for first, second in chosen if first == 0]
    # two candidates a draw, and row 2 leaves the least inertia: row 1 only if drawn twice, (1/10)²
    assert len(from_zero) > 80 and from_zero.count(1) / len(from_zero) < 0.06
    assert all(first != second for first, second in chosen)


def test_the_input_decides_what_comes_out():
    X = blobs(60, 3, 2)
    tensors = kmeans(torch.from_numpy(X).double().requires_grad_(), 2, random_state=0)
    assert tensors.labels.dtype == torch.int64 and tensors.centers.dtype == torch.float32
    arrays = kmeans(X.tolist(), 2, random_state=0)
    assert isinstance(arrays.labels, np.ndarray) and isinstance(arrays.centers, np.ndarray)
    np.testing.assert_array_equal(arrays.labels, tensors.labels)
    assert isinstance(assign([torch.from_numpy(X)], arrays.centers)[1], torch.Tensor)
    before = X.copy()
    kmeans(X, 3, spherical=True)
    np.testing.assert_array_equal(X, before)


def test_assign_by_brute_force():
    X = blobs(700, 5, 3)
    centers = some_rows(X, 130)
    labels, distances = assign(X, centers)
    truth = squared_distances(X, centers)
    np.testing.assert_array_equal(labels, truth.argmin(1))
    np.testing.assert_allclose(distances, truth.min(1), rtol=1e-5)
    assert (distances == 0).sum() == 130
    assert assign(np.ones((3, 2)), np.ones((4, 2)))[0].tolist() == [0, 0, 0]  # ties go to the lower number
    labels, distances = assign(X, 7 * centers, spherical=True)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    truth = squared_distances(unit, centers / np.linalg.norm(centers, axis=1, keepdims=True))
    np.testing.assert_allclose(distances, truth.min(1), atol=1e-6)


def test_assign_to_more_centers_than_one_product_holds():
    x = np.random.default_rng(0).normal(size=(2600, 3)).astype(np.float32)
    centers = x[:2500:2]  # 1250: a row's distance to the first 1024 has to last until the others are seen
    labels, distances = assign(x, centers)
    np.testing.assert_allclose(distances, squared_distances(x, centers).min(1), atol=1e-5)
    np.testing.assert_array_equal(labels[:2500:2], np.arange(1250))


def test_errors_say_what_to_change():
    X = blobs(5, 2, 2)
    hole = X.copy()
    hole[3, 1] = np.nan
    shrinking = iter([[X, X], [X, X[:2]]])
    cases = [
        (lambda: kmeans(X, 8), r"n_samples=5 should be >= n_clusters=8"),
        (lambda: kmeans(hole, 2), "NaN or infinity"),
        (lambda: kmeans([X, np.full((2, 2), np.inf)], 2), "NaN or infinity"),
        (lambda: kmeans(iter([X]), 2), "more than once"),
        (lambda: kmeans(lambda: next(shrinking), 2), "block 1 of X changed its shape"),
        (lambda: kmeans([X, X[:, :1]], 2), "blocks of 2 and of 1 features"),
        (lambda: kmeans(lambda: [], 2), "n_samples=0"),
        (lambda: kmeans(X[0], 2), r"shape \(N, D\); got shape \(2,\)"),
        (lambda: kmeans([["a", "b"]], 1), "cannot be read as numbers"),
        (lambda: kmeans(X, 0), "n_clusters=0 cannot be used: n_clusters must be an integer >= 1"),
        (lambda: kmeans(X, 2, n_init=0), "n_init=0"),
        (lambda: kmeans(X, 2, max_iter=0.5), "max_iter=0.5"),
        (lambda: kmeans(X, 2, tol=-1), "tol=-1"),
        (lambda: kmeans(X, 2, empty="drop"), "'split', 'farthest' or 'keep'"),
        (lambda: kmeans(X, 2, init="best"), "'k-means\\+\\+', 'random' or an array"),
        (lambda: kmeans(X, 2, init=X), r"init of shape \(1, 5, 2\) must be \(2, 2\)"),
        (lambda: assign(X, np.zeros((3, 4))), "do not fit rows of 2 features"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()


def test_workers_give_torch_its_threads_back_after_an_error():
    def fail(job):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Workers() as workers:
        workers.run(fail, range(5))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


def test_torch_takes_no_threads_while_workers_compute(monkeypatch):
    """They waited awake for this thread's next small sum, on the workers' cores: two threads were slower than one."""
    seen, step, rows = [], TileStep.step, module._Rows.__init__
    monkeypatch.setattr(TileStep, "step", lambda *each: seen.append(torch.get_num_threads()) or step(*each))
    monkeypatch.setattr(module._Rows, "__init__", lambda *each: seen.append(torch.get_num_threads()) or rows(*each))
    X, before = np.random.default_rng(0).normal(size=(900, 8)).astype(np.float32), torch.get_num_threads()
    found = []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        try:
            found.append(kmeans(X, 4, random_state=0).labels)
            assert torch.get_num_threads() == n_threads
        finally:
            torch.set_num_threads(before)
    assert set(seen) == {1} and np.array_equal(*found)


def test_workers_do_every_job_once_and_hand_on_what_fails():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        done = []
        with Workers() as workers:
            workers.run(done.append, range(500))
            assert sorted(done) == list(range(500))
            with pytest.raises(ZeroDivisionError):
                workers.run(lambda job: 1 // (job - 30), range(60))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_kernels_are_compiled_for_one_kind_of_model():
    """Numbers in another order are another type to them, which takes seconds."""
    centers = np.random.default_rng(0).normal(size=(3, 2 * kmeans_step.FEW, 4))
    models = [
        kmeans_step._model(*one, np.zeros(4))
        for one in ((centers, None), (centers[:1], None), (centers, centers + 0.1))
    ]
    assert len({str(typeof(model)) for model in models}) == 1
