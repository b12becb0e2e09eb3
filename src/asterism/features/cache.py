"""Features of frozen networks, kept on disk, so that no image is computed twice.

A folder of the cache holds one network's features (its name is the digest of weights, settings and precision);
in it, each file holds rows together with the digests of the images that they are of. So a second run on the same images
does no forward pass, whatever their order, and a folder that has grown costs only its new images.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from asterism.errors import StorageError
from asterism.features.extract import Progress, extract, feature_batches
from asterism.features.store import feature_array, release
from asterism.files import replacing
from asterism.images import ImageSource
from asterism.images.locations import KEY, cache_root, is_stale, opened_now
from asterism.runtime import Runtime

DIGEST_BYTES = 16
RULES = 1  # raise it when a network of ours gives other features of the same pixels
SHARD_BYTES, SHARD_SECONDS = 2**26, 20.0  # of features that are written together, and at most lost by a kill


def cached_extract(
    network: nn.Module, images: ImageSource, runtime: Runtime, progress: Progress | None = None
) -> torch.Tensor:
    """`extract`, through the cache.

    Parameters
    ----------
    network : nn.Module
        Frozen; on the runtime's device.
    images : ImageSource
    runtime : Runtime
        Under several processes the cache is left alone: all must compute the same images. So it is for vectors, which
        are features already.
    progress : Progress, optional
        Shows how many images are done.

    Returns
    -------
    torch.Tensor of shape (N, M), float32, on the CPU

    Notes
    -----
    Besides the forward passes that are missing: one hash of the pixels and of the weights, about 1 GB/s each. What is
    computed is written as it comes, so that a pass that was killed goes on where it was (`SHARD_SECONDS` at most are
    lost) with the features of an unbroken one, byte for byte. A cache that cannot be written costs time and no run.
    """
    if runtime.world_size > 1 or images.is_table:
        return extract(network, images, runtime)
    if progress is not None:  # to read all pixels for their digests takes minutes, too, where they are many
        progress.start("features", len(images), unit="images")
    folder = cache_root() / "features" / network_digest(network, images, runtime)
    digests = images.digests
    rows, known = _known_rows(folder, digests)
    missing = np.flatnonzero(~known)
    if len(missing):
        _prune(folder.parent)
    if progress is not None:
        progress.advance("features", by=len(digests) - len(missing))
    waiting, began = list[int](), time.monotonic()  # which are not in the cache yet, since when
    for places, features in feature_batches(network, images, runtime, only=torch.from_numpy(missing)):
        if rows is None:
            rows = feature_array((len(digests), features.shape[1]))
        rows[places] = features.cpu().numpy()
        release(rows)
        waiting += places.tolist()
        many = len(waiting) * features[:1].nbytes >= SHARD_BYTES or time.monotonic() - began >= SHARD_SECONDS
        if many or waiting[-1] == missing[-1]:
            _write(folder, [digests[i] for i in waiting], rows[waiting])
            waiting, began = [], time.monotonic()
        if progress is not None:
            progress.advance("features", by=len(places))
    if progress is not None:
        progress.finish("features", len(digests))
    return torch.from_numpy(rows)


def network_digest(network: nn.Module, images: ImageSource, runtime: Runtime) -> str:
    """Digest of what, besides the pixels, decides a feature."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    precision = runtime.precision if runtime.precision == "32-true" else f"{runtime.precision}, fused"
    kind = (type(network).__name__, images.shape, images.pixels.dtype, precision)
    digest.update(repr(kind if images.white is None else (*kind, images.white)).encode())
    digest.update(repr((RULES, [*_set_up(network)])).encode())
    for name, value in network.state_dict().items():
        digest.update(repr((name, tuple(value.shape))).encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).data)
    return digest.hexdigest()


def _set_up(network: nn.Module) -> Iterator[tuple[Any, ...]]:
    """What the parts of a network are and are set to; of two that share their weights one may have another activation.

    Numbers, words and functions that a part holds, and the program of one that was traced.
    """
    for name, part in network.named_modules():
        held = {key: _told(one) for key, one in vars(part).items() if key[:1] != "_" and key != "training"}
        code = getattr(part, "code", None)
        set_to = sorted((key, one) for key, one in held.items() if one is not None)
        yield name, type(part).__name__, set_to, code if isinstance(code, str) else None


def _told(value: Any) -> str | None:
    """A setting in words that are the same in every process; None of what has none."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return repr([_told(one) for one in value])
    if isinstance(value, dict):
        return repr([(str(key), _told(one)) for key, one in value.items()])
    return getattr(value, "__qualname__", None)


def _prune(root: Path) -> None:
    """Remove files of rows that nobody wanted for long."""
    for path in filter(is_stale, root.glob(f"{KEY}/{KEY}.safetensors")):
        with suppress(OSError):
            path.unlink()


def _known_rows(folder: Path, digests: list[bytes]) -> tuple[np.ndarray | None, np.ndarray]:
    """Rows (N, M) with those filled that lie in the folder (None where none does), and which they are (N,)."""
    places: dict[bytes, list[int]] = {}
    for i, digest in enumerate(digests):
        places.setdefault(digest, []).append(i)
    rows, known = None, np.zeros(len(digests), bool)
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                here = [(row, places.get(one.tobytes(), ())) for row, one in enumerate(file.get_tensor("digests"))]
                if not any(found for _, found in here):
                    continue
                features = file.get_tensor("features")
        except (OSError, SafetensorError):  # damaged, or being removed: computed again
            continue
        opened_now(path)
        if rows is None:
            rows = feature_array((len(digests), features.shape[1]))
        for row, found in here:
            for i in found:
                rows[i], known[i] = features[row], True
        release(rows)
    return rows, known


def _write(folder: Path, digests: list[bytes], features: np.ndarray) -> None:
    """Add a file of rows to the folder; one that bears its name is complete."""
    joined = b"".join(digests)
    name = hashlib.blake2b(joined, digest_size=DIGEST_BYTES).hexdigest()
    kept = np.frombuffer(joined, np.uint8).reshape(len(digests), -1)
    with (
        suppress(StorageError, SafetensorError),  # read-only or full: the features are in memory all the same
        replacing(folder / f"{name}.safetensors") as temporary,
    ):
        save_file({"digests": kept, "features": features}, temporary)
