"""The ways to end one training: its weights, their averages, its snapshots, what it began with."""

from polyak.ensemble import copied
from polyak.errors import DivergedError
from polyak.model import WeightKind
from polyak.model.member import Member
from polyak.planning.backbones import Joined
from polyak.planning.probes import with_probe
from polyak.selection import Candidate, CandidatePool, Runtime
from polyak.selection.candidates import (
    beside,
    best_snapshot,
    candidate,
    ensembles,
    fine_tuned,
    soups,
)
from polyak.training.training import Training


def pool_of(training: Training) -> CandidatePool:
    """Make the pool that a training's weights go into: it predicts as the training validated."""
    validator = training.validator
    machine = validator.machine
    runtime = Runtime(machine.device, machine.threads.loader, validator.check)
    return CandidatePool(validator.parts, validator.training_images, runtime)


def run_candidates(
    training: Training, pool: CandidatePool, member: Member, joined: Joined | None = None
) -> list[Candidate]:
    """Put a training's weights into the pool, and collect all ways to end it; of equals the first
    wins.

    Args:
        training: at its end.
        pool: empty.
        member: the network that all weights are of.
        joined: probes of several backbones, the first that of this network.

    Raises:
        DivergedError: neither the weights nor an average of them gives finite answers.
    """
    step, validator = training.step, training.validator
    shares = [share for share in training.session.resolved.average if share]
    averages = ["average"] if len(shares) == 1 else [f"average {share:g}" for share in shares]
    for name, average in zip(averages, step.averages, strict=True):
        with validator.averaged(step, average):
            pool.add(name, copied(step.network), member)
    pool.add("weights", copied(step.network), member)
    found = _ends(pool, averages)
    ends = [one.name for one in found if not one.refused]
    if validator.best is not None:
        pool.add("best", validator.best, member)
        found.append(candidate(pool, "best", WeightKind.BEST, ("best",)))
    if validator.start is not None:
        found += fine_tuned(pool, validator.start, ends, member)
        if joined is not None and len(joined.members) > 1:
            ended = min(ends, key=lambda name: pool.score((name,))[1])
            found.append(beside(pool, "with all probes", ended, _probes(pool, joined)))
    noun = "branch" if step.falls else "snapshot"
    taken = {f"{noun} {one.number}": one for one in validator.snapshots.taken()}
    for name, one in taken.items():
        pool.add(name, one.state, member)
    found += best_snapshot(pool, {name: one.share for name, one in taken.items()}, f"best {noun}")
    names = list(taken)
    found += soups(pool, [*names, *(averages if len(averages) > 1 else [])])
    return found + ensembles(pool, names, "branches" if step.falls else "snapshots")


def _probes(pool: CandidatePool, joined: Joined) -> list[str]:
    """Put the probes of other backbones into a pool; give the names of all."""
    names = ["probe"]
    for one in joined.members[1:]:
        network = with_probe(one.backbone, one.results, one.strategy)
        other = Member(network.module, network.spec, pool.classes, network.preprocessing)
        names.append(f"probe of {one.model}")
        pool.add(names[-1], copied(network.module), other)
    return names


def _ends(pool: CandidatePool, averages: list[str]) -> list[Candidate]:
    """Measure the averages and the last weights: one may be sound where the other is not."""
    found, unsound = [], None
    for name in (*averages, "weights"):
        kind = WeightKind.WEIGHTS if name == "weights" else WeightKind.AVERAGE
        try:
            found.append(candidate(pool, name, kind, (name,)))
        except DivergedError as error:
            found.append(Candidate(name, kind, (name,), refused=error.what))
            unsound = error
    if unsound is not None and all(one.refused for one in found):
        raise unsound
    return found
