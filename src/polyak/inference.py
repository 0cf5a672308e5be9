"""From images to probabilities: training's own preprocessing, test-time views, members."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, Unpack

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


class Predictor(NamedTuple):
    """Hold a network with what it wants of images: its preprocessing, and views to be averaged.

    >>> small = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> Predictor(nn.Flatten(), small, "flip").views
    'flip'
    """

    network: nn.Module
    preprocessing: Preprocessing
    views: str = "one"
    kind: TargetKind = SINGLE_LABEL


class Options(TypedDict, total=False):
    """How images go through a network.

    Args:
        device: where the networks are; default cpu.
        batch_size: images a forward pass; default 256.
        threads: of decoding and rendering; default 1.
        precision: float32, the default, or bfloat16.
        check: called at every batch; may raise to stop.

    >>> options: Options = {"batch_size": 8}
    """

    device: str
    batch_size: int
    threads: int
    precision: str
    check: Callable[[], object]


@dataclass(frozen=True)
class _Settings:
    """`Options`, and what stands where one is left out."""

    device: str = "cpu"
    batch_size: int = 256
    threads: int = 1
    precision: str = "float32"
    check: Callable[[], object] = lambda: None


Failed = list[tuple[int, str]]  # (position, reason)


def log_probabilities(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    *,
    views: str = "one",
    kind: TargetKind = SINGLE_LABEL,
    **options: Unpack[Options],
) -> tuple[np.ndarray, Failed]:
    """Log-probabilities of images by one network, averaged over test-time views.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        images: opened images.
        preprocessing: size, normalisation, crop.
        views: test-time views that are averaged.
        kind: of the targets that it learnt.
        options: `Options`.

    Raises:
        DataError: no image could be read.
        RefusedError: the network's answer to one is not finite.

    Returns:
        (float32 (N, K) with rows of NaN for failures, [(position, reason)] of the failures).

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> small = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> images = Images.of(np.zeros((3, 8, 8, 3), np.uint8))
    >>> log_probabilities(network, images, small)[0].shape
    (3, 2)
    """
    predictors = [Predictor(network, preprocessing, views, kind)]
    log_probs, failed = every_log_probabilities(predictors, images, **options)
    return log_probs[0], failed


def every_log_probabilities(
    predictors: Sequence[Predictor], images: Images, **options: Unpack[Options]
) -> tuple[np.ndarray, Failed]:
    """Log-probabilities of images by several networks, each averaged over its own views.

    Images are decoded and prepared once for all networks that want them alike.

    Args:
        predictors: networks with their preprocessing and views, on the same device.
        images: opened images.
        options: `Options`.

    Raises:
        DataError: no image could be read.
        RefusedError: a network's answer to one is not finite.

    Returns:
        (float32 (M, N, K) with rows of NaN for failures, [(position, reason)] of the failures).

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> small = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> images = Images.of(np.zeros((3, 8, 8, 3), np.uint8))
    >>> every_log_probabilities([Predictor(network, small)] * 2, images)[0].shape
    (2, 3, 2)
    """
    on = _Settings(**options)
    good, failed = images.good, dict(images.failed)
    if not len(good):
        position, reason = next(iter(failed.items()), (None, "there is none"))
        where = images.source.place(position) if position is not None else ""
        raise DataError("no image could be read", where=where, why=reason)
    rows: list[list[np.ndarray]] = [[] for _ in predictors]
    with evaluating(predictors):
        for (preprocessing, policy), numbers in passes(predictors).items():
            takers = [(number, predictors[number]) for number in numbers]
            loader = _loader(images, preprocessing, policy, on)
            for number, log_probs in _one_pass(loader, takers, images, on).items():
                rows[number].append(log_probs)
            failed.update((int(good[position]), reason) for position, reason in loader.failed)
    # an image that one view could not read has NaN there, and so in the mean
    means = [combine(views) for views in rows]
    # of one network no copy: with thousands of classes each is large
    every = np.stack(means) if len(means) > 1 else means[0][None]
    return every, sorted(failed.items())


@contextmanager
def evaluating(predictors: Sequence[Predictor]) -> Iterator[None]:
    """Let networks predict, and go on as before: dropout and batch-norm know the difference.

    >>> small = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network = nn.Dropout()
    >>> with evaluating([Predictor(network, small)]):
    ...     network.training
    False
    >>> network.training
    True
    """
    modes = [one.network.training for one in predictors]
    for one in predictors:
        one.network.eval()
    try:
        yield
    finally:
        for one, mode in zip(predictors, modes, strict=True):
            one.network.train(mode)


def _loader(images: Images, preprocessing: Preprocessing, policy: Policy, on: _Settings) -> Loader:
    """Load the images that can be read, each once, in order."""
    readable = images.take(images.good).scaled_by(preprocessing.bits)
    return Loader(
        readable, np.zeros(len(readable), np.int64), policy,
        size=preprocessing.size, mean=preprocessing.mean, std=preprocessing.std,
        batch_size=on.batch_size, seed=0, threads=on.threads, shuffle=False,
    )  # fmt: skip


def _one_pass(
    loader: Loader, takers: list[tuple[int, Predictor]], images: Images, on: _Settings
) -> dict[int, np.ndarray]:
    """Let each network see all images prepared in one way: its number -> float32 (N, K)."""
    good, found = images.good, dict[int, np.ndarray]()
    for batch in loader.epoch(0):
        inputs = batch.images.to(on.device)
        for number, one in takers:
            on.check()
            part = _forward(one, inputs, on.precision)
            check_finite(part, images, good[batch.indices])
            if number not in found:
                found[number] = np.full((len(images), part.shape[1]), np.nan, np.float32)
            found[number][good[batch.indices]] = part
    return found


def passes(predictors: Sequence[Predictor]) -> dict[tuple[Preprocessing, Policy], list[int]]:
    """Which networks take which images: each way to prepare images once.

    >>> small = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> both = [Predictor(nn.Flatten(), small), Predictor(nn.Flatten(), small, "flip")]
    >>> list(passes(both).values())
    [[0, 1], [1]]
    """
    found: dict[tuple[Preprocessing, Policy], list[int]] = {}
    for number, one in enumerate(predictors):
        for policy in policies(one.views, one.preprocessing.fraction):
            found.setdefault((one.preprocessing, policy), []).append(number)
    return found


def check_finite(
    answers: np.ndarray, images: Images, positions: np.ndarray, largest: float = np.inf
) -> None:
    """Refuse answers of a network that are not finite: no image is to blame for them.

    Args:
        answers: float (N, ...).
        images: opened images.
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


def _forward(one: Predictor, images: torch.Tensor, precision: str) -> np.ndarray:
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
