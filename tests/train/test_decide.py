import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from polyak.augment import Policy
from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.errors import UsageError
from polyak.train import make
from polyak.train.decide import colours, decide


def pictures(n: int, side: int) -> Dataset:
    return Dataset(
        Path(), [str(i) for i in range(n)], np.arange(n) % 2, ("a", "b"),
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
def test_the_model_follows_pictures_and_weights(side, weights, model, size):
    recipe, reasons = decide(make(data="x", weights=weights), pictures(1000, side))
    assert (recipe.model, recipe.size) == (model, size)
    assert reasons["model"]


def test_nothing_is_left_open_and_nothing_asked_is_changed():
    asked = make(data="x", optimizer="sgd", learning_rate=0.3, batch_size=17, seed=5)
    recipe, reasons = decide(asked, pictures(1000, 32))
    assert {"optimizer", "learning_rate", "batch_size", "seed"}.isdisjoint(reasons)
    for name in asked.model_fields_set:
        assert getattr(recipe, name) == getattr(asked, name)
    open_still = {name for name, value in recipe if value in (None, "auto")}
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
        "layer_decay",
        "freeze_norms",
        "budget",
        "patience",
        "name",
        "threads",
        "memory",
        "device",
        "precision",
    }
    assert open_still <= may


@pytest.mark.parametrize("model", ["compact", "resnet18", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("weights", [None, "hub"])
def test_a_reason_claims_no_measurement_that_nobody_made(model, weights):
    if model == "compact" and weights:
        return
    _, reasons = decide(make(data="x", model=model, weights=weights), pictures(1000, 32))
    told = {reasons[name] for name in ("optimizer", "rho", "weight_decay", "label_smoothing")}
    measured = "measured with compact and nesterov on CIFAR-10"
    assert told == {measured if model == "compact" else "default for timm models"}
    assert not [why for why in reasons.values() if "proven" in why]


@pytest.mark.parametrize("n", [100, 5000])
def test_tuning_keeps_the_statistics_that_its_probe_has_read(n):
    recipe, reasons = decide(make(data="x", weights="resnet18.pth", transfer="few"), pictures(n, 9))
    assert recipe.freeze_norms and "probe" in reasons["freeze_norms"]
    asked = make(data="x", weights="resnet18.pth", transfer="few", freeze_norms=False)
    assert decide(asked, pictures(n, 9))[0].freeze_norms is False


def test_a_budget_leaves_the_epochs_to_the_clock():
    recipe, _ = decide(make(data="x", budget="5m"), pictures(1000, 32))
    assert recipe.epochs is None


@pytest.mark.parametrize("n", [2, 9, 40, 1000, 100_000])
def test_a_batch_fits_the_data(n):
    recipe, _ = decide(make(data="x"), pictures(n, 32))
    assert 2 <= recipe.batch_size <= max(n, 2)


@pytest.mark.parametrize(("mix", "alpha"), [("none", None), ("mixup", 0.2), ("cutmix", 1.0)])
def test_how_much_is_mixed_follows_the_kind(mix, alpha):
    assert decide(make(data="x", mix=mix), pictures(1000, 32))[0].mix_alpha == alpha
    asked = make(data="x", mix=mix, mix_alpha=0.7)
    assert decide(asked, pictures(1000, 32))[0].mix_alpha == 0.7


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
    recipe, _ = decide(make(data="x", augment=name), pictures(1000, 32))
    assert recipe.augment.startswith(begins)
    assert (
        len(recipe.augment.split(" | "))
        == operations
        == len(Policy.parse(recipe.augment).operations)
    )


def test_a_policy_that_does_not_exist_is_refused_before_anything_is_decoded():
    with pytest.raises(UsageError, match="no such operation: lectur"):
        decide(make(data="x", augment="lectur"), pictures(1000, 32))


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
    monkeypatch.setattr("polyak.train.decide._AT_ONCE", 10_000)
    tracemalloc.start()
    assert colours(images) == whole
    assert tracemalloc.get_traced_memory()[1] < 4 * 10_000 * 3 * 8
    tracemalloc.stop()
