"""Where a TIFF's strips or tiles lie, by its tags."""

from collections.abc import Iterator
from typing import Any, NamedTuple

WIDTH, HEIGHT, TILES, SAMPLES, PLANAR = 256, 257, 324, 277, 284
_STRIPS, _ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_BYTES = 322, 323, 325


class Piece(NamedTuple):
    """A strip or tile: where its bytes lie, and how many columns and rows it has."""

    start: int
    stop: int
    columns: int
    rows: int


def pieces_of(tags: dict[int, Any], length: int) -> Iterator[Piece]:
    """Give each strip or tile that the tags tell of a file of some length."""
    width, height = tags[WIDTH], tags[HEIGHT]
    tiled = TILES in tags
    starts = several(tags.get(TILES if tiled else _STRIPS))
    sizes = several(tags.get(_TILE_BYTES if tiled else _STRIP_BYTES))
    columns = tags[_TILE_WIDTH] if tiled else width
    rows = tags[_TILE_HEIGHT] if tiled else min(tags.get(_ROWS, height), height)
    down = -(-height // max(rows, 1))
    for i, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        left = height - i % down * rows
        yield Piece(start, min(start + size, length), columns, rows if tiled else min(rows, left))


def wanted(tags: dict[int, Any]) -> int:
    """Count the strips or tiles that an image must have."""
    width, height = tags[WIDTH], tags[HEIGHT]
    columns, rows = tags.get(_TILE_WIDTH, width), tags.get(_TILE_HEIGHT, tags.get(_ROWS, height))
    planes = tags.get(SAMPLES, 1) if tags.get(PLANAR, 1) == 2 else 1
    return -(-width // max(columns, 1)) * -(-height // max(rows, 1)) * planes


def several(value: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Give the values of a tag, of which there may be one, or none."""
    return value if isinstance(value, tuple) else () if value is None else (value,)


def joined(pieces: list[Piece]) -> list[tuple[int, int]]:
    """Give what strips cover, (start, stop) in the order of the file."""
    parts: list[tuple[int, int]] = []
    for start, stop, *_ in sorted(pieces):
        if parts and start <= parts[-1][1] + 1:
            parts[-1] = parts[-1][0], max(stop, parts[-1][1])
        elif start < stop:
            parts.append((start, stop))
    return parts
