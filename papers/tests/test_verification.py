"""Face verification: LFW's files, its protocol, fine-tuning on clusters, the command and the rows of JULE's Table 7."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from asterism import JULE, ImageSource
from asterism.cli import app
from asterism.errors import InputError, MissingDataError
from asterism.networks.jule_net import build_conv
from asterism.runtime import Runtime
from asterism.training import Run, Training
from asterism_papers.evaluation import protocol, verification
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.table import Entry
from asterism_papers.evaluation.tables import TABLES
from asterism_papers.transfer.cluster_tuning import fine_tuned
from asterism_papers.transfer.verification import best_threshold, cross_validate, faces, open_lfw, read_pairs, verify

PERSONS = ("Ann_Lee", "Bo_Ek", "Cy_Roy")
PAIRS = "2\t2\n" + "".join(
    f"{a} 1 2\n{b} 1 2\n{a} 1 {b} 1\n{b} 2 {c} 1\n" for a, b, c in (PERSONS, PERSONS[::-1])
)  # two folds of two and two


def photo(person, seed):
    """40×40: in the middle a person's own bar, around it noise that the middle does not see."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (40, 40, 3))
    pixels[8:32, 8:32] = 40 + rng.integers(0, 20, (24, 24, 3))
    pixels[10 + 7 * person : 15 + 7 * person, 8:32] = 220
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def lfw(tmp_path):
    """Three persons, two photographs each, in the usual layout."""
    root = tmp_path / "lfw"
    for i, name in enumerate(PERSONS):
        (root / name).mkdir(parents=True)
        for n in (1, 2):
            photo(i, 10 * i + n).save(root / name / f"{name}_{n:04d}.jpg", quality=95)
    (root / "pairs.txt").write_text(PAIRS)
    return root


# ---------------------------------------------------------------- files


def test_pairs_are_read_by_folds(lfw):
    pairs = read_pairs(lfw / "pairs.txt")
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    named = [(pairs.images[a], pairs.images[b]) for a, b in zip(pairs.left, pairs.right, strict=True)]
    assert named[0] == ("Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0002")
    assert named[3] == ("Bo_Ek/Bo_Ek_0002", "Cy_Roy/Cy_Roy_0001")
    assert len(set(pairs.images)) == len(pairs.images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list index out of range"),
        ("2 2\nA 1 2\n", "1 pairs instead of the 8"),
        ("1 1\nA 1 2\nA 1 2\n", "line 3 is no pair of two persons"),
        ("1 1\nA 1 B 2\nA 1 B 2\n", "line 2 is no pair of one person"),
        ("1 1\nA 1 x\nA 1 B 2\n", "invalid literal"),
        ("1 1\nA 1 2\nA 1 B 2\n", "1 folds of 1 pairs"),
    ],
)
def test_what_is_no_list_of_pairs_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=f"pairs.txt is no list of LFW's pairs: .*{message}"):
        read_pairs(path)


def test_usual_layouts(lfw):
    assert open_lfw(lfw)[0] == lfw
    (lfw / "pairs.txt").rename(lfw.parent / "pairs.txt")
    assert open_lfw(lfw)[0] == lfw  # the list beside it
    assert open_lfw(lfw.parent)[0] == lfw  # the folder above
    lfw.rename(lfw.parent / "lfw-deepfunneled")
    assert open_lfw(lfw.parent)[0] == lfw.parent / "lfw-deepfunneled"


def test_what_is_missing_is_named(lfw, tmp_path):
    with pytest.raises(MissingDataError, match="no folder .*nowhere.*lfw/NAME/NAME_0001.jpg"):
        open_lfw(tmp_path / "nowhere")
    (lfw / "Bo_Ek" / "Bo_Ek_0002.jpg").unlink()
    with pytest.raises(MissingDataError, match="lacks 1 of the 6 photographs of the pairs, Bo_Ek/Bo_Ek_0002.jpg"):
        open_lfw(lfw)
    (lfw / "Ann_Lee" / "Ann_Lee_0001.jpg").unlink()
    with pytest.raises(MissingDataError, match="does not hold Ann_Lee/Ann_Lee_0001.jpg"):
        open_lfw(lfw)
    (lfw / "pairs.txt").unlink()
    with pytest.raises(MissingDataError, match=r"no pairs.txt in"):
        open_lfw(lfw)


def test_faces_are_the_middle_at_the_networks_size(lfw):
    root, pairs = open_lfw(lfw)
    (block,) = faces(root, pairs.images[:3], (3, 12, 12))
    assert block.shape == (3, 12, 12)
    assert float(block.batch(slice(0, 1)).max()) < 0.95  # none of the noise outside
    (grey,) = faces(root, pairs.images[:3], (1, 8, 10), face=1.0)
    assert grey.shape == (1, 8, 10)


def test_a_damaged_photograph_is_named(lfw):
    (lfw / "Cy_Roy" / "Cy_Roy_0001.jpg").write_bytes(b"no image")
    root, pairs = open_lfw(lfw)
    with pytest.raises(InputError, match="Cy_Roy_0001.jpg: it is text, not an image"):
        list(faces(root, pairs.images, (3, 8, 8)))


# ---------------------------------------------------------------- the protocol


def test_threshold_of_the_most_right_answers():
    similarity, same = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, True, False, False])
    assert best_threshold(similarity, same) == pytest.approx(0.55)
    assert best_threshold(similarity, np.array([True] * 4)) == 0.1  # everybody
    assert best_threshold(similarity, np.array([False] * 4)) > 0.9  # nobody
    assert best_threshold(np.array([0.5, 0.5]), np.array([True, False])) in (0.5, np.nextafter(0.5, 1))


def test_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        similarity, same = rng.integers(0, 8, 30) / 8, rng.random(30) < 0.5
        found = ((similarity >= best_threshold(similarity, same)) == same).mean()
        every = [((similarity >= one) == same).mean() for one in [*similarity, 2.0]]
        assert found == pytest.approx(max(every))


def test_a_folds_threshold_comes_from_the_others():
    """By hand: two folds, each judged by the threshold of the other."""
    similarity = np.array([0.9, 0.1, 0.5, 0.4])
    same, fold = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    found = cross_validate(similarity, same, fold)
    assert found.thresholds == pytest.approx([0.45, 0.5])
    assert found.folds == [1.0, 1.0]
    found = cross_validate(np.array([0.9, 0.6, 0.5, 0.4]), same, fold)  # thresholds .45 and .75
    assert found.folds == [0.5, 0.5] and found.thresholds == pytest.approx([0.45, 0.75])
    found = cross_validate(np.array([0.9, 0.65, 0.8, 0.4]), same, fold)  # thresholds .6 and .775
    assert found.folds == [0.5, 1.0]
    assert found.accuracy == 0.75
    assert found.standard_error == pytest.approx(0.25)  # sd of .5 and 1 is .3536, over √2


class Rows(nn.Module):
    """Brightness of each row: tells the persons of `photo` apart without any training."""

    def forward(self, images):
        rows = images.mean((1, 3))
        return rows - rows.mean(1, keepdim=True)


@pytest.mark.parametrize("face", [float("nan"), 0.0, 1.5])
def test_a_face_is_a_share_of_the_photograph(lfw, face):
    with pytest.raises(InputError, match="share"):
        verify(Rows(), (3, 24, 24), lfw, Runtime("cpu"), face)


def test_verify_tells_the_persons_apart(lfw):
    found = verify(Rows(), (3, 24, 24), lfw, Runtime("cpu"))
    assert found.accuracy == 1.0 and found.standard_error == 0.0
    assert (len(found.folds), found.n_pairs) == (2, 8)


# ---------------------------------------------------------------- fine-tuning


def bars(n=40, side=16):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 60, (n, side, side, 3))
    for image, label in zip(pixels, labels, strict=True):
        image[2 + 7 * label : 6 + 7 * label] += 150
    return ImageSource(torch.from_numpy(pixels.astype(np.uint8)), [str(i) for i in range(n)], labels, None)


def test_fine_tuning_learns_the_clusters_and_leaves_the_network_alone():
    images, run = bars(), Run(Runtime("cpu"), 0)
    network = build_conv(images.shape, run.generator("weights"), 8)
    before = [one.clone() for one in network.parameters()]
    labels = torch.as_tensor(images.labels)
    tuned = fine_tuned(network, images, labels, run, Training(n_epochs=3, batch_size=32, lr=0.01))
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
    features = tuned(images.batch(slice(None)))
    lengths = features.norm(dim=1)
    assert features.shape == (40, 8) and lengths.max() > 1.01 * lengths.min()  # no longer of length 1
    centres = torch.stack([features[labels == one].mean(0) for one in (0, 1)])
    nearest = torch.cdist(features, centres).argmin(1)
    assert torch.equal(nearest, labels)
    assert run.history[-1]["loss"] < run.history[0]["loss"]


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    images = bars()
    for i in range(len(images)):
        (folder / "photos").mkdir(exist_ok=True)
        Image.fromarray(images.pixels[i].numpy()).save(folder / "photos" / f"{i:02d}.png")
    training = JULE.DEFAULTS["training"].__class__(n_epochs=1)
    model = JULE(2, training=training, run_dir=folder / "run", random_state=0, device="cpu")
    model.fit(str(folder / "photos"))
    return folder / "run"


def asterism(*words):
    return CliRunner().invoke(app, [str(one) for one in words])


def test_the_command_scores_a_run(run_folder, lfw):
    done = asterism("transfer", "verify", run_folder, lfw, "--device", "cpu")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["FOLD", "ACCURACY", "THRESHOLD"] and lines[-1].endswith("on 8 pairs")
    kept = json.loads((run_folder / "verify.json").read_text())
    assert kept["fine_tuned"] is None and len(kept["folds"]) == 2


def test_the_command_fine_tunes_on_the_runs_own_groups(run_folder, lfw):
    plain = json.loads(asterism("transfer", "verify", run_folder, lfw, "--json", "--device", "cpu").output)
    words = ("--fine-tune", "--set", "n_epochs=2", "--json", "--device", "cpu")
    done = asterism("transfer", "verify", run_folder, lfw, *words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["thresholds"] != plain["thresholds"]
    assert json.loads((run_folder / "verify.json").read_text())["fine_tuned"]["n_epochs"] == 2


def test_errors_of_the_command_are_one_line(run_folder, lfw, tmp_path):
    done = asterism("transfer", "verify", run_folder, tmp_path / "none")
    assert done.exit_code == 1 and done.output.count("\n") == 1 and "there is no folder" in done.output
    done = asterism("transfer", "verify", run_folder, lfw, "--set", "n_epochs=2")
    assert done.exit_code == 1 and "ask for it with --fine-tune" in done.output


# ---------------------------------------------------------------- rows of Table 7


FAST = Training(n_epochs=1, batch_size=32)


@pytest.mark.parametrize(("method", "labels"), [("jule", "scoring only"), ("supervised", "of the images learnt from")])
def test_a_row_of_table_7(lfw, tmp_path, monkeypatch, method, labels):
    images = bars(60)
    monkeypatch.setattr(verification, "_lfw", lambda: lfw)
    for name in ("TUNING", "FROM_NOTHING"):
        monkeypatch.setattr(verification, name, FAST)
    entry = next(one for one in TABLES["jule-7"].entries if (one.method, one.variant) == (method, "10k"))
    entry = replace(entry, params={"training.n_epochs": 1})
    task = Task(TABLES["jule-7"], "ytf-faces", entry, 0)
    row = verification.Verified()(task, images, tmp_path / "run", Setting("cpu"))
    assert 0 <= row["scores"]["lfw"] <= 1 and row["protocol"]["pairs"] == 8
    assert row["protocol"]["labels"] == labels
    assert row["protocol"]["images"] == protocol.describe("ytf-faces", images)
    assert row["protocol"]["learnt from"] == "60 of them"


def test_a_tuning_that_was_killed_is_no_start_for_other_samples(lfw, tmp_path, monkeypatch):
    """Rows of 10k and of 20k have the same parameters, and so the same folder."""
    monkeypatch.setattr(verification, "_lfw", lambda: lfw)
    monkeypatch.setattr(verification, "FROM_NOTHING", FAST)
    entry = next(one for one in TABLES["jule-7"].entries if (one.method, one.variant) == ("supervised", "10k"))
    task = Task(TABLES["jule-7"], "ytf-faces", entry, 0)
    losses = []
    fine_tuned = verification.fine_tuned

    def watched(network, images, labels, run, training):
        tuned = fine_tuned(network, images, labels, run, training)
        losses.append((run.restored, run.history[-1]["loss"]))
        return tuned

    monkeypatch.setattr(verification, "fine_tuned", watched)
    seconds = [
        verification.Verified()(task, images, tmp_path / "run", Setting("cpu"))["seconds"]
        for images in (bars(60), bars(60), bars(48))
    ]
    assert [restored for restored, _ in losses] == [False, True, False] and min(seconds) > 0


def test_a_run_that_went_on_counts_the_seconds_of_both_lives(lfw, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "_lfw", lambda: lfw)
    monkeypatch.setattr(verification, "TUNING", FAST)
    perform = verification.runs.perform
    monkeypatch.setattr(verification.runs, "perform", lambda *more: perform(*more) | {"seconds": 1000.0})
    entry = next(one for one in TABLES["jule-7"].entries if (one.method, one.variant) == ("jule", "10k"))
    entry = replace(entry, params={"training.n_epochs": 1})
    task = Task(TABLES["jule-7"], "ytf-faces", entry, 0)
    assert verification.Verified()(task, bars(60), tmp_path / "run", Setting("cpu"))["seconds"] > 1000


def test_table_7_is_the_papers():
    printed = TABLES["jule-7"].printed("ytf-faces")
    assert printed["OURS, 30k"] == {"lfw": 0.75} and printed["Supervised, 100k"] == {"lfw": 0.77}
    assert [entry.paper_row for entry in TABLES["jule-7"].entries] == list(printed)
    assert {entry.variant for entry in TABLES["jule-7"].entries} == {"10k", "20k", "30k", "50k", "100k"}


def test_without_lfw_the_row_says_where_it_is_had(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    task = Task(TABLES["jule-7"], "ytf-faces", Entry("jule", "OURS", "10k"), 0)
    with pytest.raises(MissingDataError, match="data:lfw is not on this machine: from http://vis-www"):
        verification.Verified()(task, bars(), tmp_path / "run", Setting("cpu"))
