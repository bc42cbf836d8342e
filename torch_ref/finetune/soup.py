"""Soups: averages of the weights of several checkpoints, chosen on validation."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def average(states: Sequence[State]) -> dict[str, Tensor]:
    """The uniform soup, (1 / n) sum_i state_i, in new tensors.

    The sum is in float64 and is rounded once. Integers, such as counts of batches, are those of the
    first state.

    Args:
        states: n >= 1 state_dicts of one architecture; none of them is written to.

    Raises:
        ValueError: there is none, or their names or shapes differ.

    Source: Wortsman et al. 2022, arXiv:2203.05482. jaxvit.optim.averaging.average_weights is the
    same average.
    """
    if not states:
        raise ValueError("there are no weights to average")
    soup = {}
    for name, first in states[0].items():
        tensors = [state.get(name) for state in states]
        if any(t is None or t.shape != first.shape for t in tensors):
            raise ValueError(f"{name} is missing or has another shape in one of the states")
        if first.is_floating_point():
            total = sum(t.double() for t in tensors)
            soup[name] = (total / len(states)).to(first.dtype)
        else:
            soup[name] = first.clone()
    return soup


def greedy_soup(
    candidates: Sequence[State], score: Callable[[State], float]
) -> tuple[dict[str, Tensor], list[int]]:
    """Adds the states, from the best on, as long as the soup gets no worse on validation.

    Args:
        candidates: state_dicts, sorted from best to worst by their score.
        score: a state_dict -> its score on the validation split; higher is better.

    Returns:
        The average, and the indices of the candidates in it.

    Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1.
    """
    chosen = [0]
    soup = average([candidates[0]])
    best = score(soup)
    for index in range(1, len(candidates)):
        tried = average([candidates[i] for i in [*chosen, index]])
        found = score(tried)
        if found >= best:
            chosen, soup, best = [*chosen, index], tried, found
    return soup, chosen


def copy_of(state: State) -> dict[str, Tensor]:
    """A state_dict in tensors of its own: model.state_dict() shares those that training changes."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


@torch.no_grad()
def load(model: torch.nn.Module, state: State) -> torch.nn.Module:
    """The model with these weights; they are copied into it."""
    model.load_state_dict(dict(state))
    return model
