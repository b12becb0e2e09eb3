"""The page's merge tree and stage maps."""

from types import SimpleNamespace

import numpy as np
import pytest

from asterism import JULE
from asterism.clustering.linkage import cut
from asterism.methods.jule_settings import TripletTraining
from asterism.report import write_report
from asterism.report.material import Material, gather
from asterism.report.merge_tree import branches, dots, leaf_of_sample, merge_tree

# Two initial pairs (rows of height 0), then three merges of the five clusters {0, 1}, {2, 3}, {4}, {5}.
HISTORY = np.array([[0, 1, 0, 2], [2, 3, 0, 2], [4, 6, 1, 3], [5, 7, 2, 3], [8, 9, 3, 6]], dtype=float)


def test_leaves_by_hand():
    np.testing.assert_array_equal(leaf_of_sample(HISTORY, 3), [8, 8, 7, 7, 8, 5])
    np.testing.assert_array_equal(leaf_of_sample(HISTORY, 6), range(6))


def test_branches_by_hand():
    drawn = branches(HISTORY, 3, {8: 0, 7: 1, 5: 1}, ["red", "blue"])
    # leaves from left to right 8, 5, 7 at x = 100/6, 50, 500/6; 5 and 7 merge half-way up, then all
    assert [one["path"] for one in drawn] == [
        "M50.00 100.00V50.00H66.67",
        "M83.33 100.00V50.00H66.67",
        "M16.67 100.00V0.00H41.67",
        "M66.67 50.00V0.00H41.67",
    ]
    assert [one["color"] for one in drawn] == ["blue", "blue", "red", "blue"]
    assert [one["title"] for one in drawn][1:3] == ["2 images, group 1", "3 images, group 0"]


def test_dots():
    found = dots(np.array([[0.0, 0.0], [1.0, 2.0], [0.5, 1.0]]), np.array([0, 1, 2]), ["red", "blue"])
    assert found == [
        {"color": "red", "path": "M2.0 98.0h0M50.0 50.0h0"},
        {"color": "blue", "path": "M98.0 2.0h0"},
    ]
    assert dots(np.ones((2, 2)), np.zeros(2, int), ["red"])[0]["path"] == "M2.0 98.0h0" * 2


@pytest.fixture(scope="module")
def jule_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jule")
    noise = np.random.default_rng(0)
    images = (noise.random((90, 8, 8)) * 100).astype(np.uint8)
    images[np.arange(90), :, np.arange(90) % 3] += 120
    np.savez(folder / "images.npz", images=images, labels=np.arange(90) % 3)
    training = TripletTraining(n_epochs=2, batch_size=30)
    JULE(3, n_neighbors=6, training=training, random_state=0, run_dir=folder / "run").fit(folder / "images.npz")
    return folder / "run"


def test_the_section_of_a_run(jule_run):
    material = gather(jule_run)
    section = merge_tree(material)
    leaves = leaf_of_sample(material.estimator.linkage_matrix_, 3)
    assert len(np.unique(leaves)) == len(np.unique(leaves * 10 + cut(material.estimator.linkage_matrix_, 3))) == 3
    assert [one["name"] for one in section.values["stages"]] == ["Initial stage", "Middle stage", "Final stage"][::2]
    assert section.values["stages"][-1]["clusters"] == "3 groups"
    page = write_report(jule_run).read_text()
    assert '<section id="merge_tree"' in page and "Final stage: 3 groups" in page


def test_methods_without_a_tree_have_no_section():
    made = {"names": ["a"] * 4, "clusters": np.array([0, 0, 1, 1]), "confidence": np.ones(4, np.float32)}
    estimator = SimpleNamespace(cluster_centers_=np.zeros((2, 2)))
    assert merge_tree(Material(content={}, estimator=estimator, **made)) is None
    estimator.linkage_matrix_ = np.array([[0, 1, 1, 2], [2, 3, 2, 2], [4, 5, 3, 4]], dtype=float)
    section = merge_tree(Material(content={}, estimator=estimator, **made))
    assert len(section.values["branches"]) == 6 and section.values["stages"] == []
