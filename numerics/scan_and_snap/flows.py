r"""Gradient flow of the layer with its decoder, in the limit of long sequences: plain data in, plain data out.

    joint_flow             Y' = -eta_Y dL/dY, Z' = -eta_Z dL/dZ: the flow of the loss itself [tian2023scan, Lemma 1]
    reparametrised_flow    w_n' = -eta_Y d/dw_n (P(n) cross-entropy of w_n), Y = (F^dagger)^T W for the class vectors F
                           at hand, Z' = -eta_Z dL/dZ at that Y [tian2023scan, Lemma 3, Thm 5]
    decoder_flow           the first with Z kept where it is

All start from Y = 0 and, if nothing else is said, Z = 0. Velocities are derivatives of `population_loss` by autograd.
Time: one unit is one step of batch size 1 at rates eta, in expectation; P(n) is in the velocity.

Error
    scipy's DOP853 (orders 8, 5 and 3, [hairer1993solving]) in float64 at relative tolerance `tolerance`; each result
    comes with `error`, the largest difference from the run at 10 times that tolerance, relative to the largest entry
    of the same array. This is an estimate, not a bound.
Many tasks
    A list of tasks with the same numbers of classes, tokens and queries is integrated as one system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from ..training.threads import one_thread
from .layer import class_losses, class_vectors, columns, multiplicities, population_loss
from .sequence_classes import SequenceClasses

Array = NDArray[np.float64]
Velocity = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # decoder part and attention -> their velocities
TOLERANCE = 1e-10
SMALLEST = 1e-14  # below this an entry's error is judged absolutely


@dataclass(frozen=True)
class Tasks:
    """Tasks of one shape, stacked: contexts (B, K, M), P(n) (B, K), rows of the classes' queries (K,)."""

    contexts: Tensor
    probabilities: Tensor
    rows: Tensor
    query_count: int

    @classmethod
    def of(cls, tasks: Sequence[SequenceClasses]) -> Tasks:
        """Raises ValueError for tasks of different shapes."""
        first = tasks[0]
        for task in tasks:
            if task.contexts.shape != first.contexts.shape or (task.rows != first.rows).any():
                raise ValueError(
                    "need tasks with the same numbers of classes and tokens and the same pattern of queries, got "
                    f"{first.contexts.shape} and {task.contexts.shape}; integrate them one by one"
                )
        return cls(
            torch.tensor(np.stack([task.contexts for task in tasks])),
            torch.tensor(np.stack([task.probabilities for task in tasks])),
            torch.tensor(first.rows),
            first.query_count,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, K and M."""
        B, K, M = self.contexts.shape
        return B, K, M

    def joint_velocity(self, eta_Y: Tensor, eta_Z: Tensor) -> Velocity:
        """Of (Y, Z): minus rate times gradient; a kept column moves as each of the tokens that it stands for."""
        counts = multiplicities(*self.shape[1:])

        def velocity(decoder: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
            slope_Y, slope_Z = self.slopes(decoder, attention)
            return -eta_Y * slope_Y / counts, -eta_Z * slope_Z

        return velocity

    def reparametrised_velocity(self, eta_Y: Tensor, eta_Z: Tensor) -> Velocity:
        """Of (W, Z): each w_n for itself, and Z at Y = (F^dagger)^T W."""
        counts = multiplicities(*self.shape[1:])

        def velocity(logits: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
            leaf = logits.detach().requires_grad_()
            own = (self.probabilities * class_losses(leaf, self.shape[2])).sum()
            (slope_W,) = torch.autograd.grad(own, leaf)
            _, slope_Z = self.slopes(self.decoder_of(logits, attention), attention)
            return -eta_Y * slope_W / counts, -eta_Z * slope_Z

        return velocity

    def slopes(self, decoder: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """dL/dY and dL/dZ."""
        Y, Z = decoder.detach().requires_grad_(), attention.detach().requires_grad_()
        loss = population_loss(self.contexts, self.rows, self.probabilities, Y, Z).sum()
        slope_Y, slope_Z = torch.autograd.grad(loss, (Y, Z))
        return slope_Y, slope_Z

    def decoder_of(self, logits: Tensor, attention: Tensor) -> Tensor:
        """Y = F (F^T F)^{-1} W: the decoder in the span of the class vectors that gives them the logits W."""
        f = class_vectors(self.contexts, attention[..., self.rows, :])
        inverted: Tensor = torch.linalg.solve(f @ f.mT, logits)
        return f.mT @ inverted


@one_thread()
def joint_flow(
    tasks: Sequence[SequenceClasses],
    eta_Y: float | Sequence[float],
    eta_Z: float | Sequence[float],
    times: Sequence[float],
    *,
    attention: Array | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """The flow of the loss at the times (increasing, positive), one rate for all tasks or one for each.

    Z (times, B, Q, M), Y (times, B, M, K + 1), `error`, `evaluations`. `attention`: where Z starts, (B, Q, M).
    """
    stacked = Tasks.of(tasks)
    velocity = stacked.joint_velocity(rates(eta_Y, len(tasks)), rates(eta_Z, len(tasks)))
    B, K, M = stacked.shape
    return flow(velocity, (B, M, columns(K, M)), started(stacked, attention), times, tolerance, "Y")


@one_thread()
def reparametrised_flow(
    tasks: Sequence[SequenceClasses],
    eta_Y: float | Sequence[float],
    eta_Z: float | Sequence[float],
    times: Sequence[float],
    *,
    attention: Array | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """The reparametrised flow, as `joint_flow`, with W (times, B, K, K + 1) in the place of Y."""
    stacked = Tasks.of(tasks)
    velocity = stacked.reparametrised_velocity(rates(eta_Y, len(tasks)), rates(eta_Z, len(tasks)))
    B, K, M = stacked.shape
    return flow(velocity, (B, K, columns(K, M)), started(stacked, attention), times, tolerance, "W")


def decoder_flow(
    tasks: Sequence[SequenceClasses],
    eta_Y: float | Sequence[float],
    times: Sequence[float],
    *,
    attention: Array | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """The flow of the decoder alone, with Z kept at its start."""
    return joint_flow(tasks, eta_Y, 0.0, times, attention=attention, tolerance=tolerance)


def rates(eta: float | Sequence[float], count: int) -> Tensor:
    """One rate a task, (B, 1, 1)."""
    return torch.tensor(np.broadcast_to(np.asarray(eta, dtype=np.float64), (count,)).copy())[:, None, None]


def started(tasks: Tasks, attention: Array | None) -> Tensor:
    """Z at the start, (B, Q, M)."""
    B, _, M = tasks.shape
    if attention is None:
        return torch.zeros(B, tasks.query_count, M, dtype=torch.float64)
    return torch.tensor(np.broadcast_to(attention, (B, tasks.query_count, M)).copy())


def flow(
    velocity: Velocity,
    decoder_shape: tuple[int, ...],
    attention: Tensor,
    times: Sequence[float],
    tolerance: float,
    name: str,
) -> dict[str, Any]:
    """Both runs, and how far they are apart."""
    fine, evaluations = states(velocity, decoder_shape, attention, times, tolerance)
    coarse, _ = states(velocity, decoder_shape, attention, times, 10 * tolerance)
    error = max(apart(a, b) for a, b in zip(fine, coarse, strict=True))
    return {name: fine[0], "Z": fine[1], "error": error, "evaluations": evaluations}


def apart(fine: Array, coarse: Array) -> float:
    """The largest difference, relative to the largest entry."""
    return float(np.abs(fine - coarse).max() / max(np.abs(fine).max(), SMALLEST))


def states(
    velocity: Velocity, decoder_shape: tuple[int, ...], attention: Tensor, times: Sequence[float], tolerance: float
) -> tuple[tuple[Array, Array], int]:
    """Decoder part and Z at the times, and how often the velocity was asked for."""
    split = int(np.prod(decoder_shape))

    def derivative(_: float, state: Array) -> Array:
        x = torch.from_numpy(state)
        moved = velocity(x[:split].view(decoder_shape), x[split:].view(attention.shape))
        found: Array = torch.cat([part.reshape(-1) for part in moved]).numpy()
        return found

    start = np.concatenate([np.zeros(split), attention.numpy().ravel()])
    solution = solve_ivp(
        derivative, (0.0, times[-1]), start, "DOP853", np.asarray(times), rtol=tolerance, atol=SMALLEST
    )
    if not solution.success:
        raise RuntimeError(f"the flow could not be followed to t = {times[-1]:g}: {solution.message}")
    count = len(times)
    decoder = solution.y[:split].T.reshape(count, *decoder_shape)
    return (decoder, solution.y[split:].T.reshape(count, *attention.shape)), int(solution.nfev)


def plain_flow(flow: Callable[..., dict[str, Any]], tasks: Sequence[Mapping[str, Any]], *rest: Any) -> dict[str, Any]:
    """A flow of tasks given as plain data, with lists for arrays."""
    found = flow([SequenceClasses.from_plain(task) for task in tasks], *rest)
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in found.items()}
