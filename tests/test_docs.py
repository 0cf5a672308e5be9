"""Every command and every example of the documentation runs as printed, on small data.

What takes too long is read by the command line all the same, and ONLY_READ says why.
"""

import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from polyak import cli
from polyak.errors import UsageError
from polyak.options import flag, parse, taken, training
from polyak.recipe.duration import seconds
from polyak.verbs import VERBS
from polyak.verbs.completion import Options, kind_of
from reader import NAMES, desk, shelf, things  # noqa: F401  (fixtures)

HOUSE = Path(__file__).parent.parent
PAGES = [HOUSE / name for name in ("README.md", "README.ko.md", "CONTRIBUTING.md")]
PAGES += sorted((HOUSE / "docs").rglob("*.md"))
ONLY_READ = {  # how a command begins, or what is in it: why it does not run here
    "--budget": "its budget is minutes",
    "polyak plan": "five minutes; tests/planning/test_plan.py runs it for less",
    "polyak clean": "needs weights, and 12 pixels are too few; tests/test_clean_verb.py runs it",
    "--final soup": "tunes five times, from weights; tests/runs/test_folds.py runs it",
    "--steps 300": "13,500 steps; tests/race/test_contest.py runs fewer",
    "torchrun": "starts processes; tests/training/test_distributed.py does",
    "--to hf": "timm has no twin of the reader's small network; tests/export/test_hub.py runs it",
    "pip ": "installs; CI installs what it names",
    "scripts/": "installs; CI runs it",
    ".venv/bin/": "the tools of a checkout; CI runs them",
}


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, the line that it begins at."""

    page: Path
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Cut the fenced blocks out of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, f[1], f[2], text[: f.start()].count("\n") + 2) for f in found]


BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language in ("", "sh")]
PYTHON = [block for block in BLOCKS if block.language == "python" and ">>> " not in block.text]
EXAMPLES = [block for block in BLOCKS if ">>> " in block.text]
TEXT = [block for block in BLOCKS if block.language == "text"]


def helped() -> dict[str, str]:
    """Give the examples that the command line itself prints: verb -> the lines that show them."""
    told = {verb: kind_of(verb).__doc__ for verb in VERBS} | {"": cli.HELP}
    told["--completion"] = Options.__doc__
    return {verb: re.split("Examples?:|First steps:", text)[-1] for verb, text in told.items()}


def commands(text: str) -> list[str]:
    """List the commands of a shell block, comments and redirections left out."""
    parts = re.split(r"&&|\n", re.sub(r"(^|\s)#.*", "", text))
    return [part.split(" > ")[0].strip() for part in parts if part.strip()]


COMMANDS = sorted(
    {one for block in SHELL for one in commands(block.text)}
    | {one for text in helped().values() for one in commands(text)}
)
RUN = [one for one in COMMANDS if not any(part in one for part in ONLY_READ)]
READ = [one for one in COMMANDS if one not in RUN]


def words(command: str) -> list[str]:
    """Split a command as a shell does; names in capitals become the reader's."""
    found = [NAMES.get(word, word) for word in shlex.split(command)]
    globbed = (sorted(map(str, Path().glob(word))) if "*" in word else [] for word in found)
    return [name for word, names in zip(found, globbed, strict=True) for name in names or [word]]


def read(arguments: list[str]) -> None:
    """Let the command line read what stands after `polyak`, and do nothing of it."""
    verb, *rest = arguments
    if verb == "train":
        training(rest)
        return
    options = parse(kind_of(verb), rest, f"polyak {verb}")
    if budget := getattr(options, "budget", None):
        seconds(budget)


def test_every_block_is_of_a_kind_that_is_tested():
    assert len(SHELL) + len(PYTHON) + len(EXAMPLES) + len(TEXT) == len(BLOCKS) > 30
    assert [block for block in TEXT if "polyak " in block.text] == []
    for block in EXAMPLES:  # pytest runs these itself: --doctest-glob
        assert block.page.is_relative_to(HOUSE / "docs")
    assert all(any(part in one for one in READ) for part in ONLY_READ), "no reason without a case"


@pytest.mark.filterwarnings("ignore")  # of timm's and of torch's about small data
@pytest.mark.parametrize("command", RUN)
def test_a_command_runs_as_printed(command, desk, capsys):  # noqa: F811
    name, *arguments = words(command)
    assert name == "polyak"
    assert cli.main(arguments) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", READ)
def test_a_command_that_takes_too_long_is_read(command, desk):  # noqa: F811
    name, *arguments = words(command)
    if name == "pip":
        extras = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
        asked = set(re.findall(r"polyak\[(\w+)\]", command))
        assert asked <= set(extras["optional-dependencies"])
        assert asked or command == "pip install ."
    elif "/" in name:
        paths = [HOUSE / word for word in (name, *arguments) if "/" in word and ".venv" not in word]
        assert all(path.exists() for path in paths)
    else:
        start = words(command).index("polyak")  # torchrun ... -m polyak ...
        read(words(command)[start + 1 :])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}), ids=lambda p: p.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, desk):  # noqa: F811
    world = things(str(page))
    for block in PYTHON:
        if block.page == page:
            file = desk / f"line_{block.line}.py"  # a file: a rule's own source is read back
            text = block.text.replace('budget="10m"', 'epochs=1, model="compact"')
            file.write_text(text)
            exec(compile(text, str(file), "exec"), world)


@pytest.mark.parametrize("verb", [*VERBS, "--completion"])
def test_help_shows_the_examples(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert commands(helped()[verb])
    for one in commands(helped()[verb]):
        assert " ".join(one.split()) in said


def spans() -> list[tuple[Path, str]]:
    """List what stands between single backticks on the pages, outside of blocks."""
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        found += [(page, " ".join(span.split())) for span in re.findall(r"`([^`]+)`", text)]
    return found


INLINE = sorted({span for _, span in spans() if re.match(r"polyak (?!VERB|COMMAND|--)\w", span)})


@pytest.mark.parametrize("command", INLINE)
def test_a_command_in_a_sentence_is_read(command):
    arguments = words(command.replace("...", "").replace(" --seed S", " --seed 1"))[1:]
    arguments = [word.split("|")[0] for word in arguments]  # one of several to choose from
    assert arguments[0] in VERBS
    if len(arguments) > 1 and "--help" not in arguments:
        read(arguments)


def test_an_option_in_a_sentence_exists():
    files = [*(HOUSE / "benchmarks").glob("*.py"), HOUSE / "tests/same_bytes.py"]
    scripts = "".join(file.read_text() for file in files)
    known = {flag(name) for verb in VERBS for name in taken(kind_of(verb))}
    known |= {"--help", "--version", "--completion"} | set(re.findall(r'"(--[a-z\d-]+)"', scripts))
    named = {
        (page.name, word) for page, span in spans() for word in re.findall(r"--[a-z\d-]+", span)
    }
    foreign = {"--nproc-per-node", "--doctest-glob", "--index-url"}  # torchrun's, pytest's, pip's
    assert {(page, word) for page, word in named if word not in known | foreign} == set()


def test_what_is_wrong_would_be_seen(desk):  # noqa: F811
    with pytest.raises(UsageError, match="did you mean --budget"):
        read(["train", "photos", "--buget", "10m"])
    with pytest.raises(UsageError, match="duration"):
        read(["train", "photos", "--budget", "soon"])
    assert commands("polyak a  # b\nmake c && d > e\n# f\n") == ["polyak a", "make c", "d"]
