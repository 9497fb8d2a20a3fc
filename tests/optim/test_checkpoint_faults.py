"""Checkpoints under faults at every operation, and training runs that are killed and go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faulty_os import FaultyOS, full_disk, interrupt
from training_run import train

from nbopt.optim import atomic_file, checkpoint
from nbopt.optim.checkpoint import load, save

TESTS = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("fault, error", [(full_disk, OSError), (interrupt, KeyboardInterrupt)])
def test_a_fault_at_every_write_fsync_and_rename(fault, error, half, tmp_path, monkeypatch):
    path = tmp_path / "a"
    old, new = {"w": np.zeros(5), "step": 1}, {"w": np.ones((40, 5)), "v": np.ones(3), "step": 2}

    def faulty_save(faulty):
        with monkeypatch.context() as patched:
            patched.setattr(atomic_file, "os", faulty)
            patched.setattr(checkpoint, "os", faulty)
            save(path, **new)

    save(path, **old)
    counted = FaultyOS()
    faulty_save(counted)
    assert counted.done.count("write") == 6 and {"fsync", "replace", "lseek"} < set(counted.done)
    for at, name in enumerate(counted.done):
        save(path, **old)
        if name == "fchmod" and fault is full_disk:
            continue  # a file system without modes is no reason to fail
        with pytest.raises(error):
            faulty_save(FaultyOS(at, fault, half))
        replaced = "replace" in counted.done[:at] or (name == "replace" and half)
        found, expected = load(path), new if replaced else old
        assert found.keys() == expected.keys() and found["step"] == expected["step"], (at, name)
        assert np.array_equal(found["w"], expected["w"]), (at, name)
        assert os.listdir(tmp_path) == ["a"], (at, name)


def start(path, steps, seed):
    """Start the training run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    command = [sys.executable, str(TESTS / "training_run.py"), str(path), str(steps), str(seed)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes as POSIX does")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_killed_run_goes_on_from_its_last_checkpoint_bit_for_bit(seed, tmp_path):
    path, kill_after = tmp_path / "run.ckpt", 5 + 10 * seed
    running = start(path, 1_000_000, seed)
    for line in running.stdout:
        if int(line) >= kill_after:
            break
    time.sleep(0.001 * seed)
    running.kill()
    told = [int(line) for line in running.communicate()[0].split()]
    assert running.returncode == -signal.SIGKILL
    reached = load(path)["step"]
    assert reached >= max([kill_after, *told[:-1]])
    finished = start(path, reached + 20, seed)
    lines = finished.communicate()[0].split()
    assert finished.returncode == 0
    assert int(lines[0]) == reached + 1
    assert os.listdir(tmp_path) == ["run.ckpt"]
    assert bytes.fromhex(lines[-1]) == train(tmp_path / "unbroken.ckpt", reached + 20, seed)
