"""The epoch: batches, their sizes, order, and what limits them."""

import sys

import numpy as np
import pytest
import torch

from asterism import Training, open_images
from asterism.errors import InputError, MissingDependencyError
from asterism.images import ImageSource
from asterism.runtime import Runtime
from asterism.training import Run, train_epoch
from asterism.training.epoch import minibatches


@pytest.fixture(scope="module")
def run():
    return Run(Runtime("cpu"), 0)


def epoch(run, n, training, epoch=0):
    """The indices of each batch of an epoch over n images."""
    images = open_images(np.arange(n * 4, dtype=np.float32).reshape(n, 2, 2) / (4 * n))
    weight = torch.zeros((), requires_grad=True)
    optimizer = run.runtime.fabric.setup_optimizers(training.make_optimizer([weight]))
    seen = []

    def loss_of(batch, indices):
        np.testing.assert_allclose(batch[:, 0, 0, 0].numpy(), indices.numpy() / n, rtol=1e-5)
        seen.append(indices.tolist())
        return (weight - 1) ** 2

    loss = train_epoch(images, loss_of, optimizer, training, run, ("stage", epoch))
    return seen, loss, float(weight)


def test_draws_of_other_peoples_layers_are_the_runs_own(run):
    images, drawn = open_images(np.zeros((64, 2, 2), np.float32)), []
    weight = torch.zeros((), requires_grad=True)
    training = Training(batch_size=32)
    optimizer = run.runtime.fabric.setup_optimizers(training.make_optimizer([weight]))

    def loss_of(batch, indices):
        drawn.append(float(torch.nn.functional.dropout(torch.ones(1000), 0.5).sum()))
        return weight**2

    for seed, number in ((1, 0), (2, 0), (2, 1)):
        torch.manual_seed(seed)
        train_epoch(images, loss_of, optimizer, training, run, ("stage", number))
        after = torch.rand(())
        torch.manual_seed(seed)
        assert torch.rand(()) == after  # and nobody else's
    first, again, other = drawn[:2], drawn[2:4], drawn[4:]
    assert first == again and first != other and first[0] != first[1]


def test_every_image_once_in_batches_of_equal_size(run):
    seen, _, _ = epoch(run, 1000, Training(batch_size=300))
    assert sorted(i for batch in seen for i in batch) == list(range(1000))
    # 1000 // 32 = 31 < 32 images a batch: 32 batches of 31 or 32
    assert {len(batch) for batch in seen} == {31, 32} and len(seen) == 32


def test_lars_steps_by_a_share_of_the_weights_length():
    pytest.importorskip("timm")
    weight = torch.full((4,), 3.0, requires_grad=True)  # length 6
    optimizer = Training(optimizer="lars", lr=0.5, momentum=0.0).make_optimizer([weight])
    weight.grad = torch.tensor([100.0, 0.0, 0.0, 0.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([3 - 0.5 * 1e-3 * 6, 3.0, 3.0, 3.0]))


def test_lars_without_timm_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    with pytest.raises(MissingDependencyError, match="optimizer='lars' is timm's: pip install timm"):
        Training(optimizer="lars").make_optimizer([torch.zeros(1, requires_grad=True)])


def test_large_sets_keep_their_batch_size(run):
    seen, _, _ = epoch(run, 10000, Training(batch_size=256))
    assert len(seen) == 40 and {len(batch) for batch in seen} == {250}


def test_the_rate_falls_to_a_tenth_every_so_many_epochs():
    training = Training(n_epochs=10, lr=1.0, drop_interval=3)
    assert [round(training.rate(t), 4) for t in (0, 2, 3, 5, 6, 9)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.001]
    training = Training(n_epochs=10, lr=1.0, drop_interval=5, schedule="cosine")
    assert [round(training.rate(t), 4) for t in (0, 5, 10)] == [1.0, 0.05, 0.0]


def test_no_image_is_alone_in_a_batch(run):
    seen, _, _ = epoch(run, 65, Training(batch_size=64))
    assert sorted(map(len, seen)) == [21, 22, 22]  # ⌈65 / 32⌉ batches


def test_max_steps_draws_other_images_each_epoch(run):
    training = Training(batch_size=32, max_steps=3)
    first, second = epoch(run, 1000, training, 0)[0], epoch(run, 1000, training, 1)[0]
    assert [len(batch) for batch in first] == [32, 32, 32]
    assert set(sum(first, [])) != set(sum(second, []))


def test_loss_is_the_mean_over_batches_and_steps_are_taken(run):
    _, loss, weight = epoch(run, 64, Training(batch_size=32, lr=0.25, momentum=0.0))
    # w: 0 → 0.5 → 0.75; losses 1 and 0.25
    assert loss == pytest.approx(0.625) and weight == pytest.approx(0.75)


def test_gradients_are_shortened(run):
    _, _, weight = epoch(run, 32, Training(batch_size=32, lr=0.5, momentum=0.0, max_grad_norm=0.5))
    assert weight == pytest.approx(0.25)  # gradient −2 shortened to −0.5


def test_cosine_schedule():
    training = Training(n_epochs=10, lr=1.0, schedule="cosine")
    assert [round(training.rate(t), 4) for t in (0, 5, 10)] == [1.0, 0.5, 0.0]


def test_no_image_is_alone_in_a_processs_share_of_a_batch():
    images = ImageSource(torch.zeros(9, 2, 2, 1, dtype=torch.uint8), [""] * 9)

    class OneOfTwo(Runtime):
        world_size, rank = 2, 1

    run = Run(OneOfTwo("cpu"), 0)
    assert [len(part) for part, _ in minibatches(images, torch.arange(9), 2, run)] == [2, 2]
    with pytest.raises(InputError, match="3 images are too few for 2 processes"):
        list(minibatches(images, torch.arange(3), 2, run))
