"""Decoding, where programs look for it among what makes data sets; see `polyak.decoding`."""

from polyak.decoding.decode import decode, least_for

__all__ = ["decode", "least_for"]
