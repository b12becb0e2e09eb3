"""Trouble of the machine is no damage of an image: tried again, then the end, and nothing remembered."""

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from asterism.errors import StorageError
from asterism.images import io_errors, open_images
from asterism.images.io_errors import is_machine_error


@pytest.fixture
def three(tmp_path, monkeypatch) -> Path:
    """A folder of three images, and no pauses."""
    monkeypatch.setattr(io_errors, "PAUSES", (0.0, 0.0, 0.0))
    for i in range(3):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / f"{i}.png")
    return tmp_path


def failing(monkeypatch, error: BaseException, times: int) -> list[str]:
    """Let the first openings of 1.png fail; gives the list of its openings."""
    opened, opening = [], Image.open

    def troubled(file, *args, **kwargs):
        if str(file).endswith("1.png"):
            opened.append(file)
            if len(opened) <= times:
                raise error
        return opening(file, *args, **kwargs)

    monkeypatch.setattr(Image, "open", troubled)
    return opened


TRANSIENT = [MemoryError(), *(OSError(getattr(errno, n), n) for n in ("EMFILE", "ENFILE", "EIO", "ESTALE", "ENOMEM"))]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
@pytest.mark.parametrize("options", [{}, {"size": 8, "color": "grey"}, {"strict": True}])
def test_trouble_that_passes_loses_nothing(three, monkeypatch, error, options):
    failing(monkeypatch, error, times=2)
    opened = open_images(three, **options)
    assert opened.names == ["0.png", "1.png", "2.png"]
    assert opened.skipped == []


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_trouble_that_stays_ends_the_work_and_is_not_remembered(three, monkeypatch, error):
    monkeypatch.setattr("asterism.images.pack.memory_budget", lambda: 0)  # then it is packed in the cache
    monkeypatch.setenv("ASTERISM_CACHE", str(three / ".cache"))
    with monkeypatch.context() as broken:
        failing(broken, error, times=100)
        with pytest.raises(StorageError, match=r"1\.png' cannot be read: .*run the same again") as caught:
            open_images(three)
    assert "\n" not in str(caught.value)
    assert len(open_images(three)) == 3


@pytest.mark.parametrize(("error", "advice"), [(PermissionError(13, "Permission denied"), "allow reading it")])
def test_rights_are_not_waited_for(three, monkeypatch, error, advice):
    opened = failing(monkeypatch, error, times=100)
    with pytest.raises(StorageError, match=advice):
        open_images(three)
    assert len(opened) == 1


def test_a_file_that_vanishes_is_not_called_damaged(three, monkeypatch):
    failing(monkeypatch, FileNotFoundError(errno.ENOENT, "No such file or directory"), times=100)
    with pytest.raises(StorageError, match="was there when the folder was listed"):
        open_images(three)


def test_shards_too(three, monkeypatch):
    with tarfile.open(three / "set.tar", "w") as archive:
        for i in range(3):
            archive.add(three / f"{i}.png", f"{i}.png")
    opening, times = io.open, []

    def troubled(file, *args, **kwargs):
        if str(file).endswith("set.tar") and kwargs.get("buffering", 0) == 0 and args == ("rb",):
            times.append(file)
            if len(times) in (2, 3):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opening(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", troubled)
    assert len(open_images(three / "set.tar")) == 3
    assert len(times) > 3


def test_errors_of_files_are_none_of_the_machine():
    for error in (OSError("truncated"), ValueError(), OSError(errno.EINVAL, "x"), IsADirectoryError(errno.EISDIR, "x")):
        assert not is_machine_error(error)
