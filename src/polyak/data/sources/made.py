"""Images that a program made: they have no files, and a number for a name."""

from collections.abc import Iterable, Sequence

from polyak.decoding.unreadable import Unreadable


class Made:
    """Name images that lie in memory by their numbers.

    >>> Made(range(3)).take([2]).place(0)
    '2'
    """

    def __init__(self, numbers: Iterable[int]):
        self.root: str = "memory"
        self.keys: Sequence[str] = [str(number) for number in numbers]

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, position: int) -> str:
        """Give an image's number."""
        return self.keys[position]

    def read(self, position: int) -> bytes:
        """Refuse: there is no file.

        Raises:
            Unreadable: always.
        """
        raise Unreadable("it was made in memory, there is no file")

    def take(self, positions: Iterable[int]) -> "Made":
        """Keep some images, in their order, with their numbers."""
        return Made(int(self.keys[i]) for i in positions)
