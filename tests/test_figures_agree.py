"""Figures of a run are the same wherever they are told: on the page, in the summary, in tables."""

from types import SimpleNamespace

import numpy as np
import pytest

import asterism.runs.record as record
from asterism import KMeans
from asterism.cli.summary import sum_up
from asterism.estimator.keeping import shown_groups
from asterism.report.gallery import copies
from asterism.report.map import map_
from asterism.report.material import Material
from asterism.report.page import templates
from asterism.report.section import without_home
from asterism.runs import RunFolder, RunRecord
from asterism.runtime import Runtime


def found_by_itself(labels, n_groups, asked):
    """What a clusterer leaves that finds the number of groups itself, as DeepCluster's "pic" does."""
    labels = np.array(labels)
    return SimpleNamespace(
        labels_=labels,
        confidence_=np.ones(len(labels), np.float32),
        cluster_centers_=np.zeros((n_groups, 2), np.float32),
        n_clusters=asked,
        get_params=dict,
    )


def material(clusters, **given):
    clusters = np.array(clusters)
    estimator = SimpleNamespace(cluster_centers_=np.zeros((clusters.max() + 1, 2)), **given.pop("attributes", {}))
    about = {"content": {"seed": 0, "params": {}}, "names": [str(i) for i in range(len(clusters))]}
    return Material(**about, estimator=estimator, clusters=clusters, confidence=np.ones(len(clusters)), **given)


def test_images_in_no_group_join_none_where_more_groups_came_out_than_were_asked_for():
    groups, _, n = shown_groups(found_by_itself([0, 1, 2, 3, -1], 4, asked=2))
    assert groups.tolist() == [0, 1, 2, 3, 4] and n == 5
    assert shown_groups(found_by_itself([0, 1, 0], 2, asked=2))[2] == 2


def test_the_summary_counts_the_groups_that_the_page_counts(capsys, tmp_path):
    content = {"method": "DeepCluster", "images": {"origin": {}}, "seed": 0, "seconds": 1.0, "params": {}}
    run = SimpleNamespace(clusterer=found_by_itself([0, 1, 2], 3, asked=8), content=content, folder=RunFolder(tmp_path))
    sum_up(run, None)
    assert "3 images in 3 groups" in capsys.readouterr().out
    labels = np.repeat(np.arange(22), [1, *[2] * 10, *[3] * 11])  # the median lies between two sizes
    run.clusterer = found_by_itself(labels, 22, asked=22)
    sum_up(run, None)
    assert "sizes   1 to 3, median 2.5" in capsys.readouterr().out


def test_the_legend_counts_all_images_where_a_sample_is_drawn(monkeypatch):
    for name, n in (("MAP_WHOLE", 30), ("MAP_SAMPLE", 20)):
        monkeypatch.setattr(f"asterism.runs.pictures.{name}", n)
    monkeypatch.setattr("asterism.report.map._places", lambda material, shown: np.zeros((len(shown), 2)))
    classes = np.repeat([0, 1, -1], [25, 15, 8])
    section = map_(material(np.repeat([0, 1], 24), classes=classes, class_names=["a", "b"]))
    assert len(section.data["x"]) == 20
    assert section.data["perClass"] == [25, 15, 8] and section.data["verdicts"] == [39, 1, 8]


def test_copies_that_are_not_shown_are_not_passed_over():
    section = copies(material(np.zeros(500, int), attributes={"duplicate_of_": np.zeros(500, int)}))
    text = templates().get_template("copies.html").render(it=section.values)
    assert "499 images" in text and "200 pictures of the one with the most" in text
    few = copies(material(np.zeros(5, int), attributes={"duplicate_of_": np.zeros(5, int)}))
    assert "with the most" not in templates().get_template("copies.html").render(it=few.values)


def test_the_page_names_a_level_that_there_is():
    one = {"name": "medium", "n_clusters": 4, "low": 3, "high": 6, "stability": 0.5}
    values = {"levels": [one], "branches": [], "stages": [], "is_own": True, "cut": None, "says": None}
    values |= {"n_leaves": 4, "n_initial": 4}
    assert "--level medium" in templates().get_template("merge_tree.html").render(it=values)


def test_copies_that_were_fitted_keep_their_own_group_when_groups_are_cut():
    X = np.arange(16, dtype=np.float32).reshape(8, 2)
    model = KMeans(2, n_init=1, random_state=0).fit(X)
    model.labels_ = np.array([-1, 0, 0, 0, 1, 1, 1, 1])  # the first is far from all; the second, its copy, is not
    model.fitted_images_, model.duplicate_of_ = np.arange(1, 8), np.array([0, 0, 2, 2, 4, 5, 6, 2])
    assert model.cut(1).tolist() == [-1, 0, 0, 0, 0, 0, 0, 0]
    assert model.cut(2).tolist() == model.labels_.tolist()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_seconds_of_a_run_are_those_of_all_its_lives(tmp_path, monkeypatch, error):
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(record, "time", SimpleNamespace(monotonic=lambda: float(next(clock))), raising=False)
    folder = RunFolder(tmp_path / "run")
    about = {"method": "KMeans", "params": {}, "images": {"origin": {"source": None}, "shape": [1, 8, 8]}}
    for _ in range(2):
        with pytest.raises(error), RunRecord(folder, about, Runtime("cpu"), lambda: 0):
            raise error
    with RunRecord(folder, about, Runtime("cpu"), lambda: 0) as last:
        last.finish(7.0)
    assert folder.read()["seconds"] == 207.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/anna/photos", "~/photos"),
        ("--out=/home/anna/r '/home/anna/my photos'", "--out=~/r ~/'my photos'"),
        ("images in /mnt/home/anna/photos (/home/anna/x)", "images in /mnt/home/anna/photos (~/x)"),
    ],
)
def test_only_the_users_own_folder_is_left_out(monkeypatch, text, shown):
    monkeypatch.setenv("HOME", "/home/anna")
    assert without_home(text) == shown


def test_a_fit_to_images_forgets_the_columns_of_a_table():
    images = np.random.default_rng(0).random((12, 4, 4)).astype(np.float32)
    model = KMeans(2, n_init=1, random_state=0)
    model.feature_names_in_ = np.array(["a", "b"])
    assert not hasattr(model.fit(images), "feature_names_in_")
