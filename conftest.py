"""What every test may need: the real data sets where they lie beside the checkout, and a cache of the tests' own."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# torch is imported by the tests, not here: the process that hands them out to workers needs none.
if TYPE_CHECKING:
    from asterism.images import ImageSource

# Threads that wait for one another cost small tests five times their work where workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[1] / "shared" / "data"

if "ASTERISM_DATA" not in os.environ and SHARED.is_dir():
    os.environ["ASTERISM_DATA"] = str(SHARED)


# The same examples on every machine: what `--hypothesis-profile=search` finds becomes an @example.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("same")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What is imported by now stays: no collection of garbage looks through it again, a tenth of all time else."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is written to, or found in, the developer's own cache folder, and nothing is fetched from the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTERISM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ASTERISM_OFFLINE", "1")
        yield


@pytest.fixture(autouse=True)
def _log_as_a_library_leaves_it() -> None:
    """A command that a test or a fixture ran in this process set where the log goes: not for the next test."""
    logger = logging.getLogger("asterism")
    logger.handlers[:] = [logging.NullHandler()]
    logger.setLevel(logging.WARNING)  # what it is by default, though other libraries may set the root's


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data sets; without one the test is skipped."""
    from asterism.images.locations import data_folders

    folder = next((one for one in data_folders() if one.is_dir()), None)
    if folder is None:
        pytest.skip("no folder of real data: set ASTERISM_DATA to one")
    return folder


@pytest.fixture
def real_set() -> Callable[..., ImageSource]:
    """``real_set("usps")`` opens a named set or skips the test, and says what is missing."""

    from asterism.errors import MissingDataError
    from asterism.images import named_sets, open_images

    def opened(name: str, **options: object) -> ImageSource:
        chosen = next(one for one in named_sets() if one.name == name)
        if not chosen.available:
            pytest.skip(f"data:{name} is not on this machine: {chosen.how_to_get}")
        try:
            return open_images(f"data:{name}", **options)
        except MissingDataError as error:  # another process took it away
            pytest.skip(str(error))

    return opened
