"""The renderer against Pillow, against slices, and against itself."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from polyak.augment import Policy, render, render_batch
from polyak.errors import UsageError

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def drawn(policy, image, size, epoch=0, index=0, **given):
    plan = policy.plan(0, epoch, [index], [image.shape[:2]], size, **(RAW | given))
    out = np.full((*size, 3), np.nan, np.float32)
    render(image, plan[0], out)
    return out


def test_identity_is_exact():
    image = noise(37, 53)
    out = drawn(Policy.centre(1.0), image, (37, 53), std=(1 / 255,) * 3)
    assert (out == image).all()


@pytest.mark.parametrize("size", [(224, 224), (100, 31), (375, 500), (3, 700), (1, 1), (640, 640)])
def test_a_whole_image_resizes_as_pillow_does(size):
    image = noise(size[0] * 5 // 3 + 1, size[1] * 2)
    if size == (640, 640):
        image = noise(8, 8)  # enlarging
    policy = Policy.parse("crop(scale=1, ratio=0.001..1000)")
    out = 255 * drawn(policy, image, size)
    pillow = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(out - np.asarray(pillow, dtype=np.float64)).max() <= 1.01  # Pillow rounds twice


def test_centre_is_resize_and_centre_crop():
    image = noise(512, 768)
    out = 255 * drawn(Policy.centre(0.875), image, (224, 224))
    pillow = Image.fromarray(image).resize((384, 256), Image.Resampling.BILINEAR)
    pillow = np.asarray(pillow.crop((80, 16, 304, 240)), dtype=np.float64)
    assert np.abs(out - pillow).max() <= 1.01


def test_light_on_small_images_is_pad_and_crop():
    image = noise(32, 32)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    windows = [padded[y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
    windows += [window[:, ::-1] for window in windows]
    met = set()
    for index in range(400):
        out = drawn(Policy.named("light"), image, (32, 32), index=index, std=(1 / 255,) * 3)
        met |= {k for k, window in enumerate(windows) if (out == window).all()}
    assert met == set(range(50))


def test_one_image_and_a_batch_and_threads_agree_bit_for_bit():
    images = np.stack([noise(40, 60, seed) for seed in range(16)])
    plan = Policy.named("light").plan(3, 5, np.arange(16), [(40, 60)] * 16, (24, 24), **RAW)
    batch, single, threaded = (np.full((16, 24, 24, 3), np.nan, np.float32) for _ in range(3))
    render_batch(images, plan, batch)
    for image, row, out in zip(images, plan, single, strict=True):
        render(image, row, out)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(render, images, plan, threaded))
    assert batch.tobytes() == single.tobytes() == threaded.tobytes()
    assert np.isfinite(batch).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (2, 3), (3000, 2)])
@pytest.mark.parametrize("name", ["none", "light"])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (7, 40)])
def test_strange_shapes_survive(shape, name, size):
    image = noise(*shape)
    for index in range(5):
        out = drawn(Policy.named(name), image, size, index=index)
        assert np.isfinite(out).all() and 0 <= out.min() and out.max() <= 1


def test_values_are_clipped_to_what_an_image_can_hold():
    white = np.full((8, 8, 3), 255, np.uint8)
    out = drawn(Policy.parse("brightness(by=3..3)"), white, (8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    assert (out == 1.0).all()


def test_normalisation_is_torchvisions():
    image, mean, std = noise(8, 8), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    out = drawn(Policy.named("none"), image, (8, 8), mean=mean, std=std)
    v2 = pytest.importorskip("torchvision.transforms.v2.functional")
    expected = v2.normalize(v2.to_dtype(v2.to_image(image), scale=True), mean, std)
    np.testing.assert_allclose(out, expected.permute(1, 2, 0).numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("image", "out"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.float32)),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float64)),
    ],
)
def test_foreign_arrays_are_refused(image, out):
    row = Policy().plan(0, 0, [0], [(4, 4)], (4, 4), **RAW)[0]
    with pytest.raises(UsageError, match="cannot render"):
        render(image, row, out)
