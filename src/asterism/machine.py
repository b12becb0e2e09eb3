"""What this process may use, and whether others work with it. No import of torch: every command asks."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# What torchrun tells each process that it starts.
TORCHRUN = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# What libraries take for an order to join others: torchrun's, and what Slurm, MPI, LSF and Lightning leave in a shell.
LAUNCHERS = ("SLURM_", "OMPI_", "PMI_", "PMIX_", "MPI_", "LSB_", "JSM_", "LT_", "GROUP_", "ROLE_", "NODE_RANK")
_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|not enough memory: you tried|MPS backend out of memory|"
    "[Ss]torage size calculation overflowed|multiplication overflow|Overflow when unpacking|"
    "Python int too large to convert to C|array is too big"
)


class Launch(NamedTuple):
    """Which of torchrun's processes this is."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int


NO_LIMIT = 2**62  # bytes; control groups of version 1 write a number of this size where version 2 has "max"
ALONE = Launch(0, 1, 0, 1)


def launch() -> Launch:
    """Which process of how many this is: `ALONE` unless torchrun started several and its variables agree.

    A stray ``WORLD_SIZE`` or ``RANK``, and what Slurm and MPI leave in a shell, start no waiting for others.
    """
    found = {name: os.environ.get(name, "") for name in TORCHRUN}
    found["LOCAL_WORLD_SIZE"] = found["LOCAL_WORLD_SIZE"] or found["WORLD_SIZE"]
    try:
        one = Launch(*(int(found[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
        port = int(found["MASTER_PORT"])
    except ValueError:
        return ALONE
    agree = 0 <= one.local_rank < one.local_world_size <= one.world_size and one.local_rank <= one.rank < one.world_size
    told = found["TORCHELASTIC_RUN_ID"] and found["MASTER_ADDR"] and 0 <= port < 2**16
    return one if agree and told and one.world_size > 1 else ALONE


def is_on(variable: str) -> bool:
    """Whether a variable of the environment says yes: it is there, and holds no word for no."""
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


@contextmanager
def launchers_hidden() -> Iterator[None]:
    """Keep what launchers left in the environment from libraries that would obey it."""
    hidden = [name for name in os.environ if name in TORCHRUN or name.startswith(LAUNCHERS)]
    kept = {name: os.environ.pop(name) for name in hidden}
    try:
        yield
    finally:
        os.environ.update(kept)


def leave_launch() -> None:
    """Go on alone: from here on this process is none of torchrun's."""
    for name in TORCHRUN:
        os.environ.pop(name, None)


def drop_thread_numbers(name: str) -> None:
    """Take a variable from the environment that is to tell a number of threads, and tells none."""
    if not re.fullmatch(r"\s*\+?0*[1-9][0-9]*\s*", os.environ.get(name, "1")):
        del os.environ[name]


def private_folder() -> Path | None:
    """A folder for temporary files that this user alone can enter, the same in every process; None if there is none."""
    with suppress(OSError, AttributeError):  # Windows has no user numbers
        import tempfile

        path = Path(tempfile.gettempdir()) / f"asterism-{os.getuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return path
    return None


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control group and of its own limits, the least."""
    return max(0, min([_free_of_machine(), *_free_of_groups(), *_free_of_limits()]))


def gib(n_bytes: int) -> str:
    """A size of memory in words."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes > 2**29 else f"{n_bytes / 2**20:.1f} MiB"


def _free_of_machine() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    return 8 * 2**30  # no such file outside Linux: what a small machine can spare


def _free_of_groups() -> list[int]:
    """What is left to the control groups (v2, v1) that this process is in, and to those above them."""
    places = [(Path("/sys/fs/cgroup"), "memory.max", "memory.current")]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            root, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current")
            if "memory" in kinds.split(","):
                root, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            elif kinds:
                continue
            own = root / path.strip("/")
            places += [(folder, *names) for folder in (own, *own.parents) if folder.is_relative_to(root)]
    found = []
    for folder, most, used in dict.fromkeys(places):
        with suppress(OSError, ValueError):  # "max", or not of this kind
            limit = int((folder / most).read_text())
            if limit < NO_LIMIT:  # most groups have none, and the rest takes long to read
                told = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                # Page cache that the system gives back when memory is short.
                cached = max(int(told.get(name, 0)) for name in ("inactive_file", "total_inactive_file"))
                found.append(limit - int((folder / used).read_text()) + cached)
    return found


def _free_of_limits() -> list[int]:
    """What ``ulimit -v`` and ``ulimit -d`` leave."""
    found = []
    for kind, column in (("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)) if resource is not None else ():
        with suppress(OSError, ValueError, IndexError):
            most = resource.getrlimit(getattr(resource, kind))[0]
            used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[column])
            if most != resource.RLIM_INFINITY:
                found.append(most - used * os.sysconf("SC_PAGE_SIZE"))
    return found


def lost_another(error: BaseException) -> bool:
    """Whether an error says that another of torchrun's processes has ended."""
    told = isinstance(error, RuntimeError) and re.search("gloo|nccl", str(error), re.I)
    return bool(told) and launch().world_size > 1


def memory_wanted(error: BaseException) -> str | None:
    """If an error says that memory could not be had: how much, ``" (2,384 GiB were asked for)"``, or "" if it does not
    tell. None for other errors.

    torch's allocator raises a RuntimeError, and sizes beyond 64 bits raise several others.
    """
    text = str(error)
    if isinstance(error, MemoryError) and (told := re.search(r" \([\d,]+ GiB were asked for\)", text)):
        return told[0]
    others = isinstance(error, (RuntimeError, TypeError, OverflowError, ValueError)) and _OUT_OF_MEMORY.search(text)
    if not isinstance(error, MemoryError) and not others:
        return None
    asked = re.search(r"allocate (\d+) bytes", text)
    return f" ({int(asked[1]) / 2**30:,.0f} GiB were asked for)" if asked else ""
