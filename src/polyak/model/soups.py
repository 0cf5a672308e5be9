"""A soup of finished models: one network of their mean weights, where they lie in one basin."""

import copy
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from polyak import metrics
from polyak.augment import Policy
from polyak.data.dataset import Dataset
from polyak.data.loader import Loader
from polyak.ensemble import basin, greedy_soup, soup
from polyak.errors import UsageError
from polyak.model.classifier import Classifier
from polyak.model.member import Member
from polyak.optim import keep_shared, refresh_batch_norm

BATCH, MOST = 64, 4096  # pictures that batch-norm statistics are estimated from


class Pot:
    """Cook soups of a classifier's members, and taste them on pictures with labels.

    Args:
        whole: its members are networks of one kind that look at pictures alike.
        training: pictures that batch-norm statistics are estimated from.
        judges: pictures with labels, in the classifier's order of classes.
        device: where the networks are.

    Raises:
        UsageError: the members differ in architecture, preprocessing or order of classes.
    """

    def __init__(self, whole: Classifier, training: Dataset, judges: Dataset, device: str = "cpu"):
        first = whole.members[0]
        for number, member in enumerate(whole.members[1:], 2):
            for name in ("spec", "preprocessing", "classes"):
                if getattr(member, name) != getattr(first, name):
                    why = f"member {number} has another {name} than the first"
                    raise UsageError("a soup takes networks of one kind", why=why)
        self.whole, self.training, self.judges, self.device = whole, training, judges, device
        self.network = copy.deepcopy(first.network)
        self.states = [member.network.state_dict() for member in whole.members]
        keep_shared(self.network, self.states)

    def taste(self, state: dict[str, Tensor], refresh: bool = True) -> float:
        """Give a state's NLL on the judges, at its own temperature."""
        logs, labels = self._say(state, refresh)
        calm = metrics.softmax(logs, metrics.fit_temperature(logs, labels))
        return metrics.evaluate(calm, labels).nll.value

    def cook(self, greedily: bool) -> tuple[Classifier, list[int]]:
        """Mix the members' weights: all of them, or best first as long as it gets no worse.

        Returns:
            (a classifier of one network, calibrated on the judges; positions of its ingredients).

        Raises:
            UsageError: the mean of all is worse than the worst: they are not in one basin.
        """
        alone = [self.taste(state, refresh=False) for state in self.states]
        if greedily:
            state, chosen, _ = greedy_soup(self.states, alone, self.taste)
        else:
            state, chosen = soup(self.states), list(range(len(self.states)))
            if why := basin(self.taste(state), alone):
                then = "--soup greedy, or leave --soup away"
                raise UsageError("the members make no soup", why=why, then=then)
        logs, labels = self._say(state, refresh=len(chosen) > 1)
        first, views = self.whole.members[0], self.whole.members[0].views or self.whole.views
        member = Member(self.network, first.spec, first.classes, first.preprocessing)
        temperature = metrics.fit_temperature(logs, labels)
        return Classifier.of([member], self.whole.classes, temperature, views), chosen

    def _say(self, state: dict[str, Tensor], refresh: bool) -> tuple[np.ndarray, np.ndarray]:
        self.network.load_state_dict(state)
        if refresh:
            refresh_batch_norm(self.network, self._pictures())
        one = self.whole.members[0]
        alone = Classifier(self.network, one.spec, self.whole.classes, one.preprocessing)
        logs, _ = alone.log_probabilities(alone.opened(self.judges), device=self.device)
        read = ~np.isnan(logs).any(axis=(0, 2))
        return logs[0, read], self.judges.labels[read]

    def _pictures(self) -> Iterator[Tensor]:
        page = self.whole.preprocessing
        loader = Loader(
            self.whole.opened(self.training), self.training.labels, Policy.centre(page.fraction),
            size=page.size, mean=page.mean, std=page.std, batch_size=BATCH, seed=0,
        )  # fmt: skip
        for batch in islice(loader.epoch(0), max(1, min(MOST, len(self.training)) // BATCH)):
            yield batch.images.to(torch.device(self.device))
