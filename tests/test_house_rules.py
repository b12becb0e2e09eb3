"""The rules of the house (docs/architecture.md), with their numbers."""

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
ROOT = CHECKOUT / "src" / "asterism"
PAPERS = CHECKOUT / "papers" / "src" / "asterism_papers"
LIBRARY = sorted(ROOT.rglob("*.py"))
FILES = [*LIBRARY, *sorted(PAPERS.rglob("*.py"))]

# The way of the data: a room may import from itself and from rooms before it.
ROOMS = [
    "errors",
    "plugins",
    "files",
    "machine",
    "runtime",
    "parameters",
    "metrics",
    "images",
    "networks",
    "features",
    "clustering",
    "training",
    "runs",
    "estimator",
    "external",
    "inspection",
    "methods",
    "report",
    "cli",
]
# In papers/, whose rooms may import the library's too. The library knows nothing of them.
PAPERS_ROOMS = ["clustering", "methods", "transfer", "evaluation", "cli"]
DOORS = {"__init__", "__main__"}  # the public door opens onto every room


def place_of(path: Path) -> str:
    """``asterism/images/open.py``."""
    return str(path.relative_to(ROOT.parent if path.is_relative_to(ROOT) else PAPERS.parent))


def room_of(path: Path) -> str:
    return Path(place_of(path)).parts[1].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def body_lines(function: ast.FunctionDef) -> int:
    """Lines of the body without the docstring."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1


def imported_rooms(tree: ast.AST, package: str = "asterism"):
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module] if node.module != package else [f"{package}.{a.name}" for a in node.names]
        for name in names:
            if name.startswith(f"{package}."):
                yield name.split(".")[1], node.lineno


def test_imports_go_one_way():
    wrong = []
    for path in FILES:
        room = room_of(path)
        package, rooms = ("asterism", ROOMS) if path in LIBRARY else ("asterism_papers", PAPERS_ROOMS)
        if room in DOORS:
            continue
        assert room in rooms, f"{path} lies in no room of docs/architecture.md"
        wrong += [
            f"{path}:{line}: {room} imports {imported}"
            for imported, line in imported_rooms(parsed(path), package)
            if imported in rooms and rooms.index(imported) > rooms.index(room)  # else a name of the public door
        ]
    assert not wrong


def test_the_library_imports_nothing_of_the_papers():
    wrong = []
    for path in LIBRARY:
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{path}:{node.lineno}" for name in names if name.partition(".")[0] == "asterism_papers"]
    assert not wrong


def test_the_drawing_shows_every_room():
    drawn = (CHECKOUT / "docs" / "house.svg").read_text()
    assert all(f">{room}</text>" in drawn for room in ROOMS)
    assert drawn.count('font-weight="bold"') == len(ROOMS)  # and no room that is not there


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room).is_dir()])
def test_a_room_says_at_its_door_what_each_of_its_files_is_for(room):
    words = set(re.findall(r"[a-z_0-9]+", ast.get_docstring(parsed(ROOT / room / "__init__.py"))))
    files = {path.stem for path in (ROOT / room).glob("*.py")} - DOORS
    untold = {name for name in files - words if not name.startswith("commands_")}  # of the command line: told together
    assert not untold, f"the docstring of {room}/__init__.py does not say what these are for"


def is_told(dotted: str) -> bool:
    """Is the place that a dotted name such as ``asterism.images.open.open_images`` names there?"""
    place = PAPERS.parent if dotted.startswith("asterism_papers") else ROOT.parent
    for name in dotted.split("."):
        if (place / name).is_dir():
            place = place / name
        elif (place / f"{name}.py").is_file():
            place = place / f"{name}.py"
        else:  # a name within a file, or one that a package gives
            code = (place / "__init__.py" if place.is_dir() else place).read_text().split('"""', 2)[-1]
            return re.search(rf"\b{name}\b", code) is not None
    return True


def test_every_place_that_is_named_is_there():
    rooms = "|".join(room for room in ROOMS if (ROOT / room).is_dir())
    folders = [CHECKOUT / name for name in ("docs", "src", "tests", "benchmarks", "papers")]
    texts = [
        *CHECKOUT.glob("*.md"),
        *(path for folder in folders for path in folder.rglob("*.*") if path.suffix in {".md", ".py"}),
    ]
    lost = []
    for path in texts:
        if path.name == "CHANGELOG.md" or path == Path(__file__):  # they tell of what was
            continue
        text = path.read_text()
        dotted = set(re.findall(rf"\b(asterism(?:_papers)?\.(?:{rooms})(?:\.[A-Za-z_]\w*)+)", text))
        files = set(re.findall(rf"(?<![\w/.-])((?:{rooms})/[a-z_0-9]+\.py)\b", text))
        lost += [(path.name, name) for name in dotted if not is_told(name)]
        lost += [
            (path.name, name)
            for name in files
            if not any((home / name).is_file() for home in (ROOT, PAPERS, CHECKOUT / "tests"))
        ]
    assert not lost


def imported_files(path: Path) -> set[Path]:
    """Files of the package that one imports, at its top or within a function; packages' doors are left out."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {
            root.parent.joinpath(*module.split(".")).with_suffix(".py") for module in modules for root in (ROOT, PAPERS)
        }
    return {file for file in found if file.is_file()}


def test_no_files_import_each_other_in_a_circle():
    imports = {path: imported_files(path) for path in FILES if path.stem not in DOORS}
    assert sum(map(len, imports.values())) > len(imports)  # they were found
    TopologicalSorter(imports).prepare()


def test_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in FILES if path.stat().st_size}
    assert not {str(path): n for path, n in lengths.items() if n > 450}


def test_functions_are_short():
    lengths = {
        f"{place_of(path)}:{function.name}": body_lines(function)
        for path in FILES
        for function in functions(parsed(path))
    }
    ordered = sorted(lengths.values())
    assert ordered[int(0.95 * len(ordered))] <= 40
    assert not {name: n for name, n in lengths.items() if n > 80}


def forbidden(node: ast.AST) -> str | None:
    """What is wrong with a piece of code of the sources, if anything."""
    if isinstance(node, ast.Assert):
        return "assert"
    if isinstance(node, ast.Import) and any(alias.name in ("pickle", "joblib", "dill") for alias in node.names):
        return "pickle"
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    if called == "print":
        return "print"
    if called in ("torch.manual_seed", "np.random.seed", "random.seed"):
        return "global seed"
    if called in ("np.load", "numpy.load") and "allow_pickle=False" not in ast.unparse(node):
        return "np.load may unpickle"
    if called == "torch.load" and "weights_only=True" not in ast.unparse(node):
        return "torch.load may run code"
    return None


def test_no_assert_print_global_seed_or_pickle():
    found = [
        (f"{path}:{node.lineno}", wrong)
        for path in FILES
        for node in ast.walk(parsed(path))
        if (wrong := forbidden(node))
    ]
    assert not found


def test_estimators_have_at_most_14_parameters():
    from asterism import FCAE, METHODS, SAE

    for estimator in (*METHODS.values(), FCAE, SAE):
        assert len(estimator().get_params(deep=False)) <= 14, estimator
