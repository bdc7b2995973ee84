r"""Gradient flow of the real layer's population loss, integrated over Gauss nodes: plain data in, plain data out.

theta' = -dL/dtheta for theta = (u, U) at u12 = u21 = 0, with L and its gradient from the layer at the nodes of a
product Gauss rule (`gauss_rules`), all starts of one law in one batch, float64, always on the CPU.

    enumerated_flows     weights, loss and squared gradient at equally spaced times
    enumerated_limits    weights where the gradient has died out
Error
    The pair of orders five and four of [dormand1980family]; the step is chosen so that the difference of the two is at
    most `tolerance` of the weights' size, and the higher order is kept. Every result comes with that at ten times the
    tolerance: the error is about proportional to the tolerance, so the difference of the two is about nine times the
    error of the finer one. This is an estimate, not a bound; who judges takes the whole difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..training.threads import one_thread
from .cubature import TIGHT
from .gauss_rules import GaussRule
from .gradients import prompt_losses
from .prompts import PromptDistribution, Prompts

Plain = Mapping[str, Any]
State = tuple[torch.Tensor, torch.Tensor]  # W_PV and W_KQ, (S, d + 1, d + 1)


class EnumeratedLoss:
    """The population loss of the layer without leak at many weights, over the nodes of one law."""

    def __init__(self, distribution: PromptDistribution) -> None:
        self.chunks: list[tuple[torch.Tensor, Prompts]] = []
        for length in distribution.context_lengths:
            rule = GaussRule(distribution, length, TIGHT + TIGHT)
            share = 1 / len(distribution.context_lengths)
            self.chunks += [(weights * share, prompts) for weights, prompts, _ in rule.chunks()]
        self.nodes = sum(len(weights) for weights, _ in self.chunks)
        self.evaluations = 0

    def value_and_gradient(self, state: State) -> tuple[torch.Tensor, State]:
        """L, (S,), and its gradient by u and U; the entries of the leak stay where they are."""
        W_PV, W_KQ = (part.detach().clone().requires_grad_() for part in state)
        losses = sum(prompt_losses(prompts, W_PV, W_KQ) @ weights for weights, prompts in self.chunks)
        assert isinstance(losses, torch.Tensor)
        slopes = torch.autograd.grad(losses.sum(), (W_PV, W_KQ))
        self.evaluations += len(losses)
        return losses.detach(), without_leak(slopes[0], slopes[1])

    def velocity(self, state: State) -> State:
        _, (W_PV, W_KQ) = self.value_and_gradient(state)
        return -W_PV, -W_KQ


def without_leak(W_PV: torch.Tensor, W_KQ: torch.Tensor) -> State:
    """u and U alone, zeros elsewhere."""
    value, key_query = torch.zeros_like(W_PV), torch.zeros_like(W_KQ)
    value[..., -1, -1] = W_PV[..., -1, -1]
    key_query[..., :-1, :-1] = W_KQ[..., :-1, :-1]
    return value, key_query


def moved(state: State, velocity: State, step: float) -> State:
    return state[0] + step * velocity[0], state[1] + step * velocity[1]


# The rows of the method, the weights of order five, and those of order five less those of order four.
STAGES: tuple[tuple[float, ...], ...] = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
DIFFERENCE = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def stepped(velocity: Callable[[State], State], state: State, first: State, step: float) -> tuple[State, State, State]:
    """One step of order five, its difference from order four, and the velocity at its end."""
    slopes, end = [first], state
    for row in STAGES:
        end = state
        for share, slope in zip(row, slopes, strict=True):
            end = moved(end, slope, step * share)
        slopes.append(velocity(end))
    nothing = (torch.zeros_like(state[0]), torch.zeros_like(state[1]))
    difference = nothing
    for share, slope in zip(DIFFERENCE, slopes, strict=True):
        difference = moved(difference, slope, step * share)
    return end, difference, slopes[-1]


def sizes(state: State) -> torch.Tensor:
    """|theta|, (S,)."""
    return (state[0].square().sum((-2, -1)) + state[1].square().sum((-2, -1))).sqrt()


class Integration:
    """The flow of a batch, step by step; one step for all starts."""

    def __init__(self, loss: EnumeratedLoss, state: State, tolerance: float) -> None:
        self.loss, self.state, self.tolerance = loss, state, tolerance
        self.time, self.step, self.velocity = 0.0, 1e-3, loss.velocity(state)

    def advance(self, most: float) -> None:
        """One accepted step, of at most this length."""
        while True:
            step = min(self.step, most)
            end, difference, velocity = stepped(self.loss.velocity, self.state, self.velocity, step)
            error = float((sizes(difference) / sizes(self.state)).max()) / self.tolerance
            factor = 0.9 * max(error, 1e-10) ** -0.2
            if error <= 1:
                self.state, self.velocity, self.time = end, velocity, self.time + step
                if step == self.step:  # a step cut short says nothing about the next
                    self.step = step * min(5.0, factor)
                return
            self.step = step * max(0.2, factor)


def started(starts: Sequence[Plain]) -> State:
    """The weights of starts {"u": number, "U": d x d}."""
    U = torch.tensor([start["U"] for start in starts], dtype=torch.float64)
    count, d = len(starts), U.shape[-1]
    W_PV, W_KQ = (torch.zeros(count, d + 1, d + 1, dtype=torch.float64) for _ in range(2))
    W_PV[:, -1, -1] = torch.tensor([float(start["u"]) for start in starts], dtype=torch.float64)
    W_KQ[:, :d, :d] = U
    return W_PV, W_KQ


def plain_state(state: State) -> dict[str, Any]:
    """u (S,) and U (S, d, d) as lists."""
    return {"u": state[0][:, -1, -1].tolist(), "U": state[1][:, :-1, :-1].tolist()}


@one_thread()
def enumerated_flows(
    distribution: Plain, starts: Sequence[Plain], time: float, points: int, tolerance: float, device: str
) -> dict[str, Any]:
    """The flow from each start at `points` equally spaced times up to `time`.

    `fine`: a list over the times, the start first, of {u, U, loss, squared_gradient}; `coarse`: at ten times the
    tolerance.
    """
    loss = EnumeratedLoss(PromptDistribution.from_plain(distribution))
    paths = {
        name: path(loss, started(starts), time, points, tolerance * k) for name, k in (("fine", 1), ("coarse", 10))
    }
    return {**paths, "nodes": loss.nodes, "evaluations": loss.evaluations}


def path(loss: EnumeratedLoss, state: State, time: float, points: int, tolerance: float) -> list[dict[str, Any]]:
    """The states at the times, with loss and squared gradient (S,)."""
    run = Integration(loss, state, tolerance)
    found = [described(loss, run.state)]
    for point in range(points):
        until = time * (point + 1) / points
        while until - run.time > 1e-12 * time:
            run.advance(until - run.time)
        found.append(described(loss, run.state))
    return found


def described(loss: EnumeratedLoss, state: State) -> dict[str, Any]:
    losses, slopes = loss.value_and_gradient(state)
    return {**plain_state(state), "loss": losses.tolist(), "squared_gradient": sizes(slopes).square().tolist()}


@one_thread()
def enumerated_limits(
    distribution: Plain, starts: Sequence[Plain], gradient: float, longest: float, tolerance: float, device: str
) -> dict[str, Any]:
    """Where the flow from each start is once every gradient is at most `gradient`, or at the time `longest`.

    u, U, the gradients' norms there and the time; `coarse`: at ten times the tolerance.
    """
    loss = EnumeratedLoss(PromptDistribution.from_plain(distribution))
    ends = {
        name: end(loss, started(starts), gradient, longest, tolerance * k) for name, k in (("fine", 1), ("coarse", 10))
    }
    return {**ends, "nodes": loss.nodes, "evaluations": loss.evaluations}


def end(loss: EnumeratedLoss, state: State, gradient: float, longest: float, tolerance: float) -> dict[str, Any]:
    """The state where the flow stops."""
    run = Integration(loss, state, tolerance)
    while run.time < longest and bool((sizes(run.velocity) > gradient).any()):
        run.advance(longest - run.time)
    return {**plain_state(run.state), "gradient": sizes(run.velocity).tolist(), "time": run.time}
