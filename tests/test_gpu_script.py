"""`benchmarks/gpu.sh`: its plan, without the work."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


def run(*arguments):
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def steps(*arguments):
    done = run("--plan", *arguments)
    assert done.returncode == 0, done.stderr
    return re.findall(r"^(\d+) s  (\w+): (.+)$", done.stdout, re.MULTILINE)


def test_the_plan_fits_into_nine_minutes_and_names_files_that_exist(tmp_path):
    whole, dry = steps(str(tmp_path / "out")), steps("--dry", str(tmp_path / "out"))
    assert sum(int(seconds) for seconds, _, _ in whole) <= 540
    assert [name for _, name, _ in whole] == [name for _, name, _ in dry] == ["tests", "round", "features", "resnet18"]
    for _, _, command in whole + dry:
        for path in re.findall(r"benchmarks/\w+\.py|(?<= )tests$", command):
            assert (ROOT / path).exists(), command
    assert all("cuda" not in command for _, _, command in dry) and not (tmp_path / "out").exists()


def test_an_unknown_option_is_one_line():
    done = run("--wet")
    assert done.returncode == 2 and done.stderr == "gpu.sh: --wet is no option; there are --dry and --plan\n"
