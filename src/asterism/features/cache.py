"""Features of frozen networks, kept on disk by content: what was computed once is never computed again.

A folder of the cache holds one network's features (its name is the digest of weights, preprocessing and precision);
in it, each file holds rows together with the digests of the images that they are of. So a second run on the same images
does no forward pass, whatever their order, and a folder that has grown costs only its new images.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from asterism.errors import StorageError
from asterism.features.extract import extract
from asterism.files import replacing
from asterism.images import ImageSource
from asterism.images.locations import cache_root
from asterism.runtime import Runtime

DIGEST_BYTES = 16


def cached_extract(network: nn.Module, images: ImageSource, runtime: Runtime) -> torch.Tensor:
    """`extract`, through the cache.

    Parameters
    ----------
    network : nn.Module
        Frozen; on the runtime's device.
    images : ImageSource
    runtime : Runtime
        Under several processes the cache is left alone: all must compute the same images.

    Returns
    -------
    torch.Tensor of shape (N, M), float32, on the CPU

    Notes
    -----
    Besides the forward passes that are missing: one hash of the pixels and of the weights, about 1 GB/s each. A cache
    that cannot be written costs time and no run.
    """
    if runtime.world_size > 1:
        return extract(network, images, runtime)
    folder = cache_root() / "features" / network_digest(network, images, runtime)
    digests = image_digests(images)
    rows = _known_rows(folder, set(digests))
    missing = [i for i, digest in enumerate(digests) if digest not in rows]
    if missing:
        part = images if len(missing) == len(images) else images.subset(missing)
        computed = extract(network, part, runtime)
        _write(folder, [digests[i] for i in missing], computed)
        rows.update(zip([digests[i] for i in missing], computed, strict=True))
    return torch.stack([rows[digest] for digest in digests])


def network_digest(network: nn.Module, images: ImageSource, runtime: Runtime) -> str:
    """Digest of what, besides the pixels, decides a feature."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    digest.update(repr((type(network).__name__, images.shape, images.pixels.dtype, runtime.precision)).encode())
    for name, value in network.state_dict().items():
        digest.update(repr((name, tuple(value.shape))).encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).data)
    return digest.hexdigest()


def image_digests(images: ImageSource) -> list[bytes]:
    """A digest of each image's pixels."""
    return [
        hashlib.blake2b(np.ascontiguousarray(one), digest_size=DIGEST_BYTES).digest()
        for block in images.pixels.split(1024)
        for one in block.cpu().numpy()
    ]


def _known_rows(folder: Path, wanted: set[bytes]) -> dict[bytes, torch.Tensor]:
    """Rows of the wanted images that lie in the folder."""
    found: dict[bytes, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            content = load_file(path)
            kept, features = content["digests"].numpy(), content["features"]
        except (OSError, SafetensorError, KeyError):  # damaged, or being removed: computed again
            continue
        for row, digest in zip(features, kept, strict=True):
            if (key := digest.tobytes()) in wanted:
                found[key] = row
    return found


def _write(folder: Path, digests: list[bytes], features: torch.Tensor) -> None:
    """Add a file; one that bears its name is complete."""
    kept = torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1).copy())
    name = hashlib.blake2b(b"".join(digests), digest_size=DIGEST_BYTES).hexdigest()
    with (
        suppress(StorageError, SafetensorError),  # read-only or full: the features are in memory all the same
        replacing(folder / f"{name}.safetensors") as temporary,
    ):
        save_file({"digests": kept, "features": features.contiguous()}, temporary)
