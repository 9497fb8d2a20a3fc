"""A file is replaced whole or not at all: with a fault at every operation, or the process killed there."""

import os
import subprocess
import sys
import threading

import pytest
from faulty_os import FaultyOS, full_disk, interrupt
from fresh_process import run_python

from nbopt.optim import atomic_file
from nbopt.optim.atomic_file import replacing, write_all

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks, modes and signals of POSIX")


def put(path, content=b"new" * 1000):
    with replacing(str(path)) as fd:
        write_all(fd, memoryview(content[:100]))
        write_all(fd, memoryview(content[100:]))


def operations(path, monkeypatch):
    """The names of all operations that one save makes."""
    counted = FaultyOS()
    monkeypatch.setattr(atomic_file, "os", counted)
    put(path)
    monkeypatch.undo()
    return counted.done


def test_content_reaches_the_disk_before_the_name_and_the_folder_after(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    done = operations(path, monkeypatch)
    assert [name for name in done if name in ("write", "fsync", "replace")] == [
        "write", "write", "fsync", "replace", "fsync",
    ]  # fmt: skip
    assert path.read_bytes() == b"new" * 1000
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("fault, error", [(full_disk, OSError), (interrupt, KeyboardInterrupt)])
def test_a_fault_at_any_operation_leaves_one_of_the_two_files(fault, error, half, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    done = operations(path, monkeypatch)
    for at, name in enumerate(done):
        path.write_bytes(b"old")
        faulty = FaultyOS(at, fault, half)
        monkeypatch.setattr(atomic_file, "os", faulty)
        tolerated = name == "fchmod" and fault is full_disk  # a file system without modes
        if tolerated:
            put(path)
        else:
            with pytest.raises(error):
                put(path)
        monkeypatch.undo()
        replaced = "replace" in done[:at] or (name == "replace" and half) or tolerated
        assert path.read_bytes() == (b"new" * 1000 if replaced else b"old"), (at, name)
        assert os.listdir(tmp_path) == ["a"], (at, name)


def test_a_system_that_takes_few_bytes_at_a_time(tmp_path, monkeypatch):
    class Slow(FaultyOS):
        def write(self, fd, data):
            return os.write(fd, data[:7])

    monkeypatch.setattr(atomic_file, "os", Slow())
    put(tmp_path / "a", bytes(range(256)) * 3)
    assert (tmp_path / "a").read_bytes() == bytes(range(256)) * 3


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(str(path)) as fd:
        write_all(fd, memoryview(b"half"))
        1 / 0
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@posix
def test_a_process_killed_at_any_operation_leaves_one_of_the_two_files(tmp_path):
    script = """
    import os, sys
    sys.path.insert(0, sys.argv[2])
    from faulty_os import FaultyOS, kill
    from nbopt.optim import atomic_file
    from nbopt.optim.atomic_file import replacing, write_all

    def put(content):
        with replacing(path) as fd:
            write_all(fd, memoryview(content[:9]))
            write_all(fd, memoryview(content[9:]))

    def read():
        with open(path, "rb") as file:
            return file.read()

    folder = sys.argv[1]
    path = os.path.join(folder, "a")
    put(b"old" * 9)
    real, counted = atomic_file.os, FaultyOS()
    atomic_file.os = counted
    put(b"old" * 9)
    atomic_file.os = real
    littered = 0
    for half in (False, True):
        for at, name in enumerate(counted.done):
            put(b"old" * 9)
            assert os.listdir(folder) == ["a"], os.listdir(folder)  # the last one's litter is gone
            child = os.fork()
            if child == 0:
                atomic_file.os = FaultyOS(at, kill, half)
                put(b"new" * 9)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
            replaced = "replace" in counted.done[:at] or (half and name == "replace")
            assert read() == (b"new" if replaced else b"old") * 9, (at, name)
            littered += len(os.listdir(folder)) - 1
    print(littered, len(counted.done))
    """
    tests = os.path.dirname(os.path.dirname(__file__))
    littered, operations = map(int, run_python(script, tmp_path, tests).split())
    assert 0 < littered < 2 * operations


@posix
def test_what_living_writers_and_others_own_is_left_alone(tmp_path):
    path = tmp_path / "a"
    fd, alive = atomic_file._create(str(tmp_path), "a")
    dead = tmp_path / (".a." + "0" * 16 + ".nbopt-tmp")
    others = [".a.nbopt-tmp", ".b." + "0" * 16 + ".nbopt-tmp", ".a." + "0" * 15 + "x.nbopt-tmp", "a.tmp"]
    for name in [dead.name, *others]:
        (tmp_path / name).write_bytes(b"")
    link = tmp_path / (".a." + "1" * 16 + ".nbopt-tmp")
    link.symlink_to(tmp_path / others[0])
    put(path)
    found = set(os.listdir(tmp_path))
    assert dead.name not in found
    assert found == {"a", os.path.basename(alive), link.name, *others}
    os.close(fd)
    put(path)
    assert os.path.basename(alive) not in os.listdir(tmp_path)


@posix
def test_a_writer_swept_away_before_it_locked_starts_again(tmp_path, monkeypatch):
    import fcntl

    swept = []

    class Late:
        LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

        def flock(self, fd, how):
            if not swept:
                swept.extend(os.listdir(tmp_path))
                os.unlink(tmp_path / swept[0])
            fcntl.flock(fd, how)

    monkeypatch.setattr(atomic_file, "fcntl", Late())
    put(tmp_path / "a")
    assert len(swept) == 1
    assert os.listdir(tmp_path) == ["a"]


def test_writers_of_one_path_at_once(tmp_path):
    path = tmp_path / "a"
    contents = [bytes([k]) * 50_000 for k in range(6)]
    threads = [threading.Thread(target=lambda c=c: [put(path, c) for _ in range(10)]) for c in contents]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["a"]


@posix
def test_links_and_modes_are_kept(tmp_path):
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    put(link)
    assert link.is_symlink()
    assert path.read_bytes() == b"new" * 1000
    assert path.stat().st_mode & 0o777 == 0o640
    put(tmp_path / "b")
    default = int(subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True, check=True).stdout, 8)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o666 & ~default


def test_names_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("ä" * 100 + "a" * 55)
    put(path)
    assert os.listdir(tmp_path) == [path.name]


def test_folders_that_do_not_exist_and_paths_that_are_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder does not exist.*nowhere"):
        put(tmp_path / "nowhere" / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        put(tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]
