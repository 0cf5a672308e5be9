"""Features once: the frozen backbone runs over the images a single time, and the disk remembers.

What stands on disk is a table with a row an image and a block of columns a stage, in a folder
named by everything that it depends on: weights, stages, preprocessing, the files' own bytes.
"""

import copy
import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor, nn

from polyak import keys
from polyak.augment import Policy
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.decoding.unreadable import Unreadable
from polyak.inference import check_finite
from polyak.networks.fold import folded
from polyak.networks.head import head_names
from polyak.networks.preprocessing import Preprocessing
from polyak.networks.stages import stages, tapped
from polyak.transfer import cache

BATCH = 16  # images a forward pass on a processor: maps of more do not fit its caches
GPU_BATCH = 256
AHEAD = 4  # batches that wait to be computed
LARGEST = 1e15  # of a feature: what is larger leaves float32 where many of them are squared


@dataclass(frozen=True)
class Features:
    """Hold what the stages of a frozen network say of images.

    Args:
        table: float32 (N, D); a row of NaN where an image could not be read.
        widths: number of columns of each stage, in their order.
        failed: (position, reason) of the images that could not be read.
        cached: whether the table was found on disk.
        unkept: why the disk does not remember it; "" where it does, or was not asked to.

    >>> Features(np.ones((2, 3), np.float32), {"a": 1, "b": 2}).of(["b"]).shape
    (2, 2)
    """

    table: np.ndarray
    widths: dict[str, int]
    failed: list[tuple[int, str]] = field(default_factory=list)
    cached: bool = False
    unkept: str = ""

    def of(self, names: Sequence[str]) -> np.ndarray:
        """Give the columns of some stages, one after the other: float32 (N, d)."""
        ends = dict(zip(self.widths, np.cumsum(list(self.widths.values())), strict=True))
        parts = [self.table[:, ends[name] - self.widths[name] : ends[name]] for name in names]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


@dataclass(frozen=True)
class View:
    """Say how images are drawn for the backbone: the centre, or one augmented version of each.

    Args:
        policy: augmentation as text; None is the centre, as in evaluation.
        seed: of what the policy draws.
        epoch: which version.

    >>> View().drawn(1.0)
    Policy(operations=(Operation(name='centre', parameters=(('fraction', 1.0),), p=1.0, on='any'),))
    """

    policy: str | None = None
    seed: int = 0
    epoch: int = 0

    def drawn(self, fraction: float) -> Policy:
        """Give the policy itself."""
        return Policy.parse(self.policy) if self.policy else Policy.centre(fraction)


@dataclass(frozen=True)
class Settings:
    """How features are computed and kept; nothing here changes them.

    Args:
        widths: `stages(network)`, where that is known.
        threads: of decoding and rendering.
        folder: of remembered features; None remembers nothing.
        check: called at every batch; may raise to stop.

    >>> Settings(threads=2).folder is None
    True
    """

    widths: dict[str, int] | None = None
    threads: int = 1
    folder: Path | None = None
    check: Callable[[], object] = lambda: None


def extract(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    digests: np.ndarray,
    view: View = View(),
    settings: Settings = Settings(),
) -> Features:
    """Do what `extraction` does, without telling of it on the way.

    >>> from polyak.networks import Compact
    >>> preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> images = Images.of(np.zeros((5, 8, 8, 3), np.uint8))
    >>> found = extract(Compact(2, (8, 8), (4, 6)), images, preprocessing, np.zeros((5, 2)))
    >>> found.of(["head"]).shape
    (5, 6)
    """
    work = extraction(network, images, preprocessing, digests, view, settings)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def extraction(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    digests: np.ndarray,
    view: View = View(),
    settings: Settings = Settings(),
) -> Generator[int, None, Features]:
    """Run a frozen network over images once, or find the result of an earlier run on disk.

    Args:
        network: on its device; not changed.
        images: opened images.
        preprocessing: from image to input.
        digests: uint64 (N, 2), a hash of each file's bytes.
        view: what to draw of each image.
        settings: threads, the folder that remembers, and what may stop it.

    Yields:
        How many images are done.

    Returns:
        (by `yield from`) the features of all images, in their order.

    Raises:
        DataError: no image could be read.
        RefusedError: the weights say of one what is not finite.
        DiskError: neither the disk nor memory holds the features.

    >>> from polyak.networks import Compact
    >>> preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> images = Images.of(np.zeros((40, 8, 8, 3), np.uint8))
    >>> list(extraction(Compact(2, (8, 8), (4, 6)), images, preprocessing, np.zeros((40, 2))))
    [16, 32, 40]
    """
    widths, folder = settings.widths or stages(network), settings.folder
    shape = len(images), sum(widths.values())
    work = _Work(network, images, preprocessing, view, tuple(widths), settings)
    if folder is None:
        new = cache.New(np.full(shape, np.nan, np.float32))
        yield from work.fill(new)
        return Features(new.table, widths, new.failed)
    name = _name(network, preprocessing, digests, view, widths)
    with cache.owned(folder, name, settings.check):
        found = cache.read(folder, name, shape)
        if found is not None and any(_reads(images, position) for position, _ in found[1]):
            found = cache.forget(folder, name)  # an image was away for a while, and is back
        if found is not None:
            return Features(found[0], widths, found[1], cached=True)
        with cache.making(folder, name, shape) as new:
            yield from work.fill(new)
        return Features(new.table, widths, new.failed, unkept=new.unkept)


def _reads(images: Images, position: int) -> bool:
    try:
        images[position]
    except Unreadable:
        return False
    return True


@dataclass(frozen=True)
class _Work:
    network: nn.Module
    images: Images
    preprocessing: Preprocessing
    view: View
    names: tuple[str, ...]
    settings: Settings

    def fill(self, new: cache.New) -> Generator[int, None, None]:
        """Write the rows of all readable images, and name the others; done batches stay."""
        device = next(self.network.parameters()).device
        # neighbours are often broken together; mixed, hardly a batch is lost whole
        order = keys.permutation("features", 0, 0, len(self.images))
        loader = self._loader(order, BATCH if device.type == "cpu" else GPU_BATCH)
        done, before = min(len(order), new.done * loader.batch_size), dict(new.failed)
        epoch = loader.epoch(self.view.epoch, new.done)
        with closing(epoch), _crew(self, device) as forward:
            waiting = deque()
            for batch in chain(epoch, (None,)):
                self.settings.check()
                if batch is not None:
                    # a batch is only lent, and several are in work at once
                    waiting.append((order[batch.indices], forward(batch.images.clone())))
                while waiting and (batch is None or waiting[0][1].done() or len(waiting) > AHEAD):
                    rows, part = waiting.popleft()
                    check_finite(part.result(), self.images, rows, LARGEST)
                    new.table[rows] = part.result()
                    found = {int(order[position]): reason for position, reason in loader.failed}
                    new.failed, new.done = sorted((before | found).items()), new.done + 1
                    done += len(rows)
                    yield done

    def _loader(self, order: np.ndarray, batch_size: int) -> Loader:
        p, nothing = self.preprocessing, np.zeros(len(order), np.int64)
        images = self.images.scaled_by(p.bits).take(order)
        return Loader(
            images, nothing, self.view.drawn(p.fraction), size=p.size,
            mean=p.mean, std=p.std, batch_size=batch_size, seed=self.view.seed,
            threads=self.settings.threads, shuffle=False,
        )  # fmt: skip


@contextmanager
def _crew(work: _Work, device: torch.device) -> Iterator[Callable[[Tensor], Future[np.ndarray]]]:
    """Run forward passes on threads of their own: (N, 3, h, w) to a future of float32 (N, D).

    On a processor each thread computes whole batches alone: threads that share a layer wait for one
    another at its end, which costs most where the machine has other work, and their number would
    show in the last bits.
    """
    total = torch.get_num_threads()
    count = total if device.type == "cpu" else 1
    frozen = folded(work.network)
    shared = {id(t): t for t in (*frozen.parameters(), *frozen.buffers())}
    twins: SimpleQueue[nn.Module] = SimpleQueue()
    for _ in range(count):
        twins.put(copy.deepcopy(frozen, dict(shared)))

    def alone() -> None:
        torch.set_flush_denormal(True)  # as in the main thread; each has its own mode
        if device.type == "cpu":
            torch.set_num_threads(1)

    def forward(images: Tensor) -> np.ndarray:
        twin = twins.get()
        try:
            with torch.inference_mode(), tapped(twin, work.names) as found:
                twin(images.to(device))
                return torch.cat([found[name].float() for name in work.names], 1).cpu().numpy()
        finally:
            twins.put(twin)

    try:
        with ThreadPoolExecutor(count, "polyak-features", alone) as pool:
            yield lambda images: pool.submit(forward, images)
    finally:
        torch.set_num_threads(total)


def _name(network, preprocessing, digests, view, widths) -> str:
    """Hash everything that the features depend on, to their last bit."""
    heads = tuple(f"{name}." for name in head_names(network))
    hashed = hashlib.sha256()
    for name, value in network.state_dict().items():
        if not name.startswith(heads):
            hashed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            hashed.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    device = next(network.parameters()).device.type
    kind = type(network).__qualname__, getattr(network, "pretrained_cfg", {}).get("architecture")
    facts = (
        kind,
        preprocessing if preprocessing.bits < 16 else preprocessing[:4],
        str(view.drawn(preprocessing.fraction)),
        view.seed,
        view.epoch,
        widths,
        device,
    )
    facts = *facts, torch.__version__  # a sum's last bits depend on it
    hashed.update(json.dumps(facts, default=str).encode())
    hashed.update(np.ascontiguousarray(digests).astype("<u8").tobytes())
    return hashed.hexdigest()[:40]
