"""Runs that are killed at any moment: what they leave goes on, and ends with the same table, byte for byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import asterism

MOMENTS = 10  # spread over the time that a whole run takes
METHODS = {
    "dbc": ["autoencoder.training.n_epochs=20", "training.n_epochs=20", "tol=0"],
    "dec": ["autoencoder.training.n_epochs=4", "autoencoder.layer_training.n_epochs=2", "training.n_epochs=6", "tol=0"],
    "jule": [],
    "diffusion": [],
    "auto": [],
    "deepcluster": ["training.n_epochs=6"],
    "deepcluster-v2": ["training.n_epochs=12"],
    "temi": ["training.n_epochs=20"],
    "fcn": ["fine_tune=1", "training.n_epochs=8"],
    "kmeans": ["n_init=400"],
}
# Long enough for some kills to meet checkpoints.
KEEPING = ("dbc", "dec", "jule", "deepcluster", "deepcluster-v2", "fcn")
# Each attempt is a process forked off one that has loaded all: else most kills would meet imports. Checkpoints are
# written every fifth of a second, else most would meet none.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path

import asterism.cli.cluster, asterism.report.page, asterism.methods
from asterism.cli import main
from asterism.training import run as training

images, folder, method, moments, *settings = sys.argv[1:]
asterism.METHODS.get(method)
training.CHECKPOINT_SECONDS = 0.2

def begin(name, *arguments):
    child = os.fork()
    if child == 0:
        os.environ["ASTERISM_CACHE"] = f"{folder}/{name}-cache"
        log = os.open(f"{folder}/{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["asterism", "cluster", *arguments, "--out", f"{folder}/{name}", "--no-report"]
        try:
            main()
        except SystemExit as end:
            os._exit(end.code or 0)
    return child

def end(child):
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime

def worked(child):
    "Seconds of processor time: other processes that are busy move no moment."
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), fields[0] == "Z"

wanted = [images, "-k", "3", "--method", method, "--device", "cpu"]
for setting in settings:
    wanted += ["--set", setting]
code, seconds = end(begin("whole", *wanted))
print("whole", code, flush=True)
for moment in range(1, int(moments) + 1):
    name, last = f"m{moment}", seconds * moment / (int(moments) + 1)
    child = begin(name, *wanted)
    while True:
        used, ended = worked(child)
        if used >= last or ended:
            break
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    killed, _ = end(child)
    kept = Path(folder, name, "checkpoint")
    found = sorted(os.listdir(kept)) if kept.is_dir() else []
    again = [] if Path(folder, name, "run.json").is_file() else wanted
    print(moment, round(last, 2), killed, end(begin(name, "--resume", *again))[0], found, flush=True)
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(60):
        pixels = rng.integers(0, 90, (16, 16, 3))
        pixels[1 + 5 * (i % 3) : 5 + 5 * (i % 3), 2:14, i % 2] += 120
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the system does not say how long a process has worked"
)
@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_groups(tmp_path, pictures, method):
    source = str(Path(asterism.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "ASTERISM_OFFLINE": "1"}
    command = [sys.executable, "-c", PROGRAM, str(pictures), str(tmp_path), method, str(MOMENTS), *METHODS[method]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    log = (tmp_path / "whole.log").read_text()
    assert first == "whole 0", log
    whole = (tmp_path / "whole" / "labels.csv").read_bytes()
    for number, line in enumerate(lines, 1):
        _, _, killed, again, *_ = line.split()
        assert int(killed) in (0, -signal.SIGKILL) and again == "0", line + (tmp_path / f"m{number}.log").read_text()
        assert (tmp_path / f"m{number}" / "labels.csv").read_bytes() == whole, line
    assert len(lines) == MOMENTS and sum(f" {-signal.SIGKILL} 0 " in f" {line} " for line in lines) >= MOMENTS - 2
    if method in KEEPING:
        assert any(".safetensors" in line for line in lines), done.stdout
