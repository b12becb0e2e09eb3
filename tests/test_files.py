"""Writing files: whole or not at all, never through a link."""

import csv
import errno
import os
import stat

import pytest

from asterism import files
from asterism.errors import StorageError
from asterism.files import replacing, reserve, write_csv, write_text


def contents(folder):
    return sorted(one.name for one in folder.iterdir())


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("page.html", "page.html.partial", ".page.html.partial"):
        (out / name).symlink_to(tmp_path / "mine.txt")
    write_text(out / "page.html", "new")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (out / "page.html").read_text() == "new" and not (out / "page.html").is_symlink()


def test_a_name_that_is_foreseen_is_not_written_through(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.setattr(files.os, "urandom", bytes)
    (tmp_path / f".partial-{'0' * 16}.txt").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(StorageError, match="File exists"):
        write_text(tmp_path / "new.txt", "new")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_what_fails_leaves_the_file_before(tmp_path, error):
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises((StorageError, KeyboardInterrupt)), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert contents(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


def test_permissions_are_those_of_a_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a.bin") as temporary:
        temporary.unlink()  # as safetensors may do: a file of its own, for the owner alone
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_the_longest_name(tmp_path):
    write_text(tmp_path / ("a" * 251 + ".txt"), "whole")
    assert len(contents(tmp_path)) == 1
    with pytest.raises(StorageError, match="cannot write .*name too long"):
        write_text(tmp_path / ("a" * 252 + ".txt"), "whole")


def test_a_table_is_read_as_it_was_written(tmp_path):
    rows = [
        ["Icon\rcopy.png", "0"],
        ["a\r\nb", "1"],
        ["a\nb", "2"],
        ['a"b', "3"],
        ["a,b", "4"],
        ["ab\r", "5"],
        ["é", ""],
    ]
    write_csv(tmp_path / "t.csv", ["path", "n"], rows)
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [["path", "n"], *rows]
    assert b"\r\n" not in (tmp_path / "t.csv").read_bytes().replace(b"a\r\nb", b"")


@pytest.mark.parametrize("native", [True, False])
def test_room_is_made_sure_of(tmp_path, monkeypatch, native):
    if not native:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with open(tmp_path / "a", "wb") as file:
        file.write(b"abc")
        file.flush()
        reserve(file, 3_000_000)
        reserve(file.fileno(), 5)  # never shorter
    found = (tmp_path / "a").read_bytes()
    assert len(found) == 3_000_000 and found[:4] == b"abc\0"
    (tmp_path / "b").write_bytes(bytes(3_000_000))
    assert (tmp_path / "a").stat().st_blocks >= (
        tmp_path / "b"
    ).stat().st_blocks  # no hole: the disk has given the room


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_a_full_disk_is_an_error(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open(tmp_path / "a", "wb") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                reserve(file, 2**21)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
