"""What the guide says to type works as it stands: its commands and its Python, page after page, on small photos."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from asterism.cli import app

DOCS = Path(__file__).parents[1] / "docs"
COMMAND_PAGES = ["start", "choosing", "page", "runs"]  # they go on with each other's RUN
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def write_photos(folder, n, seed):
    """Three kinds in three folders: a bright bar across, down, or a spot; 16x16."""
    rng = np.random.default_rng(seed)
    for kind, place in (("across", np.s_[6:10, :]), ("down", np.s_[:, 6:10]), ("spot", np.s_[2:8, 9:14])):
        (folder / kind).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 80, (16, 16), dtype=np.uint8)
            pixels[place] += 150
            Image.fromarray(pixels).save(folder / kind / f"{i}.jpg")


def test_the_commands_of_the_guide(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", 12, 0)
    write_photos(tmp_path / "new_photos", 4, 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("asterism.methods.autoencoders.FCAE_MORE_EPOCHS", 1)  # five times the patience else
    typed = [line for page in COMMAND_PAGES for block in blocks(DOCS / "guide" / f"{page}.md", "bash")
             for line in block.splitlines()]  # fmt: skip
    assert len(typed) >= 10
    for line in typed:
        program, *arguments = shlex.split(line)
        assert program == "asterism", line
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (line, result.output, result.exception)
    for made in (
        "RUN/report.html",
        "groups/cluster-000",
        "new.csv",
        "RUN2/labels.csv",
        "features.npz",
        "new_features.npz",
    ):
        assert (tmp_path / made).exists(), made
    assert set(np.load("new_features.npz", allow_pickle=False).files) >= {"features", "names"}


@pytest.mark.slow
def test_the_commands_and_the_python_on_photographs(tmp_path, monkeypatch):
    """On coloured pictures that are large enough for copies to be looked for, with features that need no weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: None)
    rng = np.random.default_rng(0)
    for folder, n in (("photos", 60), ("new_photos", 6)):
        (tmp_path / folder).mkdir()
        for i in range(n):
            pixels = rng.integers(0, 90, (96, 128, 3), dtype=np.uint8)
            pixels[20 + 5 * (i % 4) : 60, 30 : 60 + i % 7, i % 3] += 140
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    page = DOCS / "guide" / "photographs.md"
    for line in "".join(blocks(page, "bash")).splitlines():
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, (line, result.output, result.exception)
    for made in (
        "RUN/report.html",
        "cut.csv",
        "groups/cluster-000",
        "levels",
        "picks/export.csv",
        "typical.csv",
        "new.csv",
    ):
        assert (tmp_path / made).exists(), made
    for block in blocks(page, "python"):
        exec(block.replace("mobilenet_v2", "hog-color"), {})


WITHOUT_WEIGHTS = [page for page in sorted(DOCS.glob("guide/*.md")) if page.stem != "photographs"]


@pytest.mark.parametrize("page", WITHOUT_WEIGHTS, ids=lambda page: page.stem)
def test_the_python_of_the_guide(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_links_lead_somewhere():
    for page in (*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"):
        if "_build" in page.parts:
            continue
        text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))  # code is no link
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_front_page():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 80
    for page in (readme, (DOCS / "index.md").read_text(encoding="utf-8")):
        assert "photographs.webp" in page and "CC BY" in page
    measured = (DOCS / "photographs.md").read_text(encoding="utf-8")
    for method, acc in (
        ("discriminant-diffusion", "0.818"),
        ("k-means", "0.706"),
        ("UMAP (cosine) + k-means", "0.794"),
    ):
        assert f"| {method} | {acc}" in measured and acc in readme
    assert (DOCS / "photographs.webp").stat().st_size <= 300_000


def test_nothing_cites_what_is_not_here():
    notes = "FA" + "CTS"  # of the founders, on the papers: what a reader needs of them is docs/papers
    root = DOCS.parent
    files = [
        path
        for room in ("src", "papers", "docs", "tests", "examples", "benchmarks")
        for path in (root / room).rglob("*")
    ]
    texts = [path for path in (*files, *root.glob("*.*")) if path.suffix in {".py", ".md", ".cff", ".toml", ".svg"}]
    assert len(texts) > 200
    cited = re.compile(r"docs/papers/[a-z-]+\.md")
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert notes not in text, path
        assert all((root / page).is_file() for page in cited.findall(text)), path
