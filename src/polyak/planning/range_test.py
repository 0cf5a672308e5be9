"""`--learning-rate auto`: a range test on a copy of the network, before anything counts."""

import copy
from contextlib import closing
from dataclasses import replace

from polyak.data.loader import Loader
from polyak.optim.rate_sweep import Range, RateSweep
from polyak.training.loop import fit
from polyak.training.network import Network
from polyak.training.pace import Sweep
from polyak.training.session import Session
from polyak.training.step import TrainingStep
from polyak.training.timing import step_seconds

LOWEST, HIGHEST = 1e-5, 10.0  # rates to sweep through
STEPS = 100  # of the sweep
FEWEST = 30  # a sweep in fewer jumps over the good rates
SHARE = 0.1  # of what a budget has left, at most


def measured_rate(
    session: Session, network: Network, loader: Loader
) -> tuple[Session, Range | None]:
    """Let a range test find the learning rate, where it is to be measured.

    All processes follow the leader's sweep.

    Args:
        session: the context.
        network: as training will begin with; it is left alone.
        loader: the training batches.

    Returns:
        (the session with its rate, what the sweep saw).

    Raises:
        DivergedError: no rate lets the loss fall.
    """
    if "learning_rate" not in session.resolved.measured:
        return session, None
    start = session.resolved.learning_rate
    alone = session.alone().decided(average=(0.0,))

    def trial() -> TrainingStep:
        return alone.step(network.with_module(copy.deepcopy(network.module)), 1)

    steps = STEPS
    if session.clock.budget is not None:
        affordable = SHARE * session.clock.left() / step_seconds(trial(), loader)
        steps = min(STEPS, max(FEWEST, int(affordable)))
    step = trial()
    # the sweep names the rate of the fastest group; groups keep their ratios
    ratio = max(step.rates.peaks) / start
    found = sweep(step, loader, RateSweep(LOWEST * ratio, HIGHEST * ratio, steps))
    rate = float(f"{session.process.from_leader([found.suggestion / ratio])[0]:.2g}")
    reason = (
        f"range test of {steps} steps: a quarter of the rate of the lowest loss, "
        f"{min(found.smooth):.2f}; learning_rate.svg"
    )
    return session.decided(reason, learning_rate=rate), found


def sweep(step: TrainingStep, loader: Loader, rates: RateSweep) -> Range:
    """Sweep the rate of a step that is thrown away afterwards."""
    fastest = max(step.rates.peaks)
    step.rates = replace(step.rates, schedule=lambda progress: rates.at(progress) / fastest)
    pace = Sweep(rates.steps)
    with closing(fit(step, loader, pace)) as steps:
        for taken in steps:
            if not rates.note(rates.at(taken.progress), taken.loss.item()):
                break
    return rates.result()
