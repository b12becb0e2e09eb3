"""Parameters: what a constraint accepts is honoured, and anything else is one line, whatever it is."""

import inspect
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from asterism.cli.settings import apply_settings, settings_of
from asterism.errors import InputError
from asterism.estimator import COMPUTING, ImageEstimator
from asterism.methods import DBC, FCAE, KNOWN_CLASSES, SAE, Diffusion, SpectralNJW
from asterism.methods.joint_training import JointTraining
from asterism.methods.jule_settings import TripletTraining
from asterism.parameters import (
    DEEPEST,
    Each,
    HasMethod,
    Interval,
    Parameters,
    allowed_values,
    attribute,
    from_json,
    honours,
    parameter,
    shown,
    spelled,
    text_of,
    to_json,
)
from asterism.parameters.constraints import FRACTION, POSITIVE_INT
from asterism.parameters.plain import LATER
from asterism.parameters.stated import _texts
from asterism.training import Training

DEEP: list = []
for _ in range(500):
    DEEP = [DEEP]

ODD_VALUES = [
    None,
    True,
    -1,
    0,
    10**30,
    10**6000,
    1e400,
    float("nan"),
    1j,
    "",
    "None",
    "x" * 10_000,
    "two\nlines",
    b"bytes",
    [],
    (),
    [None],
    ["a"],
    [1.5, float("inf")],
    DEEP,
    {"lr": 0.1},
    {1},
    object(),
    np.array([1.0, 2.0]),
    Training,
]
TEXTS = [
    "",
    "nan",
    "-inf",
    "1e999",
    "9" * 50,
    "9" * 5000,
    "None",
    "null",
    "[]",
    "[1, [2, {}]]",
    "[" * 300 + "]" * 300,
    '{"lr": {"a": [1, 2]}}',
    "{1}",
    "1j",
    "b'x'",
    "Training",
    "TripletTraining",
    "KMeans",
    "lambda: 0",
    "\\d",
    "ä\nb",
]


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message and len(message) < 4000, message[:200]
    return message


class Toy(Parameters):
    """A toy.

    Notes
    -----
    None.
    """

    noise: float = parameter(FRACTION, default=0.5)
    """Share of
    noise."""
    size: int = parameter(POSITIVE_INT, "Its size.", default=2, kw_only=False)
    training: Training | None = parameter(Training, default=None, when_none=Training(lr=0.2))
    """How."""
    seen_: list[int] = attribute()
    _count: int = attribute(7)


class LargerToy(Toy):
    color: str = parameter({"red", "blue"}, default="red")
    """Its colour."""
    size: int = parameter(Interval(int, 1, None), default=9, kw_only=False)
    """Its size, larger."""


def test_a_parameter_that_is_stated_once_is_in_constructor_checks_json_and_help():
    taken = inspect.signature(LargerToy).parameters.values()
    assert [one.name for one in taken] == ["size", "color", "noise", "training"]  # by position, its own, inherited
    assert [one.default for one in taken] == [9, "red", 0.5, None]
    assert [one.kind.name for one in taken] == ["POSITIONAL_OR_KEYWORD", *["KEYWORD_ONLY"] * 3]
    toy = LargerToy(4, color="blue")
    assert toy.get_params(deep=False) == {"color": "blue", "noise": 0.5, "size": 4, "training": None}
    assert vars(toy) == toy.get_params(deep=False)  # the constructor only stores
    assert toy._count == 7 and not hasattr(toy, "seen_") and Toy().size == 2
    assert pickle.loads(pickle.dumps(toy)).get_params() == clone(toy).get_params() == toy.get_params()
    assert spelled(from_json(to_json(toy), {"LargerToy": LargerToy})) == "LargerToy(color='blue', size=4)"
    assert toy.resolved("training").lr == 0.2 and toy.set_params(training__n_epochs=3).training.lr == 0.2
    with pytest.raises(InputError, match=r"noise=2 cannot be used: noise must be a number in \[0, 1\]"):
        Toy(noise=2).check()
    for wrong in (lambda: Toy(3, 0.5), lambda: Toy(nose=1), lambda: Toy(color="red")):
        with pytest.raises(TypeError, match=r"^Toy.__init__\(\)"):
            wrong()
    assert Toy.__doc__.split("\n") == [
        "A toy.",
        "",
        "Parameters",
        "----------",
        "size : int >= 1, default=2",
        "    Its size.",
        "noise : float in [0, 1], default=0.5",
        "    Share of noise.",
        "training : Training or None, default=None",
        "    How. None is ``Training(lr=0.2)``.",
        "",
        "Notes",
        "-----",
        "None.",
        "",
    ]


def test_what_a_parameter_means_is_said_below_it_or_in_the_statement_and_is_empty_without_a_source():
    assert {name: text_of(LargerToy, name) for name in ("size", "color", "noise")} == {
        "size": "Its size, larger.",
        "color": "Its colour.",
        "noise": "Share of noise.",
    }
    assert text_of(Toy, "size") == text_of(Toy(), "size") == "Its size." and text_of(Toy, "length") == ""
    assert allowed_values(Toy, "training") == [Training, None]  # the default may be
    made = {"__name__": "made_here", "Parameters": Parameters, "parameter": parameter}
    sys.modules["made_here"] = type(sys)("made_here")
    exec('class Made(Parameters):\n    a: int = parameter(int, default=1)\n    """Not seen."""', made)
    assert text_of(made["Made"], "a") == "" and "a : int, default=1" in made["Made"].__doc__
    del sys.modules["made_here"]  # as of a file that was run and never entered there
    _texts.cache_clear()
    assert text_of(made["Made"], "a") == "" and "a : int, default=1" in made["Made"].__doc__


def test_of_two_classes_of_a_name_the_one_of_the_module_says_what_its_parameters_mean():
    class Toy(Parameters):
        noise: float = parameter(FRACTION, default=0.5)
        """Another's."""

    assert text_of(globals()["Toy"], "noise") == "Share of noise."


def test_a_class_that_writes_its_own_constructor_keeps_it():
    class Own(Training):
        def __init__(self, lr: float = 0.5) -> None:
            self.lr = lr

    assert Own._get_param_names() == ["lr"] and Own().lr == 0.5
    assert not honours(Own, Training)  # it lacks what reads a Training wants
    with pytest.raises(InputError, match="lr=0 cannot be used"):
        Own(0).check()


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_every_parameter_says_what_it_means_and_takes_its_own_default(name):
    cls = KNOWN_CLASSES[name]
    cls().check()
    signature = inspect.signature(cls)
    documented = re.findall(r"^(\w+) : ", cls.__doc__.partition("\nParameters\n")[2].split("\n\n")[0], re.MULTILINE)
    assert documented == list(signature.parameters)
    for parameter_name, one in signature.parameters.items():
        assert len(text_of(cls, parameter_name)) > 3, f"{name}.{parameter_name} is not explained"
        assert (one.default is None) <= (None in allowed_values(cls, parameter_name))
    given = {key: value for key, value in cls.DEFAULTS.items() if value is not None}
    cls(**given).check()
    assert pickle.loads(pickle.dumps(cls(**given))).get_params(deep=False).keys() == signature.parameters.keys()
    if issubclass(cls, ImageEstimator):
        assert tuple(signature.parameters)[-5:] == COMPUTING
        positional = [one.name for one in signature.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
        assert positional == list(signature.parameters)[:1]


@pytest.mark.slow
def test_a_type_checker_refuses_what_a_constructor_does_not_take(tmp_path):
    lines = {
        "DBC(8, boost=2.0, training=Training(5, lr=0.1))": "",
        "DBC(8, boots=2.0)": 'Unexpected keyword argument "boots"',
        "DBC(8, 2.0)": "Too many positional arguments",
        'DBC(n_clusters="8")': 'Argument "n_clusters" to "DBC" has incompatible type "str"; expected "int"',
        "DBC(training=TripletTraining())": 'incompatible type "TripletTraining"; expected "Training | None"',
        "DBC(3, labels_=[1])": 'Unexpected keyword argument "labels_"',
    }
    head = [
        "from asterism import DBC",
        "from asterism.methods.jule_settings import TripletTraining",
        "from asterism.training import Training",
    ]
    (tmp_path / "snippet.py").write_text("\n".join([*head, *lines]))
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), str(tmp_path / "snippet.py")]
    said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    for number, wanted in enumerate(lines.values(), len(head) + 1):
        told = [one for one in said.splitlines() if f"snippet.py:{number}: error" in one]
        assert bool(told) == bool(wanted) and wanted in "".join(told), said


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_every_parameter_has_a_constraint_and_refuses_what_is_odd(name):
    made = KNOWN_CLASSES[name]()
    for parameter_name in made.get_params(deep=False):
        assert allowed_values(made, parameter_name), f"{name}.{parameter_name} is never checked"
        for value in ODD_VALUES:
            changed = clone(made)
            setattr(changed, parameter_name, value)
            try:
                changed.check()
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 600, str(error)[:300]


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_a_name_of_a_class_after_set_is_an_object_that_fits_or_is_refused(name):
    made = KNOWN_CLASSES[name]()
    for parameter_name in made.get_params(deep=False):
        kinds = [one for one in allowed_values(made, parameter_name) if isinstance(one, type)]
        for other in KNOWN_CLASSES if any(issubclass(kind, Parameters) for kind in kinds) else []:
            changed = clone(made)
            apply_settings(changed, [f"{parameter_name}={other}"], name)
            if isinstance(getattr(changed, parameter_name), tuple(kinds)):
                changed.check()
                continue
            with pytest.raises(InputError, match=f"^{parameter_name}='{other}' cannot be used: ") as error:
                changed.check()
            one_line(error)


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_only_objects_that_have_all_that_is_asked_of_them_are_taken(name):
    made = KNOWN_CLASSES[name]()
    for parameter_name in made.get_params(deep=False):
        kinds = [one for one in allowed_values(made, parameter_name) if isinstance(one, type)]
        for other, cls in KNOWN_CLASSES.items():
            changed = clone(made)
            setattr(changed, parameter_name, cls())
            called = [one for one in allowed_values(made, parameter_name) if isinstance(one, HasMethod)]
            if any(issubclass(cls, kind) for kind in kinds) or any(one.accepts(cls()) for one in called):
                changed.check()
                continue
            with pytest.raises(
                InputError, match=f"^{parameter_name}={other} cannot be used: {parameter_name} must be "
            ):
                changed.check()


def test_a_training_of_another_kind_is_refused_before_it_trains():
    for holder in (DBC(3, training=TripletTraining()), DBC(3, autoencoder=FCAE(training=TripletTraining()))):
        with pytest.raises(InputError, match="training=TripletTraining cannot be used: .*must be a Training"):
            holder.fit(np.zeros((9, 8, 8), np.float32))
    with pytest.raises(InputError, match="training must be a Training"):
        model = DBC(3)
        apply_settings(model, ["training=TripletTraining"], "dbc")
        model.check()


def test_a_subclass_of_the_users_own_is_taken():
    class Longer(Training):
        pass

    assert honours(Longer, Training) and not honours(TripletTraining, Training)
    DBC(3, training=Longer()).check()


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_any_text_after_set_is_taken_or_one_line(name):
    made = KNOWN_CLASSES[name]()
    for setting in settings_of(made):
        for text in TEXTS if "." not in setting.path else TEXTS[:2]:  # nested ones have their own class here
            changed = clone(made)
            try:
                apply_settings(changed, [f"{setting.path}={text}"], name)
                changed.check()
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 4000, str(error)[:300]


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (Interval(int, 1, None), [1, np.int64(7), 2**31 - 1], [0, 2**31, 10**6000, True, 1.0, float("nan")]),
        (Interval(float, 0, None), [0, 1e30, np.float32(2)], [-1e-9, float("inf"), float("nan"), 10**6000, "1", 1j]),
        (Interval(int, 0, 2**62), [2**62], [2**62 + 1]),
        (Each(Interval(int, 1, None)), [(1,), [2, 3]], [(), [0], ["a"], 5, "12", [[1]], DEEP]),
        (Each(Interval(float, 0, None), 3), [(1, 2.5, 3)], [(1, 2), (1, 2, -3), ()]),
        (Each(Interval(int, 1, None), empty=True), [(), [1]], [(0,)]),
    ],
)
def test_constraints(constraint, good, bad):
    assert all(constraint.accepts(one) for one in good)
    assert not any(constraint.accepts(one) for one in bad)


def test_messages_are_short_and_name_the_bound():
    with pytest.raises(
        InputError, match="n_clusters=an integer of more than 40 digits .* and at most 2147483647"
    ) as error:
        DBC(10**6000).check()
    one_line(error)
    with pytest.raises(InputError, match=r"autoencoder.widths=\('a',\) cannot be used: .*as in 2,3") as error:
        DBC(3, autoencoder=SAE(("a",))).check()
    one_line(error)
    assert len(shown("x" * 10**6)) < 200 and len(shown(DEEP)) < 200 and "\n" not in shown(np.zeros((50, 50)))


@pytest.mark.parametrize(
    "damaged",
    [
        {"class": ["Training"], "params": {}},
        {"class": "Training", "params": [1]},
        {"class": "Training", "params": {"self": 1}},
        {"class": "Training", "params": {"lr\nx": 1}},
        {"class": "os.system", "params": {}},
        json.loads("[" * (DEEPEST + 5) + "]" * (DEEPEST + 5)),
        DEEP,
    ],
)
def test_what_a_file_says_is_checked_where_it_enters(damaged):
    with pytest.raises(InputError) as error:
        from_json(damaged, KNOWN_CLASSES)
    one_line(error)


@pytest.mark.parametrize("value", ["TripletTraining", "nonsense", "5"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_wrong_value_is_refused_where_something_in_it_is_set_too(value, order):
    settings = [f"training={value}", "training.n_epochs=1"][::order]
    with pytest.raises(InputError, match=r"^training=.*must be a Training or None"):
        apply_settings(DBC(), settings, "dbc")


def test_what_came_later_is_not_written_where_it_is_as_before():
    """An earlier version's run, whose run.json lacks it, was refused as one of other parameters."""
    for made in (Training(), SpectralNJW(3), Diffusion(3), DBC(training=JointTraining(lr=0.5))):
        written = to_json(made)
        assert not any(f'"{name}"' in json.dumps(written) for name in LATER)
        assert to_json(from_json(written, KNOWN_CLASSES)) == written
    assert to_json(Training(drop_interval=3))["params"]["drop_interval"] == 3
    for name in KNOWN_CLASSES:
        made = KNOWN_CLASSES[name]()
        assert all(getattr(made, one) == LATER[one] for one in set(LATER) & set(made.get_params(deep=False))), name
