"""Every example runs as it stands and prints what it promises."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
SAYS = {
    "dbc_digits": "the same from disk: True",
    "jule_digits": "12 groups: NMI",
    "deepcluster_images": "linear probe",
    "own_data": "array and data set agree: True",
    "own_backbone": "GraphDegreeLinkage ACC",
    "own_clusterer": "NMI to the round before:",
    "sklearn_search": "best by silhouette:",
    "fcn_photos": "group 1 has",
}
LONG = {"dbc_digits", "jule_digits", "deepcluster_images"}


def test_each_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)
    gallery = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert all(f"(../examples/{name}.py)" in gallery for name in SAYS)


@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.slow) if one in LONG else one for one in SAYS])
def test_example(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if name == "fcn_photos":
        from torchvision.models import squeezenet1_0

        for i in range(12):
            Image.new("RGB", (64, 64), (20 * i, 255 - 20 * i, 128)).save(tmp_path / f"{i}.png")
        (tmp_path / "weights").mkdir()
        torch.save(squeezenet1_0(weights=None).state_dict(), tmp_path / "weights" / "squeezenet1_0.pth")
        monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["fcn_photos.py", str(tmp_path), "2"])
    before = sorted(tmp_path.rglob("*"))
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert SAYS[name] in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before  # it runs again, and leaves nothing in the folder of whoever tries it
