"""Options that have a better name now: the old one works for one version, in files for ever."""

import json

from polyak import options
from polyak.recipe import make
from polyak.recipe.names import RENAMED
from polyak.recipe.recipe import Recipe
from polyak.rundir import resume


def test_old_names_are_no_names_of_today_and_new_ones_are():
    assert not set(RENAMED) & set(Recipe.model_fields)
    assert set(RENAMED.values()) <= set(Recipe.model_fields)


def test_an_old_option_is_taken_and_told(capsys):
    recipe, _ = options.training(["digits", "--pull", "0.25"])
    assert recipe.l2_sp == 0.25
    assert capsys.readouterr().err.startswith("polyak: note: --pull is called --l2-sp now")
    assert options.training(["digits", "--pull=0.5"])[0].l2_sp == 0.5
    capsys.readouterr()
    assert options.training(["digits", "--l2-sp", "0.5"])[0].l2_sp == 0.5
    assert capsys.readouterr().err == ""


def test_files_of_0_1_read_as_they_did(tmp_path):
    assert make(data="digits", pull=0.125).l2_sp == 0.125
    (tmp_path / "config.yaml").write_text("data: digits\nweights: null\npull: 0.125\n")
    assert resume.recipe(tmp_path).l2_sp == 0.125
    (tmp_path / "env.json").write_text(json.dumps({"asked": {"data": "digits", "pull": 0.125}}))
    assert resume.choices(tmp_path) == {"data": "digits", "l2_sp": 0.125}
