"""Batches as functions: order of (seed, epoch), pixels of (seed, epoch, index)."""

import copy
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polyak import keys, machine
from polyak.augment import Policy, render, render_batch
from polyak.data.images import Images
from polyak.decoding.turns import SMALL
from polyak.decoding.unreadable import Unreadable
from polyak.errors import DataError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Carry one batch; `images` is only lent, until two more batches were taken.

    Args:
        images: float32 (N, 3, h, w), channels last in memory, normalised.
        labels: int64 (N,).
        indices: int64 numpy (N,), positions in the loader's labels.
        work: seconds that the loader's threads spent on it: (decoding, rendering), files read and
            images that lie in memory included in the first.

    >>> import torch
    >>> batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([1, 0]), np.array([7, 3]))
    >>> batch.images.shape, batch.labels.tolist()
    (torch.Size([2, 3, 8, 8]), [1, 0])
    """

    images: "torch.Tensor"
    labels: "torch.Tensor"
    indices: np.ndarray
    work: tuple[float, float] = (0.0, 0.0)


def balanced_draw(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw as many images as there are, of every class alike: int64 (n,), positions.

    The images of a class take turns, in a new order whenever all of them were drawn; so of a large
    class an epoch sees other images than the one before.

    Args:
        labels: int (n,).
        seed: of the run.
        epoch: which one; the draw is a function of (seed, epoch).

    >>> drawn = balanced_draw(np.array([0] * 6 + [1] * 2), seed=0, epoch=0)
    >>> np.bincount(drawn >= 6).tolist(), sorted(drawn[drawn >= 6].tolist())
    ([4, 4], [6, 6, 7, 7])
    """
    present = np.unique(labels)
    quota = np.full(len(present), len(labels) // len(present))
    rest = len(labels) - quota.sum()
    # what does not divide goes to other classes in every epoch
    quota[(np.arange(rest) + epoch * rest) % len(present)] += 1
    found = []
    for number, label in enumerate(present):
        members, count = np.flatnonzero(labels == label), int(quota[number])
        most = int(quota.max())
        turn = epoch * most + np.arange(count)
        rounds, place = turn // len(members), turn % len(members)
        picked = np.empty(count, np.int64)
        for one in np.unique(rounds):
            draw = keys.keys("balance", seed, int(one), int(label), np.arange(len(members)))
            order = np.argsort(draw, kind="stable")
            picked[rounds == one] = members[order[place[rounds == one]]]
        found.append(picked)
    return np.concatenate(found)


class Loader:
    """Decode and augment on threads, ahead of training.

    Args:
        images: images by position.
        labels: int64 (n,).
        policy: what to draw; `Policy.centre()` for evaluation.
        size: (height, width) of the result.
        mean: of each colour, in [0, 1].
        std: of each colour, in [0, 1].
        batch_size: of the global batch, all ranks together.
        seed: of order and augmentation.
        threads: of the pool; default one a processor. Batches do not depend on it.
        shuffle: training: a new order every epoch, and the last incomplete batch left out (unless
            it is the only one). Without: every image once, in order.
        rank: of this process; it takes every `world`-th sample of each global batch.
        world: number of processes.

    Images that fail are left out of their batch and listed in `failed` as (position, reason).

    >>> images = Images.of(np.zeros((5, 8, 8, 3), np.uint8))
    >>> loader = Loader(images, np.arange(5), Policy.centre(1.0), size=(8, 8), mean=(0, 0, 0),
    ...                 std=(1, 1, 1), batch_size=2, seed=0, threads=1, shuffle=False)
    >>> [batch.labels.tolist() for batch in loader.epoch(0)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        images: Images,
        labels: np.ndarray,
        policy: Policy,
        *,
        size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        batch_size: int,
        seed: int,
        threads: int | None = None,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        balanced: bool = False,
    ):
        self.images = images
        self.labels: np.ndarray = np.asarray(labels, np.int64)  # (n,), or (n, K) of several
        self.policy = policy
        self.size = size
        self.mean = mean
        self.std = std
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.threads: int = threads or machine.cores()
        self.rank = rank
        self.world = world
        self.balanced = balanced
        self.failed: list[tuple[int, str]] = []
        self._seen_failing: set[int] = set()

    def __len__(self) -> int:
        n = len(self.labels)
        return max(n // self.batch_size, min(n, 1)) if self.shuffle else -(-n // self.batch_size)

    @property
    def images_per_step(self) -> int:
        """Images of a whole batch, all processes together."""
        return min(self.batch_size, len(self.labels))

    def in_order(self, batch_size: int) -> "Loader":
        """Give a loader of the same images that yields each once, in order, alone."""
        still = copy.copy(self)
        still.batch_size, still.shuffle, still.rank, still.world = batch_size, False, 0, 1
        return still

    def order(self, epoch: int, number: int) -> np.ndarray:
        """Positions of this rank's share of a batch: int64, a function of (seed, epoch, number)."""
        return self._share(self._order(epoch), number)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch, beginning with number `start` at no cost for those before.

        Raises:
            DataError: no image of a batch could be read.
        """
        order = self._order(epoch)
        share = -(-self.batch_size // self.world)
        chunk = _chunk(share, self.threads, self._blocks)
        ahead = max(2, 2 * self.threads * chunk // share)
        # one being taken, two before it still lent, the rest in the making
        ring: deque[np.ndarray] = deque(
            np.empty((0, *self.size, 3), np.float32) for _ in range(ahead + 3)
        )
        waiting = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="polyak-loader")
        try:
            for number in range(start, len(self) + ahead):
                if number < len(self):
                    indices = self._share(order, number)
                    if len(ring[0]) < len(indices):
                        ring[0] = np.empty((len(indices), *self.size, 3), np.float32)
                    out = ring[0][: len(indices)]
                    ring.rotate(-1)
                    waiting.append((indices, out, self._start(pool, epoch, indices, out, chunk)))
                if number - start >= ahead:
                    yield self._finish(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def _blocks(self) -> bool:
        """Whether images of one size are drawn by the block; a block of large ones fills memory."""
        return self.images.uniform and bool(self.images.sizes[0].prod() <= SMALL)

    def _order(self, epoch):
        n = len(self.labels)
        if not self.shuffle:
            return np.arange(n)
        order = keys.permutation("order", self.seed, epoch, n)
        return balanced_draw(self.labels, self.seed, epoch)[order] if self.balanced else order

    def _share(self, order, number):
        whole = order[number * self.batch_size : (number + 1) * self.batch_size]
        return whole[self.rank :: self.world]

    def _start(self, pool, epoch, indices, out, chunk):
        # one plan a batch, made on a thread before the parts begin: it costs by the call
        plan = pool.submit(self._plan, epoch, indices)
        return [
            pool.submit(self._draw, plan, slice(i, i + chunk), indices, out)
            for i in range(0, len(indices), chunk)
        ]

    def _plan(self, epoch, indices):
        sizes = self.images.sizes[indices]
        return self.policy.plan(self.seed, epoch, indices, sizes, self.size, self.mean, self.std)

    def _draw(self, plan, part, indices, out):
        """Draw a part of a batch: ((row, reason) of the failed, seconds decoding, rendering)."""
        plan, indices, out = plan.result()[part], indices[part], out[part]
        began, decoding, failed = time.perf_counter(), 0.0, []
        if self._blocks:
            block, failed = self.images.block(indices)
            decoding = time.perf_counter() - began
            render_batch(block, plan, out)
        else:
            for row, position in enumerate(indices):
                with self.images.turn(position):
                    opened = time.perf_counter()
                    try:
                        image = self.images[position]
                    except Unreadable as error:
                        failed.append((row, error.reason))
                        continue
                    finally:
                        decoding += time.perf_counter() - opened
                    render(image, plan[row], out[row])
                    del image
        rendering = time.perf_counter() - began - decoding
        return [(part.start + row, reason) for row, reason in failed], decoding, rendering

    def _finish(self, indices, out, parts):
        import torch

        done = [part.result() for part in parts]
        if failed := [pair for some, _, _ in done for pair in some]:
            indices, out = self._leave_out(indices, out, failed)
        images = torch.from_numpy(out).permute(0, 3, 1, 2)
        labels = torch.from_numpy(self.labels[indices])
        work = sum(decode for _, decode, _ in done), sum(render for _, _, render in done)
        return Batch(images, labels, indices, work)

    def _leave_out(self, indices, out, failed):
        for row, reason in failed:
            position = int(indices[row])
            if position not in self._seen_failing:
                self._seen_failing.add(position)
                self.failed.append((position, reason))
        kept = np.ones(len(indices), bool)
        kept[[row for row, _ in failed]] = False
        if not kept.any():
            row, reason = failed[0]
            raise DataError(
                "no image of a batch could be read",
                where=self.images.source.place(indices[row]),
                why=reason,
                then="see that the data is still where it was",
            )
        return indices[kept], out[kept]


def _chunk(share, threads, uniform):
    """How many images a task draws: work for every thread, but more than the hand-over costs."""
    least = 32 if uniform else 4
    return max(1, min(share, max(least, -(-share // (2 * threads)))))
