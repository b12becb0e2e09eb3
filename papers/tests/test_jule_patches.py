"""Table 8 of JULE end to end on made images: the patches' network, codebook, codes that are kept, SVM."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asterism import JULE, ImageSource
from asterism.methods.jule_settings import TripletTraining
from asterism.training.progress import ProgressBars
from asterism_papers.evaluation import jule_transfer
from asterism_papers.evaluation.jule_transfer import PatchCodebook, kept_codes
from asterism_papers.transfer.codebook import Codebook


def stripes(n, seed):
    """Images of 10×10, across striped of class 0, down striped of class 1, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    wave = 100 + 80 * np.sin(np.arange(10)[None] * 2.0 + rng.uniform(0, 6, (n, 1)))  # (N, 10)
    pixels = np.where(labels[:, None, None] == 0, wave[:, :, None], wave[:, None, :]) + rng.normal(0, 10, (n, 10, 10))
    packed = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))[..., None].repeat(1, 1, 1, 3)
    return ImageSource(packed, [str(i) for i in range(n)], labels=labels)


def test_codes_are_kept_and_only_of_their_own_codebook(tmp_path, monkeypatch):
    monkeypatch.setattr(jule_transfer, "PART", 5)
    images, silent = stripes(12, 0), ProgressBars(0)
    book = Codebook(6, n_patches=200).fit(images, seed=0)
    codes, earlier = kept_codes(book, images, tmp_path, silent)
    assert torch.allclose(codes, book.transform(images), rtol=1e-5, atol=1e-5)
    assert earlier == 0
    with monkeypatch.context() as context:
        context.setattr(Codebook, "transform", None)  # nothing is coded again
        again, earlier = kept_codes(book, images, tmp_path, silent)
    assert torch.equal(again, codes)
    assert earlier > 0
    other = Codebook(6, n_patches=200).fit(images, seed=1)
    codes, earlier = kept_codes(other, images, tmp_path, silent)
    assert torch.allclose(codes, other.transform(images), rtol=1e-5)
    assert earlier == 0


@pytest.mark.parametrize(
    ("class_name", "layer", "width"), [("kmeans", "patches", 108), ("jule", "conv1&2", 650), ("jule", "ip", 160)]
)
def test_a_row_of_table_8(tmp_path, monkeypatch, class_name, layer, width):
    from asterism_papers.evaluation import protocol

    train, test = stripes(80, 1), stripes(40, 2)
    monkeypatch.setattr(protocol, "open_dataset", lambda name: {"stripes-test": test}[name])
    monkeypatch.setattr(
        protocol, "row_of", lambda task, images, setting, found, *rest: {"scores": found, "protocol": {}}
    )
    books, fit = [], Codebook.fit

    def fit_and_remember(book, *given):
        books.append(book)
        return fit(book, *given)

    monkeypatch.setattr(Codebook, "fit", fit_and_remember)
    task = SimpleNamespace(
        dataset="stripes-train",
        seed=0,
        params={},
        command="",
        table=SimpleNamespace(record="jule-8", preprocessing=""),
        entry=SimpleNamespace(class_name=class_name, variant=layer, method="codebook"),
        estimator=lambda: JULE(20, training=TripletTraining(n_epochs=1), random_state=0),
    )
    setting = SimpleNamespace(device="cpu", verbose=0, commit="")
    row = PatchCodebook(600, 16, (40, 80))(task, train, tmp_path / "run", setting)
    assert books[0].centers_.shape == (16, width)  # 50·3·3 after the first pooling of a 6×6 patch, + 50·2·2
    assert set(row["scores"]) == {"svm_40", "svm_80"}
    assert min(row["scores"].values()) > 0.9
