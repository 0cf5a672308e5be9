"""A policy as a drop-in for torchvision's datasets and every kind of DataLoader."""

import hashlib
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image

from polyak.augment.render import decode_scale, render
from polyak.decoding.decode import decode, image_pixels
from polyak.decoding.header import read_header
from polyak.decoding.unreadable import Unreadable
from polyak.errors import DataError

AnyImage = Image.Image | np.ndarray | torch.Tensor


class Plans(Protocol):
    """Whatever draws plans as `Policy.plan` does."""

    def plan(
        self, seed: int, epoch: int, indices: ArrayLike, sizes: ArrayLike, size: tuple[int, int],
        mean: ArrayLike, std: ArrayLike,
    ) -> np.ndarray:  # fmt: skip
        """Give float32 (n, COLUMNS)."""
        ...


class Transform:
    """Turn one image into what a network takes; pickles, and works in forked and spawned workers.

    The row of an image depends on (seed, epoch, image): its bytes stand for its index, so that
    workers need no seeds. `transform.epoch = 3` is seen by all workers, also persistent ones, and
    makes every pixel independent of their number. Left alone, epochs advance by themselves: an
    image met again by the same worker, or by another epoch's workers, is drawn anew.

    Args:
        policy: what to draw.
        size: (height, width) of the result, pixels.
        mean: three numbers in [0, 1], subtracted.
        std: three numbers in [0, 1], divided by.
        seed: any integer.

    >>> from polyak.augment import Policy
    >>> transform = Policy.named("light").transform((32, 32), (0.5,) * 3, (0.5,) * 3)
    >>> transform(np.zeros((40, 50, 3), np.uint8)).shape
    torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        policy: Plans,
        size: tuple[int, int],
        mean: ArrayLike,
        std: ArrayLike,
        seed: int = 0,
    ):
        self.policy = policy
        self.size = size
        self.mean = mean
        self.std = std
        self.seed = seed
        self._epoch = torch.full((), -1, dtype=torch.int64).share_memory_()
        self._met: dict[int, int] = {}

    @property
    def epoch(self) -> int | None:
        """The epoch that was set, for all workers; None: they advance by themselves."""
        return None if int(self._epoch) < 0 else int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __call__(self, image: AnyImage | bytes) -> torch.Tensor:
        """Draw an image: PIL, uint8 numpy (H, W[, 3]), uint8 tensor (3, H, W), or bytes of a file.

        Files and PIL images become the pixels that polyak trains on: upright by their EXIF
        orientation, transparency on white, 16 bits scaled, and whole or refused.

        Returns:
            float32 (3, h, w), channels last in memory.

        Raises:
            DataError: this is no image, or one that cannot be decoded.
        """
        try:
            return self._drawn(image)
        except Unreadable as error:
            where = getattr(image, "filename", "") or type(image).__name__
            raise DataError("cannot augment", where=where, why=error.reason) from error

    def _drawn(self, given) -> torch.Tensor:
        if isinstance(given, bytes):
            plan = self._plan(given, size := read_header(given).size)
            scale = int(decode_scale(plan, self.size)[0])
            image = decode(given, min_size=(-(-size[0] // scale), -(-size[1] // scale)))
        else:
            image = np.ascontiguousarray(pixels(given))
            plan = self._plan(image, image.shape[:2])
        out = np.empty((*self.size, 3), np.float32)
        render(image, plan[0], out)
        return torch.from_numpy(out).permute(2, 0, 1)

    def _plan(self, content, size) -> np.ndarray:
        index = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") >> 1
        return self.policy.plan(
            self.seed, self._current(index), [index], [size], self.size, self.mean, self.std
        )

    def _current(self, index):
        if self.epoch is not None:
            return self.epoch
        worker = torch.utils.data.get_worker_info()
        # the seed that all workers of one epoch share, whatever their number
        shared = (worker.seed - worker.id) % 2**62 if worker else 0
        self._met[index] = self._met.get(index, -1) + 1
        return shared + self._met[index]


def pixels(given: AnyImage) -> np.ndarray:
    """Read an image that is in memory, or that PIL has opened: uint8 (H, W, 3).

    Raises:
        DataError: this is no image.
        Unreadable: it cannot be decoded.

    >>> pixels(np.zeros((4, 5), np.uint8)).shape
    (4, 5, 3)
    """
    if isinstance(given, Image.Image):
        return image_pixels(given)
    array = given
    if isinstance(given, torch.Tensor):
        array = given.detach().cpu().numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 and array.shape[0] in (1, 3) else array
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim not in (2, 3):
        what = f"{type(given).__name__} {getattr(given, 'dtype', '')}".strip()
        why = "neither PIL, uint8 numpy or tensor, nor the bytes of an image"
        raise DataError("cannot augment", where=what, why=why)
    array = array if array.ndim == 3 else array[..., None]
    if array.shape[-1] not in (1, 3):
        raise DataError("cannot augment", where=f"{array.shape}", why="not 1 or 3 channels")
    return np.broadcast_to(array, (*array.shape[:2], 3))
