"""Single operations changed by name: on the command line, in YAML."""

import pytest

from polyak.augment import Policy
from polyak.augment.change import changed
from polyak.errors import UsageError
from polyak.options import training
from polyak.recipe import make
from polyak.recipe.written import read, write


@pytest.mark.parametrize(
    ("text", "name", "value", "expected"),
    [
        ("flip", "rotate", "15", "flip | rotate(degrees=15)"),
        ("rotate(degrees=3)", "rotate", "-5..30", "rotate(degrees=-5..30)"),
        ("lens(k1=0.1, off=0.2)", "lens", "0.3", "lens(k1=0.3, off=0.2)"),
        ("lens(k1=0.1, off=0.2)", "lens", "k2=0.05, p=0.5",
         "lens(k1=0.1, off=0.2, k2=0.05, p=0.5)"),
        ("flip(p=alternate)", "flip", "0.5", "flip(p=0.5)"),
        ("grey(p=0.1) | flip", "grey", "off", "flip"),
        ("shift(by=0.1, on=small) | shift(by=0.2)", "shift", "0.05",
         "shift(by=0.05, on=small) | shift(by=0.05)"),
        ("none", "hole", "area=0.1", "hole(area=0.1)"),
    ],
)  # fmt: skip
def test_an_operation_is_changed_or_added(text, name, value, expected):
    assert str(changed(Policy.parse(text), name, value)) == expected


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("rotat", "15", "did you mean --augment.rotate?"),
        ("rotate", "400", "400 is outside -360 to 360"),
        ("zoom", "-1", "-1 is outside 0 to 10"),
        ("flip", "2", "2.0 is not a probability from 0 to 1"),
        ("lens", "k3=0.1", "did you mean k"),
        ("crop", "scale=much", "much is no number or range"),
        ("rotate", "1..2..3", "no number or range"),
        ("flip", "p=0.5) | hole(", "cannot read"),
    ],
)
def test_mistakes_are_told_with_what_is_near_or_allowed(name, value, line):
    with pytest.raises(UsageError) as told:
        changed(Policy.named("light"), name, value)
    assert line in str(told.value)


def test_on_the_command_line():
    recipe, _ = training(
        ["digits", "--augment.rotate", "-4..9", "--augment=none", "--augment.flip=1"]
    )
    assert recipe.augment == "rotate(degrees=-4..9) | flip"
    recipe, _ = training(["digits", "--augment.flip", "off", "--epochs", "2"])
    assert recipe.augment == str(changed(Policy.named("light"), "flip", "off"))
    with pytest.raises(UsageError, match=r"no value: --augment\.zoom"):
        training(["digits", "--augment.zoom"])


def test_in_yaml_and_on_top_of_it(tmp_path):
    page = tmp_path / "r.yaml"
    page.write_text("data: digits\naugment: flip\naugment.rotate: 15\n")
    recipe = make(**read(page))
    assert recipe.augment == "flip | rotate(degrees=15)"
    page.write_text(write(recipe, {}))
    recipe, _ = training(["--config", str(page), "--augment.rotate", "3"])
    assert recipe.augment == "flip | rotate(degrees=3)"
    page.write_text("data: digits\naugment: flip | grey\naugment.flip: off\n")
    assert make(**read(page)).augment == "grey"
