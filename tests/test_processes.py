"""What several processes must agree on, and a run that is resumed must find again; the others are stand-ins here."""

import warnings

import numpy as np
import pytest
import torch

from asterism import TEMI, Training, open_images
from asterism.features import extract
from asterism.images import ImageSource
from asterism.networks.pixels import Pixels
from asterism.runtime import Runtime
from asterism.training import Run, train_epoch
from asterism.training.checkpoint import load_state
from asterism.training.collapse import CollapseDetector, CollapseWarning


def one_of(n, number):
    """A process of n, whose sums and gatherings give back its own part."""

    class Process(Runtime):
        world_size, rank = n, number

        def sum_over_ranks(self, value):
            return value

        def same_buffers(self, module):
            pass

        def gather_rows(self, part, n_rows):
            assert part.shape[0] == len(self.shard(torch.arange(n_rows)))
            return part

    return Process("cpu")


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_process_without_an_image_gathers_rows_as_long_as_the_others(rank):
    images = open_images(np.random.default_rng(0).random((2, 3, 4), dtype=np.float32))
    assert extract(Pixels(False), images, one_of(3, rank)).shape == (1, 12)


def test_every_process_steps_at_the_same_rate():
    """66 images make two batches of 33, of which one process has 17 and the other 16."""
    images, rates = ImageSource(torch.zeros(66, 2, 2, 1, dtype=torch.uint8), [""] * 66), []
    training = Training(n_epochs=2, lr=1.0, schedule="cosine-steps")
    for rank in (0, 1):
        run, weight = Run(one_of(2, rank), 0), torch.zeros((), requires_grad=True)
        optimizer = training.make_optimizer([weight])
        seen = []

        def loss_of(batch, indices, weight=weight, optimizer=optimizer, seen=seen):
            seen.append(optimizer.param_groups[0]["lr"])
            return (weight - 1) ** 2

        train_epoch(images, loss_of, optimizer, training, run, ("stage", 1), batch_size=33)
        rates.append(seen)
    assert len(rates[0]) == 2 and rates[0] == rates[1]


def test_the_head_is_chosen_by_the_losses_of_all_processes_and_a_resumed_run_has_them(tmp_path, monkeypatch):
    """The others' losses come with each epoch, into the checkpoint: what a killed run chooses by is the same."""
    others = torch.tensor([0.0, -100.0])
    alone = Runtime.sum_over_ranks
    summed = lambda self, value: value + others if value.shape == (2,) else alone(self, value)  # noqa: E731
    monkeypatch.setattr(Runtime, "sum_over_ranks", summed)
    X = np.random.default_rng(0).random((24, 5), dtype=np.float32)
    training = Training(n_epochs=2, optimizer="adamw", lr=1e-3)
    TEMI(3, n_heads=2, hidden=4, training=training, random_state=0, run_dir=tmp_path / "run").fit(X)
    losses = load_state(tmp_path / "run" / "checkpoint" / "heads.safetensors")["state"]["losses"]
    assert losses[1] < -50


def test_a_resumed_run_does_not_tell_of_a_collapse_again():
    run = Run(Runtime("cpu"), 0)
    figures = {"loss": 1.0, "effective_clusters": 1.0, "largest_cluster": 100}
    with pytest.warns(CollapseWarning, match="collapse in round 1"):
        for _ in run.rounds("x", 1):
            CollapseDetector(run, 50, "x").look(**figures)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CollapseDetector(run, 50, "x").look(**figures)  # of the next life, which has the history of the one before
