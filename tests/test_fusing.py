"""Batch norm that became part of a convolution: the same numbers, fewer layers, and only where it is allowed."""

import pytest
import torch
from torch import nn

from asterism.features import extract
from asterism.images import open_images
from asterism.networks.fusing import fused
from asterism.runtime import Runtime


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
        nn.BatchNorm2d(8),  # after an activation: stays
        nn.Conv2d(8, 4, 1),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_mean, module.weight, module.bias):
                nn.init.normal_(value, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made.eval()


def test_the_numbers_are_those_of_the_network_and_the_network_is_left_alone():
    plain, X = network(), torch.rand(5, 3, 12, 12)
    quick = fused(plain)
    assert sum(isinstance(one, nn.BatchNorm2d) for one in quick.modules()) == 1
    assert sum(isinstance(one, nn.BatchNorm2d) for one in plain.modules()) == 3
    torch.testing.assert_close(quick(X), plain(X), atol=1e-5, rtol=1e-4)
    assert fused(quick[0]) is quick[0]


def test_a_layer_that_stands_at_two_places_is_seen_at_both():
    act, shared = nn.ReLU(), nn.Conv2d(4, 4, 1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), act, shared, act, nn.BatchNorm2d(4), shared, nn.BatchNorm2d(4)).eval()
    for norm in (net[4], net[6]):
        nn.init.normal_(norm.running_mean)
    X = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(fused(net)(X), net(X))
    assert fused(net) is net


@pytest.mark.parametrize(("precision", "layers"), [("32-true", 3), ("bf16-mixed", 1)])
def test_half_precision_alone_is_computed_so(monkeypatch, precision, layers):
    runtime, seen = Runtime("cpu", precision), []
    placed = runtime.place(network())
    placed[4].register_forward_pre_hook(lambda module, _: seen.append(module))
    pixels = torch.randint(0, 256, (6, 12, 12, 3), dtype=torch.uint8).numpy()
    calls, forward = [], nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: calls.append(1) or forward(self, x))
    features = extract(placed, open_images(pixels), runtime)
    assert features.shape == (6, 4) and len(calls) == layers * len(seen)
