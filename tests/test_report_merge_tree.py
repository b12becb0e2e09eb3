"""The page's merge tree and stage maps."""

import json
import re

import numpy as np
import pytest
from markupsafe import escape
from typer.testing import CliRunner

from asterism import JULE, load
from asterism.cli.app import app
from asterism.clustering.linkage import cut
from asterism.clustering.linkage_tree import nodes_after
from asterism.methods.jule_settings import TripletTraining
from asterism.report import write_report
from asterism.report.fitted import open_run
from asterism.report.material import gather
from asterism.report.merge_tree import branches, dots, merge_tree

# Two initial pairs (rows of height 0), then three merges of the five clusters {0, 1}, {2, 3}, {4}, {5}.
HISTORY = np.array([[0, 1, 0, 2], [2, 3, 0, 2], [4, 6, 1, 3], [5, 7, 2, 3], [8, 9, 3, 6]], dtype=float)


def test_leaves_by_hand():
    np.testing.assert_array_equal(nodes_after(HISTORY, 6, 3), [8, 8, 7, 7, 8, 5])
    np.testing.assert_array_equal(nodes_after(HISTORY, 6, 0), range(6))


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
    material = gather(open_run(jule_run))
    section = merge_tree(material)
    leaves = nodes_after(material.estimator.linkage_matrix_, material.n, material.n - 3)
    assert len(np.unique(leaves)) == len(np.unique(leaves * 10 + cut(material.estimator.linkage_matrix_, 3))) == 3
    assert [one["name"] for one in section.values["stages"]] == ["Initial stage", "Middle stage", "Final stage"][::2]
    assert section.values["stages"][-1]["clusters"] == "3 groups"
    page = write_report(jule_run).read_text()
    assert '<section id="merge_tree"' in page and "Final stage: 3 groups" in page


@pytest.fixture(scope="module")
def levels_run(tmp_path_factory):
    """A run of k-means without -k on eight groups of vectors."""
    folder = tmp_path_factory.mktemp("levels")
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", np.repeat(rng.normal(0, 9, (8, 6)), 20, 0) + rng.normal(0, 1, (160, 6)))
    done = CliRunner().invoke(
        app, ["cluster", str(folder / "x.npy"), "--method", "kmeans", "--out", str(folder / "run"), "--no-report"]
    )
    assert done.exit_code == 0, done.output
    return folder / "run", done


def test_methods_without_a_tree_of_their_own_have_one_over_their_groups(levels_run):
    run, done = levels_run
    model = load(run)
    images, history = model.tree()
    assert len(images) == 160 and (history[:, 2] == 0).sum() == 160 - model.n_clusters
    section = merge_tree(gather(open_run(run)))
    assert len(section.values["branches"]) == 2 * (model.n_clusters - 1) and not section.values["is_own"]
    assert section.values["cut"] is None and section.values["stages"] == []


def test_without_a_number_levels_and_range_are_said_and_kept(levels_run):
    run, done = levels_run
    number = json.loads((run / "run.json").read_text())["number"]
    assert number["low"] <= number["k"] <= number["high"] and "levels  coarse" in done.output
    page = write_report(run).read_text()
    assert escape(number["says"]) in page and "<th>Level</th>" in page
    listed = CliRunner().invoke(app, ["cut", str(run)]).output
    for level in number["levels"]:
        assert re.search(rf"{level['name']} +{level['n_clusters']} ", listed)
    content = json.loads((run / "run.json").read_text())
    for damage in ({"k": 3}, {**number, "levels": [{"name": "x"}]}, {**number, "says": 5}, {**number, "low": -1}):
        (run / "run.json").write_text(json.dumps(content | {"number": damage}))
        assert CliRunner().invoke(app, ["cut", str(run)]).exit_code == 1
    (run / "run.json").write_text(json.dumps(content))
