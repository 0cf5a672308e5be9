"""What a model file holds of a pool: the weights that predict, and the others that travel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyak import model
from polyak.model import Classifier, WeightKind
from polyak.selection.pool import CandidatePool
from polyak.selection.rule import Candidate, choose


def save(
    path: Path,
    pool: CandidatePool,
    candidates: Sequence[Candidate],
    chosen: Candidate,
    views: str,
    header: dict[str, Any],
) -> None:
    """Write the model file: the best of each kind of weights travels, the chosen one predicts.

    Args:
        path: where it goes; written whole or not at all.
        pool: with the candidates' weights.
        candidates: all.
        chosen: that of them which predicts.
        views: test-time views of the model.
        header: what the file tells of itself, JSON-able.

    Raises:
        DiskError: the disk refused.
    """
    kinds = travelling(pool, candidates, chosen)
    joined, ensemble = kinds.pop(WeightKind.MEMBERS, None), None
    if joined is not None:
        # of finished models all travel: those that do not count weigh nothing
        names = pool.members if pool.finished else dict.fromkeys(joined.states)
        members = [pool.member(name, float(joined.states.count(name))) for name in names]
        temperature = pool.temperature(joined.states, views)
        ensemble = Classifier(members, pool.classes, temperature, views, header)
    if ensemble is not None and chosen.kind == WeightKind.MEMBERS:
        classifier = ensemble
    else:
        alone, temperature = pool.alone(chosen.states[0]), pool.temperature(chosen.states, views)
        classifier = Classifier([alone], pool.classes, temperature, views, header)
    weights = {str(kind): pool.states[one.states[0]] for kind, one in kinds.items()}
    model.save(path, weights, classifier, chosen.kind, ensemble)


def travelling(
    pool: CandidatePool, candidates: Sequence[Candidate], chosen: Candidate
) -> dict[WeightKind, Candidate]:
    """Name the candidate of each kind that travels in the model file: the best one."""
    if pool.finished:
        every = Candidate("all", WeightKind.MEMBERS, tuple(pool.members))
        return {WeightKind.MEMBERS: every, chosen.kind: chosen}
    kinds = {}
    # anybody can fit a probe again: it travels if it predicts
    able = [one for one in candidates if one.eligible and one.travels and not one.refused]
    for kind in dict.fromkeys(one.kind for one in able):
        kinds[kind] = choose([one for one in able if one.kind == kind], pool.validated)
    return kinds | {chosen.kind: chosen}
