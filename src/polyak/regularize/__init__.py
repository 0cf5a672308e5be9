"""REGULARIZATION: dropout as the lecture tells it and its kin, put into any network."""

from polyak.regularize.dropout import Dropout, SpatialDropout, StochasticDepth
from polyak.regularize.insert import KINDS, add_dropout, dropped
from polyak.regularize.monte_carlo import monte_carlo

__all__ = [
    "KINDS",
    "Dropout",
    "SpatialDropout",
    "StochasticDepth",
    "add_dropout",
    "dropped",
    "monte_carlo",
]
