"""Members that a run takes on its way: files beside its checkpoints, known by their hash."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from polyak.errors import RefusedError
from polyak.files import write_atomic
from polyak.train.checkpoint import digest
from polyak.train.checks import table

SLACK = 1 << 20  # bytes of a file beside its tensors


def name_of(number: int) -> str:
    """Name the file of the member that a cycle ended with, from 1.

    >>> name_of(2)
    'snapshot-2.safetensors'
    """
    return f"snapshot-{number}.safetensors"


class Snapshots:
    """Keep the weights that each cycle of the learning rate ended with.

    A run that is resumed before a checkpoint knew of a snapshot takes it again: the same bytes.

    Args:
        folder: the run's checkpoint folder; None on processes that do not lead.
        ends: progress at which each cycle ends; none where none are taken.
    """

    def __init__(self, folder: Path | None, ends: list[float]):
        self.folder, self.ends = folder, ends
        self.ended = 0  # cycles
        self.entries: list[dict] = []

    def due(self, progress: float) -> bool:
        """Whether a cycle has ended by this progress and its member was not taken."""
        return self.ended_by(progress) > self.ended

    def ended_by(self, progress: float) -> int:
        """Count the cycles that have ended by this progress."""
        return sum(progress + 1e-9 >= end for end in self.ends)

    def take(self, state: dict[str, Tensor], progress: float) -> None:
        """Write a member down.

        Raises:
            DiskError: the disk refused.
        """
        self.ended = self.ended_by(progress)
        if self.folder is None:
            return
        path = self.folder / name_of(self.ended)
        write_atomic(path, lambda temporary: save_file(state, temporary))
        share = self.ends[self.ended - 1]
        self.entries.append({"file": path.name, "sha256": digest(path), "share": share})

    def states(self, like: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Read all members that were taken.

        Args:
            like: weights of the network that they are of.

        Raises:
            RefusedError: a file is gone, no longer what was written, or of another network.
        """
        assert self.folder is not None
        most = SLACK + sum(value.numel() * value.element_size() for value in like.values())
        found = []
        for entry in self.entries:
            path = self.folder / Path(str(entry["file"])).name
            try:
                if path.stat().st_size > most or digest(path) != entry["sha256"]:
                    raise ValueError("it is damaged")
                state = load_file(path)
                table(like)(state, "it")
            except (OSError, ValueError, SafetensorError) as error:
                why = getattr(error, "strerror", None) or str(error)
                then = "start again under another --name"
                raise RefusedError(
                    "a snapshot cannot be used", where=str(path), why=why, then=then
                ) from error
            found.append(state)
        return found

    def state_dict(self) -> dict:
        """What a checkpoint remembers."""
        return {"ended": self.ended, "entries": [dict(entry) for entry in self.entries]}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.ended, self.entries = state["ended"], [dict(entry) for entry in state["entries"]]
