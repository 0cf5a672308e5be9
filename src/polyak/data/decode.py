"""Decoding, where programs look for it among what makes data sets; see `polyak.decoding`."""

from polyak.decoding.decode import decode, min_size_for

__all__ = ["decode", "min_size_for"]
