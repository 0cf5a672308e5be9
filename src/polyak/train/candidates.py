"""The ways to end a run, and what each says of held-out pictures."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from polyak import ensemble, metrics
from polyak.errors import DivergedError
from polyak.optim import refresh_batch_norm
from polyak.train.job import Data
from polyak.train.judge import Judge, copied, scores
from polyak.train.learner import Learner

State = dict[str, Tensor]
START = "start"  # kind of the weights that fine-tuning began with


@dataclass(frozen=True)
class Candidate:
    """Hold one way to end a run: which weights predict, alone or as a mean of probabilities.

    Args:
        name: what tables call it.
        kind: what the model file calls it.
        states: names of the weights on the ballot.
        score: on validation, by one view: accuracy, minus the NLL at its own temperature, minus
            the forward passes.
        share: of the training that it took.
        refused: why it is no candidate after all.
        stands: whether it may be chosen; else it is measured for comparison.
    """

    name: str
    kind: str
    states: tuple[str, ...]
    score: tuple[float, float, int] = (0.0, 0.0, 0)
    share: float = 1.0
    refused: str = ""
    stands: bool = True


def choose(found: list[Candidate], pictures: int) -> Candidate:
    """Choose by validation: of those within one standard error of the highest accuracy the one of
    lowest NLL, then of fewest forward passes, then the first.

    Accuracy of a thousand pictures is a coarse number: its noise would pay five passes for nothing.

    Args:
        found: candidates; those that were refused or do not stand do not count.
        pictures: on validation.

    >>> low, sure = ((0.90, -0.30, -1), (0.91, -0.35, -5))
    >>> found = [Candidate("average", "average", (), low), Candidate("m", "members", (), sure)]
    >>> choose(found, 500).name, choose(found, 10**6).name
    ('average', 'm')
    """
    standing = [one for one in found if one.stands and not one.refused]
    highest = max(one.score[0] for one in standing)
    slack = (highest * (1 - highest) / max(1, pictures)) ** 0.5
    close = [one for one in standing if one.score[0] >= highest - slack]
    return max(close, key=lambda one: one.score[1:])


class Ballot:
    """Hold the weights that stand for choice, and remember what each said.

    Whoever makes one says how weights speak (`say`) and how averaged ones get batch-norm statistics
    of their own (`refreshed`).

    Args:
        parts: the data by split.
    """

    def __init__(self, parts: dict[str, Data]):
        self.parts = parts
        self.states: dict[str, State] = {}
        self._said: dict[tuple[str, str, str], np.ndarray] = {}

    def say(self, name: str, split: str, views: str) -> np.ndarray:
        """Log-probabilities (N, K) by one state; NaN where a picture failed."""
        raise NotImplementedError

    def refreshed(self, state: State) -> State:
        """Estimate the batch-norm statistics of averaged weights."""
        raise NotImplementedError

    def logs(self, states: tuple[str, ...], split: str, views: str) -> np.ndarray:
        """Log-probabilities (N, K) by the mean of some weights, each as often as it is named; NaN
        where a picture failed.
        """
        counts = Counter(states)
        if len(counts) == 1:
            return self._of(states[0], split, views)
        return ensemble.combine(self.each(list(counts), split, views), list(counts.values()))

    def each(self, names: list[str], split: str, views: str) -> np.ndarray:
        """Log-probabilities (M, N, K) of some weights, each as it takes part in a mean."""
        return np.stack(
            [ensemble.tempered(self._of(name, split, views), self.calm(name)) for name in names]
        )

    def calm(self, name: str) -> float:
        """The temperature at which a state takes part in a mean; 1 where it is calibrated."""
        return 1.0

    def _of(self, name: str, split: str, views: str) -> np.ndarray:
        key = name, split, views
        if key not in self._said:
            self._said[key] = self.say(*key)
        return self._said[key]

    def measured(self, states: tuple[str, ...], split: str, views: str, temperature: float):
        """Measure some weights on a split: (probabilities, labels, positions read)."""
        logs, labels, read = self._read(states, split, views)
        return metrics.softmax(logs, temperature), labels, read

    def temperature(self, states: tuple[str, ...], views: str) -> float:
        """Fit the temperature of some weights on validation; 1 where there is none."""
        if "val" not in self.parts:
            return 1.0
        return metrics.fit_temperature(*self._read(states, "val", views)[:2])

    @property
    def validated(self) -> int:
        """Pictures of the validation part."""
        return len(self.parts.get("val", ()))

    def score(self, states: tuple[str, ...]) -> tuple[float, float, int]:
        """Accuracy, minus NLL at its own temperature, minus forward passes."""
        if "val" not in self.parts:
            return 0.0, 0.0, -len(set(states))
        accuracy, nll = scores(*self._calibrated(states))
        return accuracy, -nll, -len(set(states))

    def losses(self, states: tuple[str, ...]) -> np.ndarray:
        """NLL of each validation picture that could be read, (n,), at its own temperature."""
        if "val" not in self.parts:
            return np.zeros(0)
        logs, labels = self._calibrated(states)
        return -logs[np.arange(len(labels)), labels]

    def _calibrated(self, states):
        logs, labels, _ = self._read(states, "val", "one")
        calm = metrics.softmax(logs, self.temperature(states, "one"))
        return np.log(calm.clip(1e-37)), labels

    def _read(self, states, split, views):
        logs = self.logs(states, split, views)
        read = np.flatnonzero(~np.isnan(logs).any(axis=1))
        return logs[read], self.parts[split].dataset.labels[read], read


class Trained(Ballot):
    """Weights of one network at the end of its training.

    Args:
        learner: trained; its network is what weights are shown in.
        judge: knows the parts of the data.
    """

    def __init__(self, learner: Learner, judge: Judge):
        super().__init__(judge.data)
        self.network, self.judge = learner.network, judge
        self._calm: dict[str, float] = {}

    def say(self, name: str, split: str, views: str) -> np.ndarray:
        """Log-probabilities (N, K) by one state; NaN where a picture failed."""
        self.network.load_state_dict(self.states[name])
        return self.judge.say(self.network, split, views)

    def calm(self, name: str) -> float:
        """The temperature of one state alone, fitted once."""
        if name not in self._calm:
            self._calm[name] = self.temperature((name,), "one")
        return self._calm[name]

    def refreshed(self, state: State) -> State:
        """Estimate the batch-norm statistics of averaged weights."""
        self.network.load_state_dict(state)
        self.network.eval()
        refresh_batch_norm(self.network, self.judge.training_pictures())
        return copied(self.network)


def candidates(
    learner: Learner, judge: Judge, shares: list[float]
) -> tuple[Trained, list[Candidate]]:
    """Collect all ways to end a run; of equals the first will be chosen.

    Args:
        learner: trained.
        judge: knows the parts of the data and the snapshots.
        shares: half-lives of the averages, shares of the run.

    Returns:
        (the ballot, its candidates).

    Raises:
        DivergedError: neither the weights nor an average of them gives finite answers.
    """
    ballot, found = Trained(learner, judge), []

    def stand(name: str, kind: str, *states: str, **facts) -> None:
        try:
            found.append(Candidate(name, kind, states, ballot.score(states), **facts))
        except DivergedError as error:  # an average may be sound where the last weights are not
            found.append(Candidate(name, kind, states, refused=error.what))
            if kind == "weights" and all(one.refused for one in found):
                raise

    averages = []
    for average, share in zip(learner.averages, shares, strict=True):
        name = "average" if len(shares) == 1 else f"average {share:g}"
        with judge.shown(learner, average):
            ballot.states[name] = copied(learner.network)
        averages.append(name)
    ballot.states["weights"] = copied(learner.network)
    for name in averages:
        stand(name, "average", name)
    stand("weights", "weights", "weights")
    if judge.best is not None:
        ballot.states["best"] = judge.best
        stand("best", "best", "best")
    if judge.start is not None:
        sound = [one for one in found if one.states[0] in ("weights", *averages)]
        ended = max((one for one in sound if not one.refused), key=lambda one: one.score[1])
        ended = ended.states[0]
        halfway = ensemble.soup([judge.start, ballot.states[ended]])
        ballot.states |= {"halfway": ballot.refreshed(halfway), "probe": judge.start}
        stand("halfway", "soup", "halfway")
        harm = harmed(ballot.losses(("probe",)), ballot.losses((ended,)))
        stand("probe", START, "probe", share=0.0, stands=harm)
    snapshots = _snapshots(ballot, judge)
    if snapshots:
        best, share = max(snapshots, key=lambda pair: ballot.score((pair[0],))[1])
        stand("best snapshot", "snapshot", best, share=share)
    names = [name for name, _ in snapshots]
    found += soups(ballot, [*names, *(averages if len(averages) > 1 else [])])
    found += ensembles(ballot, names, "snapshots")
    return ballot, found


def harmed(before: np.ndarray, after: np.ndarray) -> bool:
    """Tell whether fine-tuning did harm, by two standard errors of validation's NLL.

    A few pictures, on which beginning and end both do well, would choose between them by chance.

    Args:
        before: float (n,), NLL of each validation picture at the beginning.
        after: the same at the end.

    >>> harmed(np.zeros(9), np.full(9, 2.0)), harmed(np.full(9, 0.3), np.full(9, 0.4))
    (True, False)
    """
    if not len(before):
        return False
    lost, doubt = metrics.paired(after, before)
    return lost > 2 * doubt**0.5


def _snapshots(ballot: Trained, judge: Judge) -> list[tuple[str, float]]:
    if not judge.snapshots.entries:
        return []
    names = []
    states = judge.snapshots.states(ballot.states["weights"])
    for entry, state in zip(judge.snapshots.entries, states, strict=True):
        name = f"snapshot {entry['file'].removeprefix('snapshot-').removesuffix('.safetensors')}"
        ballot.states[name] = state
        names.append((name, entry["share"]))
    return names


def ensembles(ballot: Ballot, names: list[str], what: str) -> list[Candidate]:
    """Let all of some weights stand together, and those that validation selects, as they count."""
    if len(names) < 2:
        return []
    every = tuple(names)
    found = [Candidate(f"{len(names)} {what}", "members", every, ballot.score(every))]
    if "val" in ballot.parts:
        logs = ballot.each(names, "val", "one")
        read = ~np.isnan(logs).any(axis=(0, 2))
        chosen = ensemble.greedy(logs[:, read], ballot.parts["val"].dataset.labels[read])
        some, count = tuple(names[number] for number in chosen), len(set(chosen))
        weighted = len(some) > count
        if count > 1 and (weighted or count < len(names)):
            title = f"{count} of {len(names)} {what}{', weighted' * weighted}"
            found.append(Candidate(title, "members", some, ballot.score(some)))
    return found


def soups(ballot: Ballot, names: list[str]) -> list[Candidate]:
    """Let the mean of some weights stand, all of them and greedily chosen, or say why not."""
    if len(names) < 2 or "val" not in ballot.parts:
        return []
    losses = [-ballot.score((name,))[1] for name in names]
    found = []
    whole = ensemble.soup([ballot.states[name] for name in names])
    ballot.states["uniform soup"] = ballot.refreshed(whole)
    score = ballot.score(("uniform soup",))
    why = ensemble.basin(-score[1], losses)
    found.append(Candidate("uniform soup", "soup", ("uniform soup",), score, refused=why))

    def measure(state: State) -> float:
        name = f"trial {len(ballot.states)}"
        ballot.states[name] = ballot.refreshed(state)
        return -ballot.score((name,))[1]

    mixed, chosen, _ = ensemble.greedy_soup([ballot.states[n] for n in names], losses, measure)
    ballot.states = {k: v for k, v in ballot.states.items() if not k.startswith("trial ")}
    if len(chosen) in (1, len(names)):
        why = "its best ingredient alone is no worse" if len(chosen) == 1 else "all ingredients"
        return [*found, Candidate("greedy soup", "soup", (), refused=why)]
    ballot.states["greedy soup"] = ballot.refreshed(mixed)
    score = ballot.score(("greedy soup",))
    return [*found, Candidate("greedy soup", "soup", ("greedy soup",), score)]
