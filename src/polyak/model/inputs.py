"""What a classifier is given: files, or images that are in memory already."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from polyak.data.images import Decoding, Images
from polyak.decoding.decode import image_pixels
from polyak.decoding.unreadable import Unreadable, check_pixels
from polyak.errors import DataError

InMemory = Image.Image | np.ndarray | torch.Tensor
Inputs = str | Path | InMemory | Sequence[str | Path] | Sequence[InMemory]

_NEXT = (
    "give files, PIL images, uint8 arrays (H, W, 3), or tensors (3, H, W), uint8 or float in [0, 1]"
)


def files(inputs: Inputs) -> list[str | Path] | None:
    """List the files and folders that are asked for; None where images are given themselves.

    Raises:
        DataError: some are files, and some are images.

    >>> files("photos"), files([np.zeros((8, 8, 3), np.uint8)])
    (['photos'], None)
    """
    if isinstance(inputs, str | Path):
        return [inputs]
    if isinstance(inputs, InMemory):
        return None
    named = [one for one in inputs if isinstance(one, str | Path)]
    if named and len(named) < len(inputs):
        raise DataError("files and images together", then="predict them in two calls")
    return named if named or not len(inputs) else None


def images(inputs: Inputs, decoding: Decoding) -> Images:
    """Take images from memory, as training would see them; those that cannot be are in `failed`.

    Args:
        inputs: PIL images, uint8 arrays (H, W), (H, W, 3) or (N, H, W, 3), tensors (3, H, W) or
            (N, 3, H, W), uint8 or float in [0, 1]; one or several.
        decoding: how PIL images that are still files are decoded.

    Raises:
        DataError: something else.

    >>> images([Image.new("L", (5, 4)), np.zeros((2, 3, 3), np.uint8)], Decoding()).sizes.tolist()
    [[4, 5], [2, 3]]
    """
    found, failed = [], []
    for number, one in enumerate(_each(inputs)):
        try:
            found.append(_pixels(one, number, decoding))
        except Unreadable as error:
            failed.append((number, error.reason))
            found.append(np.zeros((1, 1, 3), np.uint8))
    if not found:
        raise DataError("no images to predict", then=_NEXT)
    taken = Images.of(found)
    taken.failed = failed
    return taken


def _each(inputs: Inputs) -> Iterator[object]:
    """Give images one by one; batches only where they are all that is given."""
    if isinstance(inputs, np.ndarray | torch.Tensor) and inputs.ndim == 4:
        yield from inputs
    elif isinstance(inputs, Sequence):
        yield from inputs
    else:
        yield inputs


def _pixels(one: object, number: int, decoding: Decoding) -> np.ndarray:
    """Give one image as uint8 (H, W, 3)."""
    if isinstance(one, Image.Image):
        return image_pixels(one, decoding.pixel_cap, decoding.min_size, decoding.bits)
    if isinstance(one, torch.Tensor):
        array = _levels(one.detach(), number)
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array[..., None, None]
    elif isinstance(one, np.ndarray):
        array = one if one.ndim != 2 else np.repeat(one[..., None], 3, -1)
    else:
        raise _refused(one, number, "it is no image")
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise _refused(one, number, "its shape is not that of an image of three colours")
    if array.dtype != np.uint8:
        raise _refused(one, number, "its levels are not uint8, and may mean anything")
    check_pixels((array.shape[0], array.shape[1]), decoding.pixel_cap)
    return np.ascontiguousarray(array)


def _levels(image: torch.Tensor, number: int) -> np.ndarray:
    """Turn a tensor's numbers in [0, 1] into levels; other types stay what they are."""
    if not image.is_floating_point():
        return image.cpu().numpy()
    image = image.float()
    if not bool(((image >= 0) & (image <= 1)).all()):  # which no NaN is
        raise _refused(image, number, "its numbers leave [0, 1]: is it normalised already?")
    return (image * 255).round().to(torch.uint8).cpu().numpy()


def _refused(one: object, number: int, why: str) -> DataError:
    shape = getattr(one, "shape", None)
    what = f"{type(one).__name__} {getattr(one, 'dtype', '')}".strip()
    shown = "" if shape is None else f" {tuple(shape)}"
    return DataError("cannot predict", where=f"image {number}: {what}{shown}", why=why, then=_NEXT)
