"""Containers from a stranger, changed at random or on purpose: a line each, never a traceback or a hang."""

import io
import struct
import tarfile
import time
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from asterism.errors import AsterismError
from asterism.images import file_labels, open_images
from asterism.images import npz as npz_module
from asterism.images.vectors import read_vectors


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def png(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def array(values) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def shard(n: int = 3) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for i in range(n):
            for name, content in ((f"{i:04d}.png", png(i)), (f"{i:04d}.cls", b"1")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


IMAGES = np.random.default_rng(0).integers(0, 255, (4, 6, 6), dtype=np.uint8)
HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': %s, }"
MADE_UP = {
    "giant": npy(HEADER % "(10000000, 1000, 1000)"),
    "overflow": npy(HEADER % f"({2**62}, {2**62})"),
    "negative": npy(HEADER % "(-1, 6, 6)", bytes(36)),
    "digits": npy(HEADER % f"({'9' * 5000},)"),
    "text": npy(HEADER % "('a', 6, 6)"),
    "deep": npy("(" * 3000 + ")" * 3000),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", b"cos\nsystem\n(S'false'\ntR."),
    "long": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 6, 6)," + " " * 60_000 + "}"),
    "no header": b"\x93NUMPY\x07\x09",
    "nested": npy("{'descr': [('a', '<f4', (99999, 99999, 99999))], 'fortran_order': False, 'shape': (3,), }"),
}


@pytest.mark.parametrize("name", list(MADE_UP))
def test_headers_that_lie(tmp_path, name):
    (tmp_path / "x.npy").write_bytes(MADE_UP[name])
    (tmp_path / "x.npz").write_bytes(npz(images=MADE_UP[name]))
    (tmp_path / "y.npz").write_bytes(npz(images=array(IMAGES), labels=MADE_UP[name]))
    for file in ("x.npy", "x.npz", "y.npz"):
        began = time.monotonic()
        with pytest.raises(AsterismError) as caught:
            open_images(tmp_path / file)
        line = str(caught.value)
        assert "\n" not in line and file in line and len(line) < 1500
        assert time.monotonic() - began < 5


def test_a_zip_that_claims_more_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_module, "available_memory", lambda: 100)
    (tmp_path / "x.npz").write_bytes(npz(images=array(IMAGES)))
    assert len(open_images(tmp_path / "x.npz")) == 4  # images are mapped where they are large
    (tmp_path / "x.npz").write_bytes(npz(images=array(IMAGES), labels=array(np.arange(4))))
    with pytest.raises(AsterismError, match=r"x.npz' cannot be read .*: it claims to hold \d+ bytes beside its images"):
        open_images(tmp_path / "x.npz")


def test_a_header_that_is_long_is_not_read(tmp_path):
    """4 MB of a zip may be 4 GiB of it."""
    member = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**17) + b" " * 2**17
    (tmp_path / "x.npz").write_bytes(npz(images=array(IMAGES), labels=member))
    with pytest.raises(AsterismError, match="x.npz' cannot be read .*'labels.npy': its header is 131,072 letters long"):
        open_images(tmp_path / "x.npz")


@pytest.mark.parametrize("offsets", [[0.0, 9.0], [9, 0], [-5, 9], [0, 10**9], [[0, 9]], []])
def test_offsets_of_jpegs_that_lead_astray(tmp_path, offsets):
    np.savez(tmp_path / "x.npz", jpeg=np.frombuffer(png(1), np.uint8), offsets=np.array(offsets))
    with pytest.raises(AsterismError, match="x.npz'.*") as caught:
        open_images(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, cut off, doubled or zeroed; often in headers, where the text is."""
    made = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, min(len(made), 700) if rng.random() < 0.7 else len(made)))
        kind = rng.integers(0, 5)
        if kind == 0:
            made[at] = int(rng.integers(0, 256))
        elif kind == 1:
            made[at : at + 4] = b"9999"
        elif kind == 2 and len(made) > 100:
            del made[at : at + int(rng.integers(1, 50))]
        elif kind == 3:
            made[at:at] = made[at : at + 40]
        else:
            made[at : at + 8] = b"\xff" * 8
    return bytes(made)


SEEDS = {
    "x.npy": array(IMAGES),
    "x.npz": npz(images=array(IMAGES), labels=array(np.arange(4)), label_names=array(np.array(list("abcd")))),
    "y.npz": npz(
        jpeg=array(np.frombuffer(png(1) + png(2), np.uint8)), offsets=array(np.array([0, len(png(1)), 2 * len(png(1))]))
    ),
    "x.tar": shard(),
    "x.zip": npz(images=array(IMAGES)),
    "list.txt": b"a.png\nb.png\n",
    "list.csv": b"path,label\na.png,1\nb.png,2\n",
}


LISTED = [f"sub/{i}.png" for i in range(8)]
ROWS = [f"{name},{i % 3}" for i, name in enumerate(LISTED)]
VECTORS = np.arange(24, dtype=np.float32).reshape(8, 3)
TABLES = {  # of labels, and of vectors
    "labels.csv": "\n".join(["path,label", *ROWS]).encode(),
    "labels.tsv": "\r\n".join(["\ufefffile;x;class", *[row.replace(",", ";;") for row in ROWS]]).encode(),
    "labels16.txt": "\n".join(ROWS).replace(",", "\t").encode("utf-16"),
    "labels.txt": "\n".join(f"{i}|{name}" for i, name in enumerate(LISTED)).encode(),
    "vectors.csv": "\n".join(["path,a,b", *[f"{name},{i},{i / 7:.3g}" for i, name in enumerate(LISTED)]]).encode(),
    "vectors.npz": npz(features=array(VECTORS), names=array(np.array(LISTED))),
    "vectors.npy": array(VECTORS),
}


def read_table(path) -> int:
    if path.name.startswith("labels"):
        return len(file_labels(SimpleNamespace(names=LISTED), path)[0])
    return len(read_vectors(str(path))[0])


def fuzz(folder, n: int, seed: int, seeds=SEEDS, read=open_images) -> None:
    rng = np.random.default_rng(seed)
    (folder / "a.png").write_bytes(png(1))
    names = list(seeds)
    for i in range(n):
        name = names[i % len(names)]
        made = changed(seeds[name], rng)
        (folder / name).write_bytes(made)
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert read(folder / name)
            except AsterismError as error:
                assert "\n" not in str(error), (seed, i, made)
            except Exception as error:
                raise AssertionError((type(error), seed, i, name, made)) from error
        assert time.monotonic() - began < 5, (seed, i, made)


def test_a_name_of_nothing_but_separators_is_none(tmp_path):
    rows = "".join(f"{name}|1\n" for name in LISTED)
    (tmp_path / "labels.txt").write_text(f"{rows}\x1f|2\n\x1c/.|3\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table(tmp_path / "labels.txt") == 8


@pytest.mark.parametrize(("seeds", "read"), [(SEEDS, open_images), (TABLES, read_table)])
def test_containers_and_tables_changed_at_random(tmp_path, seeds, read):
    fuzz(tmp_path, 210, 0, seeds, read)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize(("seeds", "read"), [(SEEDS, open_images), (TABLES, read_table)])
def test_many_containers_and_tables_changed_at_random(tmp_path, seed, seeds, read):
    fuzz(tmp_path, 5000, seed, seeds, read)
