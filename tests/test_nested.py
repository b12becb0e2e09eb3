"""Groups within groups: all levels nest, whatever method found the groups, and no fit is run again."""

import csv

import numpy as np
import pytest
from PIL import Image
from scipy.cluster.hierarchy import fcluster, ward

from asterism import DBC, FCAE, JULE, AverageLinkage, Diffusion, GraphDegreeLinkage, KMeans, Training, load
from asterism.cli.export import nested_folders
from asterism.clustering.advice import stable_levels
from asterism.clustering.linkage import cut
from asterism.clustering.linkage_tree import check_history
from asterism.clustering.nested import group_tree, nested_groups, ward_merges
from asterism.errors import InputError, RunError
from asterism.methods.jule_settings import TripletTraining
from test_cli import run

LEVELS = (1, 2, 4, 6, 12, 20)


def nest(coarse, fine):
    return len(set(zip(coarse.tolist(), fine.tolist(), strict=True))) == len(np.unique(fine))


def no_rows():
    raise AssertionError("features were asked for")


@pytest.fixture(scope="module")
def blobs():
    """72 vectors in 6 groups of two parts each."""
    rng = np.random.default_rng(0)
    far, near = rng.normal(0, 30, (6, 1, 1, 8)), rng.normal(0, 4, (6, 2, 1, 8))
    return (far + near + rng.normal(0, 0.3, (6, 2, 6, 8))).reshape(72, 8).astype(np.float32)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    images = (rng.random((60, 8, 8)) * 90).astype(np.uint8)
    images[np.arange(60), :, np.arange(60) % 6] += 120
    return images


def test_equal_groups_merge_as_ward_merges_points():
    points = np.random.default_rng(0).normal(size=(40, 3))
    tree = group_tree(np.arange(40), points)
    for k in (2, 5, 11, 30):
        expected = fcluster(ward(points), k, "maxclust")
        assert nest(cut(tree, k), expected) and nest(expected, cut(tree, k))


def test_large_groups_are_merged_last():
    merges = ward_merges(np.array([[0.0], [1.0], [2.5]]), np.array([100, 100, 1]))
    np.testing.assert_array_equal(merges[0], [1, 2])  # 0 and 1 are nearer, and heavier


@pytest.mark.parametrize(
    "model", [Diffusion(6, random_state=0), KMeans(6, random_state=0), GraphDegreeLinkage(6, n_neighbors=5)]
)
def test_all_levels_nest(blobs, model):
    model.fit(blobs)
    found = {k: model.cut(k, blobs) for k in LEVELS}
    assert {k: len(np.unique(labels)) for k, labels in found.items()} == {k: k for k in LEVELS}
    assert all(nest(found[a], found[b]) for a, b in zip(LEVELS, LEVELS[1:], strict=False))
    np.testing.assert_array_equal(found[6], model.labels_)
    parts = np.arange(72) // 6
    assert nest(parts, found[12]) and nest(found[12], parts)
    np.testing.assert_array_equal(model.cut(12, blobs), found[12])


def test_the_methods_own_history_is_followed(blobs):
    model = GraphDegreeLinkage(6, n_neighbors=5).fit(blobs)
    for k in (2, 9):
        own = cut(model.linkage_matrix_, k)
        assert nest(own, model.cut(k)) and nest(model.cut(k), own)


@pytest.mark.parametrize(
    "model",
    [
        JULE(6, n_neighbors=6, training=TripletTraining(n_epochs=1, batch_size=30), random_state=0),
        DBC(6, training=Training(n_epochs=1), autoencoder=FCAE(training=Training(n_epochs=1)), random_state=0),
    ],
)
def test_networks_that_are_learnt(pictures, model):
    model.fit(pictures)
    k = len(np.unique(model.labels_))
    coarse, fine = model.cut(k - 2), model.cut(k + 4, pictures)
    assert nest(coarse, model.labels_) and nest(model.labels_, fine) and nest(coarse, fine)
    assert len(np.unique(coarse)) == k - 2 and len(np.unique(fine)) == k + 4


def test_numbers_follow_the_groups_and_their_sizes():
    labels, rows = np.repeat([0, 1, 2], [3, 8, 2]), np.zeros((13, 1))
    rows[3:11, 0] = [9, 9, 9, 9, 9, 9, 8, 8]
    found = nested_groups(labels, 4, np.array([[0.0], [9.0], [30.0]]), lambda: rows)
    np.testing.assert_array_equal(found, np.repeat([0, 1, 2, 3], [3, 6, 2, 2]))
    found = nested_groups(labels, 2, np.array([[30.0], [0.0], [29.0]]), no_rows)
    np.testing.assert_array_equal(found, np.repeat([0, 1, 0], [3, 8, 2]))


def test_images_of_no_group_stay_so():
    labels, rows = np.array([0, 0, -1, 1, 1, 1]), np.array([[0.0], [0.1], [50.0], [9.0], [9.1], [12.0]])
    found = nested_groups(labels, 3, np.array([[0.0], [10.0]]), lambda: rows)
    np.testing.assert_array_equal(found, [0, 0, -1, 1, 1, 2])


def test_empty_groups_do_not_count():
    found = nested_groups(np.array([0, 0, 2, 3]), 2, np.array([[0.0], [0.1], [5.0], [5.1]]), no_rows)
    np.testing.assert_array_equal(found, [0, 0, 1, 1])


def test_what_cannot_be_had(blobs):
    model = KMeans(3, random_state=0).fit(np.repeat(np.eye(4), 2, 0))
    with pytest.raises(InputError, match="keeps no features: pass the images"):
        model.cut(4)
    with pytest.raises(InputError, match="X holds 3 images, and 8 were fitted"):
        model.cut(4, np.eye(4)[:3])
    with pytest.raises(InputError, match="the features tell 4 apart"):
        model.cut(6, np.repeat(np.eye(4), 2, 0))
    for k in (0, 9, 2.0, "2", None):
        with pytest.raises(InputError, match="choose 1 to 8"):
            model.cut(k)


def test_levels_lie_around_the_run(blobs):
    coarse, medium, fine = stable_levels(blobs, 6, np.random.RandomState(0))
    assert coarse.n_clusters < 4 <= medium.n_clusters <= 9 < fine.n_clusters
    assert (coarse.name, medium.name, fine.name) == ("coarse", "medium", "fine")
    assert stable_levels(blobs[:6], 2, np.random.RandomState(0)) == []


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def photos(tmp_path_factory, pictures):
    """A folder of 60 pictures, and a run of k-means on it."""
    root = tmp_path_factory.mktemp("cut")
    (root / "photos").mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(root / "photos" / f"{i}.png")
    run("cluster", root / "photos", "-k", 6, "--method", "kmeans", "--no-report", "-q", "--out", root / "r")
    return root


def table(path):
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_finer_table_and_folders_within_folders(photos, tmp_path):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (photos / "r").iterdir())
    done = run("cut", photos / "r", "-k", 9, "--out", tmp_path / "cut.csv", "--export", tmp_path / "g")
    assert "60 images in 9 groups, cut from 6" in done.stdout
    rows, labels = table(tmp_path / "cut.csv"), load(photos / "r").labels_
    assert list(rows[0]) == ["path", "group", "run_group", "confidence"]
    groups = np.array([int(row["group"]) for row in rows])
    np.testing.assert_array_equal([int(row["run_group"]) for row in rows], labels)
    assert nest(labels, groups) and len(np.unique(groups)) == 9
    folder_of = {row["path"]: row["file"].rpartition("/")[0] for row in table(tmp_path / "g" / "export.csv")}
    for row, group, label in zip(rows, groups, labels, strict=True):
        parts, outer = np.unique(groups[labels == label]).tolist(), f"group-{label:03d}"
        inner = outer if len(parts) == 1 else f"{outer}/{outer}-{parts.index(group) + 1}"
        assert folder_of[row["path"]] == inner
    assert len(list((tmp_path / "g").rglob("*.png"))) == 60
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in (photos / "r").iterdir())


def test_coarser_groups_hold_the_runs_and_are_replaced(photos, tmp_path):
    (photos / "photos").rename(photos / "moved")  # fewer groups need no image
    try:
        run("cut", photos / "r", "-k", 2, "--out", tmp_path / "cut.csv")
    finally:
        (photos / "moved").rename(photos / "photos")
    assert {row["group"] for row in table(tmp_path / "cut.csv")} == {"0", "1"}
    run("cut", photos / "r", "-k", 2, "--export", tmp_path / "g")
    assert len([one for one in (tmp_path / "g").rglob("group-*-*") if one.is_dir()]) in (5, 6)  # one may be whole
    assert "holds groups already" in run("cut", photos / "r", "-k", 9, "--export", tmp_path / "g", code=1).stderr
    run("cut", photos / "r", "-k", 9, "--export", tmp_path / "g", "--overwrite")
    run("export", photos / "r", tmp_path / "g", "--overwrite")
    assert sorted(one.name for one in (tmp_path / "g").iterdir())[0] == "cluster-000"
    assert len(list((tmp_path / "g").rglob("*.png"))) == 60 and not list((tmp_path / "g").glob("group-*"))


def test_export_nests_all_levels_or_those_of_a_cut(photos, tmp_path):
    run("export", photos / "r", tmp_path / "cut", "--cut", 9)
    run("cut", photos / "r", "-k", 9, "--export", tmp_path / "same")
    assert table(tmp_path / "cut" / "export.csv") == table(tmp_path / "same" / "export.csv")
    run("export", photos / "r", tmp_path / "levels", "--levels", "--copy")
    depths = {row["file"].count("/") for row in table(tmp_path / "levels" / "export.csv")}
    assert max(depths) >= 2 and len(list((tmp_path / "levels").rglob("*.png"))) == 60
    run("export", photos / "r", tmp_path / "levels", "--levels", "--overwrite")
    assert "holds groups already" in run("export", photos / "r", tmp_path / "levels", "--cut", 2, code=1).stderr
    assert "one of them" in run("export", photos / "r", tmp_path / "x", "--cut", 2, "--levels", code=2).stderr
    assert "choose 1 to 60" in run("export", photos / "r", tmp_path / "x", "--cut", 0, code=1).stderr


def test_folders_within_folders_by_hand():
    levels = [np.array([0, 0, 0, 0, 1, -1]), np.array([0, 0, 1, 1, 2, -1]), np.array([0, 1, 2, 2, 3, -1])]
    first = "group-000/group-000-1"
    assert nested_folders(levels) == [
        f"{first}/group-000-1-1",
        f"{first}/group-000-1-2",
        "group-000/group-000-2",
        "group-000/group-000-2",
        "group-001",
        "none",
    ]


def test_a_link_in_an_export_is_not_followed(photos, tmp_path):
    run("cut", photos / "r", "-k", 20, "--export", tmp_path / "g")
    outer = next(one for one in sorted((tmp_path / "g").iterdir()) if list(one.glob("group-*")))
    outer.rename(tmp_path / "elsewhere")
    outer.symlink_to(tmp_path / "elsewhere")
    n = len(list((tmp_path / "elsewhere").rglob("*.png")))
    run("cut", photos / "r", "-k", 20, "--export", tmp_path / "g", "--overwrite", code=1)
    assert len(list((tmp_path / "elsewhere").rglob("*.png"))) == n


def test_levels_are_listed_and_asked_for(photos, tmp_path):
    listed = run("cut", photos / "r").stdout
    assert "coarse" in listed and "fine" in listed and "--level" in listed
    run("cut", photos / "r", "--level", "fine", "--out", tmp_path / "cut.csv")
    assert len({row["group"] for row in table(tmp_path / "cut.csv")}) > 9
    assert "choose 1 to 60" in run("cut", photos / "r", "-k", 61, code=1).stderr
    assert "one of them" in run("cut", photos / "r", "-k", 3, "--level", "fine", code=2).stderr
    assert "Give -k or --level" in run("cut", photos / "r", "--out", tmp_path / "x.csv", code=2).stderr


@pytest.mark.parametrize("at, value", [((0, 0), 1e12), ((3, 1), -1.0), ((2, 0), 0.5), ((2, 0), np.nan), ((1, 0), 9.0)])
def test_a_history_from_a_file_that_is_none_is_refused(tmp_path, at, value):
    """Compiled loops go where its numbers say, also beyond the memory that is theirs."""
    rows = np.random.default_rng(0).random((9, 3), dtype=np.float32)
    model = AverageLinkage(3, random_state=0, device="cpu").fit(rows)
    history = model.linkage_matrix_.copy()
    check_history(history, 9)
    history[at] = value
    model.linkage_matrix_ = history
    model.save(tmp_path / "run")
    with pytest.raises(RunError, match=r"run/model\.safetensors does not fit .*its merge history"):
        load(tmp_path / "run")
