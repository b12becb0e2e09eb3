"""Parameters: what a constraint accepts is honoured, and anything else is one line, whatever it is."""

import json

import numpy as np
import pytest
from sklearn.base import clone

from asterism.cli.settings import apply_settings, settings_of
from asterism.errors import InputError
from asterism.methods import DBC, FCAE, KNOWN_CLASSES, SAE
from asterism.methods.jule_settings import TripletTraining
from asterism.parameters import DEEPEST, Each, HasMethod, Interval, Parameters, from_json, honours, shown
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


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_every_parameter_has_a_constraint_and_refuses_what_is_odd(name):
    made = KNOWN_CLASSES[name]()
    for parameter in made.get_params(deep=False):
        assert parameter in made._parameter_constraints, f"{name}.{parameter} is never checked"
        for value in ODD_VALUES:
            changed = clone(made)
            setattr(changed, parameter, value)
            try:
                changed.check()
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 600, str(error)[:300]


@pytest.mark.parametrize("name", KNOWN_CLASSES)
def test_only_objects_that_have_all_that_is_asked_of_them_are_taken(name):
    made = KNOWN_CLASSES[name]()
    for parameter, allowed in made._parameter_constraints.items():
        kinds = [one for one in allowed if isinstance(one, type) and issubclass(one, Parameters)]
        for other, cls in KNOWN_CLASSES.items():
            changed = clone(made)
            setattr(changed, parameter, cls())
            taken = any(
                issubclass(cls, kind) and (set(kind._get_param_names()) <= set(cls().get_params()) or other == "Crops")
                for kind in kinds
            ) or any(isinstance(one, HasMethod) and one.accepts(cls()) for one in allowed)
            if taken:
                changed.check()
                continue
            with pytest.raises(InputError, match=f"^{parameter}={other} cannot be used: {parameter} must be "):
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
