"""Vectors of pictures: the vectors are grouped, page, export and tables have the pictures."""

import csv
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array

from asterism import Diffusion, KMeans, load, open_images
from asterism.errors import InputError, MissingDataError
from asterism.images import vectors as vectors_module
from asterism.report.fitted import open_run
from asterism.report.material import gather
from test_cli import run

N = 24
KMEANS = ["--method", "kmeans", "--set", "n_init=2", "-q"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """24 pictures in two folders that say nothing; their vectors, in another order, tell three groups."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(N):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(root / "ab"[i % 2] / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def vectors():
    """By name; the image's number modulo 3 is its group."""
    rng = np.random.default_rng(1)
    order = rng.permutation(N)
    rows = np.eye(3)[order % 3] @ rng.normal(0, 9, (3, 5)) + rng.normal(0, 0.1, (N, 5))
    return [f"{'ab'[i % 2]}/{i}.png" for i in order], rows.astype(np.float32)


def expected(names):
    return np.array([int(name.split("/")[-1].split(".")[0]) % 3 for name in names])


def same(a, b):
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


def write(path, names, rows):
    if path.suffix == ".npz":
        np.savez(path, features=rows, names=np.array(names))
    elif path.suffix == ".npy":
        np.save(path, rows)
        path.with_suffix(".names.csv").write_text("path\n" + "\n".join(names) + "\n")
    else:
        lines = [f"{name},{','.join(map(str, row))}" for name, row in zip(names, rows.tolist(), strict=True)]
        path.write_text("path,f0,f1,f2,f3,f4\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("ending", [".npz", ".npy", ".csv"])
def test_rows_are_joined_by_name(photos, vectors, tmp_path, ending):
    source = open_images(photos, features=write(tmp_path / f"f{ending}", *vectors))
    assert source.is_table and source.shape == (5, 1, 1) and source.for_the_eye.shape == (3, 9, 9)
    found = dict(zip(source.names, source.pixels[:, 0, 0].numpy(), strict=True))
    for name, row in zip(*vectors, strict=True):
        np.testing.assert_allclose(found[name], row, rtol=1e-6)
    assert same(KMeans(3, random_state=0).fit_predict(source), expected(source.names))


def test_without_names_in_order(photos):
    names = open_images(photos).names
    rows = np.eye(3)[expected(names)] * 5
    source = open_images(photos, features=rows)
    assert same(Diffusion(3, random_state=0).fit_predict(source), expected(names))
    part = source.subset([3, 1])
    assert part.names == [names[3], names[1]] and np.array_equal(part.thumbnail(0), source.thumbnail(3))


def test_what_does_not_fit_is_told(photos, vectors, tmp_path):
    names, rows = vectors
    with pytest.raises(InputError, match=r"has no row for 2 of 24 images; without one: '[ab]/\d+.png'"):
        open_images(photos, features=write(tmp_path / "few.npz", names[2:], rows[2:]))
    with pytest.raises(InputError, match="two rows for"):
        open_images(photos, features=write(tmp_path / "twice.csv", [*names, names[0]], rows[[*range(N), 0]]))
    with pytest.raises(InputError, match="23 rows without names, and there are 24 images"):
        open_images(photos, features=rows[:23])
    with pytest.raises(InputError, match="must end in one of"):
        open_images(photos, features=tmp_path / "f.xlsx")
    with pytest.raises(MissingDataError, match="does not exist"):
        open_images(photos, features=tmp_path / "none.npz")
    (tmp_path / "bad.csv").write_text("path,f0\na/0.png,much\n")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "images.npz", images=np.zeros((N, 9, 9)))
    for bad in ("bad.csv", "bad.npz", "images.npz"):
        with pytest.raises(InputError, match=bad):
            open_images(photos, features=tmp_path / bad)
    with pytest.raises(InputError, match="NaN|finite|infinity"):
        open_images(photos, features=np.full((N, 2), np.nan))


def test_a_parquet_file_larger_than_the_memory_is_not_read(photos, tmp_path, monkeypatch):
    """Equal numbers take no room in the file."""
    group = SimpleNamespace(column=lambda i: SimpleNamespace(num_values=2**50))
    about = SimpleNamespace(num_row_groups=1, num_columns=1, row_group=lambda i: group)
    parquet = SimpleNamespace(read_metadata=lambda path: about)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=parquet))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    (tmp_path / "f.parquet").touch()
    with pytest.raises(InputError, match="needs 18,014,398,509,481,984 bytes of memory.*save it as .npy"):
        open_images(photos, features=tmp_path / "f.parquet")


def test_parquet(photos, vectors, tmp_path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        (tmp_path / "f.parquet").write_bytes(b"PAR1")
        with pytest.raises(InputError, match="needs pyarrow: pip install"):
            open_images(photos, features=tmp_path / "f.parquet")
        return
    names, rows = vectors
    pyarrow.parquet.write_table(pyarrow.table({"path": names, "embedding": rows.tolist()}), tmp_path / "lists.parquet")
    columns = {f"f{i}": rows[:, i] for i in range(5)}
    pyarrow.parquet.write_table(pyarrow.table({"path": names, **columns}), tmp_path / "columns.parquet")
    for name in ("lists", "columns"):
        source = open_images(photos, features=tmp_path / f"{name}.parquet")
        assert same(KMeans(3, random_state=0).fit_predict(source), expected(source.names))


def test_the_index_of_a_pandas_frame_is_no_feature(photos, vectors, tmp_path):
    """A frame of which rows were picked keeps their numbers, which outweighed all features."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    names, rows = vectors
    frame = pandas.DataFrame(rows, columns=[f"f{i}" for i in range(5)])
    counted = np.arange(N) * 1000
    frames = {
        "picked": frame.set_index(counted),
        "called": frame.set_index(pandas.Index(counted, name="row")),
        "several": frame.set_index([counted, names]),
        "paths": frame.set_index(pandas.Index(names)),
        "saved twice": frame.assign(index=counted)[["index", *frame.columns]],
    }
    for name, one in frames.items():
        one.to_parquet(tmp_path / f"{name}.parquet")
        opened = open_images(tmp_path / f"{name}.parquet")
        np.testing.assert_allclose(opened.pixels[:, 0, 0].numpy(), rows, rtol=1e-6)
        assert (opened.names == names) == (name == "paths")


def test_a_frame_whose_index_names_the_images_is_joined_by_it(photos, vectors):
    pandas = pytest.importorskip("pandas")
    names, rows = vectors
    source = open_images(photos, features=pandas.DataFrame(rows, index=names))
    found = dict(zip(source.names, source.pixels[:, 0, 0].numpy(), strict=True))
    for name, row in zip(names, rows, strict=True):
        np.testing.assert_allclose(found[name], row, rtol=1e-6)


def test_images_in_the_cells_of_a_parquet_file(vectors, tmp_path):
    """As Hugging Face keeps them: a name was the text of the bytes."""
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    names, rows = vectors
    for path, column, expected_names in (
        ("hf", [{"bytes": b"\x89PNG", "path": name} for name in names], names),
        ("no path", [{"bytes": b"\x89PNG", "path": None} for _ in names], None),
        ("bytes", [b"\x89PNG"] * N, None),
        ("text", [name.encode() for name in names], names),
    ):
        table = pyarrow.table({"image": column, "embedding": rows.tolist()})
        pyarrow.parquet.write_table(table, tmp_path / f"{path}.parquet")
        opened = open_images(tmp_path / f"{path}.parquet")
        np.testing.assert_allclose(opened.pixels[:, 0, 0].numpy(), rows, rtol=1e-6)
        assert opened.names == (expected_names or [str(i) for i in range(N)])


def test_a_column_is_never_whole_as_numbers_of_python(monkeypatch):
    """A million vectors of 768 numbers took 25 GB."""
    monkeypatch.setattr(vectors_module, "AT_ONCE", 4)
    most = []

    class Column(list):
        def slice(self, start, n):
            return Column(self[start : start + n])

        def to_pylist(self):
            most.append(len(self))
            return [*self]

    rows = [[i, i + 0.5] for i in range(10)]
    assert np.array_equal(vectors_module._column(Column(rows), "e"), np.array(rows, np.float32)) and max(most) <= 4
    assert vectors_module._column(Column(), "e").shape == (0,)
    for odd in ([*rows, [1.0]], [*rows[:5], "x"]):
        with pytest.raises(ValueError, match="column 'e' holds what is no number"):
            vectors_module._column(Column(odd), "e")


def test_page_export_and_tables_have_the_pictures(photos, vectors, tmp_path):
    file = write(tmp_path / "f.npz", *vectors)
    run("cluster", photos, "--features", file, "-k", 3, "--out", tmp_path / "r", *KMEANS)
    model = load(tmp_path / "r")
    assert same(model.labels_, expected(model.names_))
    material = gather(open_run(tmp_path / "r"))
    assert material.sprites(np.arange(4), 64).size == (9, 9)
    assert "data:image/webp" in (tmp_path / "r" / "report.html").read_text()
    run("export", tmp_path / "r", tmp_path / "g")
    run("cut", tmp_path / "r", "-k", 6, "--export", tmp_path / "parts")
    assert len(list((tmp_path / "g").rglob("*.png"))) == len(list((tmp_path / "parts").rglob("*.png"))) == N
    run("predict", tmp_path / "r", photos, "--features", file, "--out", tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == model.names_
    assert [int(row["cluster"]) for row in rows] == model.labels_.tolist()
    assert "vectors of 5 numbers" in run("predict", tmp_path / "r", photos, "--out", tmp_path / "q.csv", code=1).stderr


def test_features_may_be_tensors_of_any_kind(photos):
    rows = torch.arange(N * 3.0).reshape(N, 3)
    asks = torch.nn.Parameter(rows)
    for features in (asks, list(asks), rows.bfloat16(), rows.half()):
        assert np.array_equal(open_images(photos, features=features).pixels[:, 0, 0].numpy(), rows.numpy())
    with pytest.raises(InputError, match="features is a sparse matrix and sparse input is not supported"):
        open_images(photos, features=csr_array(rows.numpy()))
