"""polyak from Python: the same work as the command line's, and the names that 0.1 showed."""

import json
import sys

import pytest

import polyak
from polyak.api import recipe_of
from polyak.errors import UsageError

SMALL = {"epochs": 1, "widths": (8, 8), "threads": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return polyak.train("digits", out=tmp_path_factory.mktemp("api"), quiet=True, **SMALL)


def test_a_run_knows_what_came_of_it(run):
    assert run.path.name == "digits" and run.report.is_file() and run.split == "test"
    last = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert run.figures.accuracy.value == last["evaluation"]["accuracy"]["value"]
    assert run.model().classes == tuple("0123456789")


def test_the_stream_gives_the_bytes_that_train_gives(run, tmp_path):
    events = list(polyak.stream("digits", out=tmp_path, **SMALL))
    assert [event.kind for event in events if event.kept] == ["start", "validation", "end"]
    again = (tmp_path / "digits/model.safetensors").read_bytes()
    assert again == (run.path / "model.safetensors").read_bytes()


def test_a_loaded_classifier_and_its_run_are_measured_alike(run):
    by_path = polyak.evaluate(run.path, "digits", "test")
    by_model = polyak.evaluate(run.model(), "digits", "test")
    assert by_path.accuracy == by_model.accuracy == run.figures.accuracy and by_path.n == 359


def test_a_recipe_goes_in_place_of_data_and_choices_change_it():
    recipe = polyak.Recipe(data="digits", epochs=3)
    assert recipe_of(recipe, {}) is recipe
    assert recipe_of(recipe, {"seed": 5}).seed == 5 and recipe_of(recipe, {"seed": 5}).epochs == 3


def test_an_unknown_choice_is_told_as_on_the_command_line():
    with pytest.raises(UsageError, match="did you mean"):
        polyak.train("digits", epoch=3, quiet=True)


def test_nothing_is_shown_where_quiet_is_asked(run, tmp_path, capsys):
    polyak.train("digits", out=tmp_path, quiet=True, **SMALL)
    assert capsys.readouterr().out == ""


def test_imports_of_0_1_work_for_one_version_and_say_so(tmp_path):
    with pytest.warns(FutureWarning, match="docs/migrate.md"):
        from polyak.train import make
    with pytest.warns(FutureWarning, match="polyak.stream"):
        from polyak.train import train
    *_, end = train(make(data="digits", out=str(tmp_path), **SMALL))
    assert end["kind"] == "end" and end["evaluation"]["n"] == 359
    with pytest.raises(AttributeError, match=r"polyak\.train has no 'conduct'"):
        sys.modules["polyak.train"].conduct  # noqa: B018
