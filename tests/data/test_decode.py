"""The address that programs of 0.1 import decoding from still leads to it."""

from polyak import decoding
from polyak.data.decode import decode, min_size_for


def test_the_old_address_is_the_same_function():
    assert decode is decoding.decode
    assert decode.__module__ == min_size_for.__module__ == "polyak.decoding.decode"
