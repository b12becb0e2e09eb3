"""A stranger's machine: no home, no place for compiled code, and leftovers of launchers in the environment."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import asterism

SOURCE = Path(asterism.__file__).parents[1]


def run(script: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """A script in a process of its own, with little more in its environment than what is given."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    found = {**kept, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "ASTERISM_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=folder, env=found | environment, capture_output=True, text=True, timeout=300)


def test_only_one_module_asks_numba_to_compile():
    importing = [
        path.name
        for path in SOURCE.joinpath("asterism").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "numba" in ast.unparse(node)
    ]
    assert set(importing) == {"compiled.py"}


KERNELS = """
import numba.core.caching as caching
caching.CacheImpl._locator_classes = []  # as numba finds it in a read-only installation without a home
import numpy as np
from asterism.clustering import graph, kmeans_kernels, linkage_pairs, linkage_tree
from asterism.transfer import codebook
print(linkage_tree.linkage_matrix(np.array([0, 0, 1]), np.array([[0, 1]])).shape)
"""


def test_kernels_are_compiled_where_machine_code_cannot_be_kept(tmp_path):
    done = run(KERNELS, tmp_path, HOME="/nonexistent")
    assert (done.returncode, done.stdout) == (0, "(2, 4)\n"), done.stderr


def test_machine_code_that_cannot_be_written_fails_no_run(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert compiled(nogil=True)(double_of)(np.arange(3)).tolist() == [0, 2, 4]


def double_of(x):
    return 2 * x


def test_no_folder_called_tilde_is_made(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # a user of no name
    monkeypatch.setattr("os.access", lambda *_: False)
    assert compiled()(double_of).stats.cache_path is None
