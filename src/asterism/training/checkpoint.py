"""State on disk without pickle: nested dicts and lists of tensors and plain values, as one safetensors file.

Tensors become entries of the file, under the names that a person expects (``encoder.conv1.weight``). Everything else
is one JSON text: in the file's header, or as an entry of its own where it is long, since headers end at 100 MB. A
digest of all that is kept along, so that a flipped bit is noticed. Files are replaced whole: a kill at any moment
leaves the last complete one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asterism.errors import RunError
from asterism.files import replacing

LONGEST_IN_HEADER = 2**16  # characters of JSON
TEXT = "asterism.state"  # entry that holds a longer text, as UTF-8


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a nested state, replacing the file at once.

    Parameters
    ----------
    path : Path
    state : dict
        Dicts (keys str or int), lists, tuples, tensors, numbers, strings, bools and None, nested at will. A tensor's
        name in the file is its keys, joined by dots.

    Raises
    ------
    StorageError
        If the folder cannot be written to or the disk is full; the earlier file stays as it was.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_flatten(state, tensors, ""))
    header = {"digest": _digest(text, tensors)}
    if len(text) <= LONGEST_IN_HEADER:
        header["state"] = text
    else:
        tensors[TEXT] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=header)
        except SafetensorError as error:
            raise OSError(_reason(error)) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, in this version or an earlier one; tensors on the CPU.

    Raises
    ------
    RunError
        If the file is damaged or was not written by `save_state`.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise ValueError("it is no file")
        path.open("rb").close()  # says what safetensors does not: that reading is not permitted
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # clone: an aligned copy computes the same last digits as before, and the file may go
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (not a dict)
        text = bytes(tensors.pop(TEXT).numpy()).decode() if TEXT in tensors else header["state"]
        if header.get("digest", "") not in ("", _digest(text, tensors)):  # the first versions wrote none
            raise ValueError("it is not as it was written")
        found = _unflatten(json.loads(text), tensors)
        if not isinstance(found, dict):
            raise TypeError("it holds no state")
        return found
    except PermissionError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({_reason(error)}); the file is damaged or not a checkpoint") from error


def _digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def _flatten(value: Any, tensors: dict[str, torch.Tensor], name: str) -> Any:
    """Plain JSON of a state, in which ``{"tensor": name}`` stands for each tensor."""
    if isinstance(value, torch.Tensor):
        free = name or "tensor"
        while free in tensors or free == TEXT:  # {"a": {"b": t}, "a.b": t}
            free += "'"
        # clone: safetensors refuses tensors that share memory, as a network's tied weights do
        tensors[free] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": free}
    prefix = f"{name}." if name else ""
    if isinstance(value, dict):  # pairs keep integer keys, which an optimizer's state has
        return {"dict": [[key, _flatten(one, tensors, f"{prefix}{key}")] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_flatten(one, tensors, f"{prefix}{index}") for index, one in enumerate(value)]
    return value


def _unflatten(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _unflatten(one, tensors) for key, one in value["dict"]}
    if isinstance(value, list):
        return [_unflatten(one, tensors) for one in value]
    return value
