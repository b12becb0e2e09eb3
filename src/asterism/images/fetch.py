"""The few data sets that torchvision can fetch, written as the ``.npz`` files that `named` reads."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from asterism.errors import MissingDataError, StorageError
from asterism.images.catalogue import FETCHABLE


def fetch(path: Path) -> None:
    """Fetch a data set and write it.

    Parameters
    ----------
    path : Path
        Where the ``.npz`` is to lie; its name is one of `FETCHABLE`.

    Raises
    ------
    MissingDataError
        If it cannot be had; the message is the middle of a sentence, "could not be fetched (…)".
    StorageError
        If the folder cannot be written to.
    """
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, FETCHABLE[path.name])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write to {path.parent}: {error.strerror}; set ASTERISM_CACHE to another folder"
        ) from error
    with scratch as folder:
        try:
            # torchvision shows its progress with print: standard output belongs to our caller. It unpickles CIFAR-10,
            # after comparing the file's checksum; here everything is written without pickles.
            with contextlib.redirect_stdout(sys.stderr):
                parts = [dataset(folder, train=train, download=True) for train in (True, False)]
        except (OSError, RuntimeError) as error:
            raise MissingDataError(f"could not be fetched ({' '.join(str(error).split())})") from error
        images = [np.asarray(part.data) for part in parts]
        draft = Path(folder) / "draft.npz"
        np.savez_compressed(
            draft,
            images=np.concatenate(images),
            labels=np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts]),
            split=np.repeat(np.array([0, 1], dtype=np.uint8), [len(one) for one in images]),
            class_names=np.array(parts[0].classes),
        )
        os.replace(draft, path)
