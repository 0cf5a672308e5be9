"""What every source of images can do: give their bytes by position, wherever they lie."""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Source(Protocol):
    """Give the files of images by position: from folders, an archive, a table, memory.

    A source of your own is a class like `Files`, and a function like `list_folder` that `find`
    calls. Nothing else in polyak opens an image's file.

    Args:
        root: where all of it lies, for messages.
        keys: a name for each image, which tables, messages and splits know it by.

    >>> from polyak.data.sources.files import Files
    >>> source: Source = Files("data", ["a/1.jpg", "b/2.jpg"])
    >>> source.keys[1], source.place(1), list(source.take([1]).keys)
    ('b/2.jpg', 'data/b/2.jpg', ['b/2.jpg'])
    """

    def __len__(self) -> int: ...

    @property
    def root(self) -> object:
        """Where all of it lies, for messages."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """Name each image below the root."""
        ...

    def place(self, position: int) -> str:
        """Say where an image lies, for messages."""
        ...

    def read(self, position: int) -> bytes:
        """Give an image's file whole; several threads may ask at once.

        Raises:
            Unreadable: with the reason.
        """
        ...

    def take(self, positions: Iterable[int]) -> "Source":
        """Keep some images, in their order."""
        ...
