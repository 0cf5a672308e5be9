"""A soup of finished models: one network of their mean weights, where they lie in one basin."""

import copy
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from polyak.augment import Policy
from polyak.data.dataset import Dataset
from polyak.data.loader import Loader
from polyak.ensemble import State, basin, greedy_soup, refreshed, soup, tempered
from polyak.errors import UsageError
from polyak.model.classifier import Classifier
from polyak.model.member import Member
from polyak.targets import kind_facts

BATCH, MOST = 64, 4096  # images that batch-norm statistics are estimated from


class SoupBuilder:
    """Build soups of a classifier's members, and evaluate them on images with labels.

    Args:
        whole: its members are networks of one kind that take images alike.
        training: images that batch-norm statistics are estimated from.
        held_out: images with labels, in the classifier's order of classes.
        device: where the networks are.

    Raises:
        UsageError: the members differ in architecture, preprocessing or order of classes.
    """

    def __init__(
        self, whole: Classifier, training: Dataset, held_out: Dataset, device: str = "cpu"
    ):
        first = whole.members[0]
        for number, member in enumerate(whole.members[1:], 2):
            for name in ("spec", "preprocessing", "classes"):
                if getattr(member, name) != getattr(first, name):
                    why = f"member {number} has another {name} than the first"
                    raise UsageError("a soup takes networks of one kind", why=why)
        self.whole: Classifier = whole
        self.training: Dataset = training
        self.held_out: Dataset = held_out
        self.device: str = device
        self.network: nn.Module = copy.deepcopy(first.network)
        self.states: list[State] = [member.network.state_dict() for member in whole.members]

    def evaluate(self, state: State, refresh: bool = True) -> float:
        """Give the NLL of some weights on the held-out images, at their own temperature.

        Args:
            state: of the members' architecture.
            refresh: estimate its batch-norm statistics anew, as a mean of weights needs it.
        """
        log_probs, labels = self._predict(state, refresh)
        kind = self.held_out.kind
        temperature = kind.temperature(log_probs, labels)
        return kind.score(tempered(log_probs, temperature, kind), labels)[1]

    def build(self, greedily: bool) -> tuple[Classifier, list[int]]:
        """Average the members' weights: all of them, or best first as long as it gets no worse.

        Returns:
            (a classifier of one network, calibrated on the held-out images; positions of its
            ingredients).

        Raises:
            UsageError: the mean of all is worse than the worst: they are not in one basin.
        """
        alone = [self.evaluate(state, refresh=False) for state in self.states]
        if greedily:
            state, chosen, _ = greedy_soup(self.states, alone, self.evaluate)
        else:
            state, chosen = soup(self.states), list(range(len(self.states)))
            if why := basin(self.evaluate(state), alone):
                then = "--soup greedy, or leave --soup away"
                raise UsageError("the members make no soup", why=why, then=then)
        log_probs, labels = self._predict(state, refresh=len(chosen) > 1)
        first, views = self.whole.members[0], self.whole.members[0].views or self.whole.views
        member = Member(self.network, first.spec, first.classes, first.preprocessing)
        temperature = self.held_out.kind.temperature(log_probs, labels)
        facts = kind_facts(self.whole.kind)
        return Classifier([member], self.whole.classes, temperature, views, facts), chosen

    def _predict(self, state: State, refresh: bool) -> tuple[np.ndarray, np.ndarray]:
        if refresh:
            refreshed(self.network, state, self._batches(), self.states)
        else:
            self.network.load_state_dict(state)
        first = self.whole.members[0]
        member = Member(self.network, first.spec, first.classes, first.preprocessing)
        one = Classifier([member], self.whole.classes, header=kind_facts(self.whole.kind))
        log_probs, _ = one.log_probabilities(one.opened(self.held_out), device=self.device)
        read = ~np.isnan(log_probs).any(axis=(0, 2))
        return log_probs[0, read], self.held_out.labels[read]

    def _batches(self) -> Iterator[Tensor]:
        wanted = self.whole.preprocessing
        loader = Loader(
            self.whole.opened(self.training), self.training.labels, Policy.centre(wanted.fraction),
            size=wanted.size, mean=wanted.mean, std=wanted.std, batch_size=BATCH, seed=0,
        )  # fmt: skip
        for batch in islice(loader.epoch(0), max(1, min(MOST, len(self.training)) // BATCH)):
            yield batch.images.to(torch.device(self.device))
