"""PCA and whitening against numpy, in blocks, over processes; the feature store in memory and on disk."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from asterism.errors import InputError
from asterism.features import store as store_module
from asterism.features.reduce import fit_reduction
from asterism.features.store import FeatureStore


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(500, 12)) * np.geomspace(5, 0.1, 12) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    return torch.from_numpy(mixed + 100).float()  # far from the origin


def blocks_of(rows, size):
    return lambda: iter(rows.split(size))


def test_whitened_rows_have_variance_one_and_no_correlation(rows):
    reduced = fit_reduction(blocks_of(rows, 64), 5, normalise=False)(rows).double().numpy()
    np.testing.assert_allclose(reduced.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(reduced.T @ reduced / len(rows), np.eye(5), atol=2e-3)


def test_components_are_numpys(rows):
    centered = rows.double().numpy() - rows.double().numpy().mean(0)
    _, _, components = np.linalg.svd(centered, full_matrices=False)
    reduction = fit_reduction(blocks_of(rows, 500), 5, whiten=False, normalise=False)
    overlap = np.abs(np.diag(components[:5] @ reduction.projection.double().numpy()))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)
    largest = reduction.projection.abs().argmax(0)
    assert (reduction.projection.gather(0, largest[None]) > 0).all()  # signs are fixed


def test_rows_have_length_one_and_blocks_do_not_matter(rows):
    whole, parts = (fit_reduction(blocks_of(rows, size), 5)(rows) for size in (500, 7))
    np.testing.assert_allclose(whole.norm(dim=1), 1, rtol=1e-5)
    np.testing.assert_allclose(whole, parts, atol=1e-4)


def test_two_processes_find_what_one_finds(rows):
    halves, one = (rows[::2], rows[1::2]), fit_reduction(blocks_of(rows, 500), 5)
    parts, meeting = [None, None], threading.Barrier(2)

    def work(rank):
        def reduce(value):
            parts[rank] = value.clone()
            meeting.wait(30)
            total = parts[0] + parts[1]
            meeting.wait(30)
            return total

        return fit_reduction(blocks_of(halves[rank], 100), 5, reduce=reduce, rank=rank)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, (0, 1))
    assert torch.equal(first.projection, second.projection)
    np.testing.assert_allclose(first(rows), one(rows), atol=1e-4)


def test_small_variances_are_raised_to_a_floor(rows):
    reduced = fit_reduction(blocks_of(rows, 64), 12, normalise=False, floor=0.01)(rows).double()
    centered = rows.double() - rows.double().mean(0)
    values = torch.linalg.eigvalsh(centered.T @ centered / len(rows)).flip(0)
    expected = values / values.clamp_min(0.01 * values[0])
    np.testing.assert_allclose(reduced.var(0, unbiased=False), expected, rtol=5e-3)
    assert expected[0] == 1 and expected[-1] < 0.5


def test_directions_without_variance_stay_zero():
    rng = np.random.default_rng(1)
    flat = torch.from_numpy(rng.normal(size=(50, 2)) @ rng.normal(size=(2, 6))).float()  # rank 2 in 6 dimensions
    reduced = fit_reduction(blocks_of(flat, 50), 6, normalise=False)(flat)
    np.testing.assert_allclose(reduced[:, 2:], 0)
    equal = torch.ones(10, 4)
    assert torch.isfinite(fit_reduction(blocks_of(equal, 10), 4)(equal)).all()
    with pytest.raises(InputError, match="NaN"):
        fit_reduction(blocks_of(torch.full((4, 2), torch.nan), 4), 2)


@pytest.mark.parametrize("limit", [2**31, 0])
def test_a_store_gives_back_what_was_put_in(rows, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(store_module, "IN_MEMORY", limit)
    monkeypatch.setattr(store_module, "FEW_BYTES", limit)
    monkeypatch.setattr(store_module, "BLOCK", 90)
    store = FeatureStore(500, 12, torch.device("cpu"), tmp_path / "deep")
    for part in rows.split(130):
        store.append(part)
    assert store.on_disk == (limit == 0) and len(store) == 500
    blocks = list(store.blocks())
    assert [len(one) for one in blocks] == [90] * 5 + [50]
    assert torch.equal(torch.cat(blocks), rows) and torch.equal(torch.cat(list(store.blocks())), rows)
    assert torch.equal(store.at(torch.tensor([499, 3])), rows[[499, 3]])
    assert torch.equal(torch.cat(list(store.map(lambda x: 2 * x[:, :4], tmp_path).blocks())), 2 * rows[:, :4])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # nothing is left, even by a killed process


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_store_takes_features_of_any_precision(kind):
    store = FeatureStore(2, 3, torch.device("cpu"))
    store.append(torch.ones(2, 3, dtype=kind, requires_grad=True))
    assert next(store.blocks()).tolist() == [[1, 1, 1], [1, 1, 1]]
