"""A stranger's machine: no home, no place for compiled code, and leftovers of launchers in the environment."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.cli.errors import described
from asterism.clustering.compiled import compiled
from asterism.images import open_images
from asterism.images.locations import cache_root
from asterism.machine import ALONE, Launch, launch, private_folder
from asterism.runtime import Runtime

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
import pytest
import torch
from asterism.clustering import graph, kmeans_kernels, linkage_pairs, linkage_tree
print(linkage_tree.linkage_matrix(np.array([0, 0, 1]), np.array([[0, 1]])).shape)
"""


def test_kernels_are_compiled_where_machine_code_cannot_be_kept(tmp_path):
    done = run(KERNELS, tmp_path, HOME="/nonexistent")
    assert (done.returncode, done.stdout) == (0, "(2, 4)\n"), done.stderr


@pytest.mark.parametrize("threads", ["0", pytest.param("-3", marks=pytest.mark.slow)])
def test_a_number_of_threads_that_numba_refuses_stops_no_kernel(tmp_path, threads):
    done = run(
        "from asterism.clustering import compiled; compiled.numba.njit(lambda: 1)()",
        tmp_path,
        NUMBA_NUM_THREADS=threads,
    )
    assert done.returncode == 0, done.stderr


def test_machine_code_that_cannot_be_written_fails_no_run(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert compiled(nogil=True)(double_of)(np.arange(3)).tolist() == [0, 2, 4]


def double_of(x):
    return 2 * x


KERNEL = """
from asterism.clustering.compiled import compiled
{}
@compiled(nogil=True)
def {}(x):
    return {}
"""


def test_machine_code_is_not_kept_beyond_what_it_calls(tmp_path):
    """numba looks at a function's own file alone: an update of another file would leave the old code at work."""
    (tmp_path / "outer.py").write_text(KERNEL.format("from inner import N, inner", "outer", "inner(x) * N"))
    for n, inner, wanted in ((10, "x + 1", 20), (10, "x + 2000", 20010), (2, "x + 2000", 4002)):
        (tmp_path / "inner.py").write_text(KERNEL.format(f"N = {n}", "inner", inner))
        done = run("import outer; print(outer.outer(1))", tmp_path, PYTHONDONTWRITEBYTECODE="1")
        assert done.stdout == f"{wanted}\n", done.stderr


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user of no name and no home in a read-only installation; gives the folder of temporary files."""
    for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "ASTERISM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no user numbers")
def test_a_user_without_a_home_keeps_things_among_temporary_files(homeless):
    own = homeless / f"asterism-{os.getuid()}"
    assert str(compiled()(double_of).stats.cache_path).startswith(str(own / "numba"))
    assert cache_root() == own and own.stat().st_mode & 0o077 == 0
    assert [path.name for path in homeless.iterdir()] == [own.name]  # and no folder called ~


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the system has no user numbers")
@pytest.mark.parametrize("trap", ["open to all", "a link", "a file"])
def test_a_folder_that_others_could_write_to_is_not_trusted(homeless, trap):
    own = homeless / f"asterism-{os.getuid()}"
    if trap == "a link":
        (homeless / "elsewhere").mkdir(mode=0o700)
        own.symlink_to(homeless / "elsewhere")
    elif trap == "a file":
        own.touch()
    else:
        own.mkdir()
        own.chmod(0o777)
    assert private_folder() is None
    assert compiled()(double_of).stats.cache_path is None


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "7",
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "job",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NODELIST": "n[1-2]",
}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_SIZE": "2", "PMI_RANK": "1", "LSB_JOBID": "3"}
JUNK = {"RANK": "one", "WORLD_SIZE": "many", "LOCAL_RANK": "", "MASTER_PORT": "port", "SLURM_PROCID": "x"}
LIGHTNING = {"LT_ACCELERATOR": "tpu", "LT_STRATEGY": "ddp", "LT_DEVICES": "9", "JSM_NAMESPACE_RANK": "x"}
WITHOUT_TORCHRUN = {name: value for name, value in TORCHRUN.items() if name != "TORCHELASTIC_RUN_ID"}


@pytest.fixture
def shell(monkeypatch):
    def holds(variables):
        for name in (*TORCHRUN, *SLURM, *MPI, *LIGHTNING):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return holds


def test_what_torchrun_says_is_believed(shell):
    shell(TORCHRUN)
    assert launch() == Launch(1, 4, 1, 2)
    shell(TORCHRUN | SLURM)
    assert launch() == Launch(1, 4, 1, 2)


@pytest.mark.parametrize("missing", sorted(set(TORCHRUN) - {"LOCAL_WORLD_SIZE"}))
def test_a_part_of_what_torchrun_says_is_left_over_from_something_else(shell, missing):
    shell({name: value for name, value in TORCHRUN.items() if name != missing})
    assert launch() is ALONE


@pytest.mark.parametrize(
    "other",
    [
        {"RANK": "4"},
        {"RANK": "-1"},
        {"RANK": "one"},
        {"LOCAL_RANK": "2"},
        {"WORLD_SIZE": "1"},
        {"WORLD_SIZE": "0"},
        {"LOCAL_WORLD_SIZE": "8"},
        {"MASTER_PORT": "70000"},
        {"MASTER_ADDR": ""},
    ],
)
def test_variables_that_do_not_agree_are_left_over(shell, other):
    shell(TORCHRUN | other)
    assert launch() is ALONE


@pytest.mark.parametrize("left", [SLURM, MPI, JUNK, LIGHTNING, WITHOUT_TORCHRUN, SLURM | MPI | JUNK | LIGHTNING])
def test_one_process_computes_alone_whatever_the_shell_holds(shell, left):
    shell(left)
    runtime = Runtime("cpu")
    assert (runtime.rank, runtime.world_size, runtime.is_main) == (0, 1, True)
    layer = torch.nn.Linear(2, 2)
    layer, _ = runtime.setup(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    runtime.backward(layer(torch.ones(1, 2)).sum())
    assert all(os.environ[name] == value for name, value in left.items())


FIT = """
import numpy as np, asterism
print(asterism.KMeans(2, n_init=1, random_state=0).fit(np.eye(8)).labels_.shape)
"""
THREADS = {"OMP_NUM_THREADS": "100000", "MKL_NUM_THREADS": "abc", "NUMBA_NUM_THREADS": "abc"}
NO_THREADS = {"OMP_NUM_THREADS": "-1", "MKL_NUM_THREADS": "0", "OPENBLAS_NUM_THREADS": "abc", "NUMBA_NUM_THREADS": "0"}


@pytest.mark.parametrize("threads", [THREADS, pytest.param(NO_THREADS, marks=pytest.mark.slow)])
def test_a_fit_in_a_shell_full_of_leftovers(tmp_path, threads):
    left = SLURM | MPI | JUNK | LIGHTNING | threads | {"CUDA_VISIBLE_DEVICES": "junk"}
    done = run(FIT, tmp_path, **left)
    assert (done.returncode, done.stdout) == (0, "(8,)\n"), done.stderr


# Another user, who may read everything (an installation below /root, say) and write what is his.
RIGHTS = "-all,+dac_read_search"
STRANGER = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--bounding-set", RIGHTS]
STRANGER += ["--inh-caps", RIGHTS, "--ambient-caps", RIGHTS]


def _place_for_all() -> str:
    """A folder of the system's for temporary files whose way down is open to every user."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(place).resolve()
        if folder.is_dir() and all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents)):
            return place
    pytest.skip("every folder for temporary files is closed to other users")


@pytest.mark.skipif(
    not shutil.which("setpriv") or os.geteuid() != 0, reason="only root, with util-linux, may become another user"
)
@pytest.mark.parametrize("home", [pytest.param(None, marks=pytest.mark.slow), "/nonexistent"])
def test_a_user_of_no_name_with_a_cache_that_he_may_only_read(home):
    """As ``docker run --user 12345`` on a machine whose cache belongs to root."""
    folder = Path(tempfile.mkdtemp(prefix="asterism test ", dir=_place_for_all()))
    try:
        folder.chmod(0o777)
        (folder / "cache").mkdir(mode=0o555)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 2, (40, 1, 1)) * 200 + rng.integers(0, 9, (40, 6, 6))
        np.savez(folder / "x.npz", images=images.astype(np.uint8))
        found = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "ASTERISM_CACHE": str(folder / "cache")}
        found |= {"TMPDIR": str(folder)} if home is None else {"TMPDIR": str(folder), "HOME": home}
        call = {"cwd": folder, "env": found, "capture_output": True, "text": True, "timeout": 300}
        probe = [*STRANGER, sys.executable, "-c", "import asterism; open('cache/x', 'w')"]
        if "PermissionError" not in subprocess.run(probe, **call).stderr:
            pytest.skip("no user can be made here who may read this installation and not write to root's folders")
        commands = [
            ["cluster", "x.npz", "-k", "2", "--method", "kmeans", "--out", "run", "--no-report"],
            ["report", "run", "--out", "page.html"],
            ["embed", "run", "--out", "f.npz"],
            ["predict", "run", "x.npz", "--out", "p.csv"],
            ["evaluate", "run", "--labels", "run/labels.csv"],
        ]
        script = EVERY.format(commands=commands)
        done = subprocess.run([*STRANGER, sys.executable, "-c", script], **call)
        assert done.returncode == 0 and "error" not in done.stderr, done.stderr
        assert {"run", "page.html", "f.npz", "p.csv"} <= {path.name for path in folder.iterdir()}
        assert not list((folder / "cache").iterdir())
    finally:
        shutil.rmtree(folder)


EVERY = """
import sys
from asterism.cli import main
for arguments in {commands}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def command(folder: Path, *arguments: str, **streams) -> subprocess.CompletedProcess:
    """A command of Asterism's, in a process of its own."""
    call = [sys.executable, "-m", "asterism", *arguments]
    found = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "ASTERISM_CACHE": str(folder / "cache")}
    return subprocess.run(call, cwd=folder, env=found, text=True, timeout=120, **streams)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["methods", "jule"]])
def test_an_answer_that_finds_no_room_is_an_error_of_one_line(tmp_path, arguments):
    with open("/dev/full", "w") as full:
        done = command(tmp_path, *arguments, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1 and done.stderr.startswith("asterism: error: ") and done.stderr.count("\n") == 1
        assert "No space left" in done.stderr
        assert command(tmp_path, *arguments, stdout=full, stderr=full).returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_notes_that_find_no_room_change_no_exit_code(tmp_path):
    with open("/dev/full", "w") as full:
        assert command(tmp_path, "evaluate", "nowhere", stdout=subprocess.PIPE, stderr=full).returncode == 1
        done = command(tmp_path, "methods", stdout=subprocess.PIPE, stderr=full)
        assert done.returncode == 0 and "kmeans" in done.stdout
        script = "from asterism.cli import describe, main, text\n"
        script += "describe.method_lines = lambda: text.note('beside') or 'the answer'\nmain()"
        call = [sys.executable, "-c", script, "methods"]
        found = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
        done = subprocess.run(call, env=found, text=True, stdout=subprocess.PIPE, stderr=full)
        assert (done.returncode, done.stdout) == (0, "the answer\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_stop_no_command(tmp_path, closed):
    call = f'"$0" -m asterism methods jule {closed}'
    found = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(["sh", "-c", call, sys.executable], cwd=tmp_path, env=found, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


IN_A_ZIP = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from asterism import __file__
from asterism.cli import main
from asterism.images.catalogue import named_sets
from asterism.report import page
assert ".zip" in __file__ and named_sets()
names = {path.name for path in page.HERE.iterdir()}
assert "page.css" in names and all(page.templates().get_template(name) for name in names if name.endswith(".html"))
main()
"""


def test_the_library_may_lie_in_a_zip_file(tmp_path):
    """As on workers of a cluster; tables and the page's parts were looked for in a folder."""
    shutil.make_archive(str(tmp_path / "library"), "zip", SOURCE, "asterism")
    found = {"PATH": os.environ["PATH"], "ASTERISM_CACHE": str(tmp_path / "cache")}
    call = [sys.executable, "-c", IN_A_ZIP, str(tmp_path / "library.zip"), "data"]
    done = subprocess.run(call, env=found, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "data:digits" in done.stdout, done.stderr


SIGNALLED = """
import os, signal, sys
from asterism.cli import describe, main
name, how = sys.argv[1:]
heeded = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL  # whatever the tests' own shell ignores
signal.signal(getattr(signal, name), signal.SIG_IGN if how == "ignored" else heeded)
describe.method_lines = lambda: os.kill(os.getpid(), getattr(signal, name)) or "went on"
sys.argv[1:] = ["methods"]
main()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no SIGHUP")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_command_in_one_line(tmp_path, name):
    done = run(SIGNALLED, tmp_path, name, "heeded")
    assert done.returncode == 130 and done.stderr.count("\n") == 1 and done.stderr.startswith("asterism: ")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no SIGHUP")
def test_under_nohup_a_command_goes_on(tmp_path):
    done = run(SIGNALLED, tmp_path, "SIGHUP", "ignored")
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


@pytest.mark.parametrize(
    "variable",
    [
        pytest.param("PYTORCH_CUDA_ALLOC_CONF=junk", marks=pytest.mark.slow),
        "PYTORCH_ALLOC_CONF=max_split_size_mb:64,junk",
        "GOMP_CPU_AFFINITY=junk",
        pytest.param("TORCH_LOGS=junk", marks=pytest.mark.slow),
        "SKLEARN_WORKING_MEMORY=x",
        pytest.param("JOBLIB_START_METHOD=junk", marks=pytest.mark.slow),
    ],
)
def test_a_variable_that_a_library_cannot_use_is_named(tmp_path, variable):
    name, _, value = variable.partition("=")
    script = "import sys; from asterism.cli import main; sys.argv[1:] = ['cluster', 'nowhere', '-k', '3']; main()"
    done = run(script, tmp_path, **{name: value})
    assert (done.returncode, done.stdout) == (1, "")
    said = f"asterism: error: the environment variable {variable} cannot be used: unset it, or give it another value\n"
    assert done.stderr == said


def test_what_torch_takes_in_a_variable_is_left_as_it_is(tmp_path):
    told = "roundup_power2_divisions:[256:1,512:2,>:8],expandable_segments:True"
    script = "import sys; sys.argv = ['asterism', 'methods']; from asterism.cli import main; main()"
    assert run(script, tmp_path, PYTORCH_CUDA_ALLOC_CONF=told, GOMP_CPU_AFFINITY="0 2,4-6:2").returncode == 0


def test_too_little_memory_to_load_torch_is_told():
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    assert described(error).startswith("not enough memory to load the libraries: raise the limit (ulimit -v)")


def test_a_limit_of_threads_is_told(tmp_path, monkeypatch):
    """Of a user's processes (ulimit -u) or of a container's; it was an internal error."""
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    monkeypatch.setattr("asterism.images.pack.available_cores", lambda: 4)
    monkeypatch.setattr("asterism.images.pack.QUICK", 0.0)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "_start_new_thread", refuse)
    with pytest.raises(RuntimeError) as caught:
        open_images(tmp_path)
    assert described(caught.value).startswith("no more threads can be started: raise the limit (ulimit -u,")
