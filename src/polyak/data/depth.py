"""How many bits the images of a set use: a camera's 12 travel in files of 16."""

from collections.abc import Iterator
from contextlib import suppress

from polyak.decoding.decode import DEPTHS, bits_for, highest
from polyak.decoding.unreadable import Unreadable


class Depth:
    """Find the bits that the grey images of 16 bits use, all of them together.

    Each is decoded for it, until one uses all: then nothing is left to be found. Several threads
    may see images at once, in any order.

    Args:
        pixel_cap: the most pixels that an image may have.

    >>> Depth(10**6).bits, list(Depth(10**6).notes())
    (16, [])
    """

    def __init__(self, pixel_cap: int):
        self._pixel_cap, self._highest = pixel_cap, []

    def see(self, data: bytes) -> None:
        """Take the file of one more image; one that cannot be decoded has no levels."""
        if not self._highest or self.bits < DEPTHS[-1]:
            with suppress(Unreadable):
                self._highest.append(highest(data, self._pixel_cap))

    @property
    def bits(self) -> int:
        """Bits of 16; 16 where there are no such images."""
        return bits_for(max(self._highest, default=(1 << 16) - 1))

    def notes(self) -> Iterator[str]:
        """Say in a line that fewer than 16 bits are used."""
        if self.bits < DEPTHS[-1]:
            yield (
                f"no level of the 16-bit images is above {max(self._highest):,}: they are scaled "
                f"by {self.bits} bits, which the model file keeps"
            )
