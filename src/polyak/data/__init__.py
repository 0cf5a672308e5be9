"""The road from bytes to batches: find, scan, split, decode, load."""

from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.loader import Batch, Loader
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.data.sources.listing import Listing
from polyak.data.split import split
from polyak.decoding.decode import decode
from polyak.decoding.unreadable import Unreadable

__all__ = [
    "Batch",
    "Dataset",
    "Images",
    "Listing",
    "Loader",
    "Unreadable",
    "decode",
    "find",
    "scan",
    "split",
]
