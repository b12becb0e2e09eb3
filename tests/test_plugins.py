"""What other distributions add, and what is said where asterism-papers is not installed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from asterism import load, plugins
from asterism.cli import added as added_commands
from asterism.cli.describe import method_lines, parameter_lines
from asterism.errors import MissingDependencyError
from asterism.methods.registry import KNOWN_CLASSES, METHODS, OF_PAPERS, LazyClasses, find_method

WITHOUT = """
import sys
sys.argv[0] = "asterism"
sys.modules["asterism_papers"] = None  # as if it were not there
from asterism.cli import main
main()
"""
LINE = "asterism-papers, which is not installed: pip install asterism-papers"


def without_papers(*words):
    return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, words)], capture_output=True, text=True)


@pytest.mark.parametrize(
    "words",
    [["bench", "dbc-4", "--show"], ["transfer", "probe", "RUN", "images"], ["transfer", "voc-classify", "RUN", "VOC"]],
)
def test_a_command_of_the_papers_says_in_one_line_what_to_install(words):
    done = without_papers(*words)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and LINE in done.stderr


def test_a_group_of_commands_that_are_all_the_papers_says_so():
    done = without_papers("transfer", "--help")
    assert done.returncode == 0 and LINE in " ".join(done.stdout.split())


def test_a_method_of_the_papers_and_a_run_that_names_one_say_what_to_install(tmp_path):
    for name in ("iec", "dae-kmeans"):
        done = without_papers("methods", name)
        assert done.returncode == 1 and done.stderr.splitlines() == [f"asterism: error: {name} comes with {LINE}"]
    about = {"format": 1, "status": "finished", "method": "InfiniteEnsemble", "params": {}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    done = without_papers("report", tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_classes_of_the_papers_are_found_where_the_librarys_are():
    import asterism
    import asterism_papers.methods
    from asterism import CNN, methods

    assert CNN is methods.CNN is asterism_papers.methods.CNN
    assert not hasattr(methods, "Cnn") and not hasattr(methods, "Training")
    with pytest.raises(AttributeError, match="module 'asterism' has no attribute 'Cnn'"):
        asterism.Cnn  # noqa: B018


def test_where_the_papers_are_absent_their_classes_say_what_to_install(monkeypatch):
    import asterism
    from asterism.methods import KNOWN_CLASSES

    monkeypatch.setitem(sys.modules, "asterism_papers", None)
    monkeypatch.setattr(KNOWN_CLASSES, "added", {})
    with pytest.raises(MissingDependencyError, match=f"PCACNN comes with {LINE}"):
        asterism.PCACNN  # noqa: B018


def test_the_names_that_the_library_knows_of_the_papers_are_theirs():
    """So that each is told where they are absent."""
    added = plugins.added(plugins.METHODS).items()
    papers = {name: place.partition(":")[2] for name, place in added if place.startswith("asterism_papers.")}
    assert papers == OF_PAPERS
    commands = plugins.added(plugins.COMMANDS).items()
    assert {name for name, place in commands if place.startswith("asterism_papers.")} == set(added_commands.OF_PAPERS)


def test_an_added_method_takes_no_name_of_ours_and_is_loaded_when_asked_for():
    classes = LazyClasses({"a": "fractions:Fraction"}, lambda: {"a": "decimal:Decimal", "b": "decimal:Nothing"})
    assert classes["a"].__name__ == "Fraction" and list(classes) == ["a", "b"]
    with pytest.raises(MissingDependencyError, match="decimal:Nothing cannot be loaded: .* install decimal again"):
        classes["b"]


def test_entry_points_of_packages_that_are_gone_are_passed_over(monkeypatch):
    from importlib.metadata import EntryPoint

    named = [EntryPoint("x", "gone_package.module:X", "asterism.methods"), EntryPoint("y", "json:loads", "g")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: named)
    assert plugins.added.__wrapped__("asterism.methods") == {"y": "json:loads"}


@pytest.mark.parametrize("content", ["raise RuntimeError('boom')", "def", "1 / 0", "raise SystemExit('not here')"])
def test_a_module_that_breaks_when_it_is_imported_is_said_in_one_line(content, tmp_path, monkeypatch):
    name = f"broken_{len(content)}_of_a_test"
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=f"{name}:X cannot be loaded: .*; install {name} again"):
        plugins.load(f"{name}:X")


def test_commands_of_others_that_are_none_hide_no_other(monkeypatch):
    from typer.testing import CliRunner

    from asterism.cli import app

    more = {"three": "string:digits", "odd": "fractions:Fraction", "cluster": "json:loads"}
    monkeypatch.setattr(plugins, "added", lambda group: more if group == plugins.COMMANDS else {})
    listed = CliRunner().invoke(app, ["--help"])
    names = [line.split()[0] for line in listed.output.partition("Commands:")[2].splitlines() if line.strip()]
    assert names.count("cluster") == 1 and {"three", "odd", "methods"} <= set(names)
    done = CliRunner().invoke(app, ["three"])
    assert done.exit_code == 1 and done.output.startswith(
        "asterism: error: string:digits cannot be used as a command: "
    )


def test_methods_of_others_that_are_none_are_said_in_one_line():
    with pytest.raises(MissingDependencyError, match="string:digits is no class, and cannot be used as a"):
        LazyClasses({"a": "string:digits"}, dict)["a"]


BENT = '''
"""BENT: A. Body, "Bent means", 2026."""

from asterism import KMeans
from asterism.parameters import Parameters, parameter
from asterism.parameters.constraints import POSITIVE_INT


class Bend(Parameters):
    """How it is bent."""

    far: int = parameter(POSITIVE_INT, default=2)
    """How far."""


class Bent(KMeans):
    """Means, bent."""

    bend: Bend | None = parameter(Bend, default=None, when_none=Bend())
    """How it is bent."""
'''


@pytest.fixture
def guests(tmp_path, monkeypatch):
    """Methods of a lone module, of a package that hands its class on, and of two modules that are broken."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bent_of_a_test").mkdir()
    (tmp_path / "bent_of_a_test" / "__init__.py").write_text("from bent_of_a_test.inner import Bend, Bent")
    (tmp_path / "bent_of_a_test" / "inner.py").write_text(BENT)
    (tmp_path / "lone_of_a_test.py").write_text(BENT.replace("Bent(", "Lone("))
    (tmp_path / "typo_of_a_test.py").write_text("class Typo(")
    untyped = BENT.replace("far: int", "far").replace("Bent(", "Untyped(")
    (tmp_path / "untyped_of_a_test.py").write_text(untyped)
    methods = {one: f"{one}_of_a_test:{one.capitalize()}" for one in ("bent", "lone", "typo", "untyped")}
    added = {plugins.METHODS: methods, plugins.PARAMETERS: {"bend": "bent_of_a_test:Bend"}}
    monkeypatch.setattr(plugins, "added", lambda group: added.get(group, {}))
    for classes in (METHODS, KNOWN_CLASSES):
        more = {name: place for name, place in classes._more().items() if name not in classes.own}
        monkeypatch.setattr(classes, "added", more)
        monkeypatch.setattr(classes, "places", classes.own | more)


def test_methods_of_others_are_listed_wherever_they_stand_and_a_broken_one_hides_none(guests):
    listed = " ".join(method_lines().split())
    for name in ("bent", "lone"):
        assert f'{name} Means, bent. A. Body, "Bent means", 2026' in listed
    assert "typo_of_a_test:Typo cannot be loaded: " in listed and "dbc " in listed
    assert "bend.far" in parameter_lines("lone") and "autoencoder.training.lr" in parameter_lines("dbc")
    with pytest.raises(MissingDependencyError, match=r"parameter 'far' of Bend has no type: write it as far: float ="):
        METHODS["untyped"]
    METHODS.places["fraction"] = "fractions:Fraction"
    with pytest.raises(MissingDependencyError, match="fractions:Fraction is no ImageClusterer"):
        find_method("fraction")


def test_a_parameter_object_of_others_is_saved_and_loaded(guests, tmp_path):
    model = METHODS["bent"](2, bend=KNOWN_CLASSES["Bend"](far=3), random_state=0)
    model.fit(np.random.default_rng(0).random((12, 4, 4))).save(tmp_path / "run")
    assert load(tmp_path / "run").bend.far == 3
