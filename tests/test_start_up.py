"""What only lists names, or reads labels, must answer at once: no network library is loaded for it."""

import inspect
import subprocess
import sys

import pytest

from asterism.cli.describe import paper_of, summary_of
from asterism.methods import METHODS

HEAVY = {"torch", "torchvision", "sklearn", "scipy", "numba", "pandas", "safetensors.torch"}
PROGRAM = """
import sys
sys.argv[0] = "asterism"
try:
    from asterism.cli import main
    main()
except SystemExit as end:
    print("ended", end.code, *sorted({heavy} & set(sys.modules)))
"""


def loaded(*arguments):
    """Heavy packages in memory after a command, which must end well."""
    command = [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    ended, code, *found = done.stdout.splitlines()[-1].split()
    assert (ended, code) == ("ended", "0"), done.stderr
    return found


@pytest.mark.parametrize("command", ["--help", "--version", "cluster --help", "transfer --help", "methods", "data"])
def test_listing_names_loads_no_network_library(command):
    assert loaded(*command.split()) == []


def test_importing_the_package_loads_nothing():
    code = f"import sys, asterism, asterism.methods, asterism.images; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", METHODS)
def test_what_is_said_of_a_method_without_importing_it_is_what_its_class_says(name):
    cls = METHODS[name]
    assert summary_of(name) == " ".join(inspect.cleandoc(cls.__doc__).partition("\n\n")[0].split())
    assert (paper_of(name) or "") in " ".join(sys.modules[cls.__module__].__doc__.split())


def test_methods_are_a_mapping_of_names_to_classes():
    import asterism

    assert METHODS["kmeans"] is asterism.KMeans
    assert "kmeans" in METHODS and "k-means" not in METHODS
    assert METHODS.get("k-means") is None
    assert list(METHODS)[0] == "dbc" and len(dict(METHODS.items())) == len(METHODS)
    with pytest.raises(KeyError):
        METHODS["k-means"]
    for name in asterism.__all__:
        assert getattr(asterism, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'KMean'"):
        asterism.KMean  # noqa: B018


def test_the_error_of_an_unfitted_estimator_is_scikit_learns_too():
    import pickle

    from sklearn.exceptions import NotFittedError as theirs

    from asterism.errors import AsterismError, NotFittedError

    assert issubclass(NotFittedError, theirs) and issubclass(NotFittedError, AsterismError)
    assert type(pickle.loads(pickle.dumps(NotFittedError("not yet")))) is NotFittedError
