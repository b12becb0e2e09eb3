"""A run's life: who owns its state, what it may write over, and what it believes of what lies there."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import asterism
from asterism import KMeans, load
from asterism.cli.outputs import check_writable
from asterism.errors import InputError, RunError, StorageError
from asterism.files import exclusive
from asterism.images import ImageSource, open_images
from asterism.runs import RunFolder, claim, is_labels
from asterism.training import run as run_module
from asterism.training.checkpoint import load_state, save_state
from test_cli import TINY, photos, run  # noqa: F401  (a fixture)

V1 = Path(__file__).parent / "data" / "runs_v1"


def blobs(seed=0, n=40):
    """(n, 6, 6) images around four centres."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 200, (4, 6, 6))
    return (centres[np.arange(n) % 4] + rng.integers(0, 50, (n, 6, 6))).astype(np.uint8)


def kmeans(**params):
    return KMeans(4, **{"n_init": 1, "random_state": 0, "device": "cpu", **params})


def status(folder):
    return json.loads((Path(folder) / "run.json").read_text())["status"]


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("name", ["kmeans", "dbc", "deepcluster"])
def test_runs_of_format_1_load_and_predict_as_before(name):
    expected = json.loads((V1 / "expected.json").read_text())[name]
    model = load(V1 / name)
    labels, confidence = model.predict_with_confidence(np.load(V1 / "new.npz")["images"])
    assert labels.tolist() == expected["predicted"] and model.labels_.tolist() == expected["labels"]
    assert confidence.shape == labels.shape


def test_a_run_of_format_1_has_its_names_and_can_be_saved_anew(tmp_path):
    assert json.loads((V1 / "kmeans" / "run.json").read_text())["format"] == 1
    model = load(V1 / "kmeans")
    model.save(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "run.json").read_text())["format"] == 2
    again = load(tmp_path / "new")
    np.testing.assert_array_equal(again.labels_, model.labels_)
    assert RunFolder(tmp_path / "new").read_names(again.labels_) == model._names


def test_tensors_bear_the_names_that_a_person_expects(tmp_path):
    asterism.FCAEKMeans(4, autoencoder=asterism.FCAE(training=asterism.Training(n_epochs=1)), device="cpu").fit(
        blobs().repeat(2, 1).repeat(2, 2)
    ).save(tmp_path / "run")
    tensors = load_file(tmp_path / "run" / "model.safetensors")
    assert {"cluster_centers", "labels", "confidence"} < set(tensors)
    weights = [name for name in tensors if name.startswith("encoder.") and name.endswith(".weight")]
    assert weights and not any(name.isdigit() for name in tensors)


def test_names_of_ten_million_images_have_room(tmp_path, monkeypatch):
    """The header of a safetensors file ends at 100 MB: no name stands in it, whatever their number."""
    images = open_images(blobs())
    source = ImageSource(images.pixels, [f"{i:07d}" + "é" * 100 for i in range(len(images))])
    kmeans(run_dir=tmp_path / "run").fit(source)
    with open(tmp_path / "run" / "model.safetensors", "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    assert b"0000007" not in header and len(header) < 5000
    assert RunFolder(tmp_path / "run").read_names(load(tmp_path / "run").labels_) == source.names


@pytest.mark.slow
def test_ten_million_names(tmp_path):
    from asterism.runs import write_labels

    n = 10_000_000
    labels, confidence = np.zeros(n, np.int64), np.ones(n, np.float32)
    began = time.monotonic()
    write_labels(tmp_path / "labels.csv", (f"n{i % 1000:08d}/{i}.JPEG" for i in range(n)), labels, confidence)
    names = RunFolder(tmp_path).read_names(labels)
    assert len(names) == n and names[-1] == "n00000999/9999999.JPEG"
    assert time.monotonic() - began < 300


def test_a_long_list_of_paths_stands_beside_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.runs.folder.MANY_PATHS", 5)
    paths = [tmp_path / "images" / f"{i}.png" for i in range(12)]
    paths[0].parent.mkdir()
    for path, pixels in zip(paths, blobs(n=12), strict=True):
        Image.fromarray(pixels).save(path)
    folder = tmp_path / "run"
    model = kmeans(run_dir=folder).fit(paths)
    assert "11.png" not in (folder / "run.json").read_text()
    run("export", folder, tmp_path / "groups", "--copy")
    assert len(list((tmp_path / "groups").rglob("*.png"))) == 12
    run("embed", folder, "--out", tmp_path / "f.npy")
    model.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "paths.json").is_file() and load(tmp_path / "saved").names_ == model.names_
    for content in ("[1, 2", '["a"]', "{}", None):
        _ = (folder / "paths.json").write_text(content) if content else (folder / "paths.json").unlink()
        assert "paths.json" in run("evaluate", folder, "--labels", "folders", code=1).stderr
    run("cluster", tmp_path / "images", "-k", 2, "--method", "kmeans", "--out", tmp_path / "saved", "--overwrite", "-q")
    assert not (tmp_path / "saved" / "paths.json").exists()


def test_a_long_text_leaves_the_header(tmp_path):
    names = [f"{'データ/' * 30}{i}" for i in range(3000)]
    save_state(tmp_path / "s", {"names": names, "x": torch.zeros(2)})
    with open(tmp_path / "s", "rb") as file:
        assert int.from_bytes(file.read(8), "little") < 1000
    assert load_state(tmp_path / "s")["names"] == names


def test_a_flipped_bit_is_noticed(tmp_path):
    save_state(tmp_path / "s", {"x": torch.arange(100.0)})
    content = bytearray((tmp_path / "s").read_bytes())
    content[-30] ^= 4
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(RunError, match="not as it was written"):
        load_state(tmp_path / "s")


def test_keys_that_join_to_one_name_stay_apart(tmp_path):
    state = {"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1), "asterism.state": torch.full((1,), 2.0)}
    save_state(tmp_path / "s", state)
    found = load_state(tmp_path / "s")
    assert found["a"]["b"] == 1 and found["a.b"] == 0 and found["asterism.state"] == 2


# ---------------------------------------------------------------- what is the user's stays


def entries(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("mine", ["a.jpg", "labels.csv", "report.html", "checkpoint/joint.safetensors", ".hidden"])
def test_a_folder_with_other_things_is_left_alone(tmp_path, mine, monkeypatch):
    folder = tmp_path / "mine"
    (folder / mine).parent.mkdir(parents=True)
    (folder / mine).write_text("mine")
    before = entries(folder)
    with pytest.raises(RunError, match="holds .* and no run"):
        kmeans(run_dir=folder).fit(blobs())
    with pytest.raises(RunError, match="holds .* and no run"):
        kmeans().fit(blobs()).save(folder)
    np.savez(tmp_path / "x.npz", images=blobs())
    for more in ([], ["--overwrite"], ["--resume"]):
        wanted = ("cluster", tmp_path / "x.npz", "-k", 4, "--method", "kmeans", "--out", folder, "-q", *more)
        assert "and no run" in run(*wanted, code=1).stderr
    monkeypatch.chdir(folder)
    for here in ("", "."):
        wanted = ("cluster", tmp_path / "x.npz", "-k", 4, "--method", "kmeans", f"--out={here}", "-q", "--overwrite")
        assert "and no run" in run(*wanted, code=1).stderr
    assert entries(folder) == before


def test_overwrite_removes_what_the_run_wrote_and_nothing_else(tmp_path):
    np.savez(tmp_path / "x.npz", images=blobs())
    out = tmp_path / "run"
    wanted = ("cluster", tmp_path / "x.npz", "-k", 4, "--method", "kmeans", "--out", out, "-q")
    run(*wanted)
    (out / "notes.txt").write_text("mine")
    (out / "probe.json").write_text("{}")
    run(*wanted, "--overwrite", "--no-report")
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "report.html").exists() and not (out / "probe.json").exists()


def test_home_is_written_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model = kmeans(run_dir="~/fit").fit(blobs())
    model.save("~/saved")
    np.testing.assert_array_equal(load("~/saved").labels_, load("~/fit").labels_)
    np.savez(tmp_path / "x.npz", images=blobs())
    run("predict", "~/fit", "x.npz", "--out=~/p.csv")
    run("embed", "~/fit", "x.npz", "--out=~/e.npy")
    run("export", "~/fit", "~/groups", "--copy", code=1)  # its images came from memory
    assert {one.name for one in (tmp_path / "home").iterdir()} >= {"fit", "saved", "p.csv", "e.npy", "e.names.csv"}
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("place", "words"),
    [("s3://bucket/x", "is an address"), ("~no-such-user/x", "there is no home"), ("a\0b", "a byte of zero")],
)
def test_what_is_no_place_of_this_machine_is_no_output(tmp_path, monkeypatch, place, words):
    monkeypatch.chdir(tmp_path)
    for write in (lambda: kmeans(run_dir=place).fit(blobs()), lambda: check_writable(Path(place))):
        with pytest.raises(StorageError, match=words):
            write()
    assert list(tmp_path.iterdir()) == []


def test_no_command_writes_over_a_run_that_is_there(tmp_path):
    kmeans(run_dir=tmp_path / "r").fit(blobs())
    for name in ("labels.csv", "run.json", "model.safetensors"):
        before = (tmp_path / "r" / name).read_bytes()
        with pytest.raises(RunError, match="belongs to the run"):
            check_writable(tmp_path / "r" / name, is_labels, overwrite=True)
        assert (tmp_path / "r" / name).read_bytes() == before
    check_writable(tmp_path / "r" / "predicted.csv", is_labels)


@pytest.mark.parametrize("name", ["p.csv", "e.npz", "e.npy", "e.csv", "e.names.csv"])
def test_a_file_of_another_program_at_out_is_kept(tmp_path, name):
    np.savez(tmp_path / "x.npz", images=blobs())
    kmeans(run_dir=tmp_path / "run").fit(blobs())
    (tmp_path / name).write_text("mine")
    command = "predict" if name == "p.csv" else "embed"
    out = tmp_path / ("e.npy" if name == "e.names.csv" else name)
    assert "--overwrite" in run(command, tmp_path / "run", tmp_path / "x.npz", "--out", out, code=1).stderr
    assert (tmp_path / name).read_text() == "mine"
    run(command, tmp_path / "run", tmp_path / "x.npz", "--out", out, "--overwrite")
    run(command, tmp_path / "run", tmp_path / "x.npz", "--out", out)  # its own is written anew


def test_each_claim_is_another_folder(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(claim, [tmp_path / "runs" / "x-kmeans"] * 12)
    assert {one.path.name for one in found} == {f"x-kmeans-{n}" for n in range(1, 13)}


# ---------------------------------------------------------------- how a run ends


class Stop(BaseException):
    """Ends a fit as a kill does."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt("Ctrl-C"), "interrupted"),
        (SystemExit(1), "interrupted"),
        (StorageError(28, "No space left"), "interrupted"),
        (ValueError("a fault"), "failed"),
        (MemoryError(), "failed"),
        (Stop(), "running"),
    ],
)
def test_an_end_in_python_is_written_down_and_the_run_goes_on(tmp_path, monkeypatch, error, expected):
    whole = kmeans().fit(blobs())

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(KMeans, "_fit", fail)
        with pytest.raises(type(error)):
            kmeans(run_dir=tmp_path / "run").fit(blobs())
    assert status(tmp_path / "run") == expected
    resumed = kmeans(run_dir=tmp_path / "run").fit(blobs())
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    assert status(tmp_path / "run") == "finished" and not (tmp_path / "run" / ".lock").exists()
    assert "error" not in json.loads((tmp_path / "run" / "run.json").read_text())


def test_a_finished_run_is_not_touched_by_an_error_before_the_next(tmp_path):
    kmeans(run_dir=tmp_path / "run").fit(blobs())
    before = entries(tmp_path / "run")
    with pytest.raises(RunError, match="finished run"):
        kmeans(run_dir=tmp_path / "run").fit(blobs(1))
    with pytest.raises(InputError):
        kmeans(run_dir=tmp_path / "run", n_init=-1).fit(blobs())
    assert entries(tmp_path / "run") == before


def test_cluster_reads_run_json_twice_and_loads_no_model(tmp_path, monkeypatch):
    import asterism.methods.loading
    import asterism.runs.folder

    np.savez(tmp_path / "x.npz", images=blobs())
    seen = []
    read = asterism.runs.folder.read_content
    monkeypatch.setattr(asterism.runs.folder, "read_content", lambda path: seen.append(path) or read(path))
    monkeypatch.setattr(asterism.estimator.base, "load_state", lambda path: pytest.fail("the model was loaded"))
    run("cluster", tmp_path / "x.npz", "-k", 4, "--method", "kmeans", "--out", tmp_path / "run", "-q")
    assert len(seen) <= 2 and (tmp_path / "run" / "report.html").is_file()


def test_what_was_saved_knows_its_images(photos, tmp_path):
    KMeans(2, random_state=0, device="cpu").fit(photos).save(tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content["images"]["origin"]["source"] == str(photos)
    assert "light/3.png" in (tmp_path / "run" / "labels.csv").read_text()
    run("export", tmp_path / "run", tmp_path / "groups")
    assert len(list((tmp_path / "groups").rglob("*.png"))) == 24


# ---------------------------------------------------------------- checkpoints belong to their run


def begin_and_die(folder, images, monkeypatch, **params):
    """A run that dies when its k-means is done, and leaves a checkpoint."""
    with monkeypatch.context() as patch:
        patch.setattr(KMeans, "_set_attributes", lambda *_: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            kmeans(run_dir=folder, **params).fit(images)
    assert list((folder / "checkpoint").iterdir())


@pytest.mark.parametrize("other", [{"images": blobs(1)}, {"n_init": 2}, {"random_state": 1}])
def test_a_stale_checkpoint_is_not_taken(tmp_path, monkeypatch, other):
    images = other.pop("images", blobs())
    expected = kmeans(**other).fit(images).labels_
    old, new = tmp_path / "old", tmp_path / "new"
    begin_and_die(old, blobs(), monkeypatch)
    begin_and_die(new, images, monkeypatch, **other)
    shutil.rmtree(new / "checkpoint")
    shutil.copytree(old / "checkpoint", new / "checkpoint")  # as a kill or a hand may leave it
    np.testing.assert_array_equal(kmeans(run_dir=new, **other).fit(images).labels_, expected)


def test_a_checkpoint_folder_that_is_a_link_is_refused(tmp_path, monkeypatch):
    begin_and_die(tmp_path / "old", blobs(), monkeypatch)
    begin_and_die(tmp_path / "new", blobs(1), monkeypatch)
    shutil.rmtree(tmp_path / "new" / "checkpoint")
    (tmp_path / "new" / "checkpoint").symlink_to(tmp_path / "old" / "checkpoint")
    with pytest.raises(RunError, match="is a link"):
        kmeans(run_dir=tmp_path / "new").fit(blobs(1))


def test_a_run_that_format_1_began_goes_on(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    begin_and_die(folder, blobs(), monkeypatch)
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "format": 1}))
    for path in (folder / "checkpoint").iterdir():
        state = load_state(path)
        del state["of"]
        save_state(path, state)
    seen = []
    read = run_module.load_state
    monkeypatch.setattr(run_module, "load_state", lambda path: seen.append(path) or read(path))
    kmeans(run_dir=folder).fit(blobs())
    assert seen and json.loads((folder / "run.json").read_text())["format"] == 2


def test_a_kill_inside_overwrite_leaves_the_old_run_or_the_new(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", images=blobs())
    np.savez(tmp_path / "y.npz", images=blobs(1))
    out = tmp_path / "run"
    wanted = ("--method", "kmeans", "--out", out, "-q", "--no-report", "-k", 4)
    run("cluster", tmp_path / "y.npz", *wanted)
    expected = (out / "labels.csv").read_bytes()
    run("cluster", tmp_path / "x.npz", *wanted, "--overwrite")
    shutil.copytree(out, tmp_path / "old")
    calls = {"n": 0}
    for moment in range(60):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "old", out)
        calls["n"] = 0
        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "mkdir", "rmdir"):
                patch.setattr(os, name, dying(getattr(os, name), calls, moment))
            try:
                run("cluster", tmp_path / "y.npz", *wanted, "--overwrite")
                break
            except Stop:
                pass
        if json.loads((out / "run.json").read_text())["images"]["origin"]["source"].endswith("x.npz"):
            assert status(out) == "finished" and len(load(out).labels_) == 40
        else:
            run("cluster", "--resume", "--out", out, "-q", "--no-report")
            assert (out / "labels.csv").read_bytes() == expected
    assert moment > 5  # there were moments, and after the last the command ended


def dying(call, calls, moment):
    def counted(*args, **kwargs):
        calls["n"] += 1
        if calls["n"] > moment:
            raise Stop
        return call(*args, **kwargs)

    return counted


# ---------------------------------------------------------------- locks


def test_a_stop_while_a_lock_is_removed_lets_go_of_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stop) as caught, exclusive(tmp_path / ".lock"):
        patch.setattr(os, "unlink", dying(os.unlink, {"n": 0}, 0))
    assert caught.traceback  # whose frames hold the lock as long as they live
    with exclusive(tmp_path / ".lock") as free:
        assert free


def test_a_lock_is_no_name_of_another_file(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for make in (os.link, os.symlink):
        (tmp_path / ".lock").unlink(missing_ok=True)
        make(tmp_path / "mine", tmp_path / ".lock")
        with pytest.raises(StorageError, match="not a lock"), exclusive(tmp_path / ".lock"):
            pass
        assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    import errno

    import filelock

    def none(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", none)
    with pytest.warns(UserWarning, match="no locks"), exclusive(tmp_path / ".lock") as free:
        assert free


# ---------------------------------------------------------------- kills and full disks, for real

CHILD = """
import sys
from asterism.cli import main
sys.argv = ["asterism", *sys.argv[1:]]
import asterism.training.run
asterism.training.run.CHECKPOINT_SECONDS = 0.0
main()
"""


def spawn(*args, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, args)], env=environment, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.slow
def test_kills_at_any_time_leave_a_run_that_goes_on(tmp_path):
    np.savez(tmp_path / "x.npz", images=blobs().repeat(2, 1).repeat(2, 2))
    wanted = ("cluster", tmp_path / "x.npz", "-k", 4, "--method", "dbc", "--no-report", "-q", *TINY)
    began = time.monotonic()
    assert spawn(*wanted, "--out", tmp_path / "whole").wait() == 0
    took = time.monotonic() - began
    rng = np.random.default_rng(0)
    for number in range(8):
        out = tmp_path / f"run-{number}"
        process = spawn(*wanted, "--out", out)
        time.sleep(took * (0.4 + 0.6 * rng.random()))
        process.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
        process.communicate()
        again = spawn(*wanted, "--out", out, "--resume")
        stderr = again.communicate()[1]
        assert again.returncode == 0, stderr
        assert (out / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()
        assert not [one.name for one in out.iterdir() if one.name.startswith((".lock", ".partial"))]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk")
@pytest.mark.parametrize("room", [32, 512, 2048])  # KiB
def test_a_full_disk_leaves_a_run_that_goes_on(tmp_path, room):
    np.savez(tmp_path / "x.npz", images=blobs().repeat(2, 1).repeat(2, 2))
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", small], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    wanted = ["cluster", tmp_path / "x.npz", "-k", "4", "--method", "dbc", "--no-report", "-q", *TINY]
    python = [sys.executable, "-c", CHILD]
    script = f"""mount -t tmpfs -o size={room}k none "$SMALL"
        "$@" --out "$SMALL/run"; first=$?
        mount -o remount,size=64m "$SMALL"
        "$@" --out "$SMALL/run" --resume || exit 9
        cp "$SMALL/run/labels.csv" "$SMALL.csv"; exit $first"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "SMALL": str(small)}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *python, *map(str, wanted)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and re.search("No space left|make room", done.stderr), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert spawn(*wanted, "--out", tmp_path / "whole").wait() == 0
    assert (tmp_path / "small.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()


def test_a_model_that_is_none_is_one_line(tmp_path):
    kmeans(run_dir=tmp_path / "run").fit(blobs())
    save_file({"0": torch.zeros(1)}, tmp_path / "run" / "model.safetensors")
    with pytest.raises(RunError, match="model.safetensors"):
        load(tmp_path / "run")


@pytest.mark.parametrize(
    "value", [torch.ones(()).expand(1), torch.ones(3).expand(4, 3), torch.ones(0, 2), torch.eye(3).T]
)
def test_tensors_of_any_strides_are_saved(tmp_path, value):
    save_state(tmp_path / "m.safetensors", {"x": value})
    found = load_state(tmp_path / "m.safetensors")["x"]
    assert found.shape == value.shape and torch.equal(found, value)
