"""Vectors as text: tables of numbers are told from lists of images, and read whatever wrote them."""

import csv
import time

import numpy as np
import pytest
from PIL import Image

from asterism import load, open_images
from asterism.errors import InputError, MissingDataError
from asterism.images import text_tables
from asterism.methods.choosing import VECTORS, choose
from test_cli import run

X = np.array([[0.5, -1.25, 3], [2, 1e-3, -4.5], [7, 8.5, 9]], np.float32)
ROWS = [[repr(float(one)) for one in row] for row in X]
BARE = "\n".join(",".join(row) for row in ROWS) + "\n"


def with_names(names, heading="", separator=","):
    lines = [separator.join([name, *row]) for name, row in zip(names, ROWS, strict=True)]
    return "\n".join([*([heading] if heading else []), *lines]) + "\n"


def written(folder, content, name="v.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        BARE,
        "a,b,c\n" + BARE,
        BARE.replace(",", ";"),
        BARE.replace(",", "\t"),
        BARE.replace(",", ";").replace(".", ","),  # as Excel writes it in most of Europe
        BARE.replace(",", " "),
        BARE.replace(",", ",   ").rstrip("\n"),
        "a,b,c\r\n" + BARE.replace("\n", "\r\n"),
        ("a,b,c\n" + BARE).encode("utf-8-sig"),
        ("a;b;c\n" + BARE.replace(",", ";")).encode("utf-16"),
        "0,1,2\n" + BARE,  # pandas, index=False
        ",0,1,2\n" + with_names("012"),  # pandas
        "index,a,b,c\n" + with_names("012"),
        "# x y z\n" + BARE.replace(",", " "),  # numpy.savetxt
        "sep=;\n" + BARE.replace(",", ";"),
        BARE.replace("\n", ",\n"),
        "\n" + BARE.replace("\n", "\n\n") + ",,\n",
        "sep=;\r\na;b;c\r\n" + BARE.replace(",", ";").replace(".", ",").replace("\n", "\r\n"),
        '"a","b","c"\n' + "\n".join(",".join(f'"{one}"' for one in row) for row in ROWS),
    ],
)
def test_numbers_are_vectors(tmp_path, content):
    opened = open_images(written(tmp_path, content))
    assert opened.is_table and opened.names == ["0", "1", "2"] and opened.labels is None
    np.testing.assert_array_equal(opened.pixels[:, 0, 0].numpy(), X)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (with_names(["ab", "cd", "é"]), ["ab", "cd", "é"]),
        (with_names(["u1", "u2", "u3"], "user,a,b,c"), ["u1", "u2", "u3"]),
        (with_names(["7", "3", "9"], "id,a,b,c"), ["7", "3", "9"]),
        (with_names(["a.png", "b.png", "c.png"], "path,f0,f1,f2"), ["a.png", "b.png", "c.png"]),
        (with_names(["x", "y", "z"], "name\ta\tb\tc", "\t"), ["x", "y", "z"]),
        (",path,f0,f1,f2\n" + with_names(["0,a.png", "1,b.png", "2,c.png"]), ["a.png", "b.png", "c.png"]),
    ],
)
def test_names_stand_in_a_column_that_is_called_so_or_in_the_first(tmp_path, content, names):
    opened = open_images(written(tmp_path, content, "v.tsv" if "\t" in content else "v.csv"))
    assert opened.names == names
    np.testing.assert_array_equal(opened.pixels[:, 0, 0].numpy(), X)


def test_a_column_that_is_called_label_is_for_scores_and_y_beside_x_is_a_coordinate(tmp_path):
    content = "a,b,species\n1,2.5,cat\n3,4,dog\n5,6,\n7,8,cat\n"
    opened = open_images(written(tmp_path, content))
    assert opened.shape == (2, 1, 1) and opened.label_names == ["cat", "dog"]
    assert opened.labels.tolist() == [0, 1, -1, 0]
    numbered = open_images(written(tmp_path, "label,a,b\n5,1,2.5\n9,3,4\n"))
    assert numbered.shape == (2, 1, 1) and numbered.names == ["0", "1"] and numbered.label_names == ["5", "9"]
    points = open_images(written(tmp_path, "x,y\n1,2\n3,4.5\n"))
    assert points.shape == (2, 1, 1) and points.labels is None
    assert open_images(written(tmp_path, "x0,y\n1,2\n3.5,4\n")).labels is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n3,\n", "line 3, column 'b' of 'v.csv' is empty"),
        ("a,b\n1,2\n\n3,nan\n", "line 4, column 'b' of 'v.csv' holds 'nan': fill it in"),
        ("1,2\n3\n4,5\n6,7\n", "line 2 of 'v.csv' has 1 cell and others have 2"),
        ("a,b\n1,2\n3,4\n".encode("utf-16-le"), "'.*v.csv' is not text in UTF-8: save it so"),
        ("1,2\n3,-inf\n", "line 2, column 2 of 'v.csv' holds '-inf'"),
        ("1,2\n3,1e300\n", "line 2, column 2 of 'v.csv' holds '1e300'"),
        ("1,2\n3,4,5\n6,7\n8,9\n", "line 2 of 'v.csv' has 3 cells and others have 2"),
        ("5.1,3.5,Iris setosa\n4.9,3.0,Iris setosa\n", "line 1, column 3 of 'v.csv' holds 'Iris setosa'.*write label"),
        ("a,b\n" + "1,2\n" * 30 + "1,many\n", "line 32, column 'b' of 'v.csv' holds 'many'"),
    ],
)
def test_cells_that_are_no_numbers_are_told_by_line_and_column(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        open_images(written(tmp_path, content))


def test_a_first_row_with_a_slip_is_no_heading_and_one_of_wavelengths_is(tmp_path):
    with pytest.raises(InputError, match="line 1, column 2 of 'v.csv' holds '2 # x'"):
        open_images(written(tmp_path, "1,2 # x\n3,4\n5,6\n"))
    spectra = open_images(written(tmp_path, "name,400,410,420.5\nu,1,2,3\nv,4,5,6\n"))
    assert spectra.names == ["u", "v"]
    assert open_images(written(tmp_path, ",0,1,mean\n0,5,6,5.5\n1,7,8,7.5\n")).shape == (3, 1, 1)


def test_few_rows_with_decimal_commas(tmp_path):
    opened = open_images(written(tmp_path, "\ufeffa;b\r\n1,5;2\r\n3;4,25\r\n"))
    assert opened.pixels[:, 0, 0].tolist() == [[1.5, 2], [3, 4.25]]


@pytest.mark.parametrize(
    "content", ["000017\n000023\n", "397133\n37777\n", "id,label\n1,0\n2,1\n", "000017 -1\n000023 1\n"]
)
def test_numbers_that_name_images_are_a_list(tmp_path, content):
    with pytest.raises(MissingDataError, match="none of the 2 files"):
        open_images(written(tmp_path, content, "v.txt" if content[0].isdigit() else "v.csv"))


def test_what_lies_beside_a_file_tells_lists_but_not_folders_of_classes(tmp_path):
    for i in range(10):
        (tmp_path / str(i)).mkdir()
    digits = "".join(f"{i},0.5,{i}.25\n" for i in range(5))
    assert open_images(written(tmp_path, digits)).shape == (3, 1, 1)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "17", "png")
    assert not open_images(written(tmp_path, "12,3\n13,4\n17,5\n")).is_table  # the first are gone


def test_wide_rows_are_read_a_few_at_once(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(text_tables, "BLOCK", 9)
    monkeypatch.setattr(text_tables, "_numbers", lambda block, *_: seen.append(len(block)) or np.zeros((len(block), 4)))
    text_tables.read_text_table(str(written(tmp_path, "1.5,2,3,4\n" * 5)))
    assert seen == [2, 2, 1]


def test_one_column_is_vectors_of_one_number(tmp_path):
    assert open_images(written(tmp_path, "height\n1.5\n2\n9\n")).pixels.flatten().tolist() == [1.5, 2, 9]


def test_lists_of_images_stay_lists_whatever_numbers_they_have(tmp_path):
    for i in range(3):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / str(i), "png")
    lists = [
        "0.png,1,2\n1.png,2,3\n2.png,3,4\n",
        "path,width,height,label\n0.png,8,8,3\n1.png,8,8,2\n",
        "0,1.5,2\n1,2.5,3\n",  # files without endings
        "0.png\n1.png\n",
    ]
    for content in lists:
        assert not open_images(written(tmp_path, content)).is_table
    assert len(open_images(written(tmp_path, "0.png\n2.png\n", "v.txt"))) == 2
    hint = "none of the 2 files .* the first would be .*gone.png'; of vectors write plain numbers"
    with pytest.raises(MissingDataError, match=hint):
        open_images(written(tmp_path, "path,width,height\ngone.png,8,8\nlost.png,8,9\n"))
    with pytest.raises(MissingDataError, match="a file 1 of 2.jpg'$"):
        open_images(written(tmp_path, "a file 1 of 2.jpg\na file 2 of 2.jpg\n", "v.txt"))


def test_what_has_more_bytes_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_tables, "available_memory", lambda: 10)
    with pytest.raises(InputError, match="and 10 of memory are free: save it as .npy"):
        open_images(written(tmp_path, BARE))
    monkeypatch.setattr(text_tables, "LONGEST", 10)
    with pytest.raises(MissingDataError, match="none of the"):
        open_images(written(tmp_path, "1.25,2.25,3.25,4.25\n"))


def test_wide_rows_and_many(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(5, 12_000)).astype(np.float32)
    np.savetxt(tmp_path / "wide.csv", wide, delimiter=",", fmt="%.9g")
    assert np.array_equal(open_images(tmp_path / "wide.csv").pixels[:, 0, 0].numpy(), wide)
    many = rng.normal(size=(5_000, 2)).astype(np.float32)
    np.savetxt(tmp_path / "many.txt", many, fmt="%.9g")
    assert np.array_equal(open_images(tmp_path / "many.txt").pixels[:, 0, 0].numpy(), many)


def test_groups_of_a_table_from_end_to_end(tmp_path):
    rng = np.random.default_rng(0)
    groups = np.arange(60) % 3
    rows = np.eye(3)[groups] * 9 + rng.normal(size=(60, 3))
    lines = [f"n{i},{','.join(map(str, row))},{'abc'[g]}" for i, (row, g) in enumerate(zip(rows, groups, strict=True))]
    table = written(tmp_path, "name,a,b,c,class\n" + "\n".join(lines) + "\n")
    assert choose(str(table)) == VECTORS
    run("cluster", table, "-k", 3, "--method", "kmeans", "--out", tmp_path / "r", "-q")
    assert load(tmp_path / "r").names_ == [f"n{i}" for i in range(60)]
    assert '"acc": 1.0' in run("evaluate", tmp_path / "r", "--json").stdout
    run("predict", tmp_path / "r", table, "--out", tmp_path / "p.csv")
    run("embed", tmp_path / "r", table, "--out", tmp_path / "e.csv")
    with open(tmp_path / "p.csv", newline="") as found:
        assert [row["path"] for row in csv.DictReader(found)] == [f"n{i}" for i in range(60)]
    assert open_images(tmp_path / "e.csv").names[:2] == ["n0", "n1"]  # what embed writes is vectors
    assert '"k": 3' in run("suggest-k", table, "--json").stdout


@pytest.mark.parametrize("line", ["1" * 20_000 + "x", "2;" + "1" * 20_000 + "x", " " * 60_000 + "x"])
def test_a_long_run_of_like_letters_is_looked_at_once(tmp_path, line):
    began = time.process_time()
    assert text_tables.columns_of(str(written(tmp_path, line, "list.txt"))) is None or ";" in line
    assert time.process_time() - began < 2


@pytest.mark.parametrize("heads", [",Unnamed: 0", ",Unnamed: 0.1,Unnamed: 0", "level_0,index", ",", "Unnamed: 0"])
def test_the_counts_of_a_frame_that_was_written_again_are_no_numbers(tmp_path, heads):
    X = np.random.default_rng(0).normal(size=(9, 3)).round(3)
    counts = len(heads.split(","))
    lines = [",".join(map(str, [i] * counts + row.tolist())) for i, row in enumerate(X)]
    (tmp_path / "X.csv").write_text("\n".join([f"{heads},a,b,c", *lines]) + "\n")
    np.testing.assert_allclose(open_images(tmp_path / "X.csv").pixels[:, 0, 0].numpy(), X, rtol=1e-6)
