"""What lies in a run directory may be damaged: each file gets its line and its code, never 70."""

import json
import shutil
from pathlib import Path

import pytest

from jobs import listed, run, steps
from polyak import cli
from polyak.train import make
from typed import FAST

PAGES = {
    "empty": "",
    "list": "- a\n- b\n",
    "binary": b"\x00\xff\xfe" * 99,
    "not UTF-8": b"model: \xff\xfe\n",
    "text": "hello",
    "number": "7",
    "unknown option": "modle: compact\n",
    "wrong type": "epochs: [1, 2]\n",
    "impossible": "epochs: -3\n",
    "huge": "batch_size: 1" + "0" * 5000 + "\n",
    "nested": "a: " + "[" * 5000 + "\n",
    "aliases": "a: &a [x]\nb: [*a, *a]\n",
    "no such day": "epochs: 2001-99-99\n",
    "no such bytes": "epochs: !!binary 'a'\n",
    "python": "epochs: !!python/object/apply:os.system ['true']\n",
    "number of a key": "1: 2\n",
    "keys that are lists": "? [a, b]\n: 1\n",
    "two pages": "a: 1\n---\nb: 2\n",
    "large": "# " + "x" * (1 << 20),
}
FACTS = {
    "empty": "",
    "list": "[]",
    "deep": "[" * 10**5,
    "deep inside": '{"asked": ' + '{"a":' * 10**5,
    "binary": b"\x00\xff" * 99,
    "no data": {"data": None},
    "text for threads": {"threads": {"compute": "1", "loader": 1}},
    "a billion threads": {"threads": {"compute": 10**9, "loader": 1}},
    "no thread": {"threads": {"compute": 0, "loader": 1}},
    "more threads": {"threads": {"compute": 1, "loader": 1, "more": 1}},
    "list of threads": {"threads": [1, 1]},
    "another precision": {"precision": {"name": "int4", "reason": ""}},
    "no precision": {"precision": None},
}
RECORDS = {
    "binary": b"\x00\xff\xfe\n",
    "deep": "[" * 10**5 + "\n",
    "list": "[1, 2]\n",
    "kind of a list": '{"kind": []}\n',
    "no kind": "{}\n",
    "epoch of text": '{"kind": "validation", "epoch": "one"}\n',
    "progress of two": '{"kind": "validation", "epoch": 1, "progress": 2.0}\n',
    "endless rate": '{"kind": "validation", "epoch": 1, "learning_rate": 1e999}\n',
    "huge": '{"kind": "validation", "step": 1' + "0" * 5000 + "}\n",
    "note of a number": '{"kind": "note", "line": 3}\n',
    "end of texts": '{"kind": "end", "evaluation": "good", "seconds": "9"}\n',
    "end of lists": '{"kind": "end", "confused": [[1]]}\n',
    "end without a figure": '{"kind": "end", "table": [{"name": "a", "chosen": true}]}\n',
    "end at no temperature": '{"kind": "end", "temperature": 0}\n',
}


@pytest.fixture(scope="module")
def left(tiny_folder, tmp_path_factory):
    """A run that was left in the middle, and what its directory holds."""
    out = tmp_path_factory.mktemp("left")
    recipe = {
        "data": str(tiny_folder), "model": "compact", "widths": (8, 8), "epochs": 2, "size": 16,
        "batch_size": 16, "threads": 1, "save_every": 0, "val": 0.25, "out": str(out),
        "name": "job",
    }  # fmt: skip
    steps(make(**recipe), 5)
    return out / "job"


@pytest.fixture
def resumed(left, tmp_path, capsys):
    """Damage one file of a copy of the run, resume it: (exit code, the error line)."""

    def resume(name, content, extend=False):
        folder = tmp_path / "runs/job"
        if not folder.exists():
            shutil.copytree(left, folder)
        if isinstance(content, dict):
            content = json.dumps(json.loads((folder / name).read_text()) | content)
        content = content.encode() if isinstance(content, str) else content
        before = (folder / name).read_bytes() if extend else b""
        (folder / name).write_bytes(before + content)
        kept = listed(folder)
        code = cli.main(["train", "--resume", "--out", str(tmp_path / "runs"), "--name", "job"])
        said = capsys.readouterr()
        assert said.err.count("\n") == (code != 0), said.err
        assert code == 0 or listed(folder) | {"run.lock"} == kept | {"run.lock"}
        return code, said.err

    return resume


@pytest.mark.parametrize("case", PAGES)
def test_a_damaged_recipe_is_refused(resumed, case):
    code, line = resumed("config.yaml", PAGES[case])
    assert code == 76 and "config.yaml" in line and "--name" in line


@pytest.mark.parametrize("case", FACTS)
def test_damaged_facts_are_refused(resumed, case):
    code, line = resumed("env.json", FACTS[case])
    assert code == 76 and "env.json" in line


@pytest.mark.parametrize("case", RECORDS)
def test_damaged_records_are_refused_where_they_stand(resumed, case):
    code, line = resumed("metrics.jsonl", RECORDS[case], extend=True)
    assert code == 76 and "metrics.jsonl: " in line


def test_a_record_that_a_crash_cut_is_left_out(resumed, tmp_path):
    """Nor does it swallow the next one."""
    code, _ = resumed("metrics.jsonl", '{"kind": "validat', extend=True)
    lines = (tmp_path / "runs/job/metrics.jsonl").read_text().splitlines()
    assert code == 0 and [json.loads(line)["kind"] for line in lines].count("end") == 1


@pytest.mark.parametrize("case", RECORDS)
def test_the_page_of_damaged_records_is_refused(left, tmp_path, case, capsys):
    shutil.copytree(left, tmp_path / "job")
    content = RECORDS[case]
    content = content.encode() if isinstance(content, str) else content
    with (tmp_path / "job/metrics.jsonl").open("ab") as file:
        file.write(content)
    assert cli.main(["report", str(tmp_path / "job")]) == 76
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("case", PAGES)
def test_a_damaged_recipe_to_start_from_is_a_wrong_use(tiny_folder, tmp_path, case, capsys):
    content = PAGES[case]
    page = tmp_path / "mine.yaml"
    page.write_bytes(content.encode() if isinstance(content, str) else content)
    command = ["train", str(tiny_folder), *FAST, "--out", str(tmp_path), "--config", str(page)]
    assert cli.main(command) == 64
    assert capsys.readouterr().err.count("\n") == 1


def test_other_damaged_runs_do_not_stand_in_the_way(left, tmp_path, tiny_folder):
    """`--resume --name` asks for one run, and the others may be as they are."""
    for name, file, content in (
        ("job", None, b""), ("a", "metrics.jsonl", b"\xff\n"), ("b", "env.json", b"[" * 10**5),
    ):  # fmt: skip
        shutil.copytree(left, tmp_path / name)
        if file:
            (tmp_path / name / file).write_bytes(content)
    assert cli.main(["train", "--resume", "--out", str(tmp_path), "--name", "job"]) == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--batch-size", str(10**12)), ("--batch-size", str(10**30)), ("--threads", str(10**9)),
        ("--cycles", str(10**9), "--schedule", "sgdr"), ("--epochs", "1e300"),
    ],
)  # fmt: skip
def test_numbers_that_no_machine_has_are_a_wrong_use(tiny_folder, tmp_path, options, capsys):
    plain = ["train", str(tiny_folder), "--out", str(tmp_path)]
    assert cli.main([*plain, *options]) == 64
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())


class Allocator(RuntimeError):
    """As torch's: no MemoryError."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        Allocator("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        type("OutOfMemoryError", (RuntimeError,), {})(
            "CUDA out of memory. Tried to allocate 2 GiB"
        ),
    ],
)
def test_memory_that_does_not_suffice_is_one_line(
    tiny_folder, tmp_path, monkeypatch, error, capsys
):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("polyak.train.job.build", refuse)
    assert cli.main(["train", str(tiny_folder), *FAST, "--out", str(tmp_path)]) == 64
    assert "memory" in capsys.readouterr().err
    with pytest.raises(Exception, match="memory") as caught:
        run(make(data=str(tiny_folder), model="compact", out=str(tmp_path / "api")))
    assert caught.value.exit_code == 64


def test_a_finished_run_without_figures_is_told_and_one_of_before_is_shown(left, tmp_path, capsys):
    """A last record with less in it than today's."""
    shutil.copytree(left, tmp_path / "job")
    with Path(tmp_path / "job/metrics.jsonl").open("a") as file:
        file.write('{"kind": "end", "chosen": "average", "evaluation": null}\n')
    assert cli.main(["train", "--resume", "--out", str(tmp_path), "--name", "job"]) == 0
    assert "no pictures were held out" in capsys.readouterr().out
