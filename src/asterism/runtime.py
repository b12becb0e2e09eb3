"""Where a fit computes: device, precision and ranks. The only place that knows a device.

A thin object over Lightning Fabric, so that the same method runs on one CPU, one GPU or, under ``torchrun``, on
many processes: every rank sees the same indices and takes its part of each batch.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from asterism.errors import InputError, reason_of
from asterism.machine import Launch, available_cores, launch, launchers_hidden

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Net = TypeVar("Net", bound=torch.nn.Module)

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
PATIENCE = timedelta(days=1)  # for one that merges, or decodes what others have; torchrun sees to those that died
APPLE = "2.14"  # the first torch whose batch norm and resampling are right, or there, on an Apple GPU


class Runtime:
    """Device, precision and process group of one fit.

    Parameters
    ----------
    device : str
        ``"auto"`` (the first GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or
        any other accelerator name of Fabric. An Apple GPU counts from torch 2.14 on: older ones lack operations on it,
        and their batch norm has wrong gradients of images in channels-last.
    precision : str
        A Fabric precision, see `PRECISIONS`. Tensors stay float32 under the ``-mixed`` ones.
    """

    def __init__(self, device: str = "auto", precision: str = "32-true") -> None:
        _mind_forks()
        if precision not in PRECISIONS:
            raise InputError(f"precision={precision!r} is not one of {', '.join(PRECISIONS)}")
        name, _, number = str(device).partition(":")
        if name == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device={device!r} needs a CUDA GPU and none is visible; use device='cpu' or 'auto'")
        if name == "mps" and not _apple_gpu():
            raise InputError(
                f"device={device!r} needs an Apple GPU and torch {APPLE} or newer; use device='cpu' or 'auto'"
            )
        if number and not number.isdigit():
            raise InputError(f"device={device!r}: expected a number after the colon, as in 'cuda:0'")
        devices: Any = [int(number)] if number and name != "cpu" else 1
        processes = launch()
        self.precision, self._plain = precision, processes.world_size == 1 and _on_processor(name)
        if precision == "16-mixed" and _on_processor(name):
            _tell_of_halves()
            precision = "bf16-mixed"
        self._make_fabric = partial(_fabric, name, devices, precision, processes)
        if self._plain:
            return
        try:
            self.fabric  # noqa: B018
        except Exception as error:  # Fabric has a kind of its own for a GPU whose number is too high
            raise InputError(f"device={device!r} cannot be used here: {reason_of(error)}") from error
        if processes.world_size > 1:
            with _lightning_quiet():
                self.fabric.launch()

    @cached_property
    def fabric(self) -> Fabric:
        """Lightning's; of one process on the processor it is made when something is trained."""
        return self._make_fabric()

    @property
    def device(self) -> torch.device:
        """The torch device of this rank."""
        return torch.device("cpu") if self._plain else self.fabric.device

    @property
    def rank(self) -> int:
        """Number of this process, 0 … world_size − 1."""
        return 0 if self._plain else self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        return 1 if self._plain else self.fabric.world_size

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def shard(self, indices: torch.Tensor) -> torch.Tensor:
        """This rank's part of a batch of indices: every world_size-th one."""
        return indices[self.rank :: self.world_size]

    def setup(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Wrap a module and its optimizer for this device, precision and process group."""
        if self.precision == "16-mixed":  # else Fabric refuses to shorten the gradients of a fused step
            optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        return self.fabric.setup(module, optimizer)

    def place(self, module: Net) -> Net:
        """Move a module to the device, convolutions in channels-last, the layout that images are packed in."""
        return module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def has_room(self, n_bytes: int) -> bool:
        """Whether data of this size may stay on the device: on a GPU, a quarter of the memory that is free."""
        if self.device.type != "cuda":
            return True
        return n_bytes <= torch.cuda.mem_get_info(self.device)[0] // 4

    def autocast(self) -> AbstractContextManager:
        """Context of the chosen precision for passes without a wrapped module."""
        return nullcontext() if self.precision == "32-true" else self.fabric.autocast()

    @contextmanager
    def global_draws(self, seed: int) -> Iterator[None]:
        """Context in which torch's global stream begins at a seed: other people's layers draw from it.

        Afterwards it goes on as if nothing had been drawn.
        """
        gpu = self.device.type if self.device.type in ("cuda", "mps") else None
        with torch.random.fork_rng([self.device] if gpu else [], device_type=gpu or "cuda"):
            torch.default_generator.manual_seed(seed)
            if gpu is not None:
                getattr(torch, gpu).manual_seed(seed)
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Backpropagate, with loss scaling where the precision asks for it."""
        self.fabric.backward(loss)

    def clip_gradients(self, optimizer: Any, max_norm: float) -> None:
        """Shorten the gradient of all the optimizer's parameters together to ``max_norm`` where it is longer."""
        # Fabric unscales fp16 gradients first; the module is only looked at by strategies that shard parameters.
        self.fabric.clip_gradients(torch.nn.Module(), optimizer, max_norm=max_norm, error_if_nonfinite=False)

    def from_main(
        self, compute: Callable[[], dict[str, torch.Tensor]], empty: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """What the main process computes, on every process; ``empty`` are zeros of those shapes, and are added."""
        found = compute() if self.is_main else empty
        return {name: self.sum_over_ranks(found[name]).cpu() for name in empty}

    def sum_over_ranks(self, value: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes (the tensor itself where there is one); it stays on its device."""
        if self.world_size == 1:
            return value
        # NCCL knows nothing of tensors on the processor.
        summed: Any = self.fabric.all_reduce(value.to(self.device), reduce_op="sum")
        return summed.to(value.device)

    @torch.no_grad()
    def same_buffers(self, module: torch.nn.Module) -> None:
        """Give every process the main one's statistics of batch norm, which each has taken of its own share."""
        for buffer in module.buffers() if self.world_size > 1 else ():
            if buffer.is_floating_point():
                buffer.copy_(self.sum_over_ranks(buffer.clone() if self.is_main else torch.zeros_like(buffer)))

    def gather_rows(self, part: torch.Tensor, n: int) -> torch.Tensor:
        """Undo `shard` for per-sample rows: the (n, …) tensor whose every world_size-th rows are ``part``."""
        if self.world_size == 1:
            return part
        longest = -(-n // self.world_size)
        padded = torch.zeros((longest, *part.shape[1:]), dtype=part.dtype, device=self.device)
        padded[: len(part)] = part
        with _lightning_quiet():
            gathered: Any = self.fabric.all_gather(padded)  # (ranks, longest, …)
        return gathered.transpose(0, 1).reshape(-1, *part.shape[1:])[:n].to(part.device)


@contextmanager
def usual_torch() -> Iterator[None]:
    """Torch and numpy as they are where nobody has set them to anything else; afterwards they are as the user has them.

    A fit under ``no_grad``, ``inference_mode`` or ``autocast``, with another default dtype or device, or with numpy's
    errors raised, would break off, or find other groups.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # as a rule not: each call of torch then takes longer
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_float32())
        yield


_of_all_threads, _users_dtypes = threading.Lock(), list[torch.dtype]()


@contextmanager
def _float32() -> Iterator[None]:
    """float32 as the default dtype, which all threads share: the last one to leave puts the user's own back."""
    with _of_all_threads:
        _users_dtypes.append(torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _of_all_threads:
            last = _users_dtypes.pop()
            if not _users_dtypes:
                torch.set_default_dtype(last)


def device_here(device: str) -> str:
    """A device that a run was fitted on, or "auto" where this machine has none of the name."""
    name, _, number = str(device).partition(":")  # a run.json may hold anything
    n_there = {"cuda": torch.cuda.device_count(), "mps": int(_apple_gpu())}.get(name)
    if n_there is None or (number.isdigit() and int(number) < n_there) or (not number and n_there):
        return device
    return "auto"


def capable_device(device: torch.device) -> torch.device:
    """Where float64 is to be had, and every operation: the device itself, but of an Apple GPU the processor."""
    return torch.device("cpu") if device.type == "mps" else device


def _apple_gpu() -> bool:
    """Whether there is one that this torch can be trusted with."""
    return torch.backends.mps.is_available() and torch.__version__ >= APPLE  # versions: 2.9 is less than 2.14


def _on_processor(name: str) -> bool:
    """Whether the processor is taken for a device of this name."""
    gpu = torch.cuda.is_available() or _apple_gpu() or find_spec("torch_xla") is not None
    return name == "cpu" or (name == "auto" and not gpu)


def _fabric(accelerator: str, devices: Any, precision: Any, processes: Launch) -> Fabric:
    """Under torchrun one process a device, gradients averaged by DDP; else this process alone."""
    if processes.world_size == 1:  # whatever a job's shell holds: Fabric would wait for its other tasks
        with launchers_hidden(), _lightning_quiet():
            return _fabric_class()(accelerator=accelerator, devices=devices, precision=precision)
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    class Torchrun(TorchElasticEnvironment):
        def validate_settings(self, num_devices: int, num_nodes: int) -> None:
            """Machines may have unequal numbers of processes: `launch` has looked at what torchrun says."""

    with _lightning_quiet():
        return _fabric_class()(
            accelerator=accelerator,
            devices=processes.local_world_size,
            strategy=DDPStrategy(timeout=PATIENCE),
            precision=precision,
            plugins=Torchrun(),
        )


@contextmanager
def _lightning_quiet() -> Iterator[None]:
    """Without what Fabric says: of the precision, each time that one is made, of processes and of torch's own names."""
    _fabric_class()  # when it is imported, it sets the level of its log
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@cache
def _mind_forks() -> None:
    """Let processes that are forked after this one has computed use one thread each.

    A forked process has none of its parent's OpenMP threads and would wait for them for ever: workers of a
    ``DataLoader``, of ``multiprocessing`` or of joblib, on Linux. torch does the same in its own workers.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@cache
def _tell_of_halves() -> None:
    warnings.warn("precision='16-mixed' is for GPUs: a processor computes as with 'bf16-mixed'", stacklevel=4)


@cache
def _fabric_class() -> type[Fabric]:
    """Fabric without callbacks, which Asterism does not use; to look for other packages' it reads what is installed,
    whole, each time. It is imported late: it brings torch's compiler with it, a third of the start of a program.
    """
    from lightning_fabric import Fabric

    class BareFabric(Fabric):
        @staticmethod
        def _configure_callbacks(callbacks: Any) -> list[Any]:
            return []

    return BareFabric


def derived_seed(seed: int, key: Sequence[int | str]) -> int:
    """A 63-bit seed that depends only on the run's seed and the key, by numpy's SeedSequence."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "little") for part in key]
    state = np.random.SeedSequence([seed, *words]).generate_state(2, np.uint32)
    return int(state[0]) << 31 ^ int(state[1])


def seed_of(random_state: Any) -> int:
    """The seed that a parameter ``random_state`` means; with None it is drawn."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(random_state.randint(2**31 - 1))


def versions() -> dict[str, str]:
    """Versions of Asterism and of what it computes with."""
    found = {"python": platform.python_version()}
    for name in ("asterism-clustering", "torch", "torchvision", "lightning-fabric", "scikit-learn", "numpy", "scipy"):
        try:
            found[name.removesuffix("-clustering")] = version(name)
        except PackageNotFoundError:
            found[name.removesuffix("-clustering")] = "not installed"
    return found


def hardware(device: torch.device | None = None) -> dict[str, Any]:
    """What the machine is: processor, cores it may use, threads torch uses, GPU if one is used."""
    found: dict[str, Any] = {"cpu": _processor_name(), "cores": available_cores(), "threads": torch.get_num_threads()}
    if device is not None and device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor_name() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
