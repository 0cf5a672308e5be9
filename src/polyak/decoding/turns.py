"""Large images wait for one another: memory is for some of them, not for one a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from polyak import machine

AT_ONCE = 64_000_000  # pixels, of about 7 bytes while they are decoded
SMALL = 1_000_000  # pixels that wait for nobody
_OF_MEMORY = 256  # a machine with more memory than cores has room for more: a pixel for 256 bytes


class Turns:
    """Let threads work on so many pixels at once, and on one larger image alone.

    Args:
        most: pixels.

    >>> turns = Turns(100)
    >>> with turns.of(80), turns.of(10**9):  # a thread that has its turn does not wait for itself
    ...     turns.taken
    80
    """

    def __init__(self, most: int):
        self.most: int = most
        self.taken: int = 0
        self._free, self._mine = threading.Condition(), threading.local()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for an image of so many pixels, and keep it."""
        if getattr(self._mine, "has_one", False):
            yield
            return
        pixels = min(pixels, self.most)
        with self._free:
            self._free.wait_for(lambda: self.taken + pixels <= self.most)
            self.taken += pixels
        self._mine.has_one = True
        try:
            yield
        finally:
            self._mine.has_one = False
            with self._free:
                self.taken -= pixels
                self._free.notify_all()


@contextmanager
def turn(pixels: int) -> Iterator[None]:
    """Wait until an image of so many pixels may be decoded; hold it while it is used.

    >>> with turn(8000 * 8000):
    ...     pass
    """
    if pixels <= SMALL:
        yield
        return
    with _turns().of(pixels):
        yield


@cache
def _turns() -> Turns:
    return Turns(max(AT_ONCE, machine.memory() // _OF_MEMORY))
