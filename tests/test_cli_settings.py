"""--set: every parameter by its dotted name, class defaults untouched."""

import pytest
from sklearn.base import clone

from asterism.cli.arguments import parse_size
from asterism.cli.settings import apply_settings, parse_value, settings_of
from asterism.errors import InputError
from asterism.methods import DBC, DEC, FCAE, METHODS, SAE, Diffusion, SpectralNJW


def applied(estimator, *settings):
    apply_settings(estimator, settings, "it")
    estimator.check()
    return estimator


def test_nested_values_start_from_the_methods_own_defaults():
    before = repr(DBC.DEFAULTS), repr(FCAE.DEFAULTS)
    found = applied(
        DBC(),
        "training.lr=0.5",
        "autoencoder.training.n_epochs=5",
        "boost=1.5",
        "autoencoder.augmentation.shift=0.2",
    )
    default = DBC.DEFAULTS["training"]
    assert found.training.lr == 0.5 and found.training.n_epochs == default.n_epochs != 50
    assert found.autoencoder.training.n_epochs == 5
    assert found.autoencoder.training.optimizer == FCAE.DEFAULTS["training"].optimizer
    assert found.autoencoder.augmentation.shift == 0.2 and found.boost == 1.5
    assert found.augmentation is None and (repr(DBC.DEFAULTS), repr(FCAE.DEFAULTS)) == before


def test_none_is_the_choice_of_that_name_where_there_is_one():
    assert applied(DBC(), "augmentation=none").augmentation == "none"
    assert applied(DBC(), "balance=none").balance == "none"
    assert applied(DBC(), "autoencoder.n_features=none").autoencoder.n_features is None
    assert applied(DBC(), "augmentation=default").augmentation is None


def test_an_object_can_be_chosen_and_then_changed_in_any_order():
    found = applied(DBC(), "autoencoder.dropout=0.1", "autoencoder=SAE", "autoencoder.widths=50,20,5")
    assert isinstance(found.autoencoder, SAE) and found.autoencoder.dropout == 0.1
    assert found.autoencoder.widths == (50, 20, 5)
    assert applied(DEC(), "augmentation.shift=0.3").augmentation.shift == 0.3  # whose default is "none"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("1,2", (1, 2)),
        ("'3'", "3"),
        ("cosine", "cosine"),
        ("a=b", "a=b"),
        ("__import__('os')", "__import__('os')"),
        ("", ""),
    ],
)
def test_values(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("name", METHODS)
def test_every_listed_setting_can_be_set(name):
    for setting in settings_of(METHODS[name]()):
        text = ",".join(map(str, setting.default)) if isinstance(setting.default, tuple) else str(setting.default)
        applied(METHODS[name](), f"{setting.path}={text}")


@pytest.mark.parametrize("name", METHODS)
def test_settings_keep_the_contract_of_clone(name):
    whole = (one for one in settings_of(METHODS[name]()) if isinstance(one.default, int) and "." not in one.path)
    path = next((one.path for one in whole if not isinstance(one.default, bool)), None)
    if path is not None:
        assert getattr(clone(applied(METHODS[name](), f"{path}=3")), path) == 3


@pytest.mark.parametrize(
    "name", ["training.", ".lr", "training..lr", "_notes", "__class__", "get_params", "training.lr.x"]
)
def test_names_that_are_none(name):
    with pytest.raises(InputError):
        applied(DBC(), f"{name}=1")


def test_words_that_are_said_of_images_may_be_a_parameter_too():
    """Was: give --size instead, which says how images are opened."""
    assert applied(Diffusion(), "backbone.size=112").backbone.size == 112
    assert "backbone.size" in {one.path for one in settings_of(Diffusion())}
    assert applied(SpectralNJW(3), "scale=0.5").scale == 0.5
    with pytest.raises(InputError, match="give --device instead"):
        applied(DBC(), "autoencoder.device=cpu")


def test_sizes():
    assert parse_size("64") == 64 and parse_size("48x64") == (48, 64) and parse_size(None) is None
    for wrong in ("1x", "-3"):
        with pytest.raises(InputError):
            parse_size(wrong)
