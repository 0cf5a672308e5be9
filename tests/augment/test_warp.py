"""The general map against torchvision, scipy, OpenCV and supersampling."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from polyak.augment import Policy, decode_scale, geometry, render
from polyak.augment import kernels as row_of

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height, width):
    y, x = np.mgrid[:height, :width] / 17.0
    waves = [np.sin(x + c) * np.cos(y - c) for c in range(3)]
    return np.uint8(127.5 + 120 * np.stack(waves, axis=-1))


def drawn(text, image, size=None, index=0):
    size = size or image.shape[:2]
    plan = Policy.parse(text).plan(0, 0, [index], [image.shape[:2]], size, **RAW)
    out = np.full((*size, 3), np.nan, np.float32)
    render(image, plan[0], out)
    return out


def by_matrix(image, matrix, size, **columns):
    row = Policy().plan(0, 0, [0], [image.shape[:2]], size, **RAW)[0]
    row[:9] = np.ravel(matrix)
    for name, values in columns.items():
        at = getattr(row_of, name)
        row[at : at + np.size(values)] = values
    out = np.full((*size, 3), np.nan, np.float32)
    render(image, row, out)
    return out


def sampled(image, xs, ys):
    """What scipy reads at the same places, with its reflection, which is ours."""
    places = np.stack([ys - 0.5, xs - 0.5])
    channels = [ndimage.map_coordinates(image[..., c].astype(float), places, order=1,
                                        mode="reflect") for c in range(3)]  # fmt: skip
    return np.stack(channels, axis=-1)


def grid(size):
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return x, y


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact(quarters):
    image = noise(24, 24)
    matrix = geometry.rotate(90.0 * quarters, (24, 24))
    np.testing.assert_allclose(
        by_matrix(image, matrix, (24, 24)), np.rot90(image, quarters), atol=0.3
    )
    assert np.mean(by_matrix(image, matrix, (24, 24)) == np.rot90(image, quarters)) > 0.2


@pytest.mark.parametrize(
    "matrix",
    [
        geometry.rotate(33.0, (40, 60)),
        geometry.shear(12.0, -7.0, (40, 60)),
        geometry.rotate(-8.0, (40, 60)) @ geometry.scale(1.7, 1.2, (40, 60)),
        geometry.perspective([[3, 2], [45, -4], [53, 35], [-5, 28]], (40, 60)),
    ],
)
def test_maps_agree_with_scipy(matrix):
    image = noise(40, 60)
    x, y = grid((40, 60))
    u, v, w = np.einsum("ij,jyx->iyx", matrix, np.stack([x, y, np.ones_like(x)]))
    out = by_matrix(image, matrix, (40, 60))
    if np.abs(np.linalg.det(matrix[:2, :2])) < 1.1:
        np.testing.assert_allclose(out, sampled(image, u / w, v / w), atol=1.0)


def test_rotation_agrees_with_torchvision_inside():
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as v2

    image = smooth(64, 64)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = v2.rotate(tensor, 25.0, interpolation=InterpolationMode.BILINEAR)
    out = drawn("rotate(degrees=25..25)", image)
    inside = np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 30
    assert np.abs(out - expected.permute(1, 2, 0).numpy())[inside].max() <= 1.0


def test_perspective_agrees_with_torchvision_inside():
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as v2

    image, corners = smooth(64, 64), [[6, 3], [60, 7], [57, 59], [2, 61]]
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    ends = [[0, 0], [64, 0], [64, 64], [0, 64]]
    mode = InterpolationMode.BILINEAR
    expected = v2.perspective(tensor, corners, ends, interpolation=mode)
    out = by_matrix(image, geometry.perspective(corners, (64, 64)), (64, 64))
    assert np.abs(out - expected.permute(1, 2, 0).numpy()).max() <= 1.0


@pytest.mark.parametrize(("k1", "k2"), [(0.2, 0.0), (-0.15, 0.05)])
def test_lens_agrees_with_opencv(k1, k2):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    image, radius = smooth(48, 64), np.hypot(48, 64) / 2
    camera = np.array([[radius, 0, 31.5], [0, radius, 23.5], [0, 0, 1]])
    expected = cv2.undistort(image, camera, np.array([k1, k2, 0, 0]))
    out = drawn(f"lens(k1={k1}..{k1}, k2={k2}..{k2}, off=0)", image)
    inside = slice(8, 40), slice(8, 56)
    assert np.abs(out - expected)[inside].max() <= 2.5  # OpenCV rounds places to 1/32 pixel


def test_fisheye_and_back_is_the_image():
    image = smooth(96, 96)
    bent = np.clip(np.round(drawn("fisheye(by=0.6..0.6)", image)), 0, 255).astype(np.uint8)
    back = drawn("fisheye(by=-0.6..-0.6)", bent)
    inside = slice(20, 76), slice(20, 76)
    assert (
        np.abs(back - image)[inside].mean()
        < 0.4
        < np.abs(bent - image.astype(float))[inside].mean()
    )


def test_displacement_is_scipys_spline():
    image, cells = noise(40, 40), 3
    out = by_matrix(image, np.eye(3), (40, 40), FIELD=(4.0, cells, 77))
    points = geometry.field(77, cells).astype(float)
    x, y = grid((40, 40))
    at = np.stack([y * cells / 40 + 1, x * cells / 40 + 1])
    dx, dy = (ndimage.map_coordinates(p, at, order=3, prefilter=False) for p in points)
    assert np.abs(dx).max() > 0.3
    np.testing.assert_allclose(out, sampled(image, x + 4 * dx, y + 4 * dy), atol=1.0)


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0, 4.5, 6.0])
@pytest.mark.parametrize("degrees", [0.0, 0.001, 30.0])
def test_a_zone_plate_shrinks_without_moire(factor, degrees):
    n = 384
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    plate = np.uint8(127.5 + 127.5 * np.cos(np.pi * (x**2 + y**2) / n))[..., None].repeat(3, -1)
    size = (int(n / factor),) * 2
    matrix = geometry.frame(0, 0, n, n, size) @ geometry.rotate(degrees, size)
    out = by_matrix(plate, matrix, size)[..., 0]
    pillow = Image.fromarray(plate).resize(size, Image.Resampling.BILINEAR)
    pillow = np.asarray(pillow, dtype=float)[..., 0]
    y, x = (np.mgrid[: size[0], : size[0]] - (size[0] - 1) / 2) / (size[0] / 2)
    beyond = (np.hypot(x, y) > 1.2 / factor) & (np.hypot(x, y) < 0.95)  # above the new Nyquist rate
    if beyond.sum() > 50:
        most, more = (1.01, 0.05) if degrees == 0 else (1.35, 0.1)  # slanted: blocks, triangle
        assert out[beyond].std() <= pillow[beyond].std() * most + more


def test_fused_is_nearer_to_supersampling_than_a_chain():
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as v2

    image, size = (
        np.uint8(ndimage.gaussian_filter(noise(300, 300).astype(float), (1, 1, 0)) * 1.0),
        (112, 112),
    )
    matrix = geometry.frame(40, 50, 200, 190, size) @ geometry.rotate(20.0, size)
    matrix = matrix @ geometry.shear(8.0, 0.0, size)
    fine = (np.mgrid[: 112 * 8, : 112 * 8] + 0.5) / 8
    u, v, _ = np.einsum("ij,jyx->iyx", matrix, np.stack([fine[1], fine[0], np.ones_like(fine[0])]))
    truth = sampled(image, u, v).reshape(112, 8, 112, 8, 3).mean(axis=(1, 3))
    mode = InterpolationMode.BILINEAR
    chain = torch.from_numpy(image).permute(2, 0, 1)
    chain = v2.resized_crop(chain, 40, 50, 200, 190, list(size), interpolation=mode, antialias=True)
    chain = v2.rotate(chain, 20.0, interpolation=mode)
    chain = v2.affine(chain, 0.0, [0, 0], 1.0, [-8.0, 0.0], interpolation=mode)
    inside = np.hypot(*(np.mgrid[:112, :112] - 55.5)) < 45
    ours = np.square(by_matrix(image, matrix, size) - truth)[inside].mean()
    theirs = np.square(chain.permute(1, 2, 0).numpy() - truth)[inside].mean()
    assert ours < theirs / 2


@pytest.mark.parametrize("border", ["reflect", "edge", "colour"])
def test_borders_of_slanted_and_upright_maps_agree(border):
    image = smooth(30, 50)
    text = f"border(mode={border}) | shift(by=-0.3..-0.3)"
    upright = drawn(text, image)
    slanted = drawn(f"{text} | rotate(degrees=0.0001..0.0001)", image)
    np.testing.assert_allclose(upright, slanted, atol=0.5)
    ends = {
        "reflect": image[::-1, ::-1][:9, :15],
        "edge": image[-1:, -1:],
        "colour": 0 * image[:1, :1],
    }
    np.testing.assert_allclose(
        upright[-9:, -15:], np.broadcast_to(ends[border], (9, 15, 3)), atol=0.1
    )


@pytest.mark.parametrize("name", ["lecture", "strong", "rand", "trivial"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (2, 3), (70, 50)])
@pytest.mark.parametrize("size", [(1, 1), (16, 24)])
def test_every_policy_survives_strange_shapes(name, shape, size):
    image = noise(*shape)
    for index in range(12):
        out = drawn(name, image, size, index)
        assert np.isfinite(out).all() and -1e-3 <= out.min() and out.max() <= 255.001


@pytest.mark.parametrize(
    "text", ["centre(fraction=0.5)", "centre(fraction=0.5) | rotate(degrees=9..9)"]
)
def test_an_image_decoded_smaller_is_drawn_by_the_same_row(text):
    image = smooth(241, 401)
    half = Image.fromarray(image).reduce(2)
    plan = Policy.parse(text).plan(0, 0, [0], [(241, 401)], (30, 30), **RAW)
    assert decode_scale(plan, (30, 30)).tolist() == [2]
    whole, small = np.empty((2, 30, 30, 3), np.float32)
    render(image, plan[0], whole)
    render(np.asarray(half), plan[0], small)
    assert np.abs(whole - small).max() < 3.0


def test_a_hole_is_the_mean_and_has_its_area():
    policy = Policy.parse("hole(area=0.25, ratio=1)")
    plan = policy.plan(0, 0, [3], [(20, 20)], (20, 20), (0.5,) * 3, (0.5,) * 3)
    out = np.empty((20, 20, 3), np.float32)
    render(np.full((20, 20, 3), 255, np.uint8), plan[0], out)
    assert (out == 0).all(axis=-1).sum() == 100 and (out == 1).all(axis=-1).sum() == 300


@pytest.mark.parametrize("border", ["reflect", "edge"])
def test_the_part_that_is_softened_is_enough(monkeypatch, border):

    house = sys.modules["polyak.augment.render"]
    text = f"{Policy.named('strong')} | border(mode={border})"
    survey, parts = house.survey, []

    def all_of_it(row, n, m, h, w):
        sy, sx, *part = survey(row, n, m, h, w)
        parts.append(part)
        return min(sy, 2.9), min(sx, 2.9), 0, 0, n, m  # below 3 a pixel is a block

    def only_its_part(row, n, m, h, w):
        sy, sx, *part = survey(row, n, m, h, w)
        return min(sy, 2.9), min(sx, 2.9), *part

    image = noise(150, 210)
    for index in range(150):
        monkeypatch.setattr(house, "survey", all_of_it)
        whole = drawn(text, image, (60, 60), index)
        monkeypatch.setattr(house, "survey", only_its_part)
        assert np.abs(drawn(text, image, (60, 60), index) - whole).max() < 0.02, index
    assert np.mean([bottom - top < 150 for top, _, bottom, _ in parts]) > 0.3
