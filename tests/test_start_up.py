"""What only lists names, or reads labels, must answer at once: no network library is loaded for it."""

import inspect
import io
import json
import subprocess
import sys
import tarfile

import pytest

from asterism.cli.describe import paper_of, parameter_lines, summary_of
from asterism.cli.outline import outline_of
from asterism.cli.settings import settings_of
from asterism.methods import METHODS

HEAVY = {"torch", "timm", "torchvision", "sklearn", "scipy", "numba", "pandas", "safetensors.torch"}
PROGRAM = """
import json, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv[:] = ["asterism", *arguments]
    try:
        from asterism.cli import main
        main()
    except SystemExit as end:
        print("ended", end.code, *sorted({heavy} & set(sys.modules)))
"""


def loaded_after(commands, said=None, code="0"):
    """Heavy packages in memory after each of some commands of one process, which must end as told.

    What they printed is added to ``said``.
    """
    told = json.dumps([[str(one) for one in arguments] for arguments in commands])
    command = [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), told]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    lines = done.stdout.splitlines()
    ends = [line.split()[1:] for line in lines if line.startswith("ended ")]
    if said is not None:
        said += [line for line in lines if not line.startswith("ended ")]
    assert [left_with for left_with, *_ in ends] == [code] * len(commands), done.stderr
    return [found for _, *found in ends]


def loaded(*arguments, said=None, code="0"):
    """The same after one command."""
    return loaded_after([arguments], said, code)[0]


def test_listing_names_loads_no_network_library():
    commands = ["--help", "--version", "cluster --help", "transfer --help", "methods", "data", "backbones"]
    assert not any(loaded_after([one.split() for one in commands]))


def test_nothing_is_loaded_that_only_locks_and_added_methods_need():
    asked = "import sys, asterism.cli.app; print(*{'filelock', 'importlib.metadata', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "\n"


def test_the_parameters_of_a_method_are_listed_without_a_network_library(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    said = []
    assert loaded("methods", "jule", said=said) == [] and not (tmp_path / "cache").exists()
    assert any(line.startswith("network.n_features") for line in said)


@pytest.mark.parametrize("name", METHODS)
def test_the_parameters_that_are_read_of_a_method_are_those_of_its_class(name):
    read, made = outline_of(METHODS.places[name])(), METHODS[name]()
    assert list(settings_of(read)) == list(settings_of(made))


ADDED = """
from asterism import KMeans
from asterism.parameters import Interval, parameter

class Own(KMeans):
    n_rounds: int = parameter(Interval(int, 1, None), "How often.", default=3)

    def __init__(self, n_rounds=3):
        self.n_rounds = n_rounds
"""


def test_a_class_that_cannot_be_read_is_imported(tmp_path, monkeypatch):
    package = tmp_path / "added_to_asterism"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "own.py").write_text(ADDED, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS.places, "own", "added_to_asterism.own:Own")
    with pytest.raises(LookupError, match="Own writes its own constructor"):
        outline_of("added_to_asterism.own:Own")
    assert any(line.split() == ["n_rounds", "3"] for line in parameter_lines("own").splitlines())


def test_a_parameter_of_which_nothing_is_said_is_read_from_the_source_too(tmp_path, monkeypatch):
    package = tmp_path / "added_silently"
    package.mkdir()
    (package / "__init__.py").touch()
    stated = "from asterism import KMeans\nfrom asterism.parameters import parameter\n\n"
    stated += "class Own(KMeans):\n    n_rounds: int = parameter(int, default=3)\n"
    (package / "own.py").write_text(stated, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS.places, "own", "added_silently.own:Own")
    assert any(line.split() == ["n_rounds", "3"] for line in parameter_lines("own").splitlines())
    assert "added_silently" not in sys.modules


@pytest.fixture
def run(tmp_path):
    """A run on twelve images in two class folders, which lie beside it."""
    from PIL import Image

    for i in range(12):
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 200 * (i % 2) + i).save(path)
    METHODS["kmeans"](2, random_state=0, device="cpu", run_dir=tmp_path / "run").fit(str(tmp_path / "images"))
    return tmp_path / "run"


def test_groups_are_exported_without_opening_the_network(tmp_path, run):
    assert loaded("export", run, tmp_path / "groups") == []
    groups = [
        sorted(one.name for one in folder.iterdir()) for folder in sorted((tmp_path / "groups").glob("cluster-*"))
    ]
    assert sorted(groups) == [sorted(f"{i}.png" for i in range(start, 12, 2)) for start in (0, 1)]
    (tmp_path / "images").rename(tmp_path / "moved")
    assert loaded("export", run, tmp_path / "again", "--images", tmp_path / "moved", "--copy") == []
    assert len(list((tmp_path / "again").glob("*/*.png"))) == 12


@pytest.fixture
def merged(tmp_path):
    """A run of a method that merges, on twelve images of four kinds: four groups."""
    from PIL import Image

    for i in range(12):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 60 * (i % 4) + i // 4).save(tmp_path / "images" / f"{i}.png")
    METHODS["ac-gdl"](4, n_neighbors=3, random_state=0, device="cpu", run_dir=tmp_path / "run").fit(
        str(tmp_path / "images")
    )
    return tmp_path / "run"


def test_groups_are_merged_for_an_export_without_opening_the_network(tmp_path, merged):
    from asterism import load
    from asterism.cli.cutting import export_opened

    numbers, model = (1, 2, 4), load(merged)
    assert not any(loaded_after([("export", merged, tmp_path / f"groups{k}", "--cut", k) for k in numbers]))
    for k in numbers:
        export_opened(merged, tmp_path / f"whole{k}", k, False, False, None, False)
        table = (tmp_path / f"groups{k}/export.csv").read_text()
        assert table == (tmp_path / f"whole{k}/export.csv").read_text()
        of = {path: int(group) for _, group, path in (line.split(",") for line in table.splitlines()[1:])}
        assert [of[name] for name in model.names_] == model.cut(k).tolist()


def test_groups_are_divided_without_a_network_library_where_features_are_kept(tmp_path):
    import numpy as np
    from PIL import Image

    from asterism import Backbone, load
    from asterism.cli.cutting import export_opened

    rng, (photos, run) = np.random.default_rng(0), (tmp_path / "photos", tmp_path / "run")
    photos.mkdir()
    for i in range(48):
        pixels = rng.integers(0, 60, (8, 8), dtype=np.uint8)
        pixels[i % 4 : i % 4 + 3] += np.uint8(60 + 80 * (i % 2))
        Image.fromarray(pixels if i else np.zeros_like(pixels)).save(photos / f"{i:02}.png")
    (photos / "again.png").write_bytes((photos / "01.png").read_bytes())  # a copy decides nothing
    METHODS["diffusion"](4, backbone=Backbone("pixels"), random_state=0, device="cpu", run_dir=run).fit(str(photos))
    whole = [str(one) for one in load(run).cut(9)]
    assert loaded("export", run, tmp_path / "nine", "--cut", "9") == []
    rows = [line.split(",") for line in (tmp_path / "nine/export.csv").read_text().splitlines()[1:]]
    assert sorted(path for *_, path in rows) == load(run).names_ and len(set(whole)) == 9
    assert {path: group for _, group, path in rows} == dict(zip(load(run).names_, whole, strict=True))
    export_opened(run, tmp_path / "first", None, True, False, None, False)  # levels are found once
    assert loaded("export", run, tmp_path / "again", "--levels") == []
    assert (tmp_path / "again/export.csv").read_text() == (tmp_path / "first/export.csv").read_text()


def test_scores_are_told_without_opening_the_network(tmp_path, run):
    told = tmp_path / "classes.csv"
    told.write_text("".join(f"class{i % 2}/{i}.png,{i % 2}\n" for i in range(12)), encoding="utf-8")
    for labels in ("folders", told):
        said = []
        found = loaded("evaluate", run, "--labels", labels, "--json", said=said)
        assert set(found) <= {"scipy"} and json.loads(said[0])["acc"] == 1


def test_scores_by_the_classes_that_arrays_bring_are_told_without_opening_the_network(tmp_path):
    import numpy as np

    classes = np.arange(12) % 2
    images = (200 * classes[:, None, None] + np.arange(12 * 64).reshape(12, 8, 8) % 7).astype(np.uint8)
    np.savez(tmp_path / "arrays.npz", images=images, labels=classes)
    run = tmp_path / "run"
    METHODS["kmeans"](2, random_state=0, device="cpu", run_dir=run).fit(str(tmp_path / "arrays.npz"))
    said = []
    assert set(loaded("evaluate", run, "--json", said=said)) <= {"scipy"} and json.loads(said[0])["acc"] == 1


@pytest.fixture
def shards(tmp_path):
    """A run on twelve images in a shard, which says their classes, and the shard."""
    from PIL import Image

    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as shard:
        for i in range(12):
            picture = io.BytesIO()
            Image.new("RGB", (20, 9), (200 * (i % 2) + i, 9, 9)).save(picture, "PNG")
            for name, content in ((f"{i:02}.png", picture.getvalue()), (f"{i:02}.cls", b"%d" % (i % 2))):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                shard.addfile(header, io.BytesIO(content))
    METHODS["kmeans"](2, random_state=0, device="cpu", run_dir=tmp_path / "run").fit(str(path))
    return tmp_path / "run", path


def test_images_of_shards_are_exported_as_they_lie_there_without_a_network_library(tmp_path, shards):
    run, path = shards
    assert loaded("export", run, tmp_path / "groups") == []
    with tarfile.open(path) as shard:
        for i in range(12):
            (written,) = (tmp_path / "groups").glob(f"*/{i:02}.png")
            assert written.read_bytes() == shard.extractfile(f"{i:02}.png").read()
    path.rename(tmp_path / "moved.tar")
    assert loaded("export", run, tmp_path / "again", "--images", tmp_path / "moved.tar") == []


def test_scores_by_the_classes_that_shards_bring_are_told_without_opening_the_network(shards):
    said = []
    assert set(loaded("evaluate", shards[0], "--json", said=said)) <= {"scipy"} and json.loads(said[0])["acc"] == 1


def test_arrays_are_exported_without_a_network_library(tmp_path):
    import numpy as np
    from PIL import Image

    from asterism import open_images

    places = {shape: tmp_path / str(number) for number, shape in enumerate([(8, 8), (8, 8, 3), (3, 8, 8), (8, 8, 2)])}
    for shape, place in places.items():
        place.mkdir()
        np.savez(place / "x.npz", images=np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8))
        METHODS["kmeans"](2, random_state=0, device="cpu", run_dir=place / "run").fit(str(place / "x.npz"))
    assert not any(loaded_after([("export", place / "run", place / "groups") for place in places.values()]))
    for place in places.values():
        opened = open_images(place / "x.npz")
        for i in range(12):
            (written,) = (place / "groups").glob(f"*/{i}.png")
            np.testing.assert_array_equal(np.asarray(Image.open(written)), opened.thumbnail(i))


def test_importing_the_package_loads_nothing():
    code = f"import sys, asterism, asterism.methods, asterism.images; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", METHODS)
def test_what_is_said_of_a_method_without_importing_it_is_what_its_class_says(name):
    cls = METHODS[name]
    assert summary_of(name) == " ".join(inspect.cleandoc(cls.__doc__).partition("\n\n")[0].split())
    assert (paper_of(name) or "") in " ".join(sys.modules[cls.__module__].__doc__.split())


def test_methods_are_a_mapping_of_names_to_classes():
    import asterism

    assert METHODS["kmeans"] is asterism.KMeans
    assert "kmeans" in METHODS and "k-means" not in METHODS
    assert METHODS.get("k-means") is None
    assert list(METHODS)[0] == "dbc" and len(dict(METHODS.items())) == len(METHODS)
    with pytest.raises(KeyError):
        METHODS["k-means"]
    for name in asterism.__all__:
        assert getattr(asterism, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'KMean'"):
        asterism.KMean  # noqa: B018


def test_the_error_of_an_unfitted_estimator_is_scikit_learns_too():
    import pickle

    from sklearn.exceptions import NotFittedError as theirs

    from asterism.errors import AsterismError, NotFittedError

    assert issubclass(NotFittedError, theirs) and issubclass(NotFittedError, AsterismError)
    assert type(pickle.loads(pickle.dumps(NotFittedError("not yet")))) is NotFittedError


def test_what_is_no_finished_run_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").mkdir()
    commands = [
        "predict RUN images --out table.csv",
        "embed RUN --out features.npz",
        "evaluate RUN",
        "report RUN",
        "filters RUN",
        "export RUN groups",
        "export RUN groups --cut 3",
        "export RUN groups --levels",
        "cut RUN -k 3",
        "pick RUN -n 3 --out table.csv",
        "transfer probe RUN images",
    ]
    assert not any(loaded_after([one.split() for one in commands], code="1"))


def test_networks_and_runtime_do_without_the_compiler_of_torch():
    code = (
        "import sys, torch\n"
        "from asterism.networks import Backbone\n"
        "from asterism.runtime import Runtime\n"
        "runtime = Runtime('cpu')\n"
        "network = runtime.place(Backbone('squeezenet1_1', size=64).build((3, 64, 64), pretrained=False))\n"
        "with runtime.autocast():\n"
        "    network(torch.zeros(1, 3, 64, 64))\n"
        "print(*sorted({'torch._dynamo', 'sympy', 'timm', 'lightning_fabric'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        "from torchvision.ops.roi_align import is_compile_supported; is_compile_supported('cpu')",
        "torch._dynamo.is_compiling()",
        "torch._dynamo.utils.counters.clear()",
    ],
)
def test_the_compiler_of_torch_is_there_when_it_is_asked_for(asked):
    code = f"import torch; from asterism.networks.zoo import torchvision_models; torchvision_models(); {asked}"
    told = f"{code}; import sys; print(type(sys.modules['torch._dynamo']).__name__)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["module"], done.stderr
