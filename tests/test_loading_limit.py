"""A run that was saved can be loaded, however much a forward pass makes and gives back; a claim beyond cannot."""

import numpy as np
import pytest
import torch

from asterism import FCN, load
from asterism.estimator import base
from asterism.runs import limited


def test_what_was_given_back_does_not_count():
    with limited(1300):
        for _ in range(10):
            kept = torch.empty(100) + 1  # 1200 bytes at most
    assert len(kept) == 100
    with pytest.raises(MemoryError), limited(1300):
        [torch.nn.Parameter(torch.empty(100)) for _ in range(4)]


def test_a_run_with_many_bases_is_loaded(tmp_path, monkeypatch):
    """Its 200 steps for one image make far more than the file holds, and keep nothing of it."""
    monkeypatch.setattr(base, "LARGEST_LOAD", 2**20)
    X = np.random.default_rng(0).random((150, 100)).astype("f4")
    model = FCN(3, n_components=70, random_state=0, run_dir=tmp_path / "run").fit(X)
    assert (load(tmp_path / "run").predict(X) == model.labels_).all()
