"""Two processes as torchrun starts them, forked from a server that has imported torch once and begun no thread."""

import multiprocessing
import os
import socket
from contextlib import suppress

import numpy as np
import pytest

from asterism import ConvNet, Crops, DeepClusterV2, KMeans, Training, load
from asterism.errors import RunError
from asterism.methods.deepcluster_settings import Assignment, MultiCrop, Projection
from asterism.training import run as run_module

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")


def one_of_two(task, folder, port, rank):
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    task(rank, folder)


def exit_codes(task, folder):
    """How two processes end that run ``task(rank, folder)`` within one group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["asterism.methods.deepcluster_v2", "lightning_fabric", "torch._dynamo"])
    processes = [context.Process(target=one_of_two, args=(task, folder, port, rank), daemon=True) for rank in range(2)]
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
