"""Packing: in memory or in a file of the cache, complete or not at all."""

import errno
import json
import multiprocessing
import os
import shutil
import threading
import time
import warnings
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.errors import InputError, StorageError
from asterism.features.cache import _prune
from asterism.images import changes as changes_module
from asterism.images import folder as folder_module
from asterism.images import open_images, pack_cache, raster_readers, reopen
from asterism.images import pack as pack_module
from asterism.images import source as source_module
from asterism.images.changes import pixel_hashes
from asterism.images.locations import KEPT_DAYS
from asterism.images.pack import block_length, cache_root, in_blocks, memory_budget, pack
from asterism.images.pack_cache import load_packed, pack_kept
from asterism.images.remote import folder_of
from asterism.images.source import Kept
from asterism.machine import Launch

BLOCK = np.arange(5 * 2 * 3 * 1, dtype=np.uint8).reshape(5, 2, 3, 1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test, and no memory to pack into."""
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pack_module, "memory_budget", lambda: 0)
    return tmp_path / "cache" / "packed"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(5):
        image = Image.new("RGB", (8, 8), (i, 2 * i, 3 * i))
        image.putpixel((0, 3), (200, 0, 0))
        image.save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "photos" / "3.png").write_bytes((tmp_path / "photos" / "3.png").read_bytes()[:45])  # header only
    return tmp_path / "photos"


def forbid(*args, **kwargs):
    pytest.fail("an image was decoded a second time")


def keep(blocks, n=5, key="key", restore=lambda state, n_done: None):
    """`pack_kept` of blocks that hold an image of each file."""

    def from_file(first):
        n_done = 0
        for block in blocks() if callable(blocks) else blocks:
            n_done += len(block)
            if n_done > first:
                yield n_done, block

    return pack_kept(key, n, (2, 3, 1), from_file, lambda: {"failed": 1}, restore)


def test_in_memory_fewer_images_than_announced():
    assert pack(iter([BLOCK[:2], BLOCK[2:4]]), 5, (2, 3, 1)).equal(torch.from_numpy(BLOCK[:4]))
    pixels, meta = keep([BLOCK[:2], BLOCK[2:4]])
    assert pixels.equal(torch.from_numpy(BLOCK[:4]))
    assert meta == {"failed": 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_on_disk(cache, dtype):
    pixels = pack(iter([BLOCK[:2].astype(dtype), BLOCK[2:].astype(dtype)]), 7, (2, 3, 1), dtype)
    assert pixels.equal(torch.from_numpy(BLOCK.astype(dtype)))
    assert os.listdir(cache) == [] and pixels[torch.tensor([3, 1])].flatten()[0] == 18


def test_kept_on_disk(cache):
    pixels, meta = keep([BLOCK[:2], BLOCK[2:]], n=7)
    assert pixels.equal(torch.from_numpy(BLOCK)) and meta["failed"] == 1
    assert sorted(os.listdir(cache)) == ["key"]
    assert sorted(os.listdir(cache / "key")) == ["meta.json", "pixels.bin"]
    assert load_packed("key")[0].equal(torch.from_numpy(BLOCK))


def test_a_folder_is_packed_once_and_found_again(cache, photos, monkeypatch):
    first = open_images(photos)
    assert first.names == ["0.png", "1.png", "2.png", "4.png"]
    assert first.pixels[:, 0, 0].tolist() == [[0, 0, 0], [1, 2, 3], [2, 4, 6], [4, 8, 12]]
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "read_image", forbid)
        patch.setattr(folder_module, "read_header", forbid)
        again = open_images(photos)
    assert again.fingerprint == first.fingerprint
    assert again.names == first.names
    assert again.skipped == first.skipped
    assert again.skipped[0].name == "3.png"
    assert again.origin == first.origin
    monkeypatch.setattr(pack_module, "memory_budget", lambda: 10**9)
    shutil.rmtree(cache)
    assert open_images(photos).fingerprint == first.fingerprint


def test_what_changes_the_pixels_changes_the_key(cache, photos):
    before = open_images(photos)
    assert open_images(photos, size=4).shape == (3, 4, 4)
    assert open_images(photos, color="grey").shape == (1, 8, 8)
    assert open_images(photos, size=(4, 8), crop=False).fingerprint != open_images(photos, size=(4, 8)).fingerprint
    Image.new("RGB", (8, 8), (9, 9, 9)).save(photos / "0.png")
    assert open_images(photos).pixels[0, 0, 0].tolist() == [9, 9, 9]
    (photos / "4.png").rename(photos / "5.png")
    assert open_images(photos).names[-1] == "5.png"
    with pytest.raises(InputError, match=r"3\.png"):
        open_images(photos, strict=True)
    assert before.pixels[0, 0, 0].tolist() == [0, 0, 0]  # the first file is still mapped


def test_what_says_something_of_packed_pixels_is_computed_once(cache, photos, monkeypatch):
    first = open_images(photos)
    known = first.fingerprint, first.digests, pixel_hashes(first).tolist()
    in_other_units = replace(first, white=128.0).fingerprint
    with monkeypatch.context() as patch:
        for module, name in (
            (source_module, "pixel_digest"),
            (source_module, "image_digest"),
            (changes_module, "hashlib"),
        ):
            patch.setattr(module, name, None)
        again = open_images(photos)
        assert (again.fingerprint, again.digests) == known[:2]
        assert replace(again, white=128.0).fingerprint == in_other_units != known[0]
        with pytest.raises(TypeError):  # an image less: other pixels
            again.subset([0, 1]).digests  # noqa: B018
    monkeypatch.undo()
    entry = next(one for one in cache.iterdir() if one.is_dir())
    for file, content in (("digests", "{"), ("fingerprint", '{"bytes": "0"}'), ("hashes", '{"bytes": 7}')):
        (entry / f"{file}.json").write_text(content)  # damaged
    again = open_images(photos)
    assert (again.fingerprint, again.digests, pixel_hashes(again).tolist()) == known
    Image.new("RGB", (8, 8), (9, 9, 9)).save(photos / "0.png")
    assert open_images(photos).fingerprint != known[0]


def test_pixels_that_their_owner_changed_are_not_those_of_the_cache(cache, photos):
    images = open_images(photos)
    known = images.fingerprint, images.digests
    other = replace(images, pixels=images.pixels.flip(2))
    assert other.fingerprint != known[0] and other.digests != known[1]
    with torch.inference_mode():
        assert open_images(photos).fingerprint == known[0]
    writable = replace(images, pixels=images.pixels.clone(), kept=None)
    writable.kept = Kept.of(images.kept.key, writable.pixels)
    assert writable.digests == known[1]
    writable.pixels[0] += 1
    assert writable.digests[0] != known[1][0] and writable.digests[1:] == known[1][1:]


def test_arrays_may_change_in_place():
    images = open_images(BLOCK.copy())
    before = images.fingerprint, images.digests
    images.pixels[0] += 1
    assert images.fingerprint != before[0] and images.digests[0] != before[1][0] and images.digests[1:] == before[1][1:]


def test_a_damaged_cache_is_made_anew(cache, photos):
    whole = open_images(photos).fingerprint
    entry = next(one for one in cache.iterdir() if one.is_dir())
    with open(entry / "pixels.bin", "r+b") as file:
        file.truncate(10)
    assert open_images(photos).fingerprint == whole
    (entry / "meta.json").write_text("{")
    assert open_images(photos).fingerprint == whole
    assert json.loads((entry / "meta.json").read_text())["failed"].keys() == {"3"}


@pytest.mark.parametrize("fits", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("the disk is gone")])
def test_an_interrupted_packing_is_gone_on_with(cache, monkeypatch, error, fits):
    monkeypatch.setattr(pack_module, "memory_budget", lambda: 10**9 if fits else 0)
    monkeypatch.setattr(pack_cache, "KEEP_SECONDS", 0.0)

    def interrupted():
        yield from (BLOCK[:1], BLOCK[1:3])
        raise error

    restored = []
    with pytest.raises(type(error)):
        keep(interrupted)
    assert load_packed("key") is None and sorted(os.listdir(cache)) == ["key.draft"]
    others = [BLOCK[:1] + 99, BLOCK[1:3] + 99, BLOCK[3:]]  # the 99s are not asked for
    pixels, _ = keep(others, restore=lambda *args: restored.append(args))
    assert restored == [({"failed": 1}, 3)]
    assert pixels.equal(torch.from_numpy(BLOCK)) and sorted(os.listdir(cache)) == ["key"]


@pytest.mark.parametrize("damage", ["state", "pixels", "promise"])
def test_a_damaged_draft_is_begun_anew(cache, damage):
    def interrupted():
        yield BLOCK[:3] + 99
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(interrupted)
    draft = cache / "key.draft"
    if damage == "pixels":
        os.truncate(draft / "pixels.bin", 5)
    else:
        (draft / "state.json").write_text("[" * 9 if damage == "state" else '{"n_done": 1, "n_rows": 5, "state": {}}')
    assert keep([BLOCK[:3], BLOCK[3:]])[0].equal(torch.from_numpy(BLOCK))


def test_what_is_quick_is_not_kept_and_what_is_slow_is(cache, monkeypatch):
    monkeypatch.setattr(pack_module, "memory_budget", lambda: 10**9)
    assert keep([BLOCK[:2], BLOCK[2:]])[0].equal(torch.from_numpy(BLOCK))
    assert not cache.exists()
    monkeypatch.setattr(pack_cache, "KEEP_SECONDS", 0.0)
    assert keep([BLOCK[:2], BLOCK[2:]])[0].equal(torch.from_numpy(BLOCK))
    assert load_packed("key")[0].equal(torch.from_numpy(BLOCK))


def test_where_nothing_can_be_kept_memory_serves(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_cache, "KEEP_SECONDS", 0.0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "file"))
    assert keep([BLOCK[:2], BLOCK[2:]])[0].equal(torch.from_numpy(BLOCK))
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
    assert keep([BLOCK[:2], BLOCK[2:]])[0].equal(torch.from_numpy(BLOCK))
    assert os.listdir(tmp_path / "cache" / "packed") == []


@pytest.mark.parametrize("memory", [0, 10**9])
def test_options_that_amount_to_the_same_are_packed_once(cache, photos, monkeypatch, memory):
    monkeypatch.setattr(pack_module, "memory_budget", lambda: memory)
    monkeypatch.setattr(pack_cache, "KEEP_SECONDS", 0.0)
    monkeypatch.setenv("HOME", str(photos.parent))
    monkeypatch.chdir(photos)
    first = open_images("../photos/")
    decoded = []
    monkeypatch.setattr(folder_module, "read_image", lambda *args: decoded.append(args))
    for path in (photos, "~/photos", ".", f"{photos}/../photos/", "../photos/*", sorted(photos.iterdir())):
        for options in ({}, {"size": 8}, {"size": (8, 8), "color": "rgb"}):
            again = open_images(path, **options)
            assert again.fingerprint == first.fingerprint and again.skipped == first.skipped, (path, options)
    assert reopen(first.origin).fingerprint == first.fingerprint
    with pytest.raises(InputError, match=r"strict=True and image '3\.png'"):
        open_images(photos, strict=True)
    assert not decoded


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_kill_costs_a_block(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    for name, value in (("KEEP_SECONDS", 0.0), ("SAVE_SECONDS", 0.0)):
        monkeypatch.setattr(pack_cache, name, value)
    monkeypatch.setattr(folder_module, "SHORT_BLOCK", 4)
    for module in (folder_module, pack_module):
        monkeypatch.setattr(module, "available_cores", lambda: 1)
    (tmp_path / "photos").mkdir()
    for i in range(60):
        Image.new("RGB", (8, 8), (i, 2 * i, 3 * i)).save(tmp_path / "photos" / f"{i}.png")
    read_image, here, there = folder_module.read_image, *multiprocessing.Pipe()

    def slowly(*args):
        there.send(1)
        time.sleep(0.01)
        return read_image(*args)

    monkeypatch.setattr(folder_module, "read_image", slowly)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=open_images, args=(tmp_path / "photos",), kwargs={"size": 8, "color": "rgb"})
    process.start()
    for _ in range(40):
        assert here.poll(20)
        here.recv()
    process.kill()
    process.join()
    decoded = []
    monkeypatch.setattr(folder_module, "read_image", lambda *args: decoded.append(1) or read_image(*args))
    source = open_images(tmp_path / "photos", size=8, color="rgb")
    assert source.pixels[:, 0, 0, 0].tolist() == list(range(60))
    assert len(decoded) <= 60 - 40 + 16 + 4  # of what came before the kill, a block and what waited


def test_what_nobody_opened_for_a_month_is_removed(cache):
    old, used, new = ("0a" * 16, "1b" * 16, "2c" * 16)
    for key in (old, used, new, "mine"):  # the last as a folder of the user's, whose folder the cache is in
        keep([BLOCK], key=key)
    for key in (old, used, "mine"):
        past = time.time() - (KEPT_DAYS + 1) * 86400
        os.utime(cache_root() / "packed" / key / "meta.json", (past, past))
    mine = cache_root() / "remote" / "mine" / "1.jpg", cache_root() / "features" / "mine" / "x.safetensors"
    for path in mine:
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (past, past))
        os.utime(path.parent, (past, past))
    assert load_packed(used) is not None
    keep([BLOCK], key="another")
    folder_of("s3://bucket")
    _prune(cache_root() / "features")
    assert [key for key in (old, used, new, "mine", "another") if load_packed(key)] == [used, new, "mine", "another"]
    assert all(path.is_file() for path in mine)


def test_a_full_disk_is_one_line(cache, photos, monkeypatch):
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
        with pytest.raises(StorageError, match="No space left on device; set ASTERISM_CACHE") as caught:
            open_images(photos)
        assert "\n" not in str(caught.value)
        with pytest.raises(OSError, match="smaller size"):
            open_images(np.zeros((9, 8, 8), np.uint8), size=4)

    def no_space(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)  # the disk fills up while it is written
    with pytest.raises(StorageError, match="No space left"):
        open_images(photos)
    assert not list(cache.glob("*/meta.json"))


def test_a_cache_that_cannot_be_a_folder(tmp_path, monkeypatch, cache):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="ASTERISM_CACHE"):
        open_images(np.zeros((9, 8, 8), np.uint8), size=4)


def test_two_that_pack_the_same_at_once_do_the_work_once(cache):
    decoded = []

    def blocks():
        decoded.append(1)
        time.sleep(0.05)
        yield BLOCK

    results: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda: results.append(keep(blocks)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoded == [1]
    assert all(result.equal(torch.from_numpy(BLOCK)) for result in results)
    assert len(results) == 4


@pytest.mark.parametrize("quick", [0.0, 1.0])
@pytest.mark.parametrize(("n", "length"), [(0, 3), (1, 3), (10, 3), (9, 3), (1000, 1000), (100, 40)])
def test_blocks_keep_the_order(quick, n, length, monkeypatch):
    monkeypatch.setattr(pack_module, "QUICK", quick)
    where = set()

    def square(i: int) -> int:
        where.add(threading.get_ident())
        return i * i

    blocks = list(in_blocks(square, n, length))
    assert [value for block in blocks for value in block] == [i * i for i in range(n)]
    assert all(len(block) == length for block in blocks[:-1])
    assert (where == {threading.get_ident()}) == (quick == 1.0 or n <= min(length, pack_module.TRIED)) or n == 0


def test_the_first_failure_ends_the_blocks():
    def fails(i: int) -> int:
        if i in (40, 90):
            raise InputError(str(i))
        return i

    with pytest.raises(InputError, match="40"):
        list(in_blocks(fails, 100, 100))


def test_a_block_is_bounded_and_feeds_every_core(monkeypatch):
    monkeypatch.setattr(pack_module, "available_cores", lambda: 4)
    assert block_length((1000, 1000, 3)) == 2**26 // 3_000_000
    assert block_length((20_000, 20_000, 3)) == 8
    assert block_length((1, 1, 1)) == 4096


def test_the_budget_is_a_share_of_what_is_free_divided_among_ranks(monkeypatch):
    monkeypatch.setattr(pack_module, "available_memory", lambda: 1000)
    assert memory_budget() == 250
    monkeypatch.setattr(pack_module, "launch", lambda: Launch(1, 5, 1, 5))
    assert memory_budget() == 50


def test_the_cache_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("ASTERISM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "asterism"


def test_a_white_that_was_found_out_is_no_other_for_being_given(cache, tmp_path, monkeypatch):
    folder = tmp_path / "deep"
    folder.mkdir()
    for i in range(4):
        deep = np.full((8, 8), 1000 * (i + 1), np.uint16)
        Image.fromarray(deep).save(folder / f"{i}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = open_images(folder)
        monkeypatch.setattr(folder_module, "read_image", forbid)
        for again in (open_images(folder), reopen(first.origin)):
            assert again.fingerprint == first.fingerprint and again.origin == first.origin
    assert "white" in first.origin


def test_progress_is_told(photos):
    told = []
    open_images(photos, progress=lambda *args: told.append(args))
    assert told == [("looking", 5, 5), ("decoding", 0, 5), ("decoding", 5, 5)]


def test_what_another_reader_may_read_is_tried_when_it_is_here(cache, photos, monkeypatch):
    assert len(open_images(photos).skipped) == 1
    (photos / "3.png").write_bytes((photos / "2.png").read_bytes()[:-1])
    opened = open_images(photos, size=8)
    monkeypatch.setattr(folder_module, "_Reading", Sighted)
    Sighted.looked = 0
    assert len(open_images(photos, size=8)) == len(opened) and Sighted.looked == 0
    monkeypatch.setattr(raster_readers, "find_spec", lambda name: name)  # all of them are installed meanwhile
    assert len(open_images(photos, size=8)) == len(opened) and Sighted.looked == 1


class Sighted(folder_module._Reading):
    """Counts how often files are decoded."""

    looked = 0

    def _decoded(self, *wanted):
        Sighted.looked += 1
        return super()._decoded(*wanted)


def test_what_is_remembered_in_a_cache_of_another_user_is_read(cache, monkeypatch):
    def forbidden(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    pack_cache.remember("key", {"same": "other"})
    monkeypatch.setattr(os, "utime", forbidden)
    assert pack_cache.recall("key") == {"same": "other"}
