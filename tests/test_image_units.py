"""New images are seen in the units of the fit: converted where dtype and range tell how, said, or refused."""

import json
import warnings

import numpy as np
import pytest
import torch

from asterism import Backbone, Diffusion, KMeans, load, open_images
from asterism.errors import InputError
from asterism.images.units import Units

LEVELS = np.repeat([40, 130, 230], 8)
NOISE = np.random.default_rng(0).normal(0, 5, (24, 10, 10))
pytestmark = pytest.mark.filterwarnings("ignore:X has dtype uint16", "ignore:X holds integers")
BYTES = (LEVELS[:, None, None] + NOISE).clip(0, 255).astype(np.uint8)  # three groups by brightness

FORMS = {
    "uint8": BYTES,
    "int32": BYTES.astype(np.int32),
    "big-endian uint16 of 16 bits": (BYTES.astype(np.uint16) * 257).astype(">u2"),
    "floats to 1": BYTES / np.float32(255),
    "floats to 255": BYTES.astype(np.float64),
    "floats to 65535": BYTES.astype(np.float32) * 257,
    "a list of tensors to 1": list(torch.from_numpy(BYTES / np.float32(255)).bfloat16()),
}


# What may be dark images of the fit's own units, or images of lesser ones.
GUESSES = {
    *(("floats to 1", f) for f in ("floats to 255", "floats to 65535")),
    *(("a list of tensors to 1", f) for f in ("floats to 255", "floats to 65535")),
    *((g, "big-endian uint16 of 16 bits") for g in ("int32", "floats to 255")),
    ("floats to 255", "floats to 65535"),
}


@pytest.fixture(scope="module")
def models():
    return {name: KMeans(3, random_state=0).fit(X) for name, X in FORMS.items()}


@pytest.mark.parametrize("fitted", FORMS)
@pytest.mark.parametrize("given", FORMS)
def test_the_same_images_in_other_units_are_in_the_same_groups(models, fitted, given):
    model = models[fitted]
    if (given, fitted) in GUESSES:
        with pytest.raises(InputError, match="is white|a guess"):
            model.predict(FORMS[given])
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(model.predict(FORMS[given]), model.labels_)
        np.testing.assert_allclose(model.transform(FORMS[given]), model.transform(FORMS[fitted]), rtol=0.01)


@pytest.mark.parametrize(("fitted", "given"), [("uint8", "floats to 255"), ("floats to 255", "uint8")])
def test_what_is_converted_is_said(models, fitted, given):
    with pytest.warns(UserWarning, match=r"X holds .* and the model was fitted on .* 255 is taken for its 255"):
        models[fitted].predict(FORMS[given])


@pytest.mark.parametrize("form", FORMS)
def test_the_images_of_the_fit_are_taken_without_a_word_one_by_one_too(models, form):
    model = models[form]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(FORMS[form]), model.labels_)
        single = [model.predict(FORMS[form][i : i + 1])[0] for i in range(0, 24, 5)]
    np.testing.assert_array_equal(single, model.labels_[::5])


@pytest.mark.parametrize(
    ("fitted", "given", "words"),
    [
        (BYTES / np.float32(127.5) - 1, BYTES, "a guess"),  # -1 to 1, then integers
        (BYTES / np.float32(127.5) - 1, BYTES.astype(np.float32), "a guess"),
        (BYTES, BYTES / np.float32(127.5) - 1, "a guess"),
        (BYTES.astype(np.float32), BYTES / np.float32(255), r"X \* 255 if 1 is white"),
        (BYTES, (BYTES / np.float32(255) * 9), "a guess"),
        (BYTES, BYTES.astype(np.uint16) * 16, "a guess"),
        (BYTES.astype(np.uint16) * 257, BYTES.astype(np.int64), r"astype\('uint16'\)"),
        (BYTES / np.float32(255) * 4095, BYTES / np.float32(255), "a guess"),
    ],
)
def test_what_would_be_a_guess_is_refused_in_one_line(fitted, given, words):
    if words.startswith("X"):
        given = given * 0.9
    model = KMeans(3, random_state=0).fit(fitted)
    for method in (model.predict, model.transform, model.predict_proba):
        with pytest.raises(InputError, match=words) as caught:
            method(given)
        assert "\n" not in str(caught.value)


def test_twelve_bits_in_sixteen_are_told_by_the_whole_set_and_kept():
    twelve = BYTES.astype(np.uint16) * 16
    with pytest.warns(UserWarning, match="read as 12 bits, of which 4095 is white"):
        model = KMeans(3, random_state=0).fit(twelve)
    assert len(np.unique(open_images(twelve).pixels)) > 80
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.predict(twelve[:1]) == model.labels_[:1]  # dark alone: no value above 1023
    with pytest.warns(UserWarning, match="nearly black if 4095 is white"):
        assert model.predict(twelve[:1] // 4).shape == (1,)
    with pytest.raises(InputError, match="where 4095 is white"):
        model.predict(BYTES.astype(np.uint16) * 257)


FAR = {
    "floats to 1e-6": BYTES / np.float32(255e6),
    "standardised": ((BYTES - BYTES.mean()) / BYTES.std()).astype(np.float32),
    "floats from 3000": BYTES / np.float32(255) + np.float32(3000),
    "uint16 of 12 bits": BYTES.astype(np.uint16) * 16,
}


@pytest.mark.parametrize("fitted", [*FORMS, *FAR])
@pytest.mark.parametrize("given", [*FORMS, *FAR])
def test_no_other_units_give_other_labels_in_silence(fitted, given):
    forms = FORMS | FAR
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KMeans(3, random_state=0).fit(forms[fitted])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that an earlier test left to the garbage
        try:
            found = model.predict(forms[given])
        except InputError:
            return
    assert caught or (found == model.labels_).all()


def test_drawings_of_0_and_1_are_what_booleans_are():
    drawn = BYTES > 100
    model = KMeans(2, random_state=0).fit(drawn.astype(np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for X in (drawn, drawn.astype(np.uint8) * np.uint8(255), drawn.astype(np.float32), drawn.astype(np.int64)):
            np.testing.assert_array_equal(model.predict(X), model.labels_)
    with pytest.warns(UserWarning, match="no integer above 1"):
        KMeans(2, random_state=0).fit(drawn).predict(drawn.astype(np.uint8))


def test_floats_that_overshoot_or_are_noisy_are_taken_as_they_are():
    X = BYTES / np.float32(255)
    model = KMeans(3, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X * 1.08)
    with pytest.warns(UserWarning, match="taken for white"):
        np.testing.assert_array_equal(model.predict(X * 1.3), KMeans(3, random_state=0).fit(X).predict(X * 1.3))


def test_vectors_have_no_units():
    X = np.random.default_rng(0).normal(0, 1, (20, 5))
    model = KMeans(2, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X * 1000)
        model.predict((X * 10).astype(np.int64))
    assert model.units_ is None


def test_units_go_with_a_saved_model_and_older_runs_load(tmp_path):
    model = KMeans(3, random_state=0).fit(BYTES.astype(np.float32))
    model.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert loaded.units_ == model.units_
    with pytest.warns(UserWarning, match="255 is taken for its 255"):
        np.testing.assert_array_equal(loaded.predict(BYTES), model.labels_)
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    for damaged in ({}, {"units": None}, {"units": {"dtype": "float32", "low": "0"}}, {"units": [1]}):
        content["images"] = {**{k: v for k, v in content["images"].items() if k != "units"}, **damaged}
        path.write_text(json.dumps(content))
        assert load(tmp_path / "run").units_ is None
        np.testing.assert_array_equal(load(tmp_path / "run").predict(BYTES.astype(np.float32)), model.labels_)


def test_another_white_is_another_fingerprint_and_is_what_batch_divides_by():
    images = open_images(BYTES)
    seen = Units("float32", 0, 255).seen(images)
    assert seen.fingerprint != images.fingerprint and seen.pixels is images.pixels
    torch.testing.assert_close(seen.batch(slice(0, 2)), images.batch(slice(0, 2)) * 255)


@pytest.mark.parametrize("units", [1.0, 255.0, 65535.0])
def test_a_pre_trained_network_sees_floats_of_any_units_from_0_to_1(units):
    """Its features are the same; at 0 to 255 it would see white everywhere."""
    photos = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8) // np.uint8(2) * np.uint8(2) + 1
    floats = photos.astype(np.float32) / 255 * units
    make = {"backbone": Backbone("hog-color"), "random_state": 0}
    bytewise = Diffusion(3, **make).fit(photos)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that an earlier test left to the garbage
        model = Diffusion(3, **make).fit(floats)
    assert any(f"sees {units:g} as white" in str(one.message) for one in said) == (units != 1)
    np.testing.assert_allclose(model.transform(floats), bytewise.transform(photos), atol=1e-3)
    np.testing.assert_array_equal(model.labels_, bytewise.labels_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(model.transform(photos), model.transform(floats), atol=1e-3)


def test_floats_of_unknown_units_for_a_pre_trained_network_are_told():
    photos = np.random.default_rng(0).normal(size=(24, 16, 16, 3)).astype(np.float32)
    with pytest.warns(UserWarning, match="the pre-trained network expects 0"):
        Diffusion(3, backbone=Backbone("hog-color"), random_state=0).fit(photos)
