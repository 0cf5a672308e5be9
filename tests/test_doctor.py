"""The doctor tells what is there, and what cannot be used, without training."""

import shutil

import pytest

from polyak import machine
from polyak.doctor import doctor
from polyak.errors import DataError, counted
from polyak.jobs.open import open_data, scan_data
from polyak.machine import Threads
from polyak.precision import Precision
from polyak.recipe import make
from polyak.recipe.machine import Machine


def told(*arguments, **options) -> dict[str, str]:
    """Map each line's first word to its text; repeated words are joined."""
    pages = {}
    for line in doctor(*arguments, **options):
        assert "\n" not in line
        name, text = line[:10].strip(), line[11:]
        pages[name] = f"{pages[name]} | {text}" if name in pages else text
    return pages


def test_the_machine_alone(tmp_path):
    page = told(None, out=str(tmp_path / "runs"))
    assert list(page) == [
        "machine", "memory", "software", "device", "threads", "precision", "disk",
    ]  # fmt: skip
    assert f", {counted(machine.cores(), 'core')}, " in page["machine"]
    assert "torch 2." in page["software"]
    assert page["precision"].startswith(("float32: ", "bfloat16: "))
    assert page["disk"].endswith(f"free for {tmp_path / 'runs'}")
    assert not (tmp_path / "runs").exists()


def test_what_falls_back_is_told(monkeypatch):
    monkeypatch.setattr("polyak.networks.zoo.obstacle", lambda: "torch has no such file")
    monkeypatch.setattr("polyak.optim.threads.obstacle", lambda: "no GOMP_parallel")
    page = told(None)
    assert page["timm"].endswith("takes seconds: torch has no such file")
    assert page["optimizer"].endswith("which is slower: no GOMP_parallel")


def test_a_machine_of_one_core_has_one_core(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "cores", lambda: 1)
    assert ", 1 core, " in told(None, out=str(tmp_path))["machine"]


def test_a_folder_is_scanned_and_counted(tiny_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    first, _, third, _ = sorted(broken.iterdir())
    for number in range(7):
        (first / f"empty\n{number}.jpg").touch()
    for _ in range(13):
        next(third.glob("*.jpg")).unlink()
    page = told(str(broken), out=str(tmp_path))
    assert page["found"] == "90 = 83 used + 7 left out"
    assert page["left out"].count("empty\\n") == 5
    assert page["left out"].endswith("and 2 more; `polyak train` lists them all")
    assert page["classes"] == "4: 11 to 24 images each"
    assert page["rarest"].startswith(f"{third.name} 11, {first.name} 24")
    assert page["splits"] == "83 not split yet"
    assert page["sizes"] == "32 x 32 pixels, all"
    assert page["decoded"].startswith("0.2 MiB")
    assert page["reading"].endswith("files a second")


def test_what_only_decoding_finds_is_left_out(tiny_folder, tmp_path):
    """The header is whole, and so is the end; what lies between is not. `train` counts the same."""
    data = tmp_path / "data"
    shutil.copytree(tiny_folder, data)
    for number in (3, 5):
        file = data / "square 1" / f"{number}.jpg"
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) * 2 // 3] + b"\xff\xd9")
    empty = data / "square 2" / "0.jpg"
    empty.write_bytes(b"")
    page = told(str(data), out=str(tmp_path))
    assert page["found"] == "96 = 93 used + 3 left out"
    for name in (
        "square 1/3.jpg: truncated JPEG",
        "square 1/5.jpg: ",
        "square 2/0.jpg: empty file",
    ):
        assert name in page["left out"]
    assert page["classes"] == "4: 22 to 24 images each"
    machine = Machine("cpu", Precision("float32", ""), Threads(1, 1))
    recipe = make(data=str(data), weights="none")
    dataset = open_data(recipe, scan_data(recipe), machine).dataset
    assert (len(dataset), len(dataset.quarantine)) == (93, 3)


def test_a_class_of_which_nothing_can_be_decoded_is_refused_as_in_training(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "data")
    for file in (tmp_path / "data" / "square 1").iterdir():
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) * 2 // 3] + b"\xff\xd9")
    with pytest.raises(DataError, match="no image of a class can be read: square 1"):
        told(str(tmp_path / "data"), out=str(tmp_path))


def test_splits_are_told(tiny_folder, tmp_path):
    for part in ("train", "val", "test"):
        shutil.copytree(tiny_folder, tmp_path / part)
    page = told(str(tmp_path))
    assert page["splits"] == "96 train, 96 val, 96 test"
    assert "another split" in page["note"]  # every image stands in all three


def test_images_that_look_the_same_are_told(tiny_folder, tmp_path):
    from PIL import Image

    first = sorted(tiny_folder.rglob("*.jpg"))[0]
    copy = tmp_path / "data"
    shutil.copytree(tiny_folder, copy)
    again = copy / first.relative_to(tiny_folder).with_name("again.jpg")
    Image.open(first).resize((64, 64)).save(again, quality=90)
    before, after = (
        int(told(str(folder))["note"].partition(" images look the same")[0])
        for folder in (tiny_folder, copy)
    )
    assert after == before + 2


def test_sizes_and_memory_are_told(tmp_path, monkeypatch):
    from PIL import Image

    for name, size in (("a", (10, 20)), ("b", (40, 30)), ("b2", (600, 500))):
        folder = tmp_path / name[0]
        folder.mkdir(exist_ok=True)
        Image.new("RGB", size).save(folder / f"{name}.png")
    monkeypatch.setattr(machine, "memory", lambda: 1_000_000)
    page = told(str(tmp_path))
    assert page["sizes"] == "smallest 20 x 10, median 30 x 40, largest 500 x 600 pixels"
    assert page["decoded"].endswith("do not fit into half the free memory")


def test_unusable_data_is_told_after_the_machine(tmp_path):
    lines = doctor(str(tmp_path / "gone"))
    assert next(lines).startswith("machine")
    with pytest.raises(DataError, match="gone"):
        list(lines)


def test_a_disk_that_refuses_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    assert "Permission denied" in told(None, out=str(tmp_path))["disk"]


def test_what_a_run_would_start_from_is_told_with_its_seconds(tiny_folder):
    page = told(str(tiny_folder))
    side = int(page["sizes"].split()[0])
    if side < 32:
        assert "what weights help there was not measured" in page["weights"]
    page = told("digits")
    assert page["weights"].startswith("none: ") and "time" not in page


def test_the_seconds_of_a_probe_are_measured(real_data, monkeypatch):
    monkeypatch.setattr("polyak.jobs.foretell.seconds_per_image", lambda backbone: 0.05)
    page = told(str(real_data / "hymenoptera"))
    assert page["weights"].startswith("tf_efficientnet_lite0: ImageNet-1k, apache-2.0")
    assert page["time"].startswith("about 20 s for 397 images, 50 ms each as measured")
    assert "--budget 5m tries them" in page["backbones"]
