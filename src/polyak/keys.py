"""Random numbers as functions of (seed, epoch, index) or (seed, step, rank), never of history.

A purpose and its counters are hashed to 64 bits (splitmix64's finaliser after every word, so that
adjacent seeds and indices share nothing). Nothing here has state: nothing to save or replay.
Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Purpose(NamedTuple):
    """Who draws under a purpose, and what is counted.

    >>> PURPOSES["order"].counters
    ('seed', 'epoch', 'position')
    """

    draws: str
    counters: tuple[str, ...]


# Purposes are hashed: a renamed one, or counters in another order, change every draw for ever.
# What stands in braces is filled in before it is hashed.
PURPOSES = {
    # data
    "digits test part": Purpose("which digits are test", ("position",)),
    "split": Purpose("validation part", ("seed", "digest, first word", "digest, second word")),
    "order": Purpose("order of an epoch", ("seed", "epoch", "position")),
    "balance": Purpose(
        "order of a class's images, where classes are drawn alike",
        ("seed", "round", "class", "position"),
    ),
    # augment
    "picture": Purpose("one word an image, the same in all epochs", ("seed", "index")),
    "look": Purpose("one word an image and epoch", ("seed", "epoch", "index")),
    "augment": Purpose("usual numbers of all operations", ("word of 'look'", "number")),
    "augment {place} {operation}": Purpose("where p=alternate begins", ("word of 'picture'",)),
    "augment {place} {operation} {number}": Purpose("further numbers", ("word of 'look'",)),
    "field": Purpose("displacements of `elastic`", ("24 bits of an image", "point")),
    "{mix} weight": Purpose("share kept by mixup or cutmix", ("seed", "step", "rank")),
    "{mix} pairs {rank}": Purpose("who is mixed with whom", ("seed", "step", "position")),
    "cutmix place": Purpose("centre of the rectangle", ("seed", "step", "rank", "axis")),
    "preview": Purpose("images of `polyak augment`", ("seed", "0", "position")),
    # training
    "member": Purpose("seed of an ensemble's member", ("seed", "member")),
    "init": Purpose("starting weights", ("seed",)),
    "step": Purpose("dropout masks", ("seed", "step", "rank")),
    "monte carlo": Purpose("dropout masks while predicting", ("seed", "sample")),
    # transfer
    "features": Purpose("order of feature extraction", ("0", "0", "position")),
    "folds": Purpose("folds of cross-validation", ("seed", "first position of a group")),
    "curve": Purpose("subsets of the learning curve", ("seed", "subset", "position")),
    # figures
    "bootstrap": Purpose("resamples of an interval", ("seed", "resample", "position")),
    "export": Purpose("images of the comparison", ("0", "0", "position")),
    "race noise": Purpose("noise of a gradient", ("seed", "step", "axis")),
}

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def keys(purpose: str, *counters: ArrayLike) -> np.ndarray:
    """Hash a purpose and counters (integers or integer arrays, broadcast) to uint64, one a row.

    >>> keys("order", 0, 1, np.arange(3)).shape
    (3,)
    >>> bool(keys("order", 1, 0) == keys("order", 0, 1))
    False
    """
    word = np.uint64(
        int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    )
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
        state = _mix(np.asarray(word) + _GOLDEN)
        for counter in counters:
            state = _mix((state ^ np.asarray(counter).astype(np.uint64)) + _GOLDEN)
    return state


def key(purpose: str, *counters: int) -> int:
    """Hash a purpose and counters to one integer below 2**63, fit for `torch.manual_seed`.

    >>> key("dropout", 0, 7, 0) == key("dropout", 0, 7, 0) != key("dropout", 0, 7, 1)
    True
    """
    return int(keys(purpose, *counters)) >> 1


def uniform(purpose: str, *counters: ArrayLike) -> np.ndarray:
    """Draw float64 numbers in [0, 1), one for every combination of the counters.

    >>> u = uniform("flip", 0, 0, np.arange(10_000))
    >>> bool(abs(u.mean() - 0.5) < 0.02), bool(u.min() >= 0), bool(u.max() < 1)
    (True, True, True)
    """
    return (keys(purpose, *counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(purpose: str, seed: int, epoch: int, n: int) -> np.ndarray:
    """Shuffle range(n): int64 (n,), a function of (purpose, seed, epoch) alone.

    >>> sorted(permutation("order", 0, 0, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.argsort(keys(purpose, seed, epoch, np.arange(n)), kind="stable")
