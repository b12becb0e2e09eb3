"""Oxford's and Paris' ground truth: reading it, the ranking's score by hand, and a search in made photographs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from asterism import ConvNet, DeepCluster, ImageSource, Training
from asterism.cli.app import app
from asterism.errors import InputError, MissingDataError
from asterism.images.decode import Unreadable
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.evaluation import protocol
from asterism_papers.evaluation.retrieval_runs import SEARCHED, RetrievedRuns
from asterism_papers.evaluation.table import Entry, Table
from asterism_papers.transfer.landmarks import (
    Query,
    is_landmarks,
    landmark_retrieval,
    load_photo,
    open_landmarks,
    photos_in,
    query_precision,
)

SIDES = {"tower": (48, 64), "bridge": (64, 48), "gate": (40, 64)}


def write_list(folder, landmark, kind, names):
    (folder / f"{landmark}_1_{kind}.txt").write_text("\n".join(names) + "\n")


@pytest.fixture
def landmarks(tmp_path):
    """Three landmarks, five photographs of each: good, good, ok, junk, and one that nobody lists."""
    rng = np.random.default_rng(0)
    root = tmp_path / "oxford5k"
    (root / "jpg").mkdir(parents=True)
    (root / "gt_files").mkdir()
    for landmark, (height, width) in SIDES.items():
        texture = rng.integers(20, 235, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
        names = [f"{landmark}_{i:06d}" for i in range(5)]
        for name in names:
            pixels = texture * rng.uniform(0.85, 1.0) + rng.normal(0, 6, texture.shape)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / "jpg" / f"{name}.jpg", quality=95)
        (root / "gt_files" / f"{landmark}_1_query.txt").write_text(f"oxc1_{names[0]} 2.5 3 {width - 2} {height - 4.5}")
        for kind, listed in (("good", names[:2]), ("ok", names[2:3]), ("junk", names[3:4])):
            write_list(root / "gt_files", landmark, kind, listed)
    return root


def test_ground_truth_is_read_wherever_it_lies(landmarks):
    assert is_landmarks(landmarks) and not is_landmarks(landmarks / "jpg") and not is_landmarks("data:ukbench")
    found = open_landmarks(landmarks)
    assert len(found.photos) == 15 and [one.photo for one in found.queries][0] == "bridge_000000"
    tower = found.queries[2]
    assert tower.box == (2.5, 3, 62, 43.5)
    assert tower.wanted == {"tower_000000", "tower_000001", "tower_000002"} and tower.junk == {"tower_000003"}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("oxc1_tower_000000 1 2 3", InputError, "PHOTO LEFT TOP RIGHT BOTTOM"),
        ("", InputError, "PHOTO LEFT TOP RIGHT BOTTOM"),
        ("oxc1_tower_000000 9 2 3 4", InputError, "is empty"),
        ("oxc1_tower_000000 1 2 3 inf", InputError, "or endless"),
        ("oxc1_nowhere 1 2 3 4", MissingDataError, "there is no photograph nowhere"),
    ],
)
def test_a_bad_query_is_one_line(landmarks, text, error, said):
    (landmarks / "gt_files" / "tower_1_query.txt").write_text(text)
    with pytest.raises(error, match=said):
        open_landmarks(landmarks)


def test_a_missing_list_is_said(landmarks):
    (landmarks / "gt_files" / "tower_1_ok.txt").unlink()
    with pytest.raises(InputError, match="tower_1_ok.txt is missing"):
        open_landmarks(landmarks)
    with pytest.raises(MissingDataError, match="holds no photographs"):
        photos_in(landmarks / "gt_files")


def test_precision_of_a_ranking_by_hand():
    """Junk is taken out before ranks are counted; precision is averaged before and after each hit."""
    query = Query("a", (0, 0, 1, 1), frozenset({"a", "b"}), frozenset({"x", "y"}))
    assert query_precision(["a", "x", "b", "c"], query) == 1
    # hits at ranks 1 and 3 of a, c, b: (1 + 1)/2 and (1/2 + 2/3)/2, each for half of the recall
    assert query_precision(["x", "a", "c", "y", "b"], query) == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_photographs_keep_their_proportions_and_queries_are_cut_out(landmarks):
    path = landmarks / "jpg" / "tower_000000.jpg"  # 48 high, 64 wide
    assert load_photo(path, 128, 3).shape == (1, 3, 96, 128) and load_photo(path, 32, 1).shape == (1, 1, 24, 32)
    whole = load_photo(path, 64, 3)
    part = load_photo(path, 64, 3, (8, 16, 40, 48))
    torch.testing.assert_close(part, whole[:, :, 16:48, 8:40])
    assert load_photo(path, 128, 3, (8, 16, 40, 48)).shape == (1, 3, 64, 64)
    for outside in ((200, 0, 300, 10), (-50, -30, -3, -3)):
        with pytest.raises(Unreadable, match="outside"):
            load_photo(path, 64, 3, outside)


def test_what_is_no_text_is_one_line_and_the_mark_of_utf8_is_none_of_it(landmarks):
    query = landmarks / "gt_files" / "tower_1_query.txt"
    query.write_bytes(b"\xef\xbb\xbf" + query.read_bytes())
    assert open_landmarks(landmarks).queries[2].photo == "tower_000000"
    (landmarks / "gt_files" / "tower_1_ok.txt").write_bytes(b"tower_\xff")
    with pytest.raises(InputError, match=r"tower_1_ok.txt is no text in UTF-8"):
        open_landmarks(landmarks)


def test_photographs_of_one_name_in_two_folders(landmarks):
    """All are whitened on; where names tell what is to be found, they are refused."""
    (landmarks / "jpg" / "more").mkdir()
    (landmarks / "jpg" / "more" / "tower_000000.jpg").write_bytes((landmarks / "jpg" / "gate_000000.jpg").read_bytes())
    assert len(photos_in(landmarks)) == 16
    with pytest.raises(InputError, match="tower_000000.jpg have one name"):
        open_landmarks(landmarks)


def body_for(images):
    return ConvNet(width=0.15, sobel=False).drawn_for(images, torch.Generator().manual_seed(0))


def test_a_network_finds_landmarks_again_and_skips_what_it_cannot_read(landmarks):
    source = ImageSource(torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8), [""] * 8)
    body, run = body_for(source), Run(Runtime("cpu"), 0)
    given = open_landmarks(landmarks)
    found = landmark_retrieval(body, "conv2", given, run, longer_side=256)
    assert found.n_queries == 3 and found.n_photos == 15 and found.skipped == []
    assert found.mean_average_precision > 0.8  # by chance about a third
    (landmarks / "jpg" / "gate_000002.jpg").write_bytes(b"nothing")
    (landmarks / "jpg" / "bridge_000000.jpg").write_bytes(b"nothing")  # a query's
    fewer = landmark_retrieval(body, "conv2", given, run, whiten_on=photos_in(landmarks), longer_side=64)
    assert (fewer.n_queries, fewer.n_photos, len(fewer.skipped)) == (2, 13, 2)


def test_what_cannot_be_searched_is_said(landmarks):
    source = ImageSource(torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8), [""] * 8)
    body, run = body_for(source), Run(Runtime("cpu"), 0)
    (landmarks / "jpg" / "gate_000001.jpg").unlink()  # of the wanted ones
    Image.new("RGB", (300, 2)).save(landmarks / "jpg" / "strip.png")
    found = landmark_retrieval(body, "conv5", open_landmarks(landmarks), run, longer_side=128)
    assert [one.reason[:17] for one in found.skipped] == ["1x128 pixels are ", "listed as good or"]
    with pytest.raises(InputError, match="no photograph can be used; .* pixels are too few for the network's conv5"):
        landmark_retrieval(body, "conv5", open_landmarks(landmarks), run, longer_side=2)
    (landmarks / "gt_files" / "tower_1_query.txt").write_text("tower_000000 1 1 2 40")
    with pytest.raises(InputError, match=r"the query's box in .*tower_000000.jpg: \d+x\d+ pixels are too few"):
        landmark_retrieval(body, "conv5", open_landmarks(landmarks), run, longer_side=64)


def test_retrieval_command_searches_by_the_queries(landmarks, tmp_path, monkeypatch):
    np.savez(tmp_path / "few.npz", images=np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8))
    DeepCluster(
        4, network=ConvNet(width=0.1), training=Training(n_epochs=0), random_state=0, device="cpu",
        run_dir=tmp_path / "run",
    ).fit(str(tmp_path / "few.npz"))  # fmt: skip

    def invoke(*more):
        arguments = ["transfer", "retrieval", tmp_path / "run", landmarks, "-q", "--device", "cpu", *more]
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        return done.exit_code, done.output

    code, text = invoke("--json", "--size", "64", "--layer", "conv2", "--whiten-on", landmarks / "jpg")
    assert code == 0, text
    found = json.loads(text)
    assert found["n_queries"] == 3 and found["skipped"] == "none" and found["size"] == "64"
    assert json.loads((tmp_path / "run" / "retrieval.json").read_text()) == found
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    named = ["transfer", "retrieval", tmp_path / "run", "data:oxford5k", "--size", "64", "--layer", "conv2", "--json"]
    named += ["--whiten-on", "data:oxford5k", "-q", "--device", "cpu"]
    done = CliRunner().invoke(app, [str(one) for one in named])
    score = "mean_average_precision"
    assert done.exit_code == 0 and json.loads(done.output)[score] == pytest.approx(found[score]), done.output
    for size in ("64x48", "0"):
        assert "give the pixels of the longer side" in invoke("--size", size)[1]
    assert "ground truth of its own" in invoke("--labels", "folders")[1]


def test_a_row_holds_what_is_here(landmarks, tmp_path, monkeypatch):
    """Oxford is whitened on itself where Paris is not here."""
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    settings = {"network.width": 0.05, "network.n_features": 32, "training.n_epochs": 0}
    entry = Entry("random", "Random", "laptop", settings, 4, estimator="deepcluster")
    perform = RetrievedRuns()
    table = Table("deepcluster-5", "", ("cifar10-train",), (entry,), metrics=SEARCHED, perform=perform)
    pixels = torch.randint(0, 256, (24, 32, 32, 3), dtype=torch.uint8)
    images = ImageSource(pixels, [str(i) for i in range(24)], np.arange(24) % 4)
    task = protocol.Task(table, "cifar10-train", entry, 0)
    monkeypatch.setattr("asterism_papers.evaluation.retrieval_runs.LONGER_SIDE", 64)
    row = perform(task, images, tmp_path / "run", protocol.Setting("cpu"))
    about = row["protocol"]["retrieval"]
    assert 0 < row["scores"]["oxford5k"] <= 1 and not {"paris6k", "ukbench"} & set(row["scores"])
    assert about["oxford5k"] == {"longer side": 64, "whitened on": "oxford5k", "queries": 3, "photographs": 15}
    landmarks.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingDataError, match="nothing to search.*oxbuildings"):
        perform(task, images, tmp_path / "run", protocol.Setting("cpu"))
