"""Which weights predict: chosen on validation, measured where nothing chose, written as a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyak.metrics import Conformal
from polyak.selection import file
from polyak.selection.pool import CandidatePool
from polyak.selection.predictions import SplitPredictions, measured_by
from polyak.selection.rule import RULE, RULES, Candidate, choose, choose_by
from polyak.selection.table import Refused, Row, table
from polyak.targets import TargetKind, kind_facts


@dataclass(frozen=True)
class Selection:
    """Hold which weights predict, why, and how well.

    Args:
        pool: the weights.
        candidates: all ways to end the run, in the order of the table.
        chosen: that of them which predicts.
        views: test-time views of the model.
        temperature: fitted on validation.
        rows: the candidates' table.
        predictions: of the chosen one, by split: "val", "test".
        rule: by which was chosen.
    """

    pool: CandidatePool
    candidates: Sequence[Candidate]
    chosen: Candidate
    views: str
    temperature: float
    rows: Sequence[Row | Refused]
    predictions: Mapping[str, SplitPredictions]
    rule: str = RULE

    @property
    def last(self) -> SplitPredictions | None:
        """The predictions that were measured last: they did not choose where they are of `test`."""
        return list(self.predictions.values())[-1] if self.predictions else None

    @property
    def kind(self) -> TargetKind:
        """What the model answers, and from which thresholds on."""
        return self.pool.fitted(self.chosen.states, self.views, self.temperature)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """Figures on the split that was measured last; None where nothing was held out."""
        return measured_by(self.last)["evaluation"]

    def as_json(self) -> dict[str, Any]:
        """Give the fields of a run's last record.

        >>> from polyak.model import WeightKind
        >>> found = [Candidate("last", WeightKind.WEIGHTS, ("weights",), accuracy=0.9, nll=0.3)]
        >>> select(CandidatePool({}, list), found).as_json()["candidates"]
        {'last': {'accuracy': 0.9, 'nll': 0.3}}
        """
        standing = [one for one in self.candidates if not one.refused]
        return {
            "chosen": self.chosen.name,
            "rule": self.rule,
            "candidates": {
                one.name: {"accuracy": one.accuracy, "nll": one.nll} for one in standing
            },
            "table": [row.as_json() for row in self.rows],
            **measured_by(self.last),
            "temperature": self.temperature,
        }

    def save(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the model file: the best of each kind of weights travels, the chosen one predicts.

        Args:
            path: where it goes; written whole or not at all.
            provenance: where the model comes from, JSON-able; figures and table stand beside it.

        Raises:
            DiskError: the disk refused.
        """
        header = {"evaluation": self.evaluation, "table": [row.as_json() for row in self.rows]}
        last = self.last
        if last is not None and not last.dataset.kind.several:
            # of images that did not choose, where there are any
            conformal = Conformal.of(last.probabilities, last.labels, last.split)
            header["conformal"] = conformal.as_facts()
        header = dict(provenance or {}) | header | kind_facts(self.kind)
        file.save(Path(path), self.pool, self.candidates, self.chosen, self.views, header)

    def write_predictions(self, folder: Path) -> None:
        """Write what the model predicts of each held-out split.

        Raises:
            DiskError: the disk refused.
        """
        for found in self.predictions.values():
            found.write(folder)


def select(
    pool: CandidatePool,
    candidates: Sequence[Candidate],
    *,
    views: str = "one",
    every: bool = False,
    preferred: str = "",
    by: str = "auto",
) -> Selection:
    """Choose a candidate by `choose`, calibrate it, and measure it beside the others.

    Args:
        pool: with the candidates' weights.
        candidates: at least one that may be chosen; of equals the first wins.
        views: test-time views of the model.
        every: measure all candidates with views too, and not only the chosen one.
        preferred: the candidate that is taken where nothing is held out to choose by.
        by: what validation chooses by: "auto" is `choose`'s rule, else as `value_by` has it.

    >>> from polyak.model import WeightKind
    >>> found = [Candidate("last", WeightKind.WEIGHTS, ("weights",))]
    >>> select(CandidatePool({}, list), found).chosen.name
    'last'
    """
    chosen = _chosen(pool, candidates, preferred, by)
    temperature = pool.temperature(chosen.states, views)
    found = {
        split: pool.predictions(chosen.states, split, views, temperature)
        for split in ("val", "test")
        if split in pool.parts
    }
    rows = table(pool, candidates, chosen, views, every)
    rule = RULES[by if pool.validated else "auto"]
    return Selection(pool, candidates, chosen, views, temperature, rows, found, rule)


def _chosen(
    pool: CandidatePool, candidates: Sequence[Candidate], preferred: str, by: str
) -> Candidate:
    standing = [one for one in candidates if not one.refused]
    if not pool.validated:
        able = [replace(one, eligible=True) for one in standing if one.name == preferred]
        return choose(able or candidates, 0)
    if by == "auto":
        return choose(candidates, pool.validated)
    eligible = [one for one in standing if one.eligible]
    return choose_by({one.name: pool.value(one.states, by) for one in eligible}, eligible)
