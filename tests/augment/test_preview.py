"""The sheet of looks: what its captions say is what was drawn."""

import numpy as np
import pytest
from PIL import Image

from polyak import cli
from polyak.augment import Policy
from polyak.augment.describe import describe
from polyak.augment.preview import sheet

CALL = {"size": (40, 40), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def words(text, shape=(40, 40)):
    return describe(Policy.parse(text).plan(0, 0, [0], [shape], **CALL)[0], **CALL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", []),
        ("flip", ["mirrored"]),
        ("rotate(degrees=-17..-17)", ["turned -17\N{DEGREE SIGN}"]),
        ("flip | rotate(degrees=20..20)", ["mirrored", "turned 20\N{DEGREE SIGN}"]),
        ("vflip", ["mirrored", "turned 180\N{DEGREE SIGN}"]),
        ("zoom(by=2..2)", ["shows 25%"]),
        ("stretch(by=1.5..1.5)", ["stretched 1.50"]),
        ("crop(scale=0.5, ratio=1)", ["shows 50%"]),
        ("brightness(by=0.5..0.5)", ["light x0.50"]),
        ("saturation(by=0.3..0.3)", ["colour x0.30"]),
        ("hue(degrees=30..30)", ["hue +30\N{DEGREE SIGN}"]),
        ("grey", ["grey"]),
        ("hole(area=0.25, ratio=1)", ["hole 25%"]),
        ("lens(k1=0.2..0.2, off=0)", ["lens +0.20"]),
        ("fisheye(by=0.5..0.5)", ["fisheye +0.50"]),
        ("equalize | posterize(bits=4..4)", ["equalized", "4 bits"]),
        ("autocontrast", ["autocontrast"]),
        ("sharpness(by=2..2)", ["sharpness x2.00"]),
        ("solarize(level=128..128)", ["inverted from 128"]),
    ],
)
def test_a_row_in_words(text, expected):
    assert words(text) == expected


def test_shear_and_light_are_told_from_each_other():
    assert "sheared" in " ".join(words("shear(degrees=8..8)"))
    told = words("brightness(by=1.2..1.2) | contrast(by=0.5..0.5)")
    assert told[0] == "light x0.60" and told[1].startswith("lift +")


def test_the_sheet_shows_the_original_and_is_a_function_of_the_seed():
    image = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    how = [image], ["noise"], Policy.named("strong"), (96, 96)
    one, again, other = (np.asarray(sheet(*how, seed=seed)) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    rows = [(one[top : top + 192, 14 : 14 + 192] == image).all() for top in range(40, 100)]
    assert sum(rows) == 1


def test_the_verb_writes_an_image_and_nothing_else(tiny_folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    asked = [
        "augment",
        str(tiny_folder),
        "--policy",
        "lecture",
        "--images",
        "3",
        "--out",
        str(out),
    ]
    assert cli.main(asked) == 0
    assert "3 images" in capsys.readouterr().out
    with Image.open(out) as page:
        assert page.format == "PNG"
    assert list(tmp_path.iterdir()) == [out]
    first = out.read_bytes()
    assert cli.main(asked) == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("more", "code", "line"),
    [
        (["--policy", "lectur"], 64, "no such operation: lectur"),
        (["--out", "a.gif"], 64, "unknown kind of image"),
        (["--epochs", "0"], 64, "impossible --epochs"),
        (["--size", "5"], 64, "impossible --size"),
        (["--out", "/nowhere/at/all.png"], 74, "cannot write"),
    ],
)
def test_mistakes_get_a_line(tiny_folder, capsys, more, code, line):
    assert cli.main(["augment", str(tiny_folder), *more]) == code
    assert line in capsys.readouterr().err


def test_images_that_cannot_be_read_are_passed_over(tiny_folder, tmp_path, capsys):
    folder = tmp_path / "data/a"
    folder.mkdir(parents=True)
    good = next(tiny_folder.rglob("*.jpg")).read_bytes()
    (folder / "good.jpg").write_bytes(good)
    (folder / "half.jpg").write_bytes(good[: len(good) // 2] + b"\xff\xd9")
    (tmp_path / "data/b").mkdir()
    (tmp_path / "data/b/good.jpg").write_bytes(good)
    out = tmp_path / "sheet.jpg"
    assert cli.main(["augment", str(tmp_path / "data"), "--out", str(out)]) == 0
    assert "2 images" in capsys.readouterr().out


def test_the_options_of_0_1_are_taken_and_told(tiny_folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    words = ["augment", str(tiny_folder), "--out", str(out), "--pictures", "2", "--looks=1"]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert "2 images, 1 epoch each" in said.out
    assert "--pictures is called --images now" in said.err
    assert "--looks is called --epochs now" in said.err
