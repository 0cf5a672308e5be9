"""Snapshots that a run takes on its way: files beside its checkpoints, known by their hash."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from polyak.ensemble import Snapshot, Snapshots, State
from polyak.errors import RefusedError
from polyak.files import write_atomic
from polyak.rundir.checkpoints import digest
from polyak.rundir.checks import table

SLACK = 1 << 20  # bytes of a file beside its tensors


def name_of(number: int) -> str:
    """Name the file of the member that a cycle ended with, from 1.

    >>> name_of(2)
    'snapshot-2.safetensors'
    """
    return f"snapshot-{number}.safetensors"


class SnapshotFiles(Snapshots):
    """Keep the weights that each cycle of the learning rate ended with, on the disk.

    A run that is resumed before a checkpoint knew of a snapshot takes it again: the same bytes.

    Args:
        folder: the run's checkpoint folder; None on processes that do not lead.
        ends: progress at which each cycle ends; none where none are taken.
        like: weights of the network that they are of.
    """

    def __init__(self, folder: Path | None, ends: list[float], like: State | None = None):
        super().__init__(ends)
        self.ended: int = 0
        self.folder: Path | None = folder
        self.like: State = like or {}
        self.entries: list[dict[str, Any]] = []

    def taken(self) -> list[Snapshot]:
        """Read all snapshots that were taken.

        Raises:
            RefusedError: a file is gone, no longer what was written, or of another network.
        """
        most = SLACK + sum(value.numel() * value.element_size() for value in self.like.values())
        found = []
        for entry in self.entries:
            assert self.folder is not None
            path = self.folder / Path(str(entry["file"])).name
            try:
                if path.stat().st_size > most or digest(path) != entry["sha256"]:
                    raise ValueError("it is damaged")
                state = load_file(path)
                table(self.like)(state, "it")
            except (OSError, ValueError, SafetensorError) as error:
                why = getattr(error, "strerror", None) or str(error)
                then = "start again under another --name"
                raise RefusedError(
                    "a snapshot cannot be used", where=str(path), why=why, then=then
                ) from error
            share = entry["share"]
            found.append(Snapshot(self.ended_by(share), share, state))
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"ended": self.ended, "entries": [dict(entry) for entry in self.entries]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.ended = state["ended"]
        self.entries = [dict(entry) for entry in state["entries"]]

    def _keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot down.

        Raises:
            DiskError: the disk refused.
        """
        if self.folder is None:
            return
        path = self.folder / name_of(snapshot.number)
        write_atomic(path, lambda temporary: save_file(snapshot.state, temporary))
        entry = {"file": path.name, "sha256": digest(path), "share": snapshot.share}
        self.entries.append(entry)
