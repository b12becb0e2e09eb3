"""Coates' codebook of patches and the squared-hinge SVM, against their definitions."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from asterism import ImageSource
from asterism.clustering.kmeans import assign, kmeans
from asterism.errors import InputError
from asterism_papers.transfer.codebook import (
    Codebook,
    Whitening,
    _quadrants,
    normalise_contrast,
    random_patches,
)
from asterism_papers.transfer.svm import SquaredHingeSVM


def source(n=12, side=9, channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)
    return ImageSource(torch.from_numpy(pixels), [str(i) for i in range(n)])


def test_patches_are_cut_from_their_images():
    images = source()
    patches = random_patches(images, 30, 4, torch.Generator().manual_seed(0)).view(30, 3, 4, 4)
    whole = images.pixels.permute(0, 3, 1, 2).float()
    places = whole.unfold(2, 4, 1).unfold(3, 4, 1).permute(0, 2, 3, 1, 4, 5).reshape(12, -1, 3, 4, 4)
    found = [(places - patch).abs().amax((2, 3, 4)).amin(1) < 1e-3 for patch in patches]  # in which images
    assert all(one.sum() == 1 for one in found)
    assert torch.stack(found).sum(0).tolist() == pytest.approx([2.5] * 12, abs=0.5)  # 30 patches of 12 in turn
    with pytest.raises(InputError, match="larger than the images"):
        random_patches(images, 3, 10, torch.Generator())


def test_contrast_and_whitening():
    rows = torch.from_numpy(np.random.default_rng(0).normal(100, 30, (4000, 6))).float()
    rows[:, 1] += rows[:, 0]
    by_hand = (rows[0] - rows[0].mean()) / (rows[0].var() + 10) ** 0.5
    assert torch.allclose(normalise_contrast(rows)[0], by_hand, atol=1e-5)
    white = Whitening.of(rows)(rows)
    values = torch.linalg.eigvalsh(torch.cov(rows.double().T))
    found = torch.linalg.eigvalsh(torch.cov(white.double().T))
    assert torch.allclose(found.sort().values, (values / (values + 0.1)).sort().values, atol=1e-3)
    projection = Whitening.of(rows).projection
    assert torch.allclose(projection, projection.T, atol=1e-6)  # ZCA turns nothing


def triangle_code(rows, centers):
    """max(0, mean_k z_k − z_k), by the definition."""
    z = (rows[:, None] - centers).norm(dim=2)
    return (z.mean(1, keepdim=True) - z).clamp_min(0)


def test_triangle_code_by_hand():
    code = triangle_code(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 3.0]]))
    assert torch.allclose(code, torch.tensor([[0.0, 2.0, 0.0]]))  # distances 5, 1, 3: mean 3


def test_quadrants_of_an_odd_map():
    assert _quadrants(3, 3).view(3, 3).tolist() == [[0, 0, 2], [0, 0, 2], [1, 1, 3]]


@pytest.mark.parametrize("features", [None, lambda white: white.flatten(1)[:, :5] * 100])
def test_an_image_is_the_sum_of_its_patches_codes(features):
    images = source()
    book = Codebook(n_centers=7, side=4, n_patches=300, features=features).fit(images, seed=1)
    codes = book.transform(images)
    assert codes.shape == (12, 28)
    image = images.batch(torch.tensor([5])) * 255
    expected = torch.zeros(2, 2, 7)
    for i in range(6):
        for j in range(6):
            patch = normalise_contrast(image[:, :, i : i + 4, j : j + 4].flatten(1))
            row = book._represent(patch, book.scale_)
            expected[j // 3, i // 3] += triangle_code(row, book.centers_)[0]
    assert torch.allclose(codes[5], expected.flatten(), rtol=1e-3, atol=1e-2)
    assert torch.equal(book.centers_, Codebook(7, 4, 300, features=features).fit(images, seed=1).centers_)


def scenes(n):
    """Images of 12×12: dull areas, an edge across, an edge down, a spot."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(100, 5, (n, 12, 12, 3))
    for one in pixels:
        row, column = rng.integers(1, 11, 2)
        one[row:] += rng.normal(0, 60, 3)
        one[:, column:] += rng.normal(0, 60, 3)
        one[tuple(rng.integers(12, size=2))] += 150
    return ImageSource(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)), [str(i) for i in range(n)])


def test_fewer_centers_keep_a_single_patch_than_if_they_began_on_patches():
    images, alone, alone_from_patches = scenes(60), 0, 0
    for seed in range(3):
        book = Codebook(n_centers=80, side=4, n_patches=1000).fit(images, seed)
        patches = random_patches(images, 1000, 4, torch.Generator().manual_seed(seed))
        white = book.whitening_(normalise_contrast(patches))
        nearest, _ = assign(white, book.centers_)
        alone += int((torch.bincount(nearest, minlength=80) == 1).sum())
        other = kmeans(white, 80, init="random", max_iter=50, random_state=seed).labels
        alone_from_patches += int((torch.bincount(other, minlength=80) == 1).sum())
    assert alone < alone_from_patches / 2  # outliers


def test_fewer_patches_than_centers():
    with pytest.raises(InputError, match="n_patches=5"):
        Codebook(n_centers=7, side=4, n_patches=5).fit(source())


def test_the_svm_is_liblinears():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5)).astype(np.float32)
    y = (X[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(int) + 3 * (X[:, 1] > 1)
    ours = SquaredHingeSVM(C=50.0, standardise=False).fit(torch.from_numpy(X), y)
    with_bias = np.column_stack([X, np.ones(120)])  # liblinear sums over the samples, ours is their mean
    theirs = LinearSVC(C=50.0 / 120, loss="squared_hinge", dual=False, tol=1e-8, max_iter=10000, fit_intercept=False)
    theirs.fit(with_bias, y)
    np.testing.assert_allclose(ours.coef_.numpy().T, theirs.coef_, atol=5e-3)
    assert ours.score(torch.from_numpy(X), y) == pytest.approx(theirs.score(with_bias, y), abs=0.02)


def test_the_svm_standardises_and_needs_two_classes():
    X = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0], [7.0, 5.0]])
    machine = SquaredHingeSVM().fit(X, np.array([0, 0, 1, 1]))
    prepared = machine._prepared(X)
    assert torch.allclose(prepared[:, 0], (X[:, 0] - 4) / (X[:, 0].var() + 0.01) ** 0.5)
    assert prepared[:, 1].abs().max() == 0 and (prepared[:, 2] == 1).all()
    with pytest.raises(InputError, match="two"):
        SquaredHingeSVM().fit(X, np.zeros(4))


def test_the_svm_converges_on_features_that_go_together():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 1)) * np.linspace(1, 2, 80) + 0.05 * rng.normal(size=(600, 80))  # as pooled codes do
    y = (20 * X[:, :3] @ [1, -2, 1] + 0.5 * rng.normal(size=600) > 0).astype(int) + (X[:, 5] > 1)
    machine = SquaredHingeSVM().fit(torch.from_numpy(X), y)
    rows = machine._prepared(torch.from_numpy(X).float()).double().numpy()

    def objective(theta, positive):  # of one class, by the definition
        return 0.5 * theta @ theta + 100 * np.mean(np.maximum(0, 1 - positive * (rows @ theta)) ** 2)

    theirs = LinearSVC(C=100 / 600, loss="squared_hinge", tol=1e-9, max_iter=100_000, fit_intercept=False).fit(rows, y)
    for c in range(3):
        positive = np.where(y == c, 1.0, -1.0)
        ours, best = objective(machine.coef_[:, c].double().numpy(), positive), objective(theirs.coef_[c], positive)
        assert ours == pytest.approx(best, rel=1e-4)
    assert machine.n_iter_ < 40  # about a hundred with θ itself as the variable


def test_the_svm_chooses_c_by_the_last_fifth_of_the_rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    X = torch.from_numpy(rng.normal(size=(200, 60)) + 0.5 * y[:, None] * (np.arange(60) < 5)).float()
    scores = {}
    for C in (0.01, 0.3, 300.0):
        alone = SquaredHingeSVM(C)
        standardised = (X - X.mean(0)) / (X.var(0) + 0.01).sqrt()  # by all rows, as the machine that chooses does
        scores[C] = (
            SquaredHingeSVM(C, standardise=False).fit(standardised[:160], y[:160]).score(standardised[160:], y[160:])
        )
        assert alone.fit(X, y).C_ == C
    best = max(scores, key=lambda C: (scores[C], -C))
    machine = SquaredHingeSVM((300.0, 0.01, 0.3)).fit(X, y)
    assert len(set(scores.values())) > 1
    assert best == machine.C_
    assert torch.allclose(machine.coef_, SquaredHingeSVM(best).fit(X, y).coef_, atol=1e-3)
