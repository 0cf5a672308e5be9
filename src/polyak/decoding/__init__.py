"""From bytes to pixels: headers judged, images decoded whole or refused."""

from polyak.decoding.decode import decode, image_pixels
from polyak.decoding.unreadable import Unreadable

__all__ = ["Unreadable", "decode", "image_pixels"]
