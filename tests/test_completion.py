"""The TAB key knows verbs, options, values and files: asked of the shells themselves."""

import os
import shutil
import subprocess
import sys

import pytest

from polyak.options import flag, taken
from polyak.verbs import VERBS
from polyak.verbs.completion import kind_of

ASK = """
PATH=$1:$PATH; source "$1/script"
COMP_LINE=$2; COMP_POINT=${#2}; COMP_TYPE=9
$(complete -p polyak | sed 's/.*-F \\([^ ]*\\) .*/\\1/') polyak
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    """Ask the command for a script."""
    run = [sys.executable, "-m", "polyak", "--completion", shell]
    told = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    assert told.stderr == ""
    return told.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the command and its script for bash."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "polyak").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m polyak "$@"\n')
    (folder / "polyak").chmod(0o755)
    (folder / "script").write_text(script("bash"))
    return folder


@pytest.fixture
def offered(installed, tmp_path):
    """Press TAB at the end of a line in bash: what it offers."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photons.csv").touch()

    def press(line: str) -> set[str]:
        run = ["bash", "--norc", "-c", ASK, "bash", str(installed), line]
        told = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert told.stderr == ""
        return {word.strip() for word in told.stdout.split("\n") if word.strip()}

    return press


LINES = [
    ("polyak ", {*VERBS, "--help", "-h", "--version", "--completion"}),
    ("polyak tr", {"train"}),
    ("polyak train --optim", {"--optimizer"}),
    ("polyak train photos --optimizer ada", {"adagrad", "adam", "adamw"}),
    ("polyak train photos --transfer lin", {"linear"}),
    ("polyak train photos --augment.ro", {"--augment.rotate"}),
    ("polyak train pho", {"photos/", "photons.csv"}),
    ("polyak train x --weights photon", {"photons.csv"}),
    ("polyak evaluate runs/a phot", {"photos/", "photons.csv"}),
    ("polyak evaluate runs/a x --split ", {"train", "val", "test"}),
    ("polyak predict m photos phot", {"photos/", "photons.csv"}),
    ("polyak report runs/a --language k", {"ko"}),
    ("polyak train x --resume --na", {"--name"}),
    ("polyak race --precision b", {"bfloat16"}),
    ("polyak race --seeds ", set()),
    ("polyak --completion f", {"fish"}),
]


@pytest.mark.parametrize(("line", "said"), LINES)
def test_bash_offers(line, said, offered):
    assert offered(line) == said


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("line", "said"), LINES)
def test_fish_offers_the_same(line, said, installed, offered, tmp_path):
    (installed / "script.fish").write_text(script("fish"))
    ask = f"source {installed}/script.fish; complete -C '{line}'"
    places = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    run = ["fish", "--no-config", "-c", ask]
    told = subprocess.run(
        run, capture_output=True, text=True, cwd=tmp_path, timeout=60, env=os.environ | places
    )
    found = {word.split("\t")[0].strip() for word in told.stdout.split("\n") if word.strip()}
    assert found == said


@pytest.mark.parametrize("verb", VERBS)
def test_bash_offers_every_option_of_a_verb(verb, offered):
    options = {flag(name) for name, (_, alone) in taken(kind_of(verb)).items() if not alone}
    found = {word for word in offered(f"polyak {verb} --") if "." not in word}
    assert found == options | {"--help"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_theirs(shell, tmp_path):
    text = script(shell)
    assert "polyak" in text and "_ARGCOMPLETE" in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was looked at, not run")
    (tmp_path / "script").write_text(text)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=20)
