"""Members that a run takes on its way: files beside its checkpoints, known by their hash."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from polyak.errors import RefusedError
from polyak.files import write_atomic
from polyak.rundir.checkpoints import digest


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
        return self._ended(progress) > self.ended

    def _ended(self, progress: float) -> int:
        return sum(progress + 1e-9 >= end for end in self.ends)

    def take(self, state: dict[str, Tensor], progress: float) -> None:
        """Write a member down.

        Raises:
            DiskError: the disk refused.
        """
        self.ended = self._ended(progress)
        if self.folder is None:
            return
        path = self.folder / f"snapshot-{self.ended}.safetensors"
        write_atomic(path, lambda temporary: save_file(state, temporary))
        share = self.ends[self.ended - 1]
        self.entries.append({"file": path.name, "sha256": digest(path), "share": share})

    def states(self) -> list[dict[str, Tensor]]:
        """Read all members that were taken.

        Raises:
            RefusedError: a file is gone, or no longer what was written.
        """
        assert self.folder is not None
        found = []
        for entry in self.entries:
            path = self.folder / Path(str(entry["file"])).name
            if not path.is_file() or digest(path) != entry["sha256"]:
                why = "it is damaged" if path.is_file() else "there is no such file"
                then = "start again under another --name"
                raise RefusedError("a snapshot cannot be used", where=str(path), why=why, then=then)
            found.append(load_file(path))
        return found

    def state_dict(self) -> dict:
        """What a checkpoint remembers."""
        return {"ended": self.ended, "entries": [dict(entry) for entry in self.entries]}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.ended, self.entries = state["ended"], [dict(entry) for entry in state["entries"]]
