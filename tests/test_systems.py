"""Other systems: what only Linux or only POSIX has is asked for, never counted on."""

import subprocess
import sys
from pathlib import Path

import pytest

import polyak

SOURCE = Path(polyak.__file__).parent
MODULES = sorted(
    ".".join(("polyak", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for file in SOURCE.rglob("*.py")
    if file.name != "__main__.py"
)

# what Windows lacks; macOS lacks some of it. Other libraries are imported before it goes, for they
# know which system they were built for
HIDE = """
import importlib, os, signal, sys
import torch, torchvision, timm, numba, sklearn.linear_model, matplotlib.figure, plotly, tyro, rich
import pydantic, safetensors.torch, scipy.stats, PIL.Image, jinja2, torch.distributed.nn.functional
import torch.distributed, multiprocessing, subprocess, tempfile, psutil, platformdirs
import polyak.console

for module in [one for one in sys.modules if one.split(".")[0] in ("filelock", "polyak")]:
    del sys.modules[module]
for name in ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "readline"):
    sys.modules[name] = None
for module, names in {
    os: "posix_fallocate posix_fadvise O_NONBLOCK O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_SYNC uname "
        "sched_getaffinity sched_setaffinity register_at_fork fork forkpty getuid geteuid getgid "
        "pread pwrite preadv pwritev mkfifo mknod chown lchown fchown fchmod sysconf statvfs "
        "killpg setsid nice getloadavg wait3 wait4 ttyname setxattr getxattr",
    signal: "SIGHUP SIGKILL SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGQUIT SIGTSTP alarm "
        "setitimer pthread_kill pthread_sigmask sigwait",
}.items():
    for name in names.split():
        vars(module).pop(name, None)
os.supports_dir_fd.clear()
"""


def alone(code: str, *arguments: str) -> str:
    """Run code in a process of its own that lacks all of it; what it prints."""
    run = [sys.executable, "-W", "ignore", "-c", HIDE + code, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_module_is_imported_without_what_only_posix_has():
    assert len(MODULES) > 100
    code = "for name in sys.argv[1:]:\n    importlib.import_module(name)\nprint('all of them')"
    assert alone(code, *MODULES) == "all of them\n"


@pytest.mark.parametrize("name", ["fcntl", "os.posix_fallocate", "signal.SIGHUP", "os.uname"])
def test_it_is_gone_indeed(name):
    module, _, attribute = name.partition(".")
    code = f"print(hasattr({module}, '{attribute}'))" if attribute else f"import {module}"
    if attribute:
        assert alone(code) == "False\n"
    else:
        with pytest.raises(AssertionError, match="ModuleNotFoundError"):
            alone(code)


TRAIN = """
from polyak.cli import main
from polyak.data.sources.digits import list_digits

images = list_digits().root / "test"
out = ["--out", sys.argv[1], "--name", "a"]
common = ["train", "digits", "--model", "compact", "--widths", "8", "8", "--epochs", "1"]
codes = [main([*common, *out]), main(["predict", sys.argv[1] + "/a", str(images)])]
codes += [main(["evaluate", sys.argv[1] + "/a", str(images)])]
codes += [main(["train", "--resume", *out]), main(["report", sys.argv[1] + "/a"])]
print(codes)
"""


def test_a_run_is_trained_resumed_and_shown_without_it(tmp_path):
    assert alone(TRAIN, str(tmp_path)).splitlines()[-1] == str([0] * 5)
