"""The candidates' table: what each way to end a run is worth, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polyak.augment.views import policies
from polyak.metrics import Evaluation
from polyak.selection.pool import CandidatePool
from polyak.selection.rule import Candidate


@dataclass(frozen=True)
class Row:
    """One candidate, measured by some views.

    Args:
        candidate: which one.
        split: what it was measured on.
        views: test-time views that were averaged.
        chosen: whether this is how the model predicts.
        evaluation: its figures.
    """

    candidate: Candidate
    split: str
    views: str
    chosen: bool
    evaluation: Evaluation

    def as_json(self) -> dict[str, Any]:
        """Give plain dictionaries and numbers, as records and model files have them."""
        return {
            "name": self.candidate.name,
            "chosen": self.chosen,
            "split": self.split,
            "views": self.views,
            "passes": self.candidate.passes * len(policies(self.views)),
            "share": self.candidate.share,
            **self.evaluation.as_json(),
        }


@dataclass(frozen=True)
class Refused:
    """One candidate that came to nothing, and why."""

    candidate: Candidate

    def as_json(self) -> dict[str, Any]:
        """Give its name and the reason."""
        return {"name": self.candidate.name, "refused": self.candidate.refused}


def table(
    pool: CandidatePool,
    candidates: Sequence[Candidate],
    chosen: Candidate,
    views: str,
    every: bool,
) -> list[Row | Refused]:
    """Measure every candidate, on `test` where it exists and else on validation, which also chose.

    Args:
        pool: with the candidates' weights.
        candidates: all.
        chosen: that of them which predicts.
        views: test-time views of the model.
        every: measure all of them with views too, and not only the chosen one.
    """
    split = next((split for split in ("test", "val") if split in pool.parts), None)
    rows: list[Row | Refused] = []
    for one in candidates if split is not None else ():
        if one.refused:
            rows.append(Refused(one))
            continue
        assert split is not None
        shown = ("one", views) if every or one is chosen else ("one",)
        for seen in dict.fromkeys(shown):
            temperature = pool.temperature(one.states, seen)
            found = pool.predictions(one.states, split, seen, temperature)
            figures = found.dataset.kind.evaluate(found.probabilities, found.labels)
            rows.append(Row(one, split, seen, one is chosen and seen == views, figures))
    return rows
