"""GPUs that the machines which test this do not have: an Apple one, and several of Nvidia's, by stand-ins."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from asterism import JULE, DeepCluster, open_images
from asterism import runtime as runtime_module
from asterism.clustering.diffusion import placed
from asterism.clustering.graph import knn
from asterism.clustering.nmf import factorise, initialise
from asterism.clustering.nmf_transformer import GSNMF
from asterism.errors import InputError
from asterism.features.reduce import fit_reduction
from asterism.machine import memory_wanted
from asterism.methods.jule_settings import TripletTraining
from asterism.methods.swav import sinkhorn
from asterism.networks.convnet import ConvNet
from asterism.networks.towers import HuggingFaceTower
from asterism.runtime import Runtime
from asterism.training import Training

APPLE = torch.device("mps", 0)
MOVES = {"__setitem__", "copy_", "to", "cpu", "__get__", "__set__", "_has_compatible_shallow_copy_type"}


class OnApple(torch.Tensor):
    """A tensor of the processor that passes for one of an Apple GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl


def kind(one):
    """``"cpu"`` or ``"mps"`` where an argument names a device."""
    name = str(one).partition(":")[0] if isinstance(one, (torch.device, str)) else None
    return name if name in ("cpu", "mps") else None


class AppleGPU(TorchFunctionMode):
    """Computes on the processor, and refuses what an Apple GPU refuses: float64, tensors of both devices in one
    operation, arrays of its tensors, `torch.frexp`; and copies to it that are not waited for, which it does wrong."""

    def refuse(self, error):
        raise error

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        here = [isinstance(one, OnApple) for one in tensors]
        if name in ("device", "_parse_to"):  # a constructor, and what `Module.to` reads its arguments by
            return function(*args, **kwargs)
        if function == torch.Tensor.device.__get__:
            return APPLE if here[0] else torch.device("cpu")
        if any(here):
            if name in ("numpy", "__array__"):
                self.refuse(TypeError("can't convert mps:0 device type tensor to numpy"))
            if name == "frexp":
                self.refuse(NotImplementedError("aten::frexp.Tensor_out is not implemented for the MPS device"))
            plain = [one for one in tensors if not isinstance(one, OnApple)]
            if name == "__getitem__":
                plain = [args[0]] if not here[0] else []
            if name not in MOVES and any(one.ndim for one in plain):
                self.refuse(RuntimeError(f"{name}: expected all tensors on the same device, found mps:0 and cpu"))
        devices = [found for one in (*args, *kwargs.values()) if (found := kind(one))]
        if name == "to" and len(args) > 1 and isinstance(args[1], torch.Tensor):
            devices = ["mps" if isinstance(args[1], OnApple) else "cpu"]
        wanted = "cpu" if name == "cpu" else devices[0] if devices else "mps" if any(here) else "cpu"
        if kwargs.get("non_blocking") and wanted == "mps":
            self.refuse(AssertionError("memory is read that may have been given back"))

        def back(one):
            if not isinstance(one, torch.Tensor):
                return one
            if wanted == "mps" and one.dtype == torch.float64:
                self.refuse(TypeError("the MPS framework doesn't support float64"))
            if isinstance(one, OnApple) == (wanted == "mps"):
                return one
            return one.as_subclass(OnApple if wanted == "mps" else torch.Tensor)

        if name == "__iter__":
            return iter(tree_map(back, list(torch.Tensor.unbind(args[0], 0))))
        args, kwargs = tree_map(lambda one: "cpu" if kind(one) == "mps" else one, (args, kwargs))
        return tree_map(back, function(*args, **kwargs))


@contextmanager
def an_apple_gpu(monkeypatch):
    from lightning_fabric.accelerators.mps import MPSAccelerator
    from lightning_fabric.strategies import SingleDeviceStrategy

    generator = torch.Generator
    monkeypatch.setattr(runtime_module, "_apple_gpu", lambda: True)
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    monkeypatch.setattr(SingleDeviceStrategy, "module_to_device", lambda self, module: None)  # it is there
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator("cpu"))
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda device: None)
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state, device: None)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with AppleGPU():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.fixture
def apple(monkeypatch):
    with an_apple_gpu(monkeypatch):
        yield APPLE


IMAGES = (np.random.default_rng(0).random((40, 12, 12)) * 255).astype(np.uint8)
A_NETWORK = ConvNet("small-resnet", width=0.25)


@pytest.mark.parametrize(
    "method",
    [
        JULE(3, center=True, training=TripletTraining(n_epochs=1)),
        DeepCluster(4, network=A_NETWORK, training=Training(n_epochs=1, batch_size=32)),
    ],
)
def test_a_method_runs_on_an_apple_gpu(apple, method):
    """From the pixels to the last label: where it cannot compute, the processor does."""
    method.set_params(device="mps", random_state=0).fit(IMAGES)
    assert len(method.labels_) == 40 and len(method.predict(IMAGES[:9])) == 9


def test_what_needs_float64_is_computed_beside_an_apple_gpu(apple):
    """And with the same result."""
    X = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))

    def reduced(rows):
        return fit_reduction(lambda: iter([rows]), 3)(rows)

    def factors(rows):
        return factorise(rows, *initialise(rows, 2, random_state=0), n_iter=3).W

    for compute in (sinkhorn, reduced, factors, lambda rows: placed(rows[:4], rows[4:], rows[4:, :2])):
        found = compute(X.to(apple))
        assert found.device.type == "mps"
        torch.testing.assert_close(found.cpu(), compute(X))
    assert knn(X, 3, device=apple)[0].tolist() == knn(X.to(apple), 3)[0].tolist() == knn(X, 3)[0].tolist()
    rows = X.double().numpy()
    codes = [GSNMF(2, device=one, random_state=0).fit_transform(rows) for one in ("mps", "cpu")]
    np.testing.assert_allclose(*codes)


def test_images_are_waited_for_on_their_way_to_an_apple_gpu(apple):
    """Else it reads the batch after its memory was given to the next (pytorch issue 189690)."""
    assert open_images(IMAGES).batch(torch.arange(3), apple).device.type == "mps"


def test_layers_of_others_draw_what_the_seed_says_on_an_apple_gpu(apple, monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    with Runtime("mps").global_draws(5):
        assert seeds == [5]


@pytest.mark.parametrize(("version", "there"), [("2.9.1", True), ("2.14.0", False)])
def test_an_apple_gpu_that_cannot_be_used_is_told_in_a_line(monkeypatch, version, there):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there)
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)(version))
    assert Runtime("auto").device.type == "cpu"
    with pytest.raises(InputError, match="^device='mps' needs an Apple GPU and torch 2.14 or newer; use device='cpu'"):
        Runtime("mps")


def test_a_gpu_with_too_high_a_number_is_told_in_a_line(monkeypatch):
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    def fabric(*_):
        raise MisconfigurationException("You requested gpu: [7]\n But your machine only has: [0]")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime_module, "_fabric", fabric)
    with pytest.raises(InputError, match="'cuda:7' cannot be used here: You requested gpu: .7. But your machine only"):
        Runtime("cuda:7")


def test_memory_that_an_apple_gpu_lacks_is_told_as_such():
    assert memory_wanted(RuntimeError("MPS backend out of memory (MPS allocated: 8 GB). Tried to allocate 1 GB")) == ""


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
