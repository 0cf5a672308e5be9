"""What is too large is left out with what to type, and taken when that is typed, on every road."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import classifiers
from jobs import results
from polyak import cli
from polyak.data import Images, find, scan
from polyak.decoding.decode import decode
from polyak.decoding.unreadable import MOST_PIXELS, Unreadable, check_pixels, pixel_count
from polyak.errors import RefusedError, UsageError
from polyak.export.facts import inputs
from polyak.model import Classifier, join, load, save
from polyak.networks import Compact
from polyak.networks.preprocessing import Preprocessing
from polyak.planning.result import command
from polyak.race import sheet
from polyak.recipe import make
from polyak.transfer import Settings, extract
from samples import FORMATS, encoded, scene

LARGE = "a/large.png"  # 1.1 megapixels, of a data set whose other images are small


@pytest.fixture
def photos(tmp_path):
    """Two classes of eight small images, and one of 1.1 megapixels."""
    for number in range(16):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(scene(24, 24, number), "PNG"))
    (tmp_path / "photos" / LARGE).write_bytes(encoded(scene(1000, 1100), "PNG"))
    return tmp_path / "photos"


@pytest.fixture
def run(photos, tmp_path, train):
    code, out, error = train(photos, "--name", "large", "--max-pixels", "2M")
    assert code == 0, error
    assert "17 files found = 17 used + 0 left out" in out
    return tmp_path / "runs/large"


def typed(capsys, *words):
    """Type a command; give its exit code and all that it said."""
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, re.sub(r"\s+", " ", said.out + said.err)


def test_a_refused_image_says_what_to_type():
    with pytest.raises(Unreadable, match=r"^12000x9000 pixels, more .* 64M: --max-pixels 108M "):
        check_pixels((9000, 12000), 64_000_000)
    with pytest.raises(Unreadable, match="--max-pixels 109M"):
        check_pixels((9001, 12000), 64_000_000)
    check_pixels((9001, 12000), pixel_count("109M"))
    with pytest.raises(Unreadable, match="beyond which nothing is drawn"):
        check_pixels((1, MOST_PIXELS + 1), 10**12)


@pytest.mark.parametrize("text", ["0", "-5", "many", "0.1", "12T", "", "1e9", "9" * 400])
def test_what_is_no_number_of_pixels_is_refused_in_a_line(text):
    with pytest.raises(UsageError, match=r"max-pixels.*write 120M"):
        make(max_pixels=text)


def test_numbers_of_pixels_are_kept_as_people_type_them():
    assert make(max_pixels=90_000_000).max_pixels == make(max_pixels="90M").max_pixels == "90M"
    assert make(max_pixels="0.2g").pixel_cap == 200_000_000
    assert make(max_pixels="1234567").pixel_cap == 1_234_567
    assert (make().max_pixels, make(max_pixels="1G").pixel_cap) == ("64M", 10**9)


@pytest.mark.parametrize("kind", FORMATS)
def test_no_cap_of_pillow_stands_in_the_way(kind, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # an error from twice as many
    data = encoded(scene(1100, 1000), kind)
    assert decode(data, pixel_cap=1_100_000).shape == (1100, 1000, 3)
    assert not recwarn.list


def test_training_leaves_out_and_takes_large_images(photos, train, tmp_path, capsys):
    code, out, _ = train(photos, "--name", "small", "--max-pixels", "1M")
    assert code == 0 and "17 files found = 16 used + 1 left out" in out
    left_out = (tmp_path / "runs/small/quarantine.csv").read_text()
    assert "1100x1000 pixels, more than the cap of 1M: --max-pixels 2M takes it" in left_out


def test_the_run_keeps_it_for_a_resume_and_the_model_does_not(run, photos, tmp_path, capsys):
    assert yaml.safe_load((run / "config.yaml").read_text())["max_pixels"] == "2M"
    assert b"max_pixels" not in (run / "model.safetensors").read_bytes()[:20_000]
    before = results(run)
    for name in ("metrics.jsonl", "model.safetensors"):
        (run / name).unlink()
    assert cli.main(["train", "--resume", "--out", str(tmp_path / "runs")]) == 0
    assert results(run) == before


def test_a_run_of_before_reads_as_it_did(run, photos, tmp_path):
    file = run / "config.yaml"
    lines = [line for line in file.read_text().splitlines(True) if "max_pixels" not in line]
    file.write_text("".join(lines))
    before = results(run)
    for name in ("metrics.jsonl", "model.safetensors"):
        (run / name).unlink()
    assert cli.main(["train", "--resume", "--out", str(tmp_path / "runs")]) == 0
    assert results(run) == before  # of which no image had more than 64 megapixels


def test_a_model_judges_large_images_as_its_run_did(run, photos, tmp_path, capsys):
    large, told = photos / LARGE, "1100x1000 pixels, more than the cap of 1M: --max-pixels 2M"
    code, said = typed(capsys, "predict", run, large, "--format", "csv", "--max-pixels", "1M")
    assert code == 65 and told in said
    assert typed(capsys, "predict", run, large)[0] == 0
    code, said = typed(capsys, "evaluate", run, photos, "--split", "train", "--max-pixels", "1M")
    assert code == 0 and "1 unreadable" in said
    assert "unreadable" not in typed(capsys, "evaluate", run, photos, "--split", "train")[1]
    low = run / "config.yaml"
    low.write_text(low.read_text().replace("max_pixels: 2M", "max_pixels: 1M"))
    assert told in typed(capsys, "predict", run, large)[1]
    assert typed(capsys, "predict", run / "model.safetensors", large)[0] == 0


def test_every_verb_takes_it(run, photos, tmp_path, capsys):
    told = "--max-pixels 2M takes it"
    code, said = typed(capsys, "doctor", photos, "--max-pixels", "1M")
    assert code == 0 and "16 used + 1 left out" in said and told in said
    assert "17 used + 0 left out" in typed(capsys, "doctor", photos)[1]
    out = tmp_path / "sheet.png"
    for most, count in (("1M", 16), ("2M", 17)):
        how = "--images", 20, "--epochs", 1, "--out", out, "--max-pixels", most
        assert f"{count} images" in typed(capsys, "augment", photos, *how)[1]
    how = "--data", photos / "a", "--to", "torch-export", "--out", tmp_path / "model.pt2"
    code, said = typed(capsys, "export", run, *how, "--max-pixels", "1M")
    assert code == 0 and "8 images" in said
    joined = tmp_path / "joined.safetensors"
    how = "--out", joined, "--data", photos, "--split", "train", "--max-pixels", "1M"
    assert "1 unreadable" in typed(capsys, "ensemble", run, run, *how)[1]


def test_commands_that_are_recommended_name_it():
    verdict = SimpleNamespace(best="sgd", no_difference=[], worse=["adam"])
    for most, named in (("90M", True), ("64M", False)):
        recipe = make(data="photos", model="compact", max_pixels=most)
        assert ("--max-pixels 90M" in command(recipe, "few")) == named
        contest = SimpleNamespace(rounds=lambda: [1, 2], rates={"sgd": 0.1}, recipe=recipe)
        assert ("photos --max-pixels 90M" in sheet._next(contest, verdict)) == named


def test_a_race_takes_it(photos, tmp_path, capsys):
    how = "--steps", 2, "--seeds", 2, "--optimizers", "sgd,adam", "--sweep", "1", "--threads", 1
    code, said = typed(capsys, "race", photos, *how, "--max-pixels", "1M", "--out", tmp_path)
    assert code == 0 and "16 used + 1 left out" in said


def test_a_page_of_a_run_shows_what_it_took(run, capsys):
    assert typed(capsys, "report", run)[0] == 0
    shown = (run / "report.html").read_text().count("data:image/jpeg")
    low = run / "config.yaml"
    low.write_text(low.read_text().replace("max_pixels: 2M", "max_pixels: 1M"))
    assert typed(capsys, "report", run)[0] == 0
    assert (run / "report.html").read_text().count("data:image/jpeg") < shown


@pytest.fixture
def scans(tmp_path):
    """Two classes of 16-bit images that use 12 bits: what tells them apart is below 8 of 16."""
    draw = np.random.default_rng(0)
    for number in range(40):
        levels = draw.integers(0, 100, (24, 24)).astype(np.uint16)
        levels[:, 12 * (number % 2) :][:, :12] += 120  # 0.5 of 256 levels, where 16 bits are taken
        levels[0, 0] = 4095 if number < 4 else levels[0, 0]
        file = tmp_path / "scans" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(file)
    return tmp_path / "scans"


def test_twelve_bits_are_scaled_alike_on_every_road(scans, tmp_path, train, capsys):
    code, out, _ = train(scans, "--name", "deep", "--epochs", "8")
    assert code == 0 and "above 4,095: they are scaled by 12 bits" in re.sub(r"\s+", " ", out)
    run = tmp_path / "runs/deep"
    model = load(run)
    assert model.preprocessing.bits == 12 and model.header["format"] == 3
    # one image alone cannot tell: it is read as the training data were
    alone = scans / "a/20.png"
    assert model.opened([alone])[0].max() == 14
    whole = model.predict(scans).probabilities
    names = sorted(scans.rglob("*.png"), key=lambda file: (file.parent, int(file.stem)))
    one = model.predict(alone).probabilities[0]
    assert np.allclose(whole[names.index(alone)], one, atol=1e-6)
    found = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    said = model.evaluate(str(scans), "val")
    assert said.accuracy.value == found["evaluation"]["accuracy"]["value"]
    assert said.nll.value == pytest.approx(found["evaluation"]["nll"]["value"], abs=1e-5)
    before = results(run)
    for name in ("metrics.jsonl", "model.safetensors"):
        (run / name).unlink()
    assert cli.main(["train", "--resume", "--out", str(tmp_path / "runs")]) == 0
    assert results(run) == before


def saved(file, bits):
    """Write the file of a classifier that scales 16-bit images by some bits; load it again."""
    one = classifiers.made(classes=("a", "b"), seed=bits)
    member = one.members[0]
    page = member.preprocessing._replace(bits=bits)
    one = Classifier([replace(member, preprocessing=page)], one.classes)
    save(file, {"weights": member.network.state_dict()}, one, "weights")
    return load(file)


def test_files_of_sixteen_bits_are_the_same_as_ever(tmp_path):
    old = saved(tmp_path / "16.safetensors", 16)
    assert old.header["format"] == 1 and "bits" not in old.header["preprocessing"]
    assert old.preprocessing.bits == 16
    new = saved(tmp_path / "12.safetensors", 12)
    assert "16-bit" not in inputs(old)[0] and inputs(new)[0].endswith("times 255 / 4095")
    assert (new.header["format"], new.preprocessing.bits) == (3, 12)


@pytest.mark.parametrize("bits", [7, 17, "12", None])
def test_a_model_file_with_impossible_bits_is_refused(bits, tmp_path, monkeypatch):
    facts = Preprocessing.as_facts
    monkeypatch.setattr(Preprocessing, "as_facts", lambda page: facts(page) | {"bits": bits})
    with pytest.raises(RefusedError, match="bits"):
        saved(tmp_path / "model.safetensors", 12)


def test_members_of_different_bits_each_see_their_own(scans, tmp_path):
    one, other = (saved(tmp_path / f"{bits}.safetensors", bits) for bits in (12, 16))
    whole = join([one, other])
    alone = [m.log_probabilities(m.opened([scans / "a/20.png"]))[0][0] for m in (one, other)]
    both, _ = whole.log_probabilities(whole.opened([scans / "a/20.png"]))
    assert np.allclose(both, alone, atol=1e-6) and whole.pixel_cap == one.pixel_cap
    assert not np.allclose(*alone, atol=1e-6)
    save(tmp_path / "whole.safetensors", {}, whole, "members")
    again = load(tmp_path / "whole.safetensors")
    assert again.header["format"] == 3
    assert [member.preprocessing.bits for member in again.members] == [12, 16]


def test_remembered_features_of_other_bits_are_others(scans, tmp_path):
    data = scan(find(scans))
    page = Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3, 1.0)
    network = Compact(2, (16, 16), (4, 6)).eval()
    network.whiten(torch.rand(64, 3, 16, 16))
    images, tables = Images.open(data), []
    for bits in (16, data.bits):
        how = {"settings": Settings(folder=tmp_path / "features")}
        found = extract(network, images, page._replace(bits=bits), data.digests, **how)
        assert not found.cached
        tables.append(np.array(found.of(["head"])))
    assert not np.allclose(*tables)
    assert extract(network, images, page, data.digests, **how).cached


def test_a_preview_shows_the_scale_of_the_set(scans, tmp_path, capsys):
    from polyak.verbs.augment import chosen

    images, _ = chosen(scan(find(scans)), 40, 0)
    assert max(image.max() for image in images) == 255
    assert min(image.max() for image in images) < 15
