r"""The flow without leak in numbers: in the eigenbases of M and Lambda the entries of U only meet through u.

Main statements
    coordinates    M = P diag(m) P^T, Lambda = Q diag(l) Q^T, V = P^T U Q: with k_ij = m_i l_j and B = P^T C Lambda Q
                   V_ij' = u (B_ij - u k_ij V_ij),   u' = sum_ij V_ij (B_ij - u k_ij V_ij)
    loss           L - min L = 1/2 sum_ij k_ij (u V_ij - B_ij/k_ij)^2, and L(0) - L = u sum V_ij (B_ij - u k_ij V_ij/2)
    bound          where u^2 >= v > 0 from now on, the rest of the path is at most sqrt(4 (L - min L)/(v min k)) long
                   (`pl_inequality`); so a flow that is close to its limit is replaced by it
Numerical error
    DOP853, an explicit method of order 8, then Radau where the flow is stiff; local errors below 1e-12 of the weights
    and of the start's size a step. Compared with a closed form and with a method of order four in the tests: 1e-9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..algebra.evaluation import evaluate
from ..algebra.trace_polynomials import TracePolynomial
from .assumptions import (
    AssumptionError,
    FloatArray,
    check_context_length,
    check_covariance,
    check_non_negative,
    check_number,
    check_shape,
    check_task_covariance,
)
from .fixed_point import fixed_point, stationary_system
from .prompt_law import PromptLaw

TOLERANCE = 1e-12  # of a step
EXPLICIT_STEPS = 20_000  # after so many the flow counts as stiff
MOST_STEPS = 60_000
CLOSE = 1e-11  # of the weights' size: the rest of a path that is left out


class FlowState(NamedTuple):
    """u and U, (d, d)."""

    u: float
    U: FloatArray


@dataclass(frozen=True)
class DecoupledFlow:
    """The flow of one law.

    left, right    P and Q, (d, d);  curvature    k, (d, d);  pull    B, (d, d);  minimum    min L
    """

    left: FloatArray
    right: FloatArray
    curvature: FloatArray
    pull: FloatArray
    minimum: float

    def coordinates(self, state: FlowState) -> FloatArray:
        """(u, V) in one row."""
        return np.concatenate([[state.u], (self.left.T @ state.U @ self.right).reshape(-1)])

    def state(self, row: FloatArray) -> FlowState:
        """(u, U) of a row."""
        V = row[1:].reshape(self.pull.shape)
        return FlowState(float(row[0]), self.left @ V @ self.right.T)

    def velocity(self, row: FloatArray) -> FloatArray:
        """(u', V')."""
        u, V = row[0], row[1:]
        slope = self.pull.reshape(-1) - u * self.curvature.reshape(-1) * V
        return np.concatenate([[V @ slope], u * slope])

    def jacobian(self, row: FloatArray) -> FloatArray:
        """The derivatives of the velocity, (d^2 + 1, d^2 + 1)."""
        u, V = row[0], row[1:]
        k, B = self.curvature.reshape(-1), self.pull.reshape(-1)
        across = B - 2 * u * k * V
        matrix = np.diag(np.concatenate([[-(V @ (k * V))], -(u**2) * k]))
        matrix[0, 1:] = matrix[1:, 0] = across
        return np.asarray(matrix)

    def excess(self, row: FloatArray) -> float:
        """L - min L."""
        k, B = self.curvature.reshape(-1), self.pull.reshape(-1)
        return float(np.sum(k * (row[0] * row[1:] - B / k) ** 2)) / 2

    def gain(self, row: FloatArray) -> float:
        """L(0) - L, positive where the loss is below that of zero weights."""
        k, B = self.curvature.reshape(-1), self.pull.reshape(-1)
        return float(row[0] * np.sum(row[1:] * (B - row[0] * k * row[1:] / 2)))

    def pull_along(self, row: FloatArray) -> float:
        """sum V B = tr(U^T C Lambda): what moves u at u = 0."""
        return float(row[1:] @ self.pull.reshape(-1))

    def least_square_of_value(self, row: FloatArray) -> float:
        """A bound v with u^2 >= v from here on; 0 where none is known.

        L(0) - L grows and is at most |B| a - min(k) a^2/2 with a = |A|_F, so a is at least the smaller root r of that
        quadratic; and u^2 = (c + sqrt(c^2 + 4 a^2))/2 with c = u^2 - |U|^2, which the flow conserves.
        """
        return larger_root(conserved(row), self.least_size(row))

    def least_size(self, row: FloatArray) -> float:
        """A bound on |A|_F from below, from here on."""
        gain, size = self.gain(row), float(np.linalg.norm(self.pull))
        if gain <= 0:
            return 0.0
        # The quadratic reaches the gain at |A| itself, so that its discriminant is not negative but by rounding.
        under = max(size**2 - 2 * float(self.curvature.min()) * gain, 0.0)
        return 2 * gain / (size + math.sqrt(under))

    def rest_of_path(self, row: FloatArray) -> float:
        """A bound on the length of the path from here on; infinite where none is known."""
        least = self.least_square_of_value(row) * float(self.curvature.min())
        return math.sqrt(4 * self.excess(row) / least) if least > 0 else math.inf

    def limit(self, c: float, sign: float) -> FloatArray:
        """The global minimum u V = B/k with u^2 - |V|^2 = c and u of this sign."""
        best = (self.pull / self.curvature).reshape(-1)
        u = math.copysign(math.sqrt(larger_root(c, float(np.linalg.norm(best)))), sign)
        return np.concatenate([[u], best / u])

    def after(self, start: FlowState, time: float) -> FlowState:
        """The flow at a time; its limit where the rest of the path is shorter than CLOSE of the weights.

        Raises AssumptionError where the flow takes more steps than MOST_STEPS.
        """
        row = self.coordinates(start)
        c = conserved(row)

        def close(at: FloatArray) -> bool:
            return self.rest_of_path(at) <= CLOSE * float(np.linalg.norm(at))

        end, reached = self.integrated(row, time, close)
        return self.state(end if reached else self.limit(c, end[0]))

    def integrated(self, row: FloatArray, time: float, stop: Callable[[FloatArray], bool]) -> tuple[FloatArray, bool]:
        """The row at that time, or where `stop` first holds after a step; and whether the time was reached."""
        from scipy.integrate import DOP853, Radau  # costs a third of a second, and most verbs never need it

        size = float(np.linalg.norm(row))
        if stop(row):
            return row, False
        if time == 0 or size == 0:
            return row, True
        accuracy = {"rtol": TOLERANCE, "atol": TOLERANCE * size}
        solver: Any = DOP853(lambda _, y: self.velocity(y), 0.0, row, time, **accuracy)
        with np.errstate(all="ignore"):  # a first step that is far too long overflows, and is taken again
            for step in range(MOST_STEPS):
                solver.step()
                if solver.status == "failed":
                    break
                if stop(solver.y):
                    return solver.y, False
                if solver.status == "finished":
                    return solver.y, True
                if step == EXPLICIT_STEPS:
                    jac = lambda _, y: self.jacobian(y)  # noqa: E731
                    solver = Radau(lambda _, y: self.velocity(y), solver.t, solver.y, time, jac=jac, **accuracy)
        raise AssumptionError(
            f"the flow could not be followed beyond time {solver.t:.3g} in {MOST_STEPS} steps; shorten the time, or "
            f"rescale "
            "the covariates to a smaller condition number"
        )


def conserved(row: FloatArray) -> float:
    """c = u^2 - |U|_F^2."""
    size = float(np.linalg.norm(row[1:]))
    return (float(row[0]) - size) * (float(row[0]) + size)


def larger_root(c: float, size: float) -> float:
    """u^2 with u^2 - |U|^2 = c and |u U| = size: (c + sqrt(c^2 + 4 size^2))/2, without cancellation."""
    root = math.hypot(c, 2 * size)
    if c >= 0:
        return (c + root) / 2
    return 2 * size**2 / (root - c)


@cache
def moments() -> tuple[TracePolynomial, TracePolynomial]:
    """M and C of the general law."""
    system = stationary_system(PromptLaw())
    return system.second_moment, system.cross_moment


def decoupled_flow(covariance: Any, context_length: Any, task_covariance: Any, noise_variance: Any) -> DecoupledFlow:
    """The flow of a law; parameters as for `fixed_point`. Raises AssumptionError."""
    Lambda = check_covariance(covariance)
    values = {
        "Lambda": Lambda,
        "Psi": check_task_covariance(task_covariance, len(Lambda)),
        "N": check_context_length(context_length),
        "sigma2": check_non_negative(noise_variance, "noise_variance"),
    }
    M, C = (np.asarray(evaluate(part, values)) for part in moments())
    (m, P), (lam, Q) = (np.linalg.eigh((matrix + matrix.T) / 2) for matrix in (M, Lambda))
    minimum = fixed_point(covariance, context_length, task_covariance, noise_variance).loss
    return DecoupledFlow(P, Q, np.outer(m, lam), P.T @ C @ Lambda @ Q, minimum)


def start_of(value_gain_0: Any, key_query_0: Any, dimension: int) -> FlowState:
    """A start. Raises AssumptionError."""
    U = check_shape(key_query_0, (dimension, dimension), "key_query_0")
    return FlowState(check_number(value_gain_0, "value_gain_0"), U)
