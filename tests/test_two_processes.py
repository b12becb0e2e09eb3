"""Two processes or more, as torchrun starts them, forked from a server that imported torch and began no thread."""

import logging.handlers
import multiprocessing
import os
import socket
import warnings
from contextlib import suppress

import numpy as np
import pytest
from typer.testing import CliRunner

from asterism import ConvNet, Crops, DeepClusterV2, KMeans, Training, load
from asterism.cli.app import app
from asterism.errors import InputError, RunError
from asterism.methods.deepcluster_settings import Assignment, MultiCrop, Projection
from asterism.training import run as run_module

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")


def one_process(task, folder, rank, numbers):
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    task(rank, folder)


def exit_codes(task, folder, machines=(2,)):
    """How processes end that run ``task(rank, folder)`` within one group, so many on each machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["asterism.methods.deepcluster_v2", "lightning_fabric", "torch._dynamo"])
    places = [(local, n) for n in machines for local in range(n)]
    processes = []
    for rank, (local, n) in enumerate(places):
        numbers = {"RANK": rank, "LOCAL_RANK": local, "WORLD_SIZE": len(places), "LOCAL_WORLD_SIZE": n}
        told = (task, folder, rank, numbers | {"MASTER_PORT": port})
        processes.append(context.Process(target=one_process, args=told, daemon=True))
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        if process.exitcode != 0:  # the other may wait for it
            for one in processes:
                one.kill()
    return [process.exitcode for process in processes]


def swav(rank, folder):
    """A fit that is unbroken, and one that is killed and goes on; what each process found."""
    run_module.CHECKPOINT_SECONDS = 0.0
    X = np.random.default_rng(0).random((26, 8, 8), dtype=np.float32)
    crops = MultiCrop(large=Crops(0.5, flip=False), small=Crops(0.3, 0.5, flip=False), n_small=1)
    settings = {
        "network": ConvNet("small-resnet", sobel=False, width=0.1),
        "projection": Projection(8, 4),
        "crops": crops,
        "assignment": Assignment("sinkhorn", queue=15),
        "training": Training(n_epochs=4, lr=0.5, batch_size=13),
        "random_state": 0,
        "device": "cpu",
    }
    whole = DeepClusterV2(3, n_heads=1, **settings).fit(X)
    killed = DeepClusterV2(3, n_heads=1, run_dir=folder / "run", **settings)
    rounds = []

    def kill(labels):
        rounds.append(labels)
        if len(rounds) == 3:
            raise KeyboardInterrupt
        return {}

    killed.on_round = kill
    with pytest.raises(KeyboardInterrupt):
        killed.fit(X)
    resumed = DeepClusterV2(3, n_heads=1, run_dir=folder / "run", **settings).fit(X)
    losses = [[entry["loss"] for entry in one.history_] for one in (whole, resumed)]
    np.savez(folder / f"{rank}.npz", losses=losses, whole=whole.transform(X), resumed=resumed.transform(X))


def test_a_resumed_fit_has_the_queue_of_all_processes(tmp_path):
    assert exit_codes(swav, tmp_path) == [0, 0]
    one, two = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    for found in (one, two):
        np.testing.assert_array_equal(found["losses"][0], found["losses"][1])
        np.testing.assert_array_equal(found["whole"], found["resumed"])
    np.testing.assert_array_equal(one["whole"], two["whole"])


def saved(rank, folder):
    X = np.random.default_rng(0).random((9, 4, 4), dtype=np.float32)
    model = KMeans(2, random_state=0, device="cpu").fit(X)
    model.save(folder / "by all")
    if rank == 0:
        model.save(folder / "by one")


def test_a_model_is_saved_by_all_processes_or_by_the_main_one(tmp_path):
    assert exit_codes(saved, tmp_path) == [0, 0]
    assert np.array_equal(load(tmp_path / "by all").labels_, load(tmp_path / "by one").labels_)


def elsewhere(rank, folder):
    """Each process has a folder of its own, as machines without a shared disk have."""
    X = np.random.default_rng(0).random((26, 8, 8), dtype=np.float32)
    model = KMeans(2, random_state=0, device="cpu", run_dir=folder / str(rank))

    def stop():
        raise KeyboardInterrupt

    model._write_results = lambda *_: stop()
    with suppress(KeyboardInterrupt):
        model.fit(X)
    with pytest.raises(RunError, match="is there for 1 of 2 processes"):
        KMeans(2, random_state=0, device="cpu", run_dir=folder / str(rank)).fit(X)


def test_a_checkpoint_that_one_process_does_not_see_is_an_error(tmp_path):
    assert exit_codes(elsewhere, tmp_path) == [0, 0]


def unlike(rank, folder):
    X = np.random.default_rng(0).random((9, 4, 4), dtype=np.float32)
    with pytest.raises(InputError, match="1 of 2 processes were given other images than the main one: see that all"):
        KMeans(2, random_state=0, device="cpu", run_dir=folder / "run").fit(X[rank:])
    assert not (folder / "run").exists()
    with pytest.raises(InputError, match="other parameters than"):
        KMeans(2 + rank, random_state=0, device="cpu").fit(X)
    model = KMeans(2, random_state=rank, device="cpu").fit(X)  # the main one's seed counts
    with pytest.raises(InputError, match="other images"):
        model.predict(X + rank / 10)


def test_processes_that_were_given_other_images_are_told(tmp_path):
    """A folder, say, of which one machine sees less: the others would gather rows of images that they do not have."""
    assert exit_codes(unlike, tmp_path) == [0, 0]


def silent(rank, folder):
    said = logging.handlers.BufferingHandler(100)
    logging.getLogger().addHandler(said)
    X = np.random.default_rng(0).random((9, 4, 4), dtype=np.float32)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model = KMeans(2, random_state=0, device="cpu").fit(X)
        assert len(model.transform(X)) == 9
    assert ([one.getMessage() for one in said.buffer], [str(one.message) for one in warned]) == ([], [])


def test_machines_may_have_unequal_numbers_of_processes_and_nothing_is_said_of_them(tmp_path):
    assert exit_codes(silent, tmp_path, machines=(2, 1)) == [0, 0, 0]


def done_for_one(rank, folder):
    command = ["cluster", str(folder / "X.npy"), "--method", "kmeans", "-k", "2", "--device", "cpu", "-q", "--resume"]
    result = CliRunner().invoke(app, [*command, "--out", str(folder / str(rank))])
    assert result.exit_code == rank
    assert ("holds no finished run, and for the main process one: all processes need" in result.output) == (rank == 1)
    assert not (folder / "1" / "run.json").exists()


def test_a_run_that_is_finished_for_one_process_alone_is_told(tmp_path):
    """As on machines without a shared disk: the one went home, and the other began the run and waited for a day."""
    np.save(tmp_path / "X.npy", np.random.default_rng(0).random((9, 4, 4), dtype=np.float32))
    command = ["cluster", str(tmp_path / "X.npy"), "--method", "kmeans", "-k", "2", "--device", "cpu", "-q"]
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "0")]).exit_code == 0
    assert exit_codes(done_for_one, tmp_path) == [0, 0]
