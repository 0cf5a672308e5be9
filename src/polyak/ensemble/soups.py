"""Soups: one network whose weights are the mean of several networks' weights."""

from collections.abc import Callable, Sequence

import torch

from polyak.ensemble.states import State


def soup(states: Sequence[State]) -> State:
    """Average the weights of networks of one architecture.

    Batch-norm statistics of the mean belong to nobody: let `refreshed` estimate them anew before
    the soup is used.

    Args:
        states: state_dicts with the same names and shapes.

    Returns:
        A state_dict; what is not floating (counters) comes from the first.

    Raises:
        ValueError: nothing to average, or other names or shapes.

    Source: Wortsman et al., "Model soups", ICML 2022; slide "Polyak averaging" for the idea.

    >>> parts = [{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}]
    >>> soup(parts)["w"].item()
    1.5
    """
    if not states:
        raise ValueError("nothing to average: give at least one state_dict")
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("a soup takes networks of one architecture: names or shapes differ")
    mixed = {}
    for name, first in states[0].items():
        mixed[name] = first
        if first.is_floating_point() and len(states) > 1:
            parts = torch.stack([state[name].double() for state in states])
            mixed[name] = parts.mean(0).to(first.dtype)
    return mixed


def greedy_soup(
    states: Sequence[State], losses: Sequence[float], measure: Callable[[State], float]
) -> tuple[State, list[int], float]:
    """Add networks to a soup, best first, as long as the soup does not get worse.

    Args:
        states: state_dicts of one architecture.
        losses: of each alone, on held-out images.
        measure: loss of a soup there, its batch-norm statistics re-estimated.

    Returns:
        (soup, positions of its ingredients in the order they were added, its loss).

    Source: Wortsman et al. 2022, recipe 1.

    >>> parts = [{"w": torch.tensor([x])} for x in (3.0, 1.0, -2.0)]
    >>> best, chosen, loss = greedy_soup(parts, [3.0, 1.0, 2.0], lambda s: abs(s["w"].item()))
    >>> best["w"].item(), chosen, loss
    (-0.5, [1, 2], 0.5)
    """
    order = sorted(range(len(states)), key=lambda number: losses[number])
    chosen, best = order[:1], losses[order[0]]
    for number in order[1:]:
        tried = measure(soup([states[one] for one in (*chosen, number)]))
        if tried <= best:
            chosen, best = [*chosen, number], tried
    return soup([states[one] for one in chosen]), chosen, best


def basin(loss: float, losses: Sequence[float]) -> str:
    """Say why a soup's ingredients do not lie in one basin, or nothing where they seem to.

    Between two minima of one basin the loss stays low; a soup that is worse than its worst
    ingredient has a barrier on the way.

    Args:
        loss: of the soup, on held-out images.
        losses: of its ingredients there.

    Source: Frankle et al., "Linear mode connectivity", ICML 2020.

    >>> basin(0.7, [0.8, 0.9])
    ''
    >>> basin(1.5, [0.8, 0.9])
    'not in one basin: NLL 1.500 on validation, its ingredients 0.800 to 0.900'
    """
    if loss <= max(losses):
        return ""
    span = f"its ingredients {min(losses):.3f} to {max(losses):.3f}"
    return f"not in one basin: NLL {loss:.3f} on validation, {span}"
