"""Snapshots that a run takes on its way: files beside its checkpoints, known by their hash."""

from pathlib import Path

from safetensors.torch import load_file, save_file

from polyak.ensemble import Snapshot, Snapshots
from polyak.errors import RefusedError
from polyak.files import write_atomic
from polyak.rundir.checkpoints import digest


class SnapshotFiles(Snapshots):
    """Keep the weights that each cycle of the learning rate ended with, on the disk.

    A run that is resumed before a checkpoint knew of a snapshot takes it again: the same bytes.

    Args:
        folder: the run's checkpoint folder; None on processes that do not lead.
        ends: progress at which each cycle ends; none where none are taken.
    """

    def __init__(self, folder: Path | None, ends: list[float]):
        super().__init__(ends)
        self.folder = folder
        self.entries: list[dict] = []

    def taken(self) -> list[Snapshot]:
        """Read all snapshots that were taken.

        Raises:
            RefusedError: a file is gone, or no longer what was written.
        """
        found = []
        for entry in self.entries:
            assert self.folder is not None
            path = self.folder / Path(str(entry["file"])).name
            if not path.is_file() or digest(path) != entry["sha256"]:
                why = "it is damaged" if path.is_file() else "there is no such file"
                then = "start again under another --name"
                raise RefusedError("a snapshot cannot be used", where=str(path), why=why, then=then)
            share = entry["share"]
            found.append(Snapshot(self._ended(share), share, load_file(path)))
        return found

    def state_dict(self) -> dict:
        """What a checkpoint remembers."""
        return {"ended": self.ended, "entries": [dict(entry) for entry in self.entries]}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.ended, self.entries = state["ended"], [dict(entry) for entry in state["entries"]]

    def _keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot down.

        Raises:
            DiskError: the disk refused.
        """
        if self.folder is None:
            return
        path = self.folder / f"snapshot-{snapshot.number}.safetensors"
        write_atomic(path, lambda temporary: save_file(snapshot.state, temporary))
        entry = {"file": path.name, "sha256": digest(path), "share": snapshot.share}
        self.entries.append(entry)
