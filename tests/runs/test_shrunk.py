"""Large JPEGs are shrunk while they are decoded: kept or not, trained on or evaluated, the same."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from jobs import results, run
from polyak import model
from polyak.data.images import Images
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.decoding.decode import min_size_for
from polyak.networks.build import build, pretrained_config
from polyak.networks.preprocessing import preprocessing
from polyak.recipe import decode_size as sizes
from polyak.recipe import make
from polyak.recipe.decode_size import decode_size


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory):
    """Two classes of 10 JPEG images of 520x600: smooth noise, dark above or below."""
    folder = tmp_path_factory.mktemp("large")
    for label in range(2):
        (folder / f"class {label}").mkdir()
        for number in range(10):
            noise = np.random.default_rng([label, number]).integers(0, 256, (13, 15, 3), np.uint8)
            noise[: 6 if label else 3] //= 3
            image = Image.fromarray(noise).resize((600, 520), Image.Resampling.BICUBIC)
            image.save(folder / f"class {label}" / f"{number}.jpg", quality=90)
    return folder


def test_neither_memory_nor_the_verb_changes_a_number(job, large_folder, tmp_path):
    choices = {"data": str(large_folder), "epochs": 2, "batch_size": 4, "augment": "lecture"}
    end = run(job(**choices))
    run(job(**choices, name="streamed", memory=1e-9))
    kept, streamed = (results(tmp_path / "runs" / name) for name in ("job", "streamed"))
    assert kept == streamed
    found = model.load(tmp_path / "runs/job").evaluate(_held_out(large_folder, tmp_path))
    assert found.accuracy.value == end["evaluation"]["accuracy"]["value"]
    assert found.nll.value == pytest.approx(end["evaluation"]["nll"]["value"], rel=1e-6)


def _held_out(folder, tmp_path):
    """The validation part of the run, as a CSV beside the images."""
    lines = (tmp_path / "runs/job/split.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    path, split = rows[0].index("path"), rows[0].index("split")
    chosen = [row[path] for row in rows[1:] if row[split] == "val"]
    assert chosen
    table = folder / "val.csv"
    text = [f"{name},{name.split('/')[0]}" for name in chosen]
    table.write_text("\n".join(["path,label", *text]) + "\n")
    return str(table)


def test_images_are_decoded_no_larger_than_the_network_needs(large_folder):
    data = scan(find(str(large_folder)))
    assert decode_size(make(data="x", size=16, model="compact"), data) == (256, 256)
    images = Images.open(data, min_size=min_size_for((16, 16)))
    assert (images.sizes == (260, 300)).all() and images[0].shape == (260, 300, 3)
    # 672 pixels are wanted: at 1/2 there would be only 260
    assert (Images.open(data, min_size=min_size_for((224, 224))).sizes == (520, 600)).all()


def test_weights_say_how_much_they_need(large_folder):
    data = scan(find(str(large_folder)))
    asked = make(data="x", weights="hub", model="mobilenetv2_100")
    assert decode_size(asked, data) == min_size_for((224, 224))


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto.d2_in1k", "vit_tiny_patch16_384"])
def test_a_page_says_what_the_network_would(name):
    assert preprocessing(pretrained_config(name)) == preprocessing(build(name, 2))


def test_a_first_pass_does_not_wait_for_the_compiler(large_folder, tmp_path):
    name = "mobilenetv3_small_050"
    save_file(build(name, 7).state_dict(), tmp_path / f"{name}.safetensors")
    typed = ["train", str(large_folder), "--weights", str(tmp_path / f"{name}.safetensors")]
    typed += ["--transfer", "linear", "--threads", "1", "--out", str(tmp_path / "runs")]
    code = f"import sys\nfrom polyak import cli\nassert cli.main({typed}) == 0\n"
    code += "assert 'timm' in sys.modules\nassert 'torch._dynamo' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_small_images_cost_no_look_at_the_network(tiny_folder, monkeypatch):
    monkeypatch.setattr(sizes, "model_of", None)
    assert decode_size(make(data="x"), scan(find(str(tiny_folder)))) is None
