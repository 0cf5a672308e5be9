"""The ways to end a run that can be had of any weights: alone, halfway, as soups, as ensembles."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from polyak import ensemble
from polyak.ensemble import State
from polyak.model import WeightKind
from polyak.model.member import Member
from polyak.selection.pool import CandidatePool
from polyak.selection.rule import Candidate, harmed

PAYS = 0.03  # share of the NLL that each more pass of the network must take off


def candidate(
    pool: CandidatePool, name: str, kind: WeightKind, states: Sequence[str], share: float = 1.0
) -> Candidate:
    """Measure one way to end a run on validation."""
    accuracy, nll = pool.score(states)
    return Candidate(name, kind, tuple(states), accuracy, nll, share)


def fine_tuned(
    pool: CandidatePool, start: State, ends: Sequence[str], member: Member
) -> list[Candidate]:
    """Let the weights that fine-tuning began with stand, and the mean of them and the end.

    Args:
        pool: with the weights of the end.
        start: what fine-tuning began with; becomes "probe".
        ends: names of the weights of the end; the best of them is averaged with the start.
        member: the network that the start belongs to.
    """
    ended = min(ends, key=lambda name: pool.score((name,))[1])
    pool.add("probe", start, member)
    pool.average("halfway", ("probe", ended))
    accuracy, nll = pool.score(("probe",))
    harm = harmed(pool.losses(("probe",)), pool.losses((ended,)))
    probe = Candidate(
        "probe", WeightKind.START, ("probe",), accuracy, nll, 0.0, eligible=harm, travels=False
    )
    halfway = candidate(pool, "halfway", WeightKind.SOUP, ("halfway",))
    return [halfway, probe, beside(pool, "with its probe", ended, ["probe"])]


def beside(pool: CandidatePool, name: str, ended: str, probes: Sequence[str]) -> Candidate:
    """Let the weights of the end predict together with probes: half of the mean is theirs.

    It may be chosen where every pass more that it costs takes PAYS off the NLL.

    Args:
        pool: with all of them, and with "halfway".
        name: what tables call it.
        ended: the weights of the end.
        probes: names of the probes, which count alike.
    """
    found = candidate(pool, name, WeightKind.MEMBERS, [ended] * len(probes) + [*probes])
    alone = min(pool.score((one,))[1] for one in (ended, "halfway"))
    pays = found.nll < (1 - PAYS) ** (found.passes - 1) * alone
    return replace(found, eligible=pays, travels=False)


def best_snapshot(
    pool: CandidatePool, shares: Mapping[str, float], title: str = "best snapshot"
) -> list[Candidate]:
    """Let the best of some snapshots stand.

    Args:
        pool: with the snapshots.
        shares: by name, of the training that each took.
        title: what tables call it.
    """
    if not shares:
        return []
    best = min(shares, key=lambda name: pool.score((name,))[1])
    return [candidate(pool, title, WeightKind.SNAPSHOT, (best,), shares[best])]


def soups(pool: CandidatePool, names: Sequence[str]) -> list[Candidate]:
    """Let the mean of some weights stand, of all and of those that do not make it worse, or say why
    not.
    """
    if len(names) < 2 or "val" not in pool.parts:
        return []
    uniform, greedy, kind = "uniform soup", "greedy soup", WeightKind.SOUP
    losses = [pool.score((name,))[1] for name in names]
    pool.average(uniform, names)
    accuracy, nll = pool.score((uniform,))
    why = ensemble.basin(nll, losses)
    found = [Candidate(uniform, kind, (uniform,), accuracy, nll, refused=why)]
    states = [pool.states[name] for name in names]
    mean, chosen, _ = ensemble.greedy_soup(states, losses, lambda state: pool.trial(names, state))
    if len(chosen) in (1, len(names)):
        why = "its best ingredient alone is no worse" if len(chosen) == 1 else "all ingredients"
        return [*found, Candidate(greedy, kind, (), refused=why)]
    pool.average(greedy, names, mean)
    return [*found, candidate(pool, greedy, kind, (greedy,))]


def ensembles(pool: CandidatePool, names: Sequence[str], noun: str) -> list[Candidate]:
    """Let all of some weights stand together, and those that validation selects, as they count.

    Args:
        pool: with the weights.
        names: theirs.
        noun: what tables call them: "snapshots", "members".
    """
    if len(names) < 2:
        return []
    kind = WeightKind.MEMBERS
    found = [candidate(pool, f"{len(names)} {noun}", kind, names)]
    if "val" in pool.parts:
        log_probs = pool.each(names, "val", "one")
        read = ~np.isnan(log_probs).any(axis=(0, 2))
        labels = pool.parts["val"].dataset.labels[read]
        chosen = ensemble.greedy(log_probs[:, read], labels)
        some, count = tuple(names[number] for number in chosen), len(set(chosen))
        weighted = len(some) > count
        if count > 1 and (weighted or count < len(names)):
            title = f"{count} of {len(names)} {noun}{', weighted' * weighted}"
            found.append(candidate(pool, title, kind, some))
    return found
