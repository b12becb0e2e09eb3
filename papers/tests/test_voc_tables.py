"""DeepCluster's Tables 2 and 4: a row is a fit without labels and PASCAL VOC's tasks on its network."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asterism.errors import InputError, MissingDataError
from asterism.images import ImageSource, open_images
from asterism_papers.cli.voc import digest_of
from asterism_papers.evaluation import protocol, voc_runs
from asterism_papers.evaluation.table import Entry, Table
from asterism_papers.evaluation.tables import TABLES
from asterism_papers.evaluation.voc_runs import COLUMNS, TransferredRuns
from asterism_papers.transfer.voc import Thing, VocImages
from voc_like import make_voc

PAPER = Path(__file__).parents[3] / "shared" / "papers" / "deepcluster.txt"
TINY = {"network.width": 0.05, "network.n_features": 32, "training.n_epochs": 1}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not beside this checkout")
@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_the_printed_values_are_the_papers(number):
    block = PAPER.read_text(encoding="utf-8").partition(f"\nTable {number}:")[2].partition("\nMethod")[2]
    rows = [line.split("\t") for line in block.partition("\n\n")[0].splitlines() if "FC6-8" not in line][1:]
    if number == 3:  # its last line is of the other training set
        rows = [row[:1] + row[2:] for row in rows]
    theirs = [[None if cell == "–" else round(float(cell) / 100, 3) for cell in map(_number, row[1:])] for row in rows]
    table = TABLES[f"deepcluster-{number}"]
    printed = table.printed("imagenet-train")
    if number == 3:
        both = [*printed.values(), *table.printed("yfcc100m").values()]
        assert [[one[column] for column in COLUMNS] for one in both] == theirs
    elif number == 5:
        assert [[one[column] for column in ("oxford5k", "paris6k")] for one in printed.values()] == theirs
    elif number == 2:
        assert [[one[column] for column in COLUMNS] for one in printed.values()] == theirs
    else:
        flat = [cell for row in theirs for cell in row if cell is not None]
        assert [one["detection_all"] for one in printed.values()] == flat


def _number(cell):
    return re.sub(r"<sup>.*?</sup>|</?b>", "", cell).strip()


def test_a_row_holds_every_task(tmp_path, monkeypatch):
    make_voc(tmp_path, 8, 5)
    make_voc(tmp_path / "2012", 8, 5, year=2012)
    (tmp_path / "2012" / "VOCdevkit" / "VOC2012").rename(tmp_path / "VOCdevkit" / "VOC2012")
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    perform = TransferredRuns(COLUMNS, {"n_steps": 2})
    entry = Entry("deepcluster", "DeepCluster", "laptop", TINY, 4)
    table = Table("deepcluster-2", "", ("cifar10-train",), (entry,), metrics=COLUMNS, perform=perform)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    images = ImageSource(torch.from_numpy(pixels), [str(i) for i in range(40)], np.arange(40) % 4)
    task = protocol.Task(table, "cifar10-train", entry, 0)
    row = perform(task, images, tmp_path / "run", protocol.Setting("cpu"))
    assert set(COLUMNS) <= set(row["scores"]) and all(0 <= row["scores"][one] <= 1 for one in COLUMNS)
    about = row["protocol"]["transfer"]
    assert (
        about["detection_all"]["trained"].startswith("all convolutions")
        and about["classification_fc6-8"]["n_steps"] == 2
    )
    assert about["proposals"] == "none: Faster R-CNN"
    np.savez(tmp_path / "box.npz", a=np.ones((1, 4)))
    (tmp_path / "voc2007-proposals").mkdir()
    (tmp_path / "box.npz").rename(tmp_path / "voc2007-proposals" / "box.npz")
    with pytest.raises(InputError, match="there are no proposals for image 000000"):
        perform(task, images, tmp_path / "run", protocol.Setting("cpu"))


def test_a_killed_task_is_no_start_for_another_network(tmp_path, monkeypatch):
    seen = []

    def scored(name, model, run, *_):
        seen.append(run.identity)
        return SimpleNamespace(mean_iou=0.5, learnt="")

    for name, value in (("_score", scored), ("load", lambda folder: None), ("_place", lambda name: tmp_path)):
        monkeypatch.setattr(voc_runs, name, value)
    monkeypatch.setattr(voc_runs.runs, "perform", lambda *_: {"scores": {}, "protocol": {}})
    task = SimpleNamespace(seed=0, entry=SimpleNamespace(variant="paper"))
    for level in (0, 0, 9):
        images = ImageSource(torch.full((2, 4, 4, 3), level, dtype=torch.uint8), ["a", "b"])
        TransferredRuns(("segmentation_all",), {})(task, images, tmp_path, protocol.Setting("cpu"))
    assert seen[0] == seen[1] != seen[2]


def test_the_folder_of_a_task_is_that_of_its_lists_and_boxes():
    def digest(width, top):
        things = [Thing("dog", (0, 0, width, 9), False)]
        return digest_of(["a"], [VocImages(tmp, "test", ["000001"], [things])], {"000001": np.array([[0, top, 5, 5]])})

    tmp = Path("VOC2007")
    assert digest(3, 1) == digest(3, 1) and len({digest(3, 1), digest(4, 1), digest(3, 2)}) == 3


def test_without_voc_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    table = TABLES["deepcluster-2"]
    with pytest.raises(MissingDataError, match=r"voc2007 is not on this machine: .*VOC2007/\{JPEGImages,Annotations"):
        table.perform(SimpleNamespace(), None, tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


def test_voc_is_a_set_of_photos_too(tmp_path, monkeypatch):
    make_voc(tmp_path, 3, 2)
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    opened = open_images("data:voc2007", size=16)
    assert len(opened) == 5 and opened.labels is None and opened.origin["source"] == "data:voc2007"
