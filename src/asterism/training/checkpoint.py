"""State on disk without pickle: nested dicts and lists of tensors and plain values, as one safetensors file.

Tensors become entries of the file, everything else one JSON text in its header. Files are replaced whole, so that a
kill at any moment leaves the last complete one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asterism.errors import RunError
from asterism.files import replacing


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a nested state, replacing the file at once.

    Parameters
    ----------
    path : Path
    state : dict
        Dicts (keys str or int), lists, tuples, tensors, numbers, strings, bools and None, nested at will.

    Raises
    ------
    StorageError
        If the folder cannot be written to or the disk is full; the earlier file stays as it was.
    """
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _flatten(state, tensors)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"state": json.dumps(skeleton)})
        except SafetensorError as error:
            raise OSError(_reason(error)) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; tensors on the CPU.

    Raises
    ------
    RunError
        If the file is damaged or was not written by `save_state`.
    """
    try:
        path.open("rb").close()  # says what safetensors does not: that reading is not permitted
        with safe_open(path, framework="pt") as file:
            skeleton = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        found = _unflatten(skeleton, tensors)
        if not isinstance(found, dict):
            raise TypeError("it holds no state")
        return found
    except PermissionError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({_reason(error)}); the file is damaged or not a checkpoint") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def _flatten(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # clone: safetensors refuses tensors that share memory, as a network's tied weights do
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):  # pairs keep integer keys, which an optimizer's state has
        return {"dict": [[key, _flatten(one, tensors)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_flatten(one, tensors) for one in value]
    return value


def _unflatten(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _unflatten(one, tensors) for key, one in value["dict"]}
    if isinstance(value, list):
        return [_unflatten(one, tensors) for one in value]
    return value
