"""JULE: the loop of Alg. 1, what it leaves behind, new images, resuming, two processes."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from asterism import JULE, load
from asterism.clustering.graph import knn, nearest_neighbor_components
from asterism.clustering.linkage import cut, merge_schedule
from asterism.clustering.neighbor_voting import neighbor_weights
from asterism.errors import InputError
from asterism.images import open_images
from asterism.methods import jule_steps
from asterism.methods.jule_settings import ConvSettings, MergeRule, TripletTraining
from asterism.methods.jule_steps import principal_map
from asterism.networks.jule_net import build_conv
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training import run as run_module

SHORT = TripletTraining(n_epochs=2, batch_size=40)


def shapes(n=120, seed=0):
    """(n, 8, 8) images of four classes, a bright quarter each, with noise, and the classes."""
    noise = np.random.default_rng(seed)
    classes = noise.integers(0, 4, n)
    images = noise.random((n, 8, 8)) * 0.8
    for image, one in zip(images, classes, strict=True):
        image[4 * (one // 2) :][:4, 4 * (one % 2) :][:, :4] += 1
    return images.astype(np.float32), classes


def small(**params):
    return JULE(4, **{"training": SHORT, "n_neighbors": 8, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def fitted():
    X, y = shapes()
    return small(training=TripletTraining(n_epochs=6, batch_size=40, dampening=0.0)).fit(X), X, y


def test_it_finds_the_classes(fitted):
    model, _, y = fitted
    assert adjusted_rand_score(y, model.rc_labels_) > 0.9 and adjusted_rand_score(y, model.sf_labels_) > 0.9


def test_the_stages_follow_the_schedule(fitted):
    model, X, _ = fitted
    flat = X.reshape(len(X), -1)
    pixels = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    first = nearest_neighbor_components(knn(pixels, 1)[0])
    np.testing.assert_array_equal(model.stage_labels_[0], first)
    expected = [first.max() + 1, *merge_schedule(first.max() + 1, 4, 0.9)]
    assert [len(np.unique(labels)) for labels in model.stage_labels_] == expected
    np.testing.assert_array_equal(model.stage_labels_[-1], model.sf_labels_)
    for finer, coarser in zip(model.stage_labels_[:-1], model.stage_labels_[1:], strict=True):
        assert len(np.unique(finer * 1000 + coarser)) == len(np.unique(finer))  # clusters are merged, never cut
    assert [entry["n_clusters"] for entry in model.history_][5::6] == expected[1:]


def test_unroll_rate_makes_more_periods():
    X, _ = shapes(60)
    model = small(unroll_rate=0.2).fit(X)
    n = len(np.unique(model.stage_labels_[0]))
    assert len(model.stage_labels_) == 1 + len(merge_schedule(n, 4, 0.2)) > 3
    assert len(model.history_) == 2 * len(merge_schedule(n, 4, 0.2))


def test_the_history_of_merging_can_be_cut_elsewhere(fitted):
    model, X, _ = fitted
    assert model.linkage_matrix_.shape == (len(X) - 1, 4) and model.linkage_affinities_.shape == (len(X) - 1,)
    np.testing.assert_array_equal(cut(model.linkage_matrix_, 4), model.rc_labels_)
    six = cut(model.linkage_matrix_, 6)
    assert len(np.unique(six)) == 6 and len(np.unique(six * 10 + model.rc_labels_)) == 6


def test_result_chooses_the_labels():
    X, _ = shapes(60)
    rc, sf = small().fit(X), small(result="sf").fit(X)
    np.testing.assert_array_equal(rc.labels_, rc.rc_labels_)
    np.testing.assert_array_equal(sf.labels_, sf.sf_labels_)
    np.testing.assert_array_equal(rc.sf_labels_, sf.sf_labels_)
    for model in (rc, sf):
        means = [model.embedding_[model.labels_ == c].mean(0) for c in range(4)]
        np.testing.assert_allclose(model.cluster_centers_, means, atol=1e-5)


def test_new_images_go_to_their_neighbours_clusters(fitted):
    model, X, _ = fitted
    new, classes = shapes(50, seed=9)
    assert normalized_mutual_info_score(classes, model.predict(new)) > 0.85
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    # the definition, for one image
    x = model.transform(new[:1])[0].astype(np.float64)
    d2 = ((model.embedding_ - x) ** 2).sum(1)
    nearest = np.argsort(d2)[:8]
    weights = np.exp(-d2[nearest] / model.sigma2_[0])
    expected = np.bincount(model.labels_[nearest], weights, minlength=4) / weights.sum()
    np.testing.assert_allclose(model.predict_proba(new[:1])[0], expected, atol=1e-4)


def test_confidence_is_the_share_of_the_neighbours(fitted):
    model, X, _ = fitted
    indices, distances = knn(model.embedding_, 8)
    weights = np.exp(-distances / model.sigma2_[0])
    own = (weights * (model.labels_[indices] == model.labels_[:, None])).sum(1) / weights.sum(1)
    np.testing.assert_allclose(model.confidence_, own, atol=1e-5)


def test_everything_is_saved(fitted, tmp_path):
    model, X, _ = fitted
    model.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    for name in ("sf_labels_", "rc_labels_", "linkage_matrix_", "stage_labels_", "stage_maps_", "embedding_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.get_params()["training__n_epochs"] == 6


def test_center_takes_the_mean_image_off():
    X, _ = shapes(60)
    model = small(center=True).fit(X)
    np.testing.assert_allclose(model.encoder_.mean[0].numpy(), X.mean(0), atol=1e-6)
    flat = (X - X.mean(0)).reshape(60, -1)
    centered = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_array_equal(model.stage_labels_[0], nearest_neighbor_components(knn(centered, 1)[0]))


# ---------------------------------------------------------------- settings


def test_the_rate_falls_as_the_paper_says():
    training = TripletTraining(lr=0.01)
    assert training.rate_at(0) == 0.01
    assert training.rate_at(6000) == pytest.approx(0.01 * 1.6**-0.75)
    model = small(unroll_rate=0.5).fit(shapes(60)[0])
    rates = [entry["lr"] for entry in model.history_]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == len(rates)
    again = small(unroll_rate=0.5, training=TripletTraining(n_epochs=2, batch_size=40, restart=True))
    assert len({entry["lr"] for entry in again.fit(shapes(60)[0]).history_}) == 2


def test_dampening_shortens_the_steps():
    weights = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    for weight, dampening in zip(weights, (0.0, 0.9), strict=True):
        optimizer = TripletTraining(lr=1.0, dampening=dampening, weight_decay=0.0).make_optimizer([weight])
        for _ in range(2):
            weight.grad = torch.ones(3)
            optimizer.step()
    assert float(weights[0].detach()[0]) == pytest.approx(-(1 + 1.9))
    assert float(weights[1].detach()[0]) == pytest.approx(-(1 + 0.9 + 0.1))  # the first step is the whole gradient


def test_small_sets_keep_their_batches():
    assert TripletTraining().batch_size_for(200) == 100


def test_the_isolated_rule_looks_at_the_final_number():
    assert MergeRule().options(201, 10)["isolated"] == "always"
    assert MergeRule().options(200, 10)["isolated"] == "never"
    assert MergeRule(isolated="always").options(5, 4)["isolated"] == "always"


@pytest.mark.parametrize(
    "params",
    [
        {"network": ConvSettings(n_features=16, norm_scale="uniform", batch_statistics=True)},
        {"merging": MergeRule(update="fast", half_matrix=True, min_clusters_for_local=100, isolated="always")},
    ],
)
def test_variants_run(params):
    X, y = shapes(60)
    model = small(**params).fit(X)
    assert len(np.unique(model.labels_)) == 4
    assert (small(**params).fit_predict(X) == model.labels_).all()


def test_merging_first_is_the_order_of_algorithm_1():
    X, _ = shapes(90)
    flat = open_images(X).pixels.flatten(1)
    pixels = torch.nn.functional.normalize(flat)
    model = small(merging=MergeRule(merge_first=True), unroll_rate=0.3).fit(X)
    targets = [len(np.unique(labels)) for labels in model.stage_labels_]
    assert targets[1:] == merge_schedule(targets[0], 4, 0.3) and len(targets) > 2
    first = jule_steps.Merger(4, 8, MergeRule(), torch.device("cpu"))
    by_hand = first.merge(pixels, torch.from_numpy(model.stage_labels_[0]), targets[1])["labels"]
    np.testing.assert_array_equal(model.stage_labels_[1], by_hand)  # on pixels, before any training
    # a period's epochs are trained on what it merged, the last period's too
    assert [entry["n_clusters"] for entry in model.history_ if entry["stage"] == "periods"] == np.repeat(
        targets[1:], 2
    ).tolist()
    np.testing.assert_array_equal(model.sf_labels_, model.stage_labels_[-1])


def test_a_further_pass_starts_from_the_features_learned():
    X, _ = shapes(60)
    one, two = (small(training=TripletTraining(n_epochs=1, batch_size=40, n_passes=n)).fit(X) for n in (1, 2))
    stages = [entry["stage"] for entry in two.history_]
    assert "periods" in stages and "periods 2" in stages and stages.count("periods") == len(one.history_)
    np.testing.assert_array_equal(
        two.stage_labels_[0], nearest_neighbor_components(knn(one.embedding_, 1)[0])
    )  # initial clusters of the first pass's features
    assert not np.allclose(one.embedding_, two.embedding_)


def test_initial_clusters_by_k_means_have_four_images_on_average():
    X, _ = shapes(80)
    found = small(merging=MergeRule(initial="k-means")).fit(X).stage_labels_[0]
    assert len(np.unique(found)) == found.max() + 1 == 20
    assert nearest_neighbor_components(knn(X.reshape(80, -1), 1)[0]).max() + 1 != 20


def test_batch_statistics_are_of_batches_drawn_at_random():
    """In the order of the data set, which often lies sorted by class, they would tell the class."""
    images = open_images(np.linspace(0, 1, 300 * 64, dtype=np.float32).reshape(300, 8, 8))
    network = build_conv((1, 8, 8), torch.Generator().manual_seed(0)).train()
    seen = []
    network.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0][:, 0, 0, 0], output)))
    features = jule_steps.batch_statistics_features(network, images, Run(Runtime("cpu"), 0), 0)
    assert [len(batch) for batch, _ in seen] == [100, 100, 100]
    order = torch.cat([batch for batch, _ in seen]).argsort()
    torch.testing.assert_close(torch.cat([output for _, output in seen])[order], features)
    assert all((batch.diff() < 0).any() and batch.max() - batch.min() > 0.9 for batch, _ in seen)


# ---------------------------------------------------------------- odd input


def test_more_clusters_than_initial_ones_start_from_single_images():
    X, _ = shapes(30)
    with pytest.warns(UserWarning, match="merging starts from single images"):
        model = JULE(20, training=SHORT, random_state=0, device="cpu").fit(X)
    assert len(np.unique(model.labels_)) == len(np.unique(model.sf_labels_)) == 20
    two = np.repeat(X[:2], 20, 0)
    with pytest.warns(UserWarning, match="2 initial clusters, fewer than n_clusters=3"):
        JULE(3, merging=MergeRule("k-means"), training=SHORT, random_state=0, device="cpu").fit(two)


def test_equal_and_duplicated_images():
    equal = np.full((12, 8, 8), 0.5, np.float32)
    with pytest.warns(UserWarning):
        assert len(np.unique(small().fit_predict(equal))) == 4
    X, y = shapes(30)
    twice = np.concatenate([X, X])
    labels = small().fit_predict(twice)
    np.testing.assert_array_equal(labels[:30], labels[30:])


def test_a_bad_setting_is_one_line():
    with pytest.raises(InputError, match=r"training.dampening=1.5 .*\[0, 1\)"):
        small(training=TripletTraining(dampening=1.5)).fit(shapes(30)[0])
    with pytest.raises(InputError, match="unroll_rate=0"):
        small(unroll_rate=0.0).fit(shapes(30)[0])


def test_principal_map():
    noise = np.random.default_rng(0)
    X = torch.from_numpy((noise.normal(size=(50, 5)) * [9, 5, 3, 0.1, 0.1]).astype(np.float32))
    found = principal_map(X)
    expected = np.linalg.svd((X - X.mean(0)).numpy(), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(expected[0] * expected[1])[:, :3], atol=1e-3)
    assert principal_map(torch.ones(2, 1)).shape == (2, 3)
    assert float(principal_map(torch.ones(9, 4)).abs().max()) == 0


def test_weights_of_far_neighbours():
    np.testing.assert_allclose(neighbor_weights(np.array([[1e6, 1e6 + 1.0]]), 1.0), [[1, np.exp(-1)]])
    np.testing.assert_allclose(neighbor_weights(np.array([[0.0, 0.0, 2.0]]), 0.0), [[1, 1, 0]])


# ---------------------------------------------------------------- resuming, processes


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", [1, 2, 5, "rc"])
def test_a_killed_fit_goes_on_as_the_unbroken_one(tmp_path, monkeypatch, when):
    """Killed within a period (1), between two (2), in the last (5), and while merging anew."""
    X, _ = shapes(60)
    make = lambda **more: small(unroll_rate=0.2, **more)  # noqa: E731
    whole = make().fit(X)
    assert len(whole.history_) >= 6
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if when == "rc":
            patch.setattr(jule_steps.Merger, "merge_anew", die)
        else:
            patch.setattr(TripletTraining, "rate_at", lambda _, step: die() if step >= 2 * when else 0.01)
        make(run_dir=tmp_path).fit(X)
    if when != "rc":
        monkeypatch.setattr(TripletTraining, "rate_at", lambda *_: 0.01)
        whole = make().fit(X)
    resumed = make(run_dir=tmp_path).fit(X)
    np.testing.assert_array_equal(resumed.stage_labels_, whole.stage_labels_)
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    np.testing.assert_array_equal(resumed.embedding_, whole.embedding_)
    assert [entry["loss"] for entry in resumed.history_] == [entry["loss"] for entry in whole.history_]


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Two CPU processes: the main one alone merges, both have its labels, and they are those of one process."""
    X, y = shapes()
    np.save(tmp_path / "X.npy", X)
    script = """
import sys, numpy as np
from asterism import JULE
from asterism.methods import jule_steps
from asterism.methods.jule_settings import TripletTraining
calls = []
merge = jule_steps.merge_without_small_clusters
jule_steps.merge_without_small_clusters = lambda *a, **b: calls.append(1) or merge(*a, **b)
folder = sys.argv[1]
training = TripletTraining(n_epochs=6, batch_size=40, dampening=0.0)
model = JULE(4, training=training, n_neighbors=8, random_state=0, device="cpu")
model.fit(np.load(folder + "/X.npy"))
import os
rank = os.environ["RANK"]
np.savez(f"{folder}/{rank}.npz", labels=model.labels_, stages=model.stage_labels_, n_merges=len(calls))
"""
    (tmp_path / "fit.py").write_text(script)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(tmp_path / "fit.py"), str(tmp_path)]
    assert subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=240).returncode == 0
    one, two = (np.load(tmp_path / f"{rank}.npz", allow_pickle=False) for rank in range(2))
    np.testing.assert_array_equal(one["stages"], two["stages"])
    np.testing.assert_array_equal(one["labels"], two["labels"])
    assert one["n_merges"] > 1 and two["n_merges"] == 0
    alone = small(training=TripletTraining(n_epochs=6, batch_size=40, dampening=0.0)).fit(X)
    np.testing.assert_array_equal(one["stages"][0], alone.stage_labels_[0])
    assert adjusted_rand_score(one["labels"], alone.labels_) > 0.9 and adjusted_rand_score(y, one["labels"]) > 0.9


def test_small_clusters_get_fewer_neighbours():
    from asterism.methods.jule_steps import neighbors_for

    assert [neighbors_for(None, 1000, k) for k in (10, 11)] == [20, 10]
    assert neighbors_for(7, 1000, 11) == 7
