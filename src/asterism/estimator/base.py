"""`ImageEstimator`: the contract that everything fitted to images keeps.

scikit-learn's contract (the constructor stores, ``fit`` returns self, fitted attributes end in ``_``), and beside it
images of any kind as ``X``, run folders that resume, and saving without pickle.
"""

from __future__ import annotations

import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from asterism.errors import AsterismError, InputError, NotFittedError, RunError
from asterism.estimator.inputs import OpensImages, all_or_nothing
from asterism.features import extract
from asterism.features.extract import MOST_ROWS
from asterism.features.store import feature_array, release
from asterism.images import ImageSource, Skipped, reopen
from asterism.images.options import reading_of
from asterism.images.units import Units
from asterism.machine import available_memory, gib, launch, launchers_hidden, lost_another, memory_wanted
from asterism.parameters import Interval, Parameters, attribute, parameter, plain_params
from asterism.parameters.constraints import NON_NEGATIVE_INT
from asterism.parameters.contract import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from asterism.runs import RunFolder, RunRecord, agreed, check_alike, limited
from asterism.runs.pictures import hand_on
from asterism.runtime import PRECISIONS, Runtime, seed_of, usual_torch
from asterism.training import GradientDescent
from asterism.training.checkpoint import load_state, save_state
from asterism.training.progress import ProgressBars, decoding_bar
from asterism.training.run import Run

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCK_NUMBERS, LARGEST_BLOCK = 2**26, 2**10  # pixels, and images, that are looked at together by what is fitted
LARGEST_LOAD, LOAD_FACTOR = 2**30, 8  # bytes that loading may take: so many, and so many times the file's
WORTH_TELLING = 2**30  # bytes of a fit's memory that are told beforehand
LARGEST_SEED = 2**62  # processes tell each other a seed in 64 bits
# What a fit raises where memory is short, or where a checkpoint is not what it was.
_OF_A_FIT = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, RuntimeError)
COMPUTING = ("device", "precision", "run_dir", "random_state", "verbose")  # what every estimator has
# How torch says that a network does not take images of a size.
UNFIT = "mat1 and mat2 shapes|size of tensor a|shape '|weight of size|input size|output size"


class ImageEstimator(OpensImages, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Parameters):
    """Base of everything that is fitted to images.

    A subclass defines ``_fit_images`` (fit and set attributes), ``_encoder_for`` (an untrained encoder for an image
    shape) and what of its attributes is saved.
    """

    device: str = parameter(str, default="auto")
    """``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU where there is one."""
    precision: str = parameter(set(PRECISIONS), default="32-true")
    """Of the numbers that networks compute with."""
    run_dir: str | Path | None = parameter([str, Path], default=None)
    """Folder for checkpoints and results; a fit that was killed goes on from there."""
    random_state: Any = parameter([Interval(int, 0, LARGEST_SEED), np.random.RandomState], default=None)
    """Seed of all that is drawn; with None each fit draws one."""
    verbose: int = parameter([NON_NEGATIVE_INT, bool], default=0)
    """1 shows progress."""
    _minimum_images: ClassVar[int] = 2
    _notes: dict[str, Any] = attribute({})  # for run.json; the command line sets its command and labels
    _overwrite: bool = attribute(False)  # whether a run in `run_dir` is replaced; the command line sets it

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # features are float32 whatever came in
        return tags

    # ---------------------------------------------------------------- to be defined by a method

    def _fit_images(self, images: ImageSource, run: Run) -> None:
        raise NotImplementedError

    @property
    @usual_torch()
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

    def fit(self, X: Any, y: Any = None, *, layout: str | None = None) -> Self:
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
        with all_or_nothing(self), usual_torch():
            self.check()
            self._check_needs(X)
            images = self._open(X, True, layout)
            self._check_number(len(images))
            said = self._check_memory(images)
            runtime = Runtime(self.device, self.precision)
            check_alike(runtime, images, lambda: [self._plain_params() | {"device": 0}, vars(self).get("_screening")])
            if self.run_dir is None:
                self._fit_here(images, runtime, said, None)
                return self
            folder, new_seed = RunFolder(self.run_dir), lambda: seed_of(self.random_state)
            own = new_seed() if isinstance(self.random_state, (int, np.integer)) else None
            about = self._description(images)
            with RunRecord(folder, about, runtime, new_seed, self._notes, self._overwrite, own) as record:
                self._fit_here(images, runtime, said, record)
            self._content = record.content
        return self

    def _fit_here(self, images: ImageSource, runtime: Runtime, said: str | None, record: RunRecord | None) -> None:
        self.seed_ = agreed(seed_of(self.random_state), runtime) if record is None else record.seed
        self.image_shape_, self._of_fit = images.shape, clone(self)
        self._reading = reading_of(images.origin)
        self.n_features_in_ = int(np.prod(images.shape))
        hashed = images.origin["source"] is not None  # else there is nothing to compare it with later
        self._about = self._images_in_words(images, hashed) if record is None else record.about["images"]
        began = time.monotonic()
        with ProgressBars(int(self.verbose)) as progress:
            if said is not None:
                progress.say(said)
            for line in self._choices(images, runtime):
                progress.tell(f"auto: {line}")
            folder, identity = (None, "") if record is None else (record.folder.path, record.identity)
            run = Run(runtime, self.seed_, folder, progress, identity)
            try:
                self._fit_images(images, run)
                self.encoder_.to("cpu").eval()
                if run.restored:  # by checkpoints that may be damaged, or of another run
                    self._check_restored()
            except _OF_A_FIT as error:
                if (asked := memory_wanted(error)) is not None:
                    raise MemoryError(
                        f"not enough memory{asked}: take fewer features or groups, smaller batches, or smaller images"
                    ) from error
                own = isinstance(error, (AsterismError, torch.cuda.OutOfMemoryError)) or lost_another(error)
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                if (sides := self._sides_of_crops()) and re.search(UNFIT, reason):
                    raise InputError(
                        f"crops of another size need a network that takes them, as residual ones do ({reason}): leave "
                        f"{' and '.join(sides)} out"
                    ) from error
                if own or not run.restored:
                    raise
                raise RunError(
                    f"the run in {folder} cannot go on from its checkpoints ({reason}); start anew in another folder"
                ) from error
        self.history_ = run.history
        self.fit_seconds_ = time.monotonic() - began
        if record is not None and runtime.is_main:
            run.write_history()
            self._write_results(record.folder, images.names)
            self._keep_pictures(record.folder, images, runtime.world_size == 1)
            record.finish(self.fit_seconds_)

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        """What a fit takes for parameters that are left to it and that images or device decide: a line each, why too.

        It is said before the fit, so that nothing is chosen in silence.
        """
        sizes = ", ".join(f"{name}.batch_size={size}" for name, size in self._smaller_batches(len(images)).items())
        return [f"{sizes}, as there are {len(images)} images"] if sizes else []

    def _smaller_batches(self, n: int) -> dict[str, int]:
        """Of each training whose batches are smaller for n images than it says: its dotted name, and their size."""
        found: dict[str, int] = {}
        for name in self.get_params(deep=False):
            value = self.resolved(name)
            if isinstance(value, ImageEstimator):
                found |= {f"{name}.{inner}": size for inner, size in value._smaller_batches(n).items()}
            elif isinstance(value, GradientDescent) and value.n_epochs and (size := value.batch_size_for(n)):
                found |= {name: size} if size < value.batch_size else {}
        return found

    def _check_needs(self, X: Any) -> None:
        """See that what a fit needs beside the images ``X`` is here, before thousands of them are decoded."""

    def _check_number(self, n: int) -> None:
        if n < self._minimum_images:
            raise InputError(
                f"{type(self).__name__} needs at least {self._minimum_images} images; got {n} sample "
                f"(n_samples={n}); add images"
            )

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """Bytes that a fit to n images of so many numbers takes at its peak, beside them and the network.

        Where it goes by blocks: a block of them as floats, and their order in an epoch.
        """
        return 4 * min(n * n_numbers, BLOCK_NUMBERS) + 8 * n

    def _n_numbers(self, shape: tuple[int, int, int]) -> int:
        """How many numbers `_memory_needed` reckons with for each image: its pixels."""
        return math.prod(shape)

    def _sides_of_crops(self) -> list[str]:
        """The parameters that give crops a size of their own."""
        return [name.replace("__", ".") for name, one in self.get_params().items() if name.endswith("__side") and one]

    def _check_memory(self, images: ImageSource) -> str | None:
        """A line that says what a fit will need, if that is much.

        Raises
        ------
        InputError
            If it cannot fit into memory.
        """
        beside = launch().local_world_size
        need, there = self._memory_needed(len(images), self._n_numbers(images.shape)), available_memory() // beside
        left = f"{gib(there)} are there" + (f" for each of {beside} processes" if beside > 1 else "")
        what = f"{type(self).__name__} needs about {gib(need)} of memory for {len(images)} images of {images.shape}"
        if need > there:
            raise InputError(
                f"{what}, and {left}: take fewer or smaller images, or more memory; of all methods "
                "those that go by blocks of images need least (KMeans, DBC, DeepCluster)"
            )
        return f"{what}; {left}" if need > WORTH_TELLING else None

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

    def _image_blocks(self, images: ImageSource) -> Iterator[tuple[slice, ImageSource]]:
        """The images, some thousands at once: which, and a source of them."""
        if launch().world_size > 1:
            check_alike(Runtime(self.device, self.precision), images)
        n_at_once = min(LARGEST_BLOCK, max(16, BLOCK_NUMBERS // math.prod(images.shape)))
        n_at_once -= n_at_once % MOST_ROWS if n_at_once > MOST_ROWS else 0  # whole batches
        with ProgressBars(int(self.verbose)) as progress:
            progress.start("images", len(images), unit="images")
            for start in range(0, len(images), n_at_once):
                part = images.part(start, start + n_at_once)
                yield slice(start, start + len(part)), part
                progress.advance("images", by=len(part))
            progress.finish("images", len(images))

    def _by_blocks(
        self, X: Any, function: Callable[[torch.Tensor], torch.Tensor], layout: str | None = None
    ) -> np.ndarray:
        """What a function makes of the features (B, D) of each block of images, (N, …), float32; mapped if large."""
        with usual_torch():
            images = self._open(X, False, layout)
            found: np.ndarray | None = None
            for places, part in self._image_blocks(images):
                made = function(self._features(part)).numpy()
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

    def map_features(self, X: Any) -> np.ndarray:
        """Vectors (N, D) of images that a map is drawn from: those of `transform`, unless a method has better ones."""
        return self._by_blocks(X, lambda features: features)

    # ---------------------------------------------------------------- the run folder

    def _plain_params(self) -> dict[str, Any]:
        """Parameters as plain JSON; where and how loudly it ran, and its seed, are no part of them."""
        params = self.get_params(deep=False) | {"run_dir": None, "verbose": 0, "random_state": None}
        return plain_params(params, type(self).__name__)

    def _description(self, images: ImageSource) -> dict[str, Any]:
        """What `run.json` says of the fit before it begins."""
        return {
            "method": type(self).__name__,
            "params": self._plain_params(),
            "images": self._images_in_words(images),
            "skipped": [[one.name, one.reason] for one in images.skipped],
        }

    def _images_in_words(self, images: ImageSource, hashed: bool = True) -> dict[str, Any]:
        return {
            "origin": images.origin,
            "n": len(images),
            "shape": list(images.shape),
            "is_table": images.is_table,
            "fingerprint": images.fingerprint if hashed else None,
            "units": self.units_.write() if self.units_ else None,
            **({"columns": list(map(str, self.feature_names_in_))} if hasattr(self, "feature_names_in_") else {}),
        }

    def _write_results(self, folder: RunFolder, names: list[str] | None) -> None:
        """Write what was fitted; `ImageClusterer` adds the table of images and groups."""
        save_state(folder.model_path, self._fitted_state())

    def _keep_pictures(self, folder: RunFolder, images: ImageSource, alone: bool = True) -> None:
        """Keep with the run what pages need of its images, which may be moved or changed later."""

    @usual_torch()
    def save(self, path: str | Path) -> None:
        """Write the fitted estimator as a run folder, which `asterism.load` reads.

        Parameters
        ----------
        path : str or Path
            A new or empty folder. Of several processes the main one alone writes, whether the others call this or not.

        Raises
        ------
        NotFittedError, RunError, StorageError
        """
        self._check_fitted()
        if launch().rank:
            return
        with launchers_hidden():  # it waits for no other
            alone = Runtime("cpu")
        folder = RunFolder(path)
        skipped = [[one.name, one.reason] for one in self.skipped_]
        # The parameters of the fit: others that were set since need not be those of its network.
        asked = clone(getattr(self, "_of_fit", self)).set_params(device=self.device, precision=self.precision)
        about = {"method": type(self).__name__, "params": asked._plain_params(), "images": self._about}
        if folder.look() is not None:
            raise RunError(f"{path} holds a run already; choose another folder")
        try:
            names = self.names_
        except RunError as error:  # the table of the run that was loaded is no longer what it was
            warnings.warn(f"{path} gets no labels.csv: {error}", stacklevel=3)
            names = None
        with RunRecord(folder, {**about, "skipped": skipped}, alone, lambda: self.seed_) as record:
            run = Run(alone, self.seed_, folder.path)
            run.history = self.history_
            run.write_history()
            self._write_results(folder, names)
            if (images := self._found_again()) is not None:
                self._keep_pictures(folder, images)
            elif self._names_in is not None:
                hand_on(self._names_in.path, folder.path)
            record.finish(self.fit_seconds_)

    def _found_again(self) -> ImageSource | None:
        """The images fitted, if they are still where they were."""
        origin = self._about["origin"]
        if origin.get("source") is None:
            return None
        with suppress(AsterismError, OSError), decoding_bar(bool(self.verbose)) as progress:
            images = reopen(origin, progress)
            return images if images.fingerprint == self._about.get("fingerprint") else None
        return None

    @usual_torch()
    def _load_from(self, folder: RunFolder, content: dict[str, Any]) -> ImageEstimator:
        """Set the fitted attributes from a finished run (see `asterism.load`)."""
        self._of_fit = clone(self)
        self.image_shape_ = tuple(content["images"]["shape"])
        self._reading = reading_of(content["images"]["origin"])
        self.n_features_in_ = int(np.prod(self.image_shape_))
        self.units_ = Units.read(content["images"].get("units"))
        if columns := content["images"].get("columns"):
            self.feature_names_in_ = np.array(columns, object)
        self.seed_ = int(content["seed"])
        self.fit_seconds_ = float(content["seconds"])
        self.history_ = folder.read_history()
        self._about = content["images"]
        state = load_state(folder.model_path)
        try:
            with limited(LARGEST_LOAD + LOAD_FACTOR * folder.model_path.stat().st_size):
                self._restore_state(state)
                self._check_restored()
        except Exception as error:  # whatever a file may hold that was not written by `save`
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise RunError(f"{folder.model_path} does not fit {folder.path / 'run.json'}: {reason}") from error
        self._names = state.get("names")  # of a run of format 1; others have them in labels.csv alone
        if self._names is not None and not _are_names(self._names, content["images"].get("n")):
            raise RunError(f"{folder.model_path} does not hold the names of the run's images")
        self._names_in = RunFolder(folder.path.absolute())  # the working folder may change before they are asked for
        self.skipped_ = [Skipped(*map(str, one)) for one in content.get("skipped") or [] if len(one) == 2]
        return self

    def _check_restored(self) -> None:
        """See that the encoder takes an image of the run's shape; raises anything if not."""
        with torch.no_grad():
            features = self.encoder_(torch.zeros(1, 1, 1, 1).expand(1, *self.image_shape_))
        if features.ndim != 2 or len(features) != 1:
            raise ValueError(f"the encoder gives {tuple(features.shape)} instead of one vector")


def _are_names(names: Any, n: int | None) -> bool:
    return isinstance(names, list) and all(isinstance(one, str) for one in names) and n in (None, len(names))
