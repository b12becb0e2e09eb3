"""Classes that come with arrays, read without opening the images."""

import numpy as np
import pytest

from asterism.images import open_images
from asterism.images.bundled import bundled_labels

N = 12
CLASSES = np.arange(N) % 3


def arrays(*shape, kind=np.uint8):
    return np.random.default_rng(0).integers(0, 200, (N, *shape)).astype(kind)


@pytest.mark.parametrize(
    "images",
    [arrays(6, 5), arrays(6, 5, 3), arrays(3, 6, 5), arrays(7, kind=np.float64), arrays(6, 5, kind=np.float32)],
)
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:, None], np.array(["cat", "dog", "owl"])[CLASSES]])
def test_they_are_those_of_the_opened_images(tmp_path, images, classes):
    path = tmp_path / "arrays.npz"
    np.savez(path, x_train=images, y_train=classes)
    opened = open_images(path)
    np.testing.assert_array_equal(bundled_labels(str(path), opened.fingerprint), opened.labels)


def test_the_digits_bring_theirs():
    opened = open_images("data:digits")
    np.testing.assert_array_equal(bundled_labels("data:digits", opened.fingerprint), opened.labels)


def test_a_part_of_a_named_set_brings_its_own(tmp_path, monkeypatch):
    from asterism.images.catalogue import named_sets

    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    one = next(one for one in named_sets() if one.split == 1 and str(one.file).endswith(".npz"))
    (tmp_path / one.file).parent.mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / one.file, images=arrays(6, 5), labels=CLASSES, split=np.arange(N) // 7)
    opened = open_images(f"data:{one.name}")
    np.testing.assert_array_equal(bundled_labels(f"data:{one.name}", opened.fingerprint), CLASSES[7:])


def test_images_that_changed_or_are_seen_otherwise_must_be_opened(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, images=arrays(6, 5), labels=CLASSES)
    assert bundled_labels(str(path), open_images(path, size=4).fingerprint) is None
    fingerprint = open_images(path).fingerprint
    np.savez(path, images=arrays(6, 5)[::-1], labels=CLASSES)
    assert bundled_labels(str(path), fingerprint) is None
    np.savez(path, images=arrays(6, 5))
    assert bundled_labels(str(path), fingerprint) is None
    for content in (b"", path.read_bytes()[:100]):
        path.write_bytes(content)
        assert bundled_labels(str(path), fingerprint) is None
    assert bundled_labels("data:nothing", fingerprint) is None and bundled_labels(str(tmp_path), fingerprint) is None
