"""A lock is its owner's while the owner lives, and nobody's afterwards, whatever it left behind."""

import errno
import os
import platform
import signal
import subprocess
import sys

import pytest

from polyak.errors import BusyError, DiskError
from polyak.locks import Lock
from polyak.rundir import directory as runs

HOLD = """
import os, sys, time
from pathlib import Path
from polyak.locks import Lock

lock = Lock(Path(sys.argv[1]))
assert lock.acquire()
child = os.fork() if "fork" in sys.argv else 0
if "fork" in sys.argv and not child:
    os.close(1)
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder():
    """Start a process that holds a lock; its id and that of its forked child, if it has one."""
    started, children = [], []

    def start(path, *more):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), *more], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        children.append(int(process.stdout.readline()))
        return process, children[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for child in filter(None, children):
        os.kill(child, signal.SIGKILL)


def test_another_process_is_named_and_its_death_gives_the_lock_back(tmp_path, holder):
    process, _ = holder(tmp_path / "run.lock")
    with pytest.raises(BusyError) as busy:
        runs.lock(tmp_path)
    assert busy.value.why == f"process {process.pid} on {platform.node()}"
    assert busy.value.exit_code == 73
    process.kill()
    process.wait()
    owned = runs.lock(tmp_path)  # the file is still there, with a dead process's name in it
    assert str(os.getpid()) in (tmp_path / "run.lock").read_text()
    owned.release()


def test_a_child_that_outlives_its_killed_parent_keeps_no_lock(tmp_path, holder):
    process, child = holder(tmp_path / "a.lock", "fork")
    assert not Lock(tmp_path / "a.lock").acquire()
    process.kill()
    process.wait()
    os.kill(child, 0)  # it lives
    assert Lock(tmp_path / "a.lock").acquire()


def test_a_child_that_ends_leaves_its_parent_the_lock(tmp_path):
    lock = Lock(tmp_path / "a.lock")
    assert lock.acquire()
    if not (child := os.fork()):
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert not Lock(tmp_path / "a.lock").acquire()


@pytest.mark.parametrize("left", ["", "process 1 on here", "\x00" * 500])
def test_what_was_left_in_the_file_means_nothing(tmp_path, left):
    (tmp_path / "a.lock").write_text(left)
    lock = Lock(tmp_path / "a.lock")
    assert lock.acquire()
    assert Lock(tmp_path / "a.lock").owner() == f"process {os.getpid()} on {platform.node()}"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_without_locks_stops_nobody(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    assert Lock(tmp_path / "a.lock").acquire() and Lock(tmp_path / "a.lock").acquire()


def test_a_disk_that_refuses_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    with pytest.raises(DiskError, match=r"a\.lock"):
        Lock(tmp_path / "a.lock").acquire()


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "diary").write_text("dear")
    (tmp_path / "run.lock").symlink_to(tmp_path / "diary")
    with pytest.raises(DiskError, match=r"run\.lock"):
        runs.lock(tmp_path)
    assert (tmp_path / "diary").read_text() == "dear"
