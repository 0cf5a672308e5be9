"""Where images come from: folders, CSVs, the built-in digits; a source of your own is one file."""

from polyak.data.sources.find import ClassesFrom, find

__all__ = ["ClassesFrom", "find"]
