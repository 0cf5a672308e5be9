"""The second stage: what training begins with, measured where it was left open."""

import json
from collections.abc import Generator
from dataclasses import dataclass, replace

from polyak.data.loader import Loader
from polyak.jobs.command import Command
from polyak.model.teacher import Teacher
from polyak.networks.origin import Origin
from polyak.optim.rate_sweep import Range
from polyak.planning.backbones import Joined
from polyak.planning.probes import Backbone, ProbeResults, fit_probes, with_probe
from polyak.planning.range_test import measured_rate
from polyak.planning.result import PlanResult
from polyak.planning.strategy import Times, find_strategy, given_backbones
from polyak.recipe.resolve import probe_views
from polyak.recipe.resolved import PROBES
from polyak.rundir.events import Event, NoteEvent
from polyak.training.distillation import load_teacher
from polyak.training.network import Network, dropout_places
from polyak.training.session import Session

PLAN_SHARE = 0.5  # of a budget, for finding out what to spend the rest on


@dataclass(frozen=True)
class Beginning:
    """Hold what a run begins with, after everything that was left open is known.

    Args:
        session: the context.
        network: with its starting weights, a probe on top where there is one.
        backbone: whose features the probes are of; None where the network starts from nothing.
        probes: of the training images; the same.
        plan: where one was made.
        joined: the backbones whose probes predict together; None where one predicts alone.
        sweep: of the range test, where there was one.
        teacher: tells the targets instead of the labels, where a model is distilled.
    """

    session: Session
    network: Network
    backbone: Backbone | None = None
    probes: ProbeResults | None = None
    plan: PlanResult | None = None
    joined: Joined | None = None
    sweep: Range | None = None
    teacher: Teacher | None = None

    @property
    def trains(self) -> bool:
        """Whether the network learns: a probe is the model itself."""
        return self.session.resolved.transfer not in PROBES

    @property
    def origins(self) -> list[Origin | None]:
        """Where all weights come from, those of its own network first."""
        others = self.joined.members[1:] if self.joined else ()
        return [self.network.origin, *(one.backbone.network.origin for one in others)]

    def loader(self) -> Loader:
        """Open the training batches."""
        return self.session.loader(self.network)

    def files(self) -> dict[str, str]:
        """Give more files of the run: name -> text."""
        return {"plan.json": json.dumps(self.plan.as_json(), indent=1)} if self.plan else {}


def begin(command: Command, session: Session) -> Generator[Event, None, Beginning]:
    """Fit the probes that a run starts from, plan, and test rates, where a recipe asks for it."""
    network = session.network()
    for line in network.notes:
        yield NoteEvent(line)
    if session.resolved.dropout:
        where = {"dropout": session.resolved.dropout}
        session = session.decided(dropout_places(network.module), **where)
    resolved = session.resolved
    if resolved.transfer == "none":
        return _to_train(Beginning(session, network))
    backbone = Backbone(session, network)
    if _plans(session):
        times = _times(command, session.clock.budget or 0.0)
        found = yield from find_strategy(backbone, command.asked, times)
        return _begun(Beginning(
            found.session, found.backbone.network, found.backbone, found.plan.probes, found.plan,
            found.joined,
        ))  # fmt: skip
    given = resolved.transfer in PROBES and "transfer" not in resolved.measured
    results = yield from fit_probes(backbone, (resolved.transfer,) if given else PROBES)
    if "transfer" in resolved.measured:
        session = session.decided("of least NLL in cross-validation", transfer=results.best)
    joined = None
    if resolved.backbones:
        strategy = session.resolved.transfer if given else results.best
        joined = yield from given_backbones(backbone, strategy)
    return _begun(Beginning(session, network, backbone, results, None, joined))


def _begun(beginning: Beginning) -> Beginning:
    """Put the probe on top of a network that trains on; a probe is the model itself."""
    session, backbone, results = beginning.session, beginning.backbone, beginning.probes
    if session.resolved.transfer in PROBES or backbone is None or results is None:
        return replace(beginning, session=replace(session, resolved=probe_views(session.resolved)))
    started = with_probe(backbone, results, results.best)
    return _to_train(replace(beginning, session=session.decoded(), network=started))


def _plans(session: Session) -> bool:
    """Tell whether a run begins with a plan; several processes would have to agree on it."""
    left_open = "transfer" in session.resolved.measured
    return left_open and session.clock.budget is not None and session.process.size == 1


def _times(command: Command, budget: float) -> Times:
    began = command.began
    return Times(began, began + PLAN_SHARE * budget, began + budget)


def _to_train(beginning: Beginning) -> Beginning:
    """Complete what a network that learns begins with: its teacher, its learning rate."""
    session, network = beginning.session, beginning.network
    if (path := session.resolved.distill) is not None:
        classes, device = session.data.classes, session.machine.device
        teacher = load_teacher(path, network.preprocessing, classes, device)
        beginning = replace(beginning, teacher=teacher)
    if "learning_rate" not in session.resolved.measured:
        return beginning
    session, sweep = measured_rate(session, network, beginning.loader())
    return replace(beginning, session=session, sweep=sweep)
