"""What a budget is spent on: backbones, the cheapest first, then trials of fine-tuning."""

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace

from polyak.networks import pretrained
from polyak.networks.pretrained import Pretrained
from polyak.planning.backbones import Joined, Probed, join, together
from polyak.planning.plan import PASSES, plan
from polyak.planning.probes import Backbone, fit_probes
from polyak.planning.result import PlanResult, command
from polyak.planning.search import Search, sized
from polyak.recipe.recipe import Recipe
from polyak.recipe.resolve import usual_epochs
from polyak.recipe.resolved import PROBES, Resolved
from polyak.recipe.weights import reason_of
from polyak.rundir.events import Event, NoteEvent
from polyak.training.session import Session

SEARCHING = 0.75  # of the time for planning, for backbones; the rest tries fine-tuning
COST = 1.5  # passes of features that the cheapest pass of fine-tuning takes
KEPT = 0.06, 3.0  # of a budget, and seconds: what reading and writing take at its end


@dataclass(frozen=True)
class Times:
    """Hold when the parts of a command must end, by `time.monotonic()`.

    Args:
        began: when it began.
        planned: when planning must be over.
        ends: when all of it must be over; infinite where only a plan is made.

    >>> Times(0.0, 40.0, 100.0).searched
    30.0
    """

    began: float
    planned: float
    ends: float

    @property
    def searched(self) -> float:
        """When the search for backbones ends at first."""
        return self.began + SEARCHING * (self.planned - self.began)


@dataclass(frozen=True)
class Strategy:
    """Hold what was found to be best to do with a budget.

    Args:
        session: with the choices that were made.
        backbone: the one that predicts, or is tuned.
        plan: what was measured, and what was chosen.
        joined: several backbones whose probes predict together; None where one predicts alone.
    """

    session: Session
    backbone: Backbone
    plan: PlanResult
    joined: Joined | None = None


def open_backbones(resolved: Resolved) -> list[Pretrained]:
    """Name the networks that may be probed, cheapest first: all whose weights are here where
    neither weights nor model were asked for, else the one.
    """
    own = pretrained.named(resolved.weights)
    if own is None or resolved.backbones is not None:
        return []
    free = "weights" in resolved.reasons and "model" in resolved.reasons
    return pretrained.installed() if free else [own]


def find_strategy(
    backbone: Backbone, asked: Recipe, times: Times
) -> Generator[Event, None, Strategy]:
    """Probe backbones, try to tune one, and choose; what time is left then goes to more backbones.

    Args:
        backbone: the cheapest one at hand.
        asked: the user's own choices.
        times: when what must end.
    """
    models = open_backbones(backbone.session.resolved)
    if not models:
        return (yield from _one(backbone, asked, times))
    search = Search(backbone, models, _before(times))
    yield from search.go_on(times.searched)
    left = times.ends - times.planned
    tunable = search.affordable(PASSES, left, COST)
    base = min(tunable, key=lambda one: one.score[1]) if tunable else search.best
    until = times.planned if tunable else 0.0
    session = base.backbone.session
    if tunable:
        session = session.decoded()
        base = replace(base, backbone=replace(base.backbone, session=session))
    trial = replace(base.backbone, session=whole_runs(session))
    made = yield from plan(trial, asked, until, times.ends, base.results)
    if made.chosen in PROBES:
        yield from search.go_on(_before(times))
        if (line := _given_back(search, times)) is not None:
            yield NoteEvent(line)
        joined = join(search.found)
        base, measured = joined.members[0], joined.measured
        accuracy = measured and asdict(measured.first)
        made = replace(made, chosen=base.strategy, probes=base.results, accuracy=accuracy)
    else:
        same = [one for one in search.found if one.size == base.size]
        others = [one for one in join(same).members if one.model != base.model]
        joined = together((base, *others)) if others else None
    session = _decided(base, joined, made, len(search.found))
    made = replace(
        made, backbones=tuple(search.found), joined=joined,
        command=command(_named(asked, session.resolved), made.chosen),
    )  # fmt: skip
    return Strategy(session, replace(base.backbone, session=session), made, joined)


def _one(backbone: Backbone, asked: Recipe, times: Times) -> Generator[Event, None, Strategy]:
    """Plan with the one network that there is."""
    session = backbone.session.decoded()
    trial = replace(backbone, session=whole_runs(session))
    made = yield from plan(trial, asked, times.planned, times.ends)
    session = session.decided(f"planned: {made.why}", transfer=made.chosen)
    return Strategy(session, replace(backbone, session=session), made)


def _decided(base: Probed, joined: Joined | None, made: PlanResult, probed: int) -> Session:
    """Write down what was chosen, so that a resumed run does not ask again."""
    session, known = base.backbone.session, pretrained.named(base.model)
    least = f"cross-validated NLL {base.score[1]:.3f}, of {probed} probed"
    session = session.decided(f"planned: {made.why}", transfer=made.chosen)
    session = session.decided(least, model=base.model, size=base.size)
    if known is not None:
        session = session.decided(reason_of(known), weights=base.model)
    if joined is not None and len(joined.members) > 1:
        why = (
            f"joined: cross-validated NLL {joined.nll:.3f}, {base.model} alone {base.score[1]:.3f}"
        )
        others = tuple(one.model for one in joined.members[1:])
        session = session.decided(why, backbones=others)
    return session


def _named(asked: Recipe, resolved: Resolved) -> Recipe:
    names = ("weights", "size", "backbones")
    return asked.model_copy(update={name: getattr(resolved, name) for name in names})


def _before(times: Times) -> float:
    """When more probes must be over, so that the model file is written in time."""
    share, seconds = KEPT
    if times.ends == float("inf"):  # nothing but a plan is made
        return times.planned
    return times.ends - share * (times.ends - times.began) - seconds


def _given_back(search: Search, times: Times) -> str | None:
    left = times.ends - time.monotonic()
    if not search.over or left < 0.1 * (times.ends - times.began):
        return None
    return f"about {left:.0f} s are given back: no more training and no other backbone pays"


def given_backbones(backbone: Backbone, strategy: str) -> Generator[Event, None, Joined]:
    """Probe the backbones that a recipe names, and weigh them.

    Args:
        backbone: the run's own.
        strategy: its probe that counts.
    """
    session, members = backbone.session, []
    side = max(backbone.network.preprocessing.size)
    for model in (None, *(session.resolved.backbones or ())):
        one = backbone
        if model is not None:
            named = sized(session, side).decided(model=model, weights=model)
            one = Backbone(named, named.network(), backbone.unkept)
        results = yield from fit_probes(one)
        members.append(Probed(one, results, results.best if model else strategy, 0.0))
    return together(tuple(members))


def whole_runs(session: Session) -> Session:
    """Let trials be parts of runs as they usually are: so many epochs, at the usual rate."""
    if session.resolved.epochs is not None:
        return session
    epochs, reason = usual_epochs(session.resolved, len(session.data.train))
    return session.decided(reason, epochs=epochs, budget=None)
