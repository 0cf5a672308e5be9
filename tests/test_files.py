"""A file is the old one, whole, or the new one, whole: also on a full disk, also after a kill."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from attack import texts
from polyak.errors import DiskError, UsageError
from polyak.files import (
    cache_folder,
    check_writable,
    disk_error,
    read_yaml,
    sweep,
    sync,
    workspace,
    write_atomic,
)
from polyak.transfer import cache


@pytest.fixture
def target(tmp_path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("content", [b"\x00new", "n\N{LATIN SMALL LETTER E WITH ACUTE}w\n"])
def test_content_replaces_the_old(target, content):
    write_atomic(target, content)
    assert target.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert list(target.parent.iterdir()) == [target]


def test_a_function_writes_where_it_is_told(target):
    weights = np.arange(3.0)
    write_atomic(target, lambda path: save_file({"weights": weights}, path))
    assert (load_file(target)["weights"] == weights).all()


def test_the_temporary_file_lies_in_a_hidden_folder_beside(target):
    seen = []
    write_atomic(target, lambda path: (seen.append(path), path.write_bytes(b"")))
    assert seen[0].name == target.name
    assert seen[0].parent.parent == target.parent
    assert seen[0].parent.name.startswith(".")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(target, umask, mode):
    before = os.umask(umask)
    try:
        write_atomic(target, lambda path: save_file({"x": np.zeros(1)}, path))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == mode


def refuse(path: Path) -> None:
    """Write half, then meet the kernel's own full disk."""
    path.write_bytes(b"ha")
    Path("/dev/full").write_bytes(b"lf")


def interrupt(path: Path) -> None:
    """Write half, then be stopped from the keyboard."""
    path.write_bytes(b"ha")
    raise KeyboardInterrupt


def fail(path: Path) -> None:
    """Write half, then meet a mistake of the caller."""
    path.write_bytes(b"ha")
    raise ZeroDivisionError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line_and_the_old_file_stands(target):
    with pytest.raises(DiskError, match=r"model\.bin: No space left on device\. Kept") as caught:
        write_atomic(target, refuse)
    assert caught.value.exit_code == 74
    assert "--resume" in str(caught.value)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("write", "error"), [(interrupt, KeyboardInterrupt), (fail, ZeroDivisionError)]
)
def test_other_failures_pass_and_the_old_file_stands(target, write, error):
    with pytest.raises(error):
        write_atomic(target, write)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_a_missing_folder_is_a_disk_error(tmp_path):
    with pytest.raises(DiskError, match="No such file or directory"):
        write_atomic(tmp_path / "gone" / "a.txt", "new")


def test_a_folder_to_write_in_is_made_and_left_clean(tmp_path):
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [("model.bin", "File exists"), ("model.bin/a", "Not a dir"), ("x" * 300, "too long")],
)
def test_an_out_that_cannot_be_a_folder_is_a_disk_error(target, name, why):
    with pytest.raises(DiskError, match=why):
        check_writable(target.parent / name)


def test_safetensors_own_refusal_is_a_disk_error(tmp_path):
    missing = tmp_path / "gone" / "a.safetensors"
    with pytest.raises(DiskError, match="No such file or directory"):
        write_atomic(missing, lambda path: save_file({"x": np.zeros(1)}, path))


def test_what_is_not_the_disks_fault_is_left_alone():
    error = OSError(errno.EINVAL, "Invalid argument")
    assert disk_error(error, Path("a")) is error
    assert disk_error(ValueError("shape"), Path("a")).args == ("shape",)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.07])
def test_a_kill_leaves_a_whole_file(tmp_path, delay):
    """Every version is 200,000 times one byte, so that a mixture or a part shows."""
    code = (
        "import sys, pathlib, itertools; from polyak.files import write_atomic\n"
        "target = pathlib.Path(sys.argv[1])\n"
        "for i in itertools.count():\n"
        "    write_atomic(target, bytes([i % 256]) * 200_000)\n"
        "    if not i: print(flush=True)"
    )
    target = tmp_path / "a.bin"
    killed(code, target, delay)
    content = target.read_bytes()
    assert len(content) == 200_000
    assert len(set(content)) == 1


SAVER = """
import sys, itertools, pathlib
import numpy as np
from polyak.files import write_atomic
from safetensors.numpy import save_file
target = pathlib.Path(sys.argv[1])
weights = np.zeros(4_000_000, np.float32)
for step in itertools.count():
    weights[:] = step
    write_atomic(target, lambda path: save_file({"weights": weights}, path))
    if not step: print(flush=True)
"""


def killed(code: str, target: Path, delay: float) -> None:
    """Run code in a child; some time after its first line, kill it."""
    child = subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


def test_what_a_killed_librarys_writer_leaves_goes_with_the_next_write(tmp_path):
    """safetensors writes 16 MB under a name of its own, beside the file that it is given."""
    target, left = tmp_path / "a.safetensors", 0
    for number in range(8):
        killed(SAVER, target, 0.003 * number)
        assert len(np.unique(load_file(target)["weights"])) == 1
        left += len(list(tmp_path.iterdir())) > 1
        write_atomic(tmp_path / "b.txt", "the next")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a.safetensors", "b.txt"]
    assert left  # else no kill has met a write


def test_a_workspace_in_use_is_left_alone(target):
    with workspace(target) as temporary:
        temporary.write_text("mine")
        write_atomic(target.with_name("other"), "theirs")
        sweep(target.parent)
        assert temporary.read_text() == "mine"
    assert {file.name for file in target.parent.iterdir()} == {"model.bin", "other"}


def test_a_link_that_looks_like_a_workspace_is_not_followed(target):
    folder = target.parent / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"cat")
    (target.parent / ".polyak-1.tmp").symlink_to(folder)
    sweep(target.parent)
    assert [file.name for file in folder.iterdir()] == ["cat.jpg"]


def test_sync_takes_files_and_folders(target):
    sync(target)
    sync(target.parent)
    with pytest.raises(FileNotFoundError):
        sync(target.parent / "gone")


@pytest.mark.skipif(sys.platform != "linux", reason="where Linux keeps such things")
@pytest.mark.parametrize(
    ("set_to", "place"),
    [("/data/cache", "/data/cache/polyak"), ("", "~/.cache/polyak"), (None, "~/.cache/polyak")],
)
def test_what_can_be_computed_again_lies_where_it_always_did(monkeypatch, set_to, place):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME")
    if set_to is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", set_to)
    assert cache_folder() == Path(place).expanduser()
    assert cache.home() == Path(place).expanduser() / "features-1"


@pytest.mark.parametrize("line", texts.YAML)
def test_yaml_is_read_or_is_a_wrong_use_whatever_stands_in_it(line, tmp_path):
    """PyYAML has its own errors, and lets through those of months and numbers that are none."""
    page = tmp_path / "config.yaml"
    page.write_text(line)
    try:
        assert isinstance(read_yaml(page), dict)
    except UsageError as error:
        assert "\n" not in str(error) and "config.yaml" in str(error)
