"""The drop-in: the same pixels from PIL, numpy, tensors and bytes, for any number of workers."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData

from polyak.augment import Policy
from polyak.decoding import decode
from polyak.errors import DataError

SLOW = pytest.param(4, "spawn", marks=pytest.mark.slow)  # each process imports torch anew
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def transform(name="lecture"):
    return Policy.named(name).transform((16, 24), (0.5,) * 3, (0.5,) * 3, seed=4)


def loaded(given, workers=0, **how):
    """Batches of a dataset that spawned workers can import."""
    return DataLoader(FakeData(12, (3, 40, 50), transform=given), 5, num_workers=workers, **how)


def pictures(loader):
    return torch.cat([images for images, _ in loader])


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_every_kind_of_image_gives_the_same_pixels():
    given = transform()
    given.epoch = 0
    kinds = [IMAGE, Image.fromarray(IMAGE), torch.from_numpy(IMAGE).permute(2, 0, 1)]
    results = [given(kind) for kind in kinds]
    assert all((result == results[0]).all() for result in results)
    assert results[0].shape == (3, 16, 24) and results[0].dtype == torch.float32


def test_bytes_are_decoded_and_drawn_by_the_plan():
    plain = Policy.centre(1.0).transform((40, 50), (0.0,) * 3, (1 / 255,) * 3)
    assert (plain(png(IMAGE)).permute(1, 2, 0).numpy() == IMAGE).all()


def test_grey_images_become_three_channels():
    plain = Policy.centre(1.0).transform((40, 50), (0.0,) * 3, (1 / 255,) * 3)
    out = plain(IMAGE[..., 0])
    assert (out == torch.from_numpy(IMAGE[..., 0]).float()).all()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("workers", "start"), [(1, "fork"), (4, "fork"), (1, "spawn"), SLOW])
def test_workers_change_nothing(workers, start):
    given = transform()
    given.epoch = 3
    expected = pictures(loaded(given))
    assert (pictures(loaded(given, workers, multiprocessing_context=start)) == expected).all()


def test_a_set_epoch_reaches_persistent_workers():
    given = transform()
    loader = loaded(given, 1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 0):
        given.epoch = epoch
        seen.append(pictures(loader))
    assert (seen[0] == seen[2]).all() and (seen[0] != seen[1]).any()


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_advance_by_themselves(workers):
    loader = loaded(transform(), workers)
    first, second = pictures(loader), pictures(loader)
    assert (first != second).flatten(1).any(dim=1).all()


def test_pickles():
    again = pickle.loads(pickle.dumps(transform()))
    again.epoch = 0
    given = transform()
    given.epoch = 0
    assert (again(IMAGE) == given(IMAGE)).all()


@pytest.mark.parametrize("wrong", [b"no image", "a name", IMAGE.astype(float), IMAGE[..., :2]])
def test_what_is_no_image_is_refused(wrong):
    with pytest.raises(DataError, match="cannot augment"):
        transform()(wrong)


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.5, 6.0])
def test_a_zone_plate_decoded_smaller_shows_no_moire(factor):
    n = 768
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    plate = np.uint8(127.5 + 127.5 * np.cos(np.pi * (x**2 + y**2) / n))[..., None].repeat(3, -1)
    side = int(n / factor)
    file = io.BytesIO()
    Image.fromarray(plate).save(file, "JPEG", quality=95)
    plain = Policy.centre(1.0).transform((side, side), (0.0,) * 3, (1 / 255,) * 3)
    out = plain(file.getvalue())[0].numpy()
    pillow = Image.fromarray(plate).resize((side, side), Image.Resampling.BILINEAR)
    pillow = np.asarray(pillow, dtype=float)[..., 0]
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2)
    beyond = (np.hypot(x, y) > 1.2 / factor) & (np.hypot(x, y) < 0.95)
    assert out[beyond].std() <= pillow[beyond].std() * 1.35 + 1.5
    assert np.abs(out - pillow)[np.hypot(x, y) < 0.5 / factor].mean() < 6


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # timm leaves closing files to chance
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_in_timms_loader(tiny_folder):
    from timm.data import ImageDataset, create_loader

    given = transform()
    given.epoch = 2
    dataset = ImageDataset(str(tiny_folder))
    how = {"is_training": False, "use_prefetcher": False, "num_workers": 0}
    loader = create_loader(dataset, (3, 16, 24), 6, **how)
    dataset.transform = given  # timm's own was set by create_loader
    images, labels = next(iter(loader))
    file = sorted((tiny_folder / "square 0").iterdir(), key=lambda path: path.name)[0]
    with Image.open(file) as picture:
        expected = given(picture.convert("RGB"))
    assert images.shape == (6, 3, 16, 24) and (labels == 0).all()
    assert any((image == expected).all() for image in images)


def test_in_lightnings_trainer():
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.linear, self.seen = torch.nn.Linear(3 * 16 * 24, 2), []

        def training_step(self, batch):
            self.seen.append(batch[0])
            return self.linear(batch[0].flatten(1)).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    given, module = transform(), Module()
    given.epoch = 0
    how = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    lightning.Trainer(**how).fit(module, loaded(given))
    assert (torch.cat(module.seen) == pictures(loaded(given))).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1)])
@pytest.mark.parametrize("text", ["crop(scale=0.000001)", "strong", "zoom(by=10..10)"])
def test_strange_shapes_and_crops_of_no_pixel_survive(shape, text):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    given = Policy.parse(text).transform((16, 24), (0.5,) * 3, (0.5,) * 3)
    for kind in (image, png(image)):
        out = given(kind)
        assert out.shape == (3, 16, 24) and torch.isfinite(out).all() and out.abs().max() <= 1.001


# one road from bytes to pixels: what polyak trains on is what the transform draws


def drawn(image, size):
    plain = Policy.centre(1.0).transform(size, (0.0,) * 3, (1 / 255,) * 3)
    return plain(image).permute(1, 2, 0).numpy()


def whole_files():
    """Files that a naive reader reads otherwise: (name, bytes)."""
    turned, exif = Image.fromarray(IMAGE), Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(IMAGE[:, :, 0].astype(np.uint16) * 257)
    clear = Image.fromarray(np.dstack([IMAGE, IMAGE[:, :, :1]]))
    inks = Image.frombytes("CMYK", (50, 40), np.dstack([IMAGE, IMAGE[:, :, :1]]).tobytes())
    palette = Image.fromarray(IMAGE).quantize(16)
    for kind in ("PNG", "TIFF", "JPEG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        yield f"turned {kind}", saved(turned, kind, exif=exif, **options)
    yield "16 bits PNG", saved(deep, "PNG")
    yield "16 bits TIFF", saved(deep, "TIFF")
    yield "transparent PNG", saved(clear, "PNG")
    yield "transparent WEBP", saved(clear, "WEBP", lossless=True, exact=True)
    yield "transparent palette", saved(palette, "PNG", transparency=3)
    yield "transparent GIF", saved(palette, "GIF", transparency=3)
    yield "grey and clear", saved(clear.convert("LA"), "PNG")
    yield "inks", saved(inks, "JPEG")


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


FILES = dict(whole_files())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("road", ["bytes", "a stream", "a path", "in memory"])
def test_all_roads_lead_to_the_pixels_that_polyak_trains_on(name, road, tmp_path):
    data = FILES[name]
    expected = decode(data)
    assert name.startswith("turned") == (expected.shape[:2] == (50, 40))
    if road == "bytes":
        found = drawn(data, expected.shape[:2])
    elif road == "a path":
        (tmp_path / "image").write_bytes(data)
        with Image.open(tmp_path / "image") as image:
            found = drawn(image, expected.shape[:2])
    else:
        image = Image.open(io.BytesIO(data))
        if road == "in memory":
            image.load()
        found = drawn(image, expected.shape[:2])
    assert np.abs(found - expected).max() < 0.01


def test_a_later_frame_that_is_smaller_than_its_image_is_drawn():
    second = IMAGE.copy()
    second[10:20, 10:20] = 255 - second[10:20, 10:20]
    frames = [Image.fromarray(IMAGE), Image.fromarray(second)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        assert image.tile[0].extents == (10, 10, 20, 20)
        assert np.abs(drawn(image, (40, 50)) - second).max() < 0.01


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_cut_file_is_refused_on_every_road(kind, tmp_path):
    data = saved(Image.fromarray(IMAGE), kind)
    cut = data[: len(data) * 2 // 3]
    if kind == "JPEG":
        cut += b"\xff\xd9"
    (tmp_path / "image").write_bytes(cut)
    with pytest.raises(DataError, match="cannot augment"):
        transform()(cut)
    try:
        opened = [Image.open(io.BytesIO(cut)), Image.open(tmp_path / "image")]
    except OSError:  # Pillow itself sees it at once
        return
    for image in opened:
        with image, pytest.raises(DataError, match="cannot augment"):
            transform()(image)


def test_an_image_that_was_opened_can_still_be_used():
    image = Image.open(io.BytesIO(png(IMAGE)))
    first, second = drawn(image, (40, 50)), drawn(image, (40, 50))
    assert (first == IMAGE).all() and (second == IMAGE).all()
    assert (np.asarray(image) == IMAGE).all()


def test_a_later_frame_is_that_frame():
    frames = [Image.fromarray(IMAGE), Image.fromarray(IMAGE[::-1])]
    data = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    image = Image.open(io.BytesIO(data))
    image.seek(1)
    assert (drawn(image, (40, 50)) == IMAGE[::-1]).all()


def test_formats_that_polyak_does_not_train_on_are_pillows():
    image = Image.open(io.BytesIO(saved(Image.fromarray(IMAGE), "PPM")))
    assert (drawn(image, (40, 50)) == IMAGE).all()
    broken = saved(Image.fromarray(IMAGE), "PPM")[:3000]
    with pytest.raises(DataError, match="broken PPM"):
        transform()(Image.open(io.BytesIO(broken)))


def test_pixels_without_a_range_are_refused():
    with pytest.raises(DataError, match="no fixed range"):
        transform()(Image.new("F", (4, 4)))


def test_large_bytes_are_decoded_smaller_and_turned():
    y, x = np.mgrid[:480, :640]
    big = Image.fromarray(np.uint8(np.stack([x / 3, y / 2, (x + y) / 5], -1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(big, "JPEG", exif=exif, quality=95)
    found = drawn(data, (40, 30))
    whole = drawn(decode(data), (40, 30))
    assert np.abs(found - whole).max() < 3
