"""From pictures to probabilities: training's own preprocessing, test-time views, members."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from polyak.augment import Policy
from polyak.augment.views import policies
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.ensemble import combine
from polyak.errors import DataError, DivergedError, RefusedError
from polyak.networks.preprocessing import Preprocessing
from polyak.targets import SINGLE_LABEL, TargetKind


class Look(NamedTuple):
    """Say how one network looks at a picture: its preprocessing, and the views that are averaged.

    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> Look(nn.Flatten(), page, "flip").views
    'flip'
    """

    network: nn.Module
    preprocessing: Preprocessing
    views: str = "one"
    kind: TargetKind = SINGLE_LABEL


def log_probabilities(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    *,
    views: str = "one",
    **how,
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Log-probabilities of pictures by one network, averaged over test-time views.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        images: opened pictures.
        preprocessing: size, normalisation, crop.
        views: test-time views that are averaged.
        how: as for `every_log_probabilities`.

    Raises:
        DataError: no picture could be read.
        RefusedError: the network's answer to one is not finite.

    Returns:
        (float32 (N, K) with rows of NaN for failures, [(position, reason)] of the failures).

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> pictures = Images.of(np.zeros((3, 8, 8, 3), np.uint8))
    >>> log_probabilities(network, pictures, page)[0].shape
    (3, 2)
    """
    logs, failed = every_log_probabilities([Look(network, preprocessing, views)], images, **how)
    return logs[0], failed


def every_log_probabilities(
    looks: Sequence[Look],
    images: Images,
    *,
    device: str = "cpu",
    batch_size: int = 256,
    threads: int = 1,
    precision: str = "float32",
    check: Callable[[], object] = lambda: None,
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Log-probabilities of pictures by several networks, each averaged over its own views.

    Pictures are decoded and prepared once for all networks that want them alike.

    Args:
        looks: networks with their preprocessing and views, on the same device.
        images: opened pictures.
        device: where the networks are.
        batch_size: pictures a forward pass.
        threads: of decoding and rendering.
        precision: float32 or bfloat16.
        check: called at every batch; may raise to stop.

    Raises:
        DataError: no picture could be read.
        RefusedError: a network's answer to one is not finite.

    Returns:
        (float32 (M, N, K) with rows of NaN for failures, [(position, reason)] of the failures).

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> pictures = Images.of(np.zeros((3, 8, 8, 3), np.uint8))
    >>> every_log_probabilities([Look(network, page)] * 2, pictures)[0].shape
    (2, 3, 2)
    """
    good, failed = images.good, dict(images.failed)
    if not len(good):
        position, reason = next(iter(failed.items()), (None, "there is none"))
        where = images.source.place(position) if position is not None else ""
        raise DataError("no picture could be read", where=where, why=reason)
    readable, none = images.take(good), np.zeros(len(good), np.int64)
    how = {"batch_size": batch_size, "seed": 0, "threads": threads, "shuffle": False}
    rows: list[list[np.ndarray]] = [[] for _ in looks]
    modes = [look.network.training for look in looks]
    for look in looks:
        look.network.eval()
    for (p, policy), numbers in passes(looks).items():
        seen = readable.scaled_by(p.bits)
        loader = Loader(seen, none, policy, size=p.size, mean=p.mean, std=p.std, **how)
        said: dict[int, np.ndarray] = {}
        for batch in loader.epoch(0):
            inputs = batch.images.to(device)
            for number in numbers:
                check()
                part = _forward(looks[number], inputs, precision)
                check_finite(part, images, good[batch.indices])
                if number not in said:
                    said[number] = np.full((len(images), part.shape[1]), np.nan, np.float32)
                said[number][good[batch.indices]] = part
        for number, logs in said.items():
            rows[number].append(logs)
        failed.update((int(good[position]), reason) for position, reason in loader.failed)
    for look, mode in zip(looks, modes, strict=True):
        look.network.train(mode)
    # a picture that one view could not read has NaN there, and so in the mean
    means = [combine(views) for views in rows]
    # of one network no copy: with thousands of classes each is large
    every = np.stack(means) if len(means) > 1 else means[0][None]
    return every, sorted(failed.items())


def passes(looks: Sequence[Look]) -> dict[tuple[Preprocessing, Policy], list[int]]:
    """Which networks take which pictures: each way to prepare pictures once.

    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> list(passes([Look(nn.Flatten(), page), Look(nn.Flatten(), page, "flip")]).values())
    [[0, 1], [1]]
    """
    found: dict[tuple[Preprocessing, Policy], list[int]] = {}
    for number, look in enumerate(looks):
        for policy in policies(look.views, look.preprocessing.fraction):
            found.setdefault((look.preprocessing, policy), []).append(number)
    return found


def check_finite(
    answers: np.ndarray, images: Images, positions: np.ndarray, largest: float = np.inf
) -> None:
    """Refuse answers of a network that are not finite: no image is to blame for them.

    Args:
        answers: float (N, ...).
        images: opened pictures.
        positions: int (N,), where each answer's image stands.
        largest: what every number must stay below.

    Raises:
        RefusedError: one is not finite, or too large; it names its image.

    >>> check_finite(np.ones((1, 2)), Images.of(np.zeros((1, 8, 8, 3), np.uint8)), np.arange(1))
    """
    sound = np.abs(answers) < largest  # which no NaN is
    rows = np.flatnonzero(~sound.reshape(len(answers), -1).all(1))
    if len(rows):
        raise RefusedError(
            "the network's answer is not finite",
            where=images.source.place(int(positions[rows[0]])),
            why="its weights are damaged, or too large for the numbers that they meet",
            then="take other weights",
        )


def _forward(one: Look, images: torch.Tensor, precision: str) -> np.ndarray:
    with (
        torch.inference_mode(),
        torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        return one.kind.log_probs(one.network(images).float()).cpu().numpy()


@contextmanager
def as_divergence() -> Iterator[None]:
    """Let predictions that are not finite mean that training diverged: its weights are its own.

    Raises:
        DivergedError: in place of a refusal.

    >>> with as_divergence():  # doctest: +ELLIPSIS
    ...     raise RefusedError("the model's answer is not finite")
    Traceback (most recent call last):
    ...
    polyak.errors.DivergedError: the model's answer is not finite...
    """
    try:
        yield
    except RefusedError as error:
        raise DivergedError(
            error.what,
            where=error.where,
            why="the weights have become too large",
            kept="the last checkpoint",
            then="lower --learning-rate",
        ) from error
