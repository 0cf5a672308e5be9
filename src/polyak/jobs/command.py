"""One command: what was asked, by which process, since when, and which run it resumes."""

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from polyak.errors import UsageError
from polyak.recipe.recipe import Recipe
from polyak.recipe.written import asked
from polyak.rundir import resume
from polyak.training.distributed import Process
from polyak.training.signals import Stop


@dataclass(frozen=True)
class Command:
    """Hold what is known before anything is opened.

    Args:
        asked: the user's own choices.
        process: this one among all of the run.
        stop: the signal that was noted.
        began: `time.monotonic()` when the command began.
        path: the run that is resumed, or None.
        preferred: name of the way to end the run that is taken where nothing is held out to choose
            by; none takes the first.
    """

    asked: Recipe
    process: Process
    stop: Stop
    began: float
    path: Path | None = None
    preferred: str = ""

    @classmethod
    def alone(cls, asked: Recipe, began: float | None = None) -> "Command":
        """Begin now, in one process, with nobody to stop it.

        >>> from polyak.recipe import make
        >>> Command.alone(make(data="digits")).process.leads
        True
        """
        return cls(asked, Process(), Stop(), time.monotonic() if began is None else began)

    @cached_property
    def recipe(self) -> Recipe:
        """What the run does: as it was begun, but with data where it lies now, and logged as is
        asked now; else as asked.
        """
        if self.path is None:
            return self.asked
        recipe = resume.recipe(self.path)
        now = {name: getattr(self.asked, name) for name in ("data", "log")}
        return recipe.model_copy(update={k: v for k, v in now.items() if v not in ("", "none")})

    def resumed(self) -> "Command":
        """Find the run that these choices began; the same command where there is none.

        Raises:
            UsageError: no such run, and no data to begin one with.
        """
        choices = asked(self.asked) if self.asked.data else {}
        path = resume.find(self.asked.out, self.asked.name, choices)
        # a slower process could already see the run that the leader is about to begin
        if not self.process.from_leader([float(path is not None)])[0]:
            path = None
        if path is None and not self.asked.data:
            then, where = "polyak train DATA", self.asked.out
            raise UsageError("there is no unfinished run to resume", where=where, then=then)
        return replace(self, path=path)
