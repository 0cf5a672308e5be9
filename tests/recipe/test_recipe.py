import pytest
import yaml

from polyak import files
from polyak.errors import UsageError
from polyak.recipe import duration, written
from polyak.recipe import recipe as recipes


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2", 120), (" 15 m ", 900)]
)
def test_durations(text, value):
    assert duration.seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "-3m", "1e3s", "9s", "10 minutes", "nan", "99999999h"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="write 90s, 10m or 2h"):
        duration.seconds(text)


def test_a_recipe_written_reads_back(tmp_path):
    first = recipes.make(
        data="고양이 & co: #1", learning_rate=1e-5, widths=(8, 16), budget="10m", weights="a\nb"
    )
    page = written.write(first, {"learning_rate": "because", "weights": "two\nlines"})
    (tmp_path / "config.yaml").write_text(page)
    assert recipes.make(**written.read(tmp_path / "config.yaml")) == first
    assert "# because" in page


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path):
    (tmp_path / "r.yaml").write_text("learning_rate: 1e-3\nepochs: 1.0e1\n")
    recipe = recipes.make(**written.read(tmp_path / "r.yaml"))
    assert (recipe.learning_rate, recipe.epochs) == (0.001, 10)


def test_a_page_as_large_as_a_book_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_text("# " + "x" * files.LARGEST_YAML)
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        written.read(tmp_path / "r.yaml")


def test_a_page_nested_deep_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_text("[" * 100_000)
    with pytest.raises(UsageError):
        written.read(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    "choice",
    [
        {"epochs": float("inf")}, {"val": 0}, {"val": 1}, {"average": 1}, {"seed": -1},
        {"batch_size": 1}, {"label_smoothing": 1}, {"optimizer": "adamm"}, {"threads": 0},
        {"mix_alpha": 0}, {"mix": "mixupp"},
    ],
)  # fmt: skip
def test_impossible_choices_are_named(choice):
    (name,) = choice
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        recipes.make(data="digits", **choice)


def test_yaml_of_defaults_is_plain():
    page = yaml.safe_load(written.write(recipes.make(data="digits"), {}))
    assert page["data"] == "digits"
    assert set(page) == set(recipes.Recipe.model_fields)
