"""Every network of `ConvNet` can be taken to pieces that transfer trains on, for images of any size."""

import pytest
import torch

from asterism import ConvNet
from asterism_papers.transfer.backbone import parts_of, searchable

SHAPE = (3, 16, 16)


@pytest.mark.parametrize("architecture", ["alexnet", "vgg16", "small-resnet", "resnet18"])
def test_the_pieces_are_the_network(architecture):
    network = ConvNet(architecture, width=1.0 if architecture == "resnet18" else 0.1)
    body = network.drawn(SHAPE, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    parts = parts_of(body, SHAPE)
    for side in (16, 40):
        images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
        expected = body.maps(images, body.layer_names[-1:])[body.layer_names[-1]]
        torch.testing.assert_close(parts.convolutions(images), expected)
    assert parts.n_filters == expected.shape[1]
    assert (parts.fully_connected is None) == (architecture in ("small-resnet", "resnet18"))
    assert searchable(body, SHAPE) is body
