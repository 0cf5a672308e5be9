"""What a reader of the documentation has at hand, made small: photographs, runs, weights, names."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from jobs import train
from polyak import cli
from polyak.data.images import Images
from polyak.data.sources.digits import list_digits
from polyak.networks import build
from polyak.networks.preprocessing import Preprocessing
from polyak.optim import SGD
from polyak.recipe import make

RUNS = ("a", "b", "c", "one", "two", "earlier", "photos-2", "unfinished")
JOINED = ("three", "ensemble")  # runs of several members
WEIGHTS = "mobilenetv2_100.safetensors"
# words of the documentation that stand for something of the reader's
NAMES = {
    "FILE": WEIGHTS, "DATA": "photos", "FOLDER": "photos", "IMAGE.png": "holiday/0.jpg",
    "IMAGES": "holiday", "RUN": "runs/a", "MODEL": "runs/a", "NAME": "photos",
}  # fmt: skip
FIGURE = {"value": 0.9, "low": 0.8, "high": 0.95}
PLAN = {
    "cell": {"amount": "little", "data": "similar", "why": "8 a class", "strategy": "linear"},
    "stages": [{"stage": s, "accuracy": a, "nll": 0.5} for s, a in (("maps", 0.7), ("head", 0.9))],
    "curve": [{"each": n, "n": 2 * n, "accuracy": 0.8, "spread": 0.02} for n in (5, 10)],
    "rows": [{"strategy": "linear", "accuracy": FIGURE, "nll": FIGURE, "seconds": 2.0, "n": 8}],
    "chosen": "linear", "why": "the best measured", "lecture": "linear", "notes": ["thin"],
    "command": "polyak train photos --transfer linear", "seconds": 2.0,
}  # fmt: skip


def photographs(folder: Path, each: int, first: int = 0) -> None:
    """Draw so many images of 12 pixels: a bright or a dark square in noise."""
    folder.mkdir(parents=True)
    for number in range(first, first + each):
        draw = np.random.default_rng([number, len(folder.name)])
        pixels = draw.integers(0, 120, (12, 12, 3), dtype=np.uint8)
        pixels[3:9, 3:9] = 40 if folder.name in ("ants", "ill") else 240
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def patients(folder: Path) -> None:
    """Draw two images of each of some patients, ill or well, and a table of them."""
    lines = ["path,label,group"]
    for label in ("ill", "well"):
        photographs(folder / "scans" / label, 12)
        for file in sorted((folder / "scans" / label).iterdir()):
            patient, side = divmod(int(file.stem), 2)
            name = f"{label}_patient_{patient}_{('left', 'right')[side]}.jpg"
            file.rename(file.with_name(name))
            lines.append(f"scans/{label}/{name},{label},{label} {patient}")
    (folder / "scans.csv").write_text("\n".join(lines))


def settle(folder: Path) -> None:
    """Fill a folder with all that the commands of the documentation speak of."""
    for data in ("photos", "hymenoptera"):
        for label in ("ants", "bees"):
            photographs(folder / data / "train" / label, 8)
            photographs(folder / data / "val" / label, 4, first=8)
    photographs(folder / "holiday", 3)
    patients(folder)
    marks = {"ants": ("dark", "dark;odd"), "bees": ("", "odd")}
    rows = [
        f"photos/train/{label}/{number}.jpg,{marks[label][number % 2]}"
        for label in marks
        for number in range(8)
    ]
    (folder / "tags.csv").write_text("\n".join(["path,labels", *rows]))
    (folder / "issues.csv").write_text("path,exclude\ntrain/ants/1.jpg,yes\nval/ants/9.jpg,no\n")
    torch.manual_seed(0)
    save_file(build("mobilenetv2_100", 7).state_dict(), folder / WEIGHTS)
    (folder / "plan.json").write_text(json.dumps(PLAN))
    small = {"epochs": 2, "widths": (8, 8), "size": 8, "threads": 1, "save_every": 0}
    with chdir(folder):
        list(train(make(data="photos", model="compact", **small)))
        list(train(make(data="digits", **small)))
        for name in RUNS:
            shutil.copytree("runs/photos", f"runs/{name}")
        records = Path("runs/unfinished/metrics.jsonl")
        records.write_text("".join(records.read_text().splitlines(True)[:-1]))
        assert cli.main(["ensemble", "runs/a", "runs/b", "--out", "joined.safetensors"]) == 0
        shutil.copy("runs/a/model.safetensors", "other.safetensors")
        for name in JOINED:
            shutil.copytree("runs/a", f"runs/{name}")
            shutil.copy("joined.safetensors", f"runs/{name}/model.safetensors")


@pytest.fixture(scope="module")  # longer, and other tests would find the small digits
def shelf(tmp_path_factory):
    """The reader's folder as it was before anything of the documentation ran."""
    import sklearn.datasets

    folder = tmp_path_factory.mktemp("shelf")
    levels, labels = sklearn.datasets.load_digits(return_X_y=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("reader")))
        patch.setattr(sklearn.datasets, "load_digits", lambda **_: (levels[:60], labels[:60]))
        assert len(list_digits()) == 60
        settle(folder)
        yield folder


@pytest.fixture
def desk(shelf, tmp_path, monkeypatch):
    """A copy of the reader's folder, to work in; the default network is narrow, the machine small.

    Threads that share two busy cores wait for one another longer than they work.
    """
    monkeypatch.setattr("polyak.machine.cores", lambda: 1)
    monkeypatch.setattr("polyak.networks.compact.REFERENCE", (8, 8, 8))
    monkeypatch.setattr("polyak.race.contest.NARROW", (4, 4, 4))
    folder = tmp_path / "desk"
    shutil.copytree(shelf, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def things(page: str) -> dict:
    """Give what the code of a page takes for granted: the reader's own network, batches, names."""
    torch.manual_seed(0)
    network, other = (build("compact", 10, size=(8, 8), widths=(8, 8)) for _ in range(2))
    images, labels = torch.rand(20, 3, 8, 8), torch.arange(20) % 10
    for one in (network, other):
        one.whiten(images)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        return loss

    def predict(member):
        with torch.no_grad():
            return member.eval()(images).log_softmax(1).numpy()

    optimizer = SGD(network.parameters(), lr=0.01)
    found = {
        "network": network, "model": network, "optimizer": optimizer, "closure": closure,
        "images": images, "labels": labels.numpy(), "batches": [images] * 3,
        "calibration": [images], "validate": predict, "evaluate": predict, "predict": predict,
        "members": [network, other],
        "log_probs_of_validation": np.stack([predict(network)] * 2), "step": 3, "steps": 10,
    }  # fmt: skip
    if page.endswith("transfer.md"):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
        found |= {
            "images": Images.of(pixels), "labels": np.arange(40) % 10,
            "digests": np.zeros((40, 2), np.uint64),
            "page": Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0),
        }  # fmt: skip
    return found
