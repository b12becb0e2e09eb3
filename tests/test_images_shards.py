"""WebDataset shards: read like a folder, in their order, with labels for scoring, and what is damaged is left out."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from asterism import KMeans
from asterism.cli.app import app
from asterism.errors import InputError, MissingDataError
from asterism.images import open_images, reopen
from asterism.images import pack as packing
from asterism.images import shards as shards_module
from asterism.images.shards import expand, is_shards


def encoded(colour, ending="png", side=12):
    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, "PNG" if ending == "png" else "JPEG")
    return stream.getvalue()


def write_shard(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    """Three shards of four samples; image i is of colour (i, 0, 0); its label is i % 3."""
    place = tmp_path / "shards"
    place.mkdir()
    for shard in range(3):
        members = []
        for i in range(4 * shard, 4 * shard + 4):
            members += [(f"{i:04d}.cls", str(i % 3).encode()), (f"{i:04d}.json", b"{}")]
            members += [(f"{i:04d}.png", encoded((i, 0, 0)))]
        write_shard(place / f"train-{shard + 8}.tar", members)
    (place / "index.json").write_text("{}")
    return place


def reds(source):
    return source.pixels[:, 0, 0, 0].tolist()


def test_shards_are_read_in_natural_order_with_their_labels(folder):
    source = open_images(folder)
    assert reds(source) == list(range(12))  # train-8, train-9, train-10
    assert source.names[0] == "train-8/0000.png" and source.names[-1] == "train-10/0011.png"
    np.testing.assert_array_equal(source.labels, np.arange(12) % 3)
    assert source.shape == (3, 12, 12) and source.skipped == []
    again = reopen(source.origin)
    assert again.fingerprint == source.fingerprint and again.names == source.names


def test_a_layout_is_for_arrays(folder):
    for given in (folder, sorted(folder.glob("*.tar")), folder / "train-8.tar"):
        with pytest.raises(InputError, match="layout='NHWC' is for arrays"):
            open_images(given, layout="NHWC")


def test_a_pattern_and_a_single_shard(folder):
    assert reds(open_images(str(folder / "train-{8..9}.tar"))) == list(range(8))
    assert reds(open_images(str(folder / "train-{10,8}.tar"))) == [8, 9, 10, 11, 0, 1, 2, 3]
    assert reds(open_images(folder / "train-9.tar")) == [4, 5, 6, 7]
    with pytest.raises(MissingDataError, match=r"1 of 3 shards do not exist; the first is '.*train-11.tar'"):
        open_images(str(folder / "train-{9..11}.tar"))


def test_braces_by_hand():
    assert expand("a-{098..101}.tar") == [f"a-{i}.tar" for i in ("098", "099", "100", "101")]
    assert expand("{x,yy}-{0..1}.tar") == ["x-0.tar", "x-1.tar", "yy-0.tar", "yy-1.tar"]
    assert expand("plain.tar") == ["plain.tar"]


def test_the_same_images_as_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    members = []
    for i in range(5):
        photo = Image.fromarray(rng.integers(0, 256, (40 + i, 70, 3), dtype=np.uint8))
        photo.save(tmp_path / "photos" / f"{i}.jpg")
        members.append((f"{i}.jpg", (tmp_path / "photos" / f"{i}.jpg").read_bytes()))
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards" / "0.tar", members)
    for options in ({}, {"size": (20, 30), "color": "grey"}, {"size": 16, "crop": False}):
        from_folder, from_shards = (open_images(tmp_path / one, **options) for one in ("photos", "shards"))
        assert from_folder.fingerprint == from_shards.fingerprint and from_shards.labels is None


def test_what_is_damaged_is_left_out_and_named(folder):
    for name, length in (("train-9.tar", 13 * 512 + 100), ("train-10.tar", 8 * 1024)):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:length])  # the second between two members
    write_shard(folder / "train-11.tar", [("a.png", b"no image"), ("b.png", b""), ("c.txt", b"text"), ("d.cls", b"1")])
    (folder / "train-12.tar").write_bytes(b"\x1f\x8b compressed")
    source = open_images(folder)
    assert reds(source)[:6] == [0, 1, 2, 3, 4, 5] and 8 in reds(source) and len(source) < 12
    named = {one.name: one.reason for one in source.skipped}
    assert {"train-9.tar", "train-10.tar", "train-12.tar", "train-11/a.png", "train-11/b.png"} <= set(named)
    assert "not a plain tar archive" in named["train-12.tar"]
    assert len(source.labels) == len(source)
    with pytest.raises(InputError, match="strict=True and"):
        open_images(folder, strict=True)


def test_samples_follow_webdatasets_rule(tmp_path):
    red, blue = encoded((9, 0, 0)), encoded((0, 0, 9))
    members = [
        ("a/1.seg.png", blue),  # its ending is .seg.png
        ("a/1.JPG", encoded((9, 0, 0), "jpg")),
        ("a/1.cls", b"dog\n"),
        ("b/1.png", red),  # another folder, another sample
        ("b/1.jpg", blue),
        ("b/1.cls", b"cat"),
    ]
    source = open_images(write_shard(tmp_path / "x.tar", members))
    assert source.names == ["x/a/1.JPG", "x/b/1.png"] and source.label_names == ["cat", "dog"]
    assert source.labels.tolist() == [1, 0]
    members.pop()
    assert open_images(write_shard(tmp_path / "y.tar", members)).labels is None  # one has no label: none is used


def test_labels_need_not_stand_beside_their_images(tmp_path):
    """`tar` takes the files of a folder as they lie on the disk."""
    images = [(f"{i}.png", encoded((i, 0, 0))) for i in range(3)]
    beside = [("1.cls", b"b"), ("2.json", b"{}"), ("0.cls", b"a"), ("2.cls", b"a"), ("7.cls", b"a"), ("7.txt", b"a")]
    source = open_images(write_shard(tmp_path / "x.tar", beside[:2] + images + beside[2:]))
    assert [source.label_names[one] for one in source.labels] == ["a", "b", "a"]
    assert [one.name for one in source.skipped] == ["x/7.cls"]


def test_links_and_giants_are_not_read(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("passwd.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
        for name, content in (("1.png", encoded((1, 0, 0))), ("2.png", encoded((2, 0, 0)) + bytes(5000))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(shards_module, "LARGEST", 4000)
    source = open_images(tmp_path / "x.tar")
    assert source.names == ["x/1.png"]
    assert "a link" in source.skipped[0].reason and "more than the 4,000" in source.skipped[1].reason


def test_shards_without_images_are_one_line(tmp_path):
    write_shard(tmp_path / "x.tar", [("a.txt", b"text")])
    with pytest.raises(InputError, match=r"^shards '.*x.tar' holds no images"):
        open_images(tmp_path / "x.tar")


def test_a_folder_of_images_with_a_tar_beside_them_stays_a_folder(folder):
    Image.new("RGB", (12, 12), (77, 0, 0)).save(folder / "one.png")
    assert not is_shards(str(folder))
    assert reds(open_images(folder)) == [77]


def test_what_does_not_fit_in_memory_streams_into_the_cache(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packing, "memory_budget", lambda: 0)
    monkeypatch.setattr(packing, "BLOCK_BYTES", 1)
    first = open_images(folder)
    assert list((tmp_path / "cache" / "packed").glob("*/pixels.bin"))
    monkeypatch.setattr(shards_module.Member, "content", property(lambda self: pytest.fail("was read again")))
    second = open_images(folder)
    assert reds(first) == reds(second) == list(range(12))
    np.testing.assert_array_equal(second.labels, first.labels)


def test_a_run_on_shards_is_scored_and_exported(folder, tmp_path):
    run = str(tmp_path / "RUN")
    KMeans(3, random_state=0, run_dir=run).fit(folder)
    scored = CliRunner().invoke(app, ["evaluate", run])
    assert scored.exit_code == 0, scored.output
    exported = CliRunner().invoke(app, ["export", run, str(tmp_path / "groups")])
    assert exported.exit_code == 0, exported.output
    assert len(list((tmp_path / "groups").glob("*/*.png"))) == 12


def test_a_stray_archive_does_not_hide_the_folders_beside_it(tmp_path):
    (tmp_path / "cats").mkdir()
    Image.new("RGB", (12, 12), (5, 0, 0)).save(tmp_path / "cats" / "1.PNG")
    write_shard(tmp_path / "backup.TAR", [("a.png", encoded((9, 0, 0)))])
    for name in ("b.zip", "c.tar.gz", "d.tgz"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    source = open_images(tmp_path)
    assert source.names == ["cats/1.PNG"]
    reasons = {one.name: one.reason for one in source.skipped}
    assert "give it by itself" in reasons["backup.TAR"]
    assert all("unpack it" in reasons[name] for name in ("b.zip", "c.tar.gz", "d.tgz"))
    with pytest.raises(InputError, match=r"strict=True and image 'b.zip'.*unpack it"):
        open_images(tmp_path, strict=True)
    with pytest.raises(InputError, match=r"c.tar.gz' is a file ending in '.gz', a compressed archive: unpack it"):
        open_images(tmp_path / "c.tar.gz")
    (tmp_path / "cats" / "1.PNG").unlink()
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path / "cats")
    assert reds(open_images(tmp_path)) == [9]  # nothing but archives is left


def test_a_folder_with_archives_and_anything_else_is_no_folder_of_shards(tmp_path):
    write_shard(tmp_path / "a.tar", [("a.png", encoded((9, 0, 0)))])
    (tmp_path / "picture-without-ending").write_bytes(encoded((3, 0, 0)))
    assert reds(open_images(tmp_path)) == [3]
    (tmp_path / "picture-without-ending").write_bytes(b"words")
    with pytest.raises(
        InputError, match=r"holds no images that can be read, among 2 files; 'a.tar'.*give it by itself"
    ):
        open_images(tmp_path)
    (tmp_path / "picture-without-ending").unlink()
    for name in ("a.tar:Zone.Identifier", "Thumbs.db", "desktop.ini", ".hidden"):  # what systems leave is nothing else
        (tmp_path / name).write_bytes(b"words")
    assert reds(open_images(tmp_path)) == [9]
    assert reds(open_images(f"{tmp_path}/*.tar")) == [9] and reds(open_images([tmp_path / "a.tar"])) == [9]


def test_shards_in_subfolders_with_capitals_and_compressed_ones_beside_them(tmp_path):
    for part, red in (("train", 1), ("val", 2)):
        (tmp_path / part).mkdir()
        write_shard(tmp_path / part / "0.TAR", [("./deep/a.PNG", encoded((red, 0, 0))), (".hidden.png", b"")])
    (tmp_path / "test.tgz").write_bytes(b"\x1f\x8b")
    (tmp_path / "README.md").write_text("text")
    source = open_images(tmp_path)
    assert source.names == ["train/0/deep/a.PNG", "val/0/deep/a.PNG"] and reds(source) == [1, 2]
    assert [one.name for one in source.skipped] == ["test.tgz"]
    assert open_images(f"{tmp_path}/{{train,val}}/0.TAR").names == source.names
    with pytest.raises(InputError, match="strict=True and 'test.tgz' is not read: a compressed"):
        open_images(tmp_path, strict=True)


def test_names_with_dots_are_images_of_their_own_or_listed(tmp_path):
    dotted = [(f"IMG.2020.05.0{i}.{'PNG' if i % 2 else 'png'}", encoded((i, 0, 0))) for i in range(4)]
    labels = [(f"IMG.2020.05.0{i}.cls", str(i % 2).encode()) for i in range(4)]
    source = open_images(write_shard(tmp_path / "dots.tar", dotted + labels))
    assert reds(source) == [0, 1, 2, 3] and source.labels.tolist() == [0, 1, 0, 1] and not source.skipped
    members = [("a.png", encoded((9, 0, 0))), ("a.left.png", encoded((8, 0, 0))), ("a.JPG", b""), ("b.xml", b"<x/>")]
    source = open_images(write_shard(tmp_path / "several.tar", members))
    assert reds(source) == [9]
    assert [one.name for one in source.skipped] == ["several/a.left.png", "several/a.JPG", "several/b.xml"]
    assert "a further picture of the sample of a.png" in source.skipped[0].reason
    with pytest.raises(InputError, match=r"strict=True and image 'several/a.left.png'"):
        open_images(tmp_path / "several.tar", strict=True)


def test_the_later_of_two_members_with_one_name_counts_as_when_it_is_unpacked(tmp_path):
    members = [("a.png", encoded((1, 0, 0))), ("b.png", encoded((2, 0, 0))), ("a.png", encoded((3, 0, 0)))]
    source = open_images(write_shard(tmp_path / "x.tar", members))
    assert sorted(zip(source.names, reds(source), strict=True)) == [("x/a.png", 3), ("x/b.png", 2)]
    assert source.skipped[0].reason == "replaced by a later member of the same name"
    side_by_side = [("c.png", encoded((4, 0, 0))), ("c.cls", b"0"), ("c.png", encoded((5, 0, 0))), ("c.cls", b"1")]
    source = open_images(write_shard(tmp_path / "y.tar", side_by_side))
    assert reds(source) == [5] and source.labels.tolist() == [0] and source.label_names == ["1"]
    assert source.skipped[0].reason == "replaced by a later member of the same name"


def test_what_stands_behind_a_damage_or_the_end_is_listed(tmp_path):
    members = [(f"{i}.png", encoded((i, 0, 0))) for i in range(4)]
    whole = write_shard(tmp_path / "whole.tar", members).read_bytes()
    damaged = bytearray(whole)
    damaged[2 * 1024 + 10] ^= 255  # the third header: tarfile takes it for the end
    (tmp_path / "damaged.tar").write_bytes(damaged)
    source = open_images(tmp_path / "damaged.tar")
    assert reds(source) == [0, 1] and "damaged at byte 2048" in source.skipped[0].reason
    (tmp_path / "two.tar").write_bytes(whole + whole)
    source = open_images(tmp_path / "two.tar")
    assert reds(source) == [0, 1, 2, 3] and "goes on behind the mark of its end" in source.skipped[0].reason


def test_a_pattern_of_too_many_shards_is_one_line():
    with pytest.raises(InputError, match="names more than 1,000,000 shards"):
        open_images("x-{0..999999999}{0..9}.tar")
    with pytest.raises(MissingDataError, match="does not exist"):
        open_images(f"x-{{0..{'9' * 5000}}}.tar")


def header(name, **changes):
    """A tar header with fields of the given bytes, its sum right."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    places = {"size": (124, 12), "type": (156, 1)}
    for field, value in changes.items():
        start, length = places[field]
        block[start : start + length] = value.ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "made_up",
    [
        header("a.png", size=b"\xff" * 12),  # -1 in base 256
        header("a.png", size=b"\x80" + b"\xff" * 11),  # 2^88 - 1
        header("a", type=b"L", size=b"77777777777"),  # a name of 8 GiB
        header("a", type=b"x", size=b"77777777777"),
        header("a", type=b"x", size=b"24") + b"20 size=-100000000000\n".ljust(512, b"\0") + header("b.png"),
        (header("a", type=b"x", size=b"13") + b"11 path=abc\n".ljust(512, b"\0")) * 3000,  # nested as deep
        header("a", type=b"x", size=b"5010")
        + (b"5000 size=" + b"9" * 4989 + b"\n").ljust(5120, b"\0")
        + header("b.png"),
        header("a", type=b"S", size=b"77777777777"),
        header("../../../etc/a.png", size=b"11") + b"no picture".ljust(512, b"\0"),
        header("/dev/zero.png", type=b"3"),
    ],
)
def test_headers_that_are_made_up_cost_a_line_and_nothing_else(tmp_path, made_up):
    good = write_shard(tmp_path / "good.tar", [("1.png", encoded((1, 0, 0)))]).read_bytes()
    (tmp_path / "bad.tar").write_bytes(good[:1024] + made_up + bytes(1024))
    source = open_images(tmp_path)
    assert reds(source) == [1, 1] and source.names == ["bad/1.png", "good/1.png"]
    assert len(source.skipped) >= 1 and all("\n" not in one.reason for one in source.skipped)
