"""`ImageEstimator`: the contract that everything fitted to images keeps.

scikit-learn's contract (the constructor stores, ``fit`` returns self, fitted attributes end in ``_``), and beside it
images of any kind as ``X``, run folders that resume, and saving without pickle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from torch import nn

from asterism.errors import InputError, NotFittedError, RunError
from asterism.estimator.opening import OpensImages
from asterism.features import extract
from asterism.features.extract import MOST_ROWS
from asterism.features.store import feature_array, release
from asterism.images import ImageSource
from asterism.images.units import Units
from asterism.parameters import Interval, Parameters, to_json
from asterism.runtime import PRECISIONS, Runtime, hardware, versions
from asterism.training.checkpoint import load_state, save_state
from asterism.training.folder import RunFolder
from asterism.training.progress import ProgressBars
from asterism.training.run import Run

BLOCK_NUMBERS, LARGEST_BLOCK = 2**26, 2**14  # pixels, and images, that are looked at together by what is fitted
LARGEST_SEED = 2**62  # processes tell each other a seed in 64 bits
COMPUTING: dict[str, list[Any]] = {
    "device": [str],
    "precision": [set(PRECISIONS)],
    "run_dir": [str, Path, None],
    "random_state": [Interval(int, 0, LARGEST_SEED), np.random.RandomState, None],
    "verbose": [Interval(int, 0, None), bool],
}


class ImageEstimator(OpensImages, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Parameters):
    """Base of everything that is fitted to images.

    A subclass defines ``_fit_images`` (fit and set attributes), ``_encoder_for`` (an untrained encoder for an image
    shape) and what of its attributes is saved.
    """

    _minimum_images: ClassVar[int] = 2
    _notes: dict[str, Any] = {}  # what else run.json is to hold; the command line sets its command and labels
    device: str
    precision: str
    run_dir: str | Path | None
    random_state: Any
    verbose: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # features are float32 whatever came in
        return tags

    # ---------------------------------------------------------------- to be defined by a method

    def _fit_images(self, images: ImageSource, run: Run) -> None:
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:  # scikit-learn names the columns of `transform` by it
        with torch.no_grad():
            return self.encoder_(torch.zeros(1, *self.image_shape_)).shape[1]

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        raise NotImplementedError

    def _fitted_state(self) -> dict[str, Any]:
        return {"encoder": self.encoder_.state_dict(), "examples": self.examples_}

    def _restore_state(self, state: dict[str, Any]) -> None:
        self.encoder_ = self._encoder_for(self.image_shape_)
        self.encoder_.load_state_dict(state["encoder"])
        self.encoder_.eval()
        self.examples_ = state["examples"]

    # ---------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any = None, *, layout: str | None = None) -> ImageEstimator:
        """Fit to images.

        Parameters
        ----------
        X : array, tensor, path, data set or ImageSource
            N images: (N, H, W), (N, H, W, C), (N, C, H, W), vectors (N, D), a folder, an ``.npz`` file,
            ``"data:NAME"``, a torch or Hugging Face data set, a list of PIL images or arrays; those of several sizes
            become squares of 64 pixels a side.
        y : ignored
        layout : {"NHW", "NHWC", "NCHW", "ND"}, optional
            For arrays whose shape can be read in two ways.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For parameters or images that cannot be used.
        RunError, StorageError
            If ``run_dir`` holds another or a finished run, or cannot be written to.
        """
        self.check()
        images = self._open(X, True, layout)
        self._check_number(len(images))
        folder = None if self.run_dir is None else RunFolder(self.run_dir)
        runtime = Runtime(self.device, self.precision)
        if folder and runtime.is_main:
            folder.create()
        with folder.held() if folder and runtime.is_main else nullcontext():
            self._fit_here(images, folder, runtime)
        return self

    def _fit_here(self, images: ImageSource, folder: RunFolder | None, runtime: Runtime) -> None:
        self.seed_ = self._agreed_seed(folder, images, runtime)
        self.image_shape_ = images.shape
        self._white = images.origin.get("white")  # of pixels of more than 8 bits
        self.n_features_in_ = int(np.prod(images.shape))
        began = time.monotonic()
        with ProgressBars(int(self.verbose) if runtime.is_main else 0) as progress:
            run = Run(runtime, self.seed_, folder.path if folder else None, progress)
            self._fit_images(images, run)
        self.history_ = run.history
        self.fit_seconds_ = time.monotonic() - began
        self.encoder_.to("cpu").eval()
        if folder and runtime.is_main:
            run.write_history()
            self._finish(folder, images, runtime)

    def _check_number(self, n: int) -> None:
        if n < self._minimum_images:
            raise InputError(
                f"{type(self).__name__} needs at least {self._minimum_images} images; got {n} sample "
                f"(n_samples={n}); add images"
            )

    # ---------------------------------------------------------------- using

    def _check_fitted(self) -> None:
        if not hasattr(self, "encoder_"):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet; call fit, or asterism.load a run"
            )

    def _features(self, images: ImageSource) -> torch.Tensor:
        runtime = Runtime(self.device, self.precision)
        encoder = runtime.place(self.encoder_)
        features = extract(encoder, images, runtime)
        encoder.to("cpu")
        return features

    def _feature_blocks(self, images: ImageSource) -> Iterator[tuple[slice, torch.Tensor]]:
        """Features of the images, some thousands at once: which, and their features (B, D)."""
        n_at_once = min(LARGEST_BLOCK, max(16, BLOCK_NUMBERS // math.prod(images.shape)))
        n_at_once -= n_at_once % MOST_ROWS if n_at_once > MOST_ROWS else 0  # whole batches
        with ProgressBars(int(self.verbose)) as progress:
            progress.start("images", len(images), unit="images")
            for start in range(0, len(images), n_at_once):
                part = images.part(start, start + n_at_once)
                yield slice(start, start + len(part)), self._features(part)
                progress.advance("images", by=len(part))
            progress.finish("images", len(images))

    def _by_blocks(
        self, X: Any, function: Callable[[torch.Tensor], torch.Tensor], layout: str | None = None
    ) -> np.ndarray:
        """What a function makes of the features (B, D) of each block of images, (N, …), float32; mapped if large."""
        images = self._open(X, False, layout)
        found: np.ndarray | None = None
        for places, features in self._feature_blocks(images):
            made = function(features).numpy()
            if found is None:
                found = made if len(made) == len(images) else feature_array((len(images), *made.shape[1:]))
            if found is not made:
                found[places] = made
                release(found)
        return np.zeros((0, 0), np.float32) if found is None else found

    def transform(self, X: Any, *, layout: str | None = None) -> np.ndarray:
        """Features of images.

        Parameters
        ----------
        X : see `fit`
            Images of the fitted shape; files are resized to it. Pixels of other units than those of the fit are
            converted where dtype and range tell how, with a warning, else refused.
        layout : optional
            See `fit`.

        Returns
        -------
        ndarray of shape (N, D), float32
            Mapped from a file without a name, in the cache folder, where it takes more than 1 GiB.
        """
        self._check_fitted()
        return self._by_blocks(X, lambda features: features, layout)

    # ---------------------------------------------------------------- the run folder

    def _plain_params(self) -> dict[str, Any]:
        """Parameters as plain JSON; where and how loudly it ran, and its seed, are no part of them."""
        params = self.get_params(deep=False) | {"run_dir": None, "verbose": 0, "random_state": None}
        return {name: to_json(value) for name, value in params.items()}

    def _description(self, images: ImageSource) -> dict[str, Any]:
        return {
            "method": type(self).__name__,
            "params": self._plain_params(),
            "images": {
                "origin": images.origin,
                "n": len(images),
                "shape": list(images.shape),
                "is_table": images.is_table,
                "fingerprint": images.fingerprint,
                "units": self.units_.write() if self.units_ else None,
            },
        }

    def _agreed_seed(self, folder: RunFolder | None, images: ImageSource, runtime: Runtime) -> int:
        """The run's seed; the main process alone begins the run and tells the others."""
        seed = 0
        if runtime.is_main:
            seed = self._begin(folder, images) if folder else _seed_of(self.random_state)
        return int(runtime.sum_over_ranks(torch.tensor(seed, device=runtime.device)))

    def _begin(self, folder: RunFolder, images: ImageSource) -> int:
        """Start or resume the run in the folder; returns its seed."""
        wanted = self._description(images)
        if folder.exists:
            found = folder.read()
            if found["status"] == "finished":
                raise RunError(f"{folder.path} holds a finished run; choose another folder (or --overwrite)")
            for part, name in (("method", "method"), ("params", "parameters"), ("images", "images")):
                same = (
                    found[part]["fingerprint"] == wanted[part]["fingerprint"]
                    if part == "images"
                    else (found[part] == wanted[part])
                )
                if not same:
                    raise RunError(
                        f"{folder.path} holds an unfinished run with other {name}; resume it with its own, choose "
                        "another folder, or start anew (--overwrite)"
                    )
            folder.update(status="running")
            return int(found["seed"])
        seed = _seed_of(self.random_state)
        skipped = [[one.name, one.reason] for one in images.skipped]
        about = {"seed": seed, "skipped": skipped, "versions": versions(), **self._notes}
        folder.write({"status": "running", **wanted, **about})
        return seed

    def _finish(self, folder: RunFolder, images: ImageSource, runtime: Runtime) -> None:
        self._write_model(folder, images)
        seconds = folder.read().get("seconds", 0.0) + self.fit_seconds_
        folder.update(status="finished", seconds=round(seconds, 3), hardware=hardware(runtime.device))

    def _write_model(self, folder: RunFolder, images: ImageSource | None) -> None:
        save_state(folder.model_path, {"names": images.names if images else None, **self._fitted_state()})

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator as a run folder, which `asterism.load` reads.

        Parameters
        ----------
        path : str or Path
            A new or empty folder.

        Raises
        ------
        NotFittedError, RunError, StorageError
        """
        self._check_fitted()
        folder = RunFolder(path)
        if folder.exists:
            raise RunError(f"{path} holds a run already; choose another folder")
        folder.create()
        self._write_model(folder, None)
        origin = {"source": None} if self._white is None else {"source": None, "white": self._white}
        units = self.units_.write() if self.units_ else None
        images = {"origin": origin, "shape": list(self.image_shape_), "units": units}
        folder.write(
            {
                "status": "finished",
                "method": type(self).__name__,
                "params": self._plain_params(),
                "images": images,
                "seed": self.seed_,
                "seconds": round(self.fit_seconds_, 3),
                "versions": versions(),
                "hardware": hardware(),
            }
        )
        run = Run(Runtime("cpu"), self.seed_, folder.path)
        run.history = self.history_
        run.write_history()

    def _load_from(self, folder: RunFolder, content: dict[str, Any]) -> ImageEstimator:
        """Set the fitted attributes from a finished run (see `asterism.load`)."""
        self.image_shape_ = tuple(content["images"]["shape"])
        self._white = content["images"]["origin"].get("white")
        self.n_features_in_ = int(np.prod(self.image_shape_))
        self.units_ = Units.read(content["images"].get("units"))
        self.seed_ = int(content["seed"])
        self.fit_seconds_ = float(content["seconds"])
        self.history_ = folder.read_history()
        state = load_state(folder.model_path)
        try:
            self._restore_state(state)
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            raise RunError(f"{folder.model_path} does not fit {folder.path / 'run.json'}: {reason}") from error
        return self


def _seed_of(random_state: Any) -> int:
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
