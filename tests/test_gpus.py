"""GPUs that the machines which test this do not have: an Apple one, and several of Nvidia's, by stand-ins."""

from types import SimpleNamespace

import pytest
import torch

from asterism import runtime as runtime_module
from asterism.errors import InputError
from asterism.networks.towers import HuggingFaceTower
from asterism.runtime import Runtime
from asterism.training import Training


def test_a_gpu_with_too_high_a_number_is_told_in_a_line(monkeypatch):
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    def fabric(*_):
        raise MisconfigurationException("You requested gpu: [7]\n But your machine only has: [0]")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime_module, "_fabric", fabric)
    with pytest.raises(InputError, match="'cuda:7' cannot be used here: You requested gpu: .7. But your machine only"):
        Runtime("cuda:7")


def test_what_processes_exchange_goes_by_their_gpus():
    """NCCL, which joins them, refuses tensors on the processor."""

    def all_reduce(value, reduce_op):
        assert value.is_meta
        return torch.full(value.shape, 2.0)

    def all_gather(value):
        assert value.is_meta
        return torch.ones(2, *value.shape)

    class Process(Runtime):
        world_size, rank, device = 2, 0, torch.device("meta")
        fabric = SimpleNamespace(all_reduce=all_reduce, all_gather=all_gather)

    process = Process("cpu")
    assert process.sum_over_ranks(torch.ones(2)).tolist() == [2, 2]
    assert process.from_main(lambda: {"x": torch.ones(1)}, {"x": torch.zeros(1)})["x"].tolist() == [2]
    assert process.gather_rows(torch.zeros(2, 1), 3).tolist() == [[1], [1], [1]]


def test_gradients_are_shortened_in_half_precision():
    """`DBC` asks for it; Fabric refuses where a fused step would bring the gradients back to their size itself."""
    from lightning_fabric.plugins.precision.amp import MixedPrecision

    halved = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=8.0))
    runtime = Runtime("cpu", "16-mixed")
    runtime.fabric = Runtime("cpu", "bf16-mixed").fabric
    runtime.fabric._precision = runtime.fabric.strategy._precision = halved
    layer = torch.nn.Linear(2, 1)
    wrapped, optimizer = runtime.setup(layer, Training().make_optimizer(layer.parameters()))
    runtime.backward(10 * wrapped(torch.ones(3, 2)).sum())
    runtime.clip_gradients(optimizer, 1.0)
    assert layer.weight.grad.norm() <= 1.001
    optimizer.step()


def test_a_model_of_hugging_face_in_half_precision_is_brought_to_float32():
    """As transformers 5 loads one that is stored so; the images are float32."""
    tower = HuggingFaceTower(HalfModel(), False)
    assert tower(torch.ones(1, 2)).dtype == torch.float32


class HalfModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Linear(2, 3, dtype=torch.bfloat16)

    def forward(self, pixel_values):
        return SimpleNamespace(pooler_output=self.embed(pixel_values))
