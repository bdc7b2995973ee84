r"""The claim mesa-partial-observation: the best linear map of the last k observations, and when it is exact.

Three checks, on sequences that are run step by step
    map and residual covariance by least squares, second moments without sampling, against the derived ones
    the exceptions: an exact map with too few numbers, and none with enough
    a map fitted to random sequences is exact on fresh ones wherever k n_s >= n_h
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mesa import partial_observation as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import generator, random_covariance
from ..records.tasks import Task

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.mesa.delay_maps"
# n_h, n_s, k, sigma^2: k n_s < n_h, = n_h and > n_h; the last with noise only, as the map is not unique without
SIZES = (
    (4, 1, 2, 0.0), (5, 2, 2, 0.0), (6, 2, 1, 0.3), (7, 3, 2, 0.1), (2, 1, 2, 0.0), (6, 3, 2, 0.0), (3, 2, 2, 0.2),
)  # fmt: skip
EXACT = ((2, 1, 2), (4, 2, 2), (5, 2, 3), (6, 3, 2), (4, 3, 3))  # n_h, n_s, k with k n_s >= n_h
PARAMETERS = (
    Parameter("transition", "W, h_{t+1} = W h_t (n_h x n_h)"),
    Parameter("observation", "C, s_t = C h_t (n_s x n_h)"),
    Parameter("delays", "k, how many observations z_t = (s_t, .., s_{t-k+1}) holds, from 1"),
    Parameter("noise_variance", "sigma^2 of each entry of the noise in an observation", required=False, default=0.0),
    Parameter(
        "order", "of the blocks of z_t, and of the map: newest-first or oldest-first", False, "newest-first", True
    ),
)

Made = Callable[[], "Formula"]


def drawn(n_h: int, n_s: int) -> dict[str, Any]:
    """A partially observed task whose W and C are drawn by the measuring side."""
    return {"kind": "partial", "size": n_s, "hidden_size": n_h, "length": 2}


def maps_task(budget: Budget) -> Task:
    cases = [{"task": drawn(n_h, n_s), "delays": k, "noise_variance": noise} for n_h, n_s, k, noise in SIZES]
    parameters = {"cases": cases, "stream_key": f"mesa-partial-observation/{budget.seed}"}
    return Task(f"{MEASUREMENT}:enumerated_maps", parameters, budget.device, cost=0.1)


def rows_by(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Map and residual of a formula at the systems that were drawn, against the fitted ones."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        result = []
        for place, (_, _, delays, noise) in enumerate(SIZES):
            W, C = (np.array(found[name][place]) for name in ("transition", "observation"))
            derived = np.asarray(formula().value(theory.letters_of_system(W, C, delays, noise)), dtype=float)
            fitted = np.concatenate([found["map"][place], found["residual"][place]], axis=1)
            # the solve of the derived system has the square of the pairs' condition number
            allowed = found["rounding"][place] * condition_of_pairs(W, C, delays, noise)
            result.append((float(np.abs(derived - fitted).max()), allowed))
        return result

    return rows


def condition_of_pairs(W: Any, C: Any, delays: int, noise: float) -> float:
    """The square root of the condition number of O O^T + sigma^2 I."""
    O_at = theory.observability(W, C, delays)
    return float(np.sqrt(np.linalg.cond(O_at @ O_at.T + noise * np.eye(len(O_at)))))


def exceptions_task(budget: Budget) -> Task:
    cases = [
        {"transition": W.astype(float).tolist(), "observation": C.astype(float).tolist(), "delays": k,
         "noise_variance": 0.0}
        for W, C, k in (theory.NOT_SUFFICIENT, theory.NOT_NECESSARY)
    ]  # fmt: skip
    return Task(f"{MEASUREMENT}:enumerated_maps", {"cases": cases, "stream_key": "not drawn"}, budget.device, cost=0.05)


def rows_of_exceptions(budget: Budget, found: Values) -> list[Row]:
    """The exact residual covariances of both, and the map of the second."""
    del budget
    result = []
    for place, exception in enumerate((theory.NOT_SUFFICIENT, theory.NOT_NECESSARY)):
        best, covariance = (np.asarray(one, dtype=float) for one in theory.projected(*exception))
        differences = [np.abs(np.array(found["residual"][place]) - covariance).max()]
        differences.append(np.abs(np.array(found["map"][place]) - best).max())
        result.append((float(max(differences)), found["rounding"][place]))
    return result


def held_out_task(budget: Budget) -> Task:
    cases = [{"task": drawn(n_h, n_s), "delays": k} for n_h, n_s, k in EXACT]
    parameters = {"cases": cases, "stream_key": f"mesa-partial-observation/held out/{budget.seed}"}
    return Task(f"{MEASUREMENT}:held_out_errors", parameters, budget.device, cost=0.1)


def rows_of_held_out(budget: Budget, found: Values) -> list[Row]:
    del budget
    triples = zip(found["error"], found["size"], found["rounding"], strict=True)
    return [(error / size, rounding / size) for error, size, rounding in triples]


def points_of_checks(seed: int) -> list[dict[str, Any]]:
    """Systems of the same sizes, to say how far an altered formula is from the original."""
    found = []
    for n_h, n_s, delays, noise in SIZES:
        draw = generator(f"mesa-partial-observation/{n_h}/{n_s}/{delays}", seed)
        W, _ = np.linalg.qr(random_covariance(draw, n_h, 4.0) + draw.uniform(-1, 1, size=(n_h, n_h)))
        found.append(theory.letters_of_system(W, draw.uniform(-1, 1, size=(n_s, n_h)), delays, noise))
    return found


def observation_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mesa-partial-observation",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("best map and residual, enumerated", maps_task, rows_by(formula),
                       lambda found: f"{len(found['map'])} random systems, n_h <= 7, k <= 2, with and without noise",
                       "as the largest entry"),
            ExactCheck("exceptions, enumerated", exceptions_task, rows_of_exceptions,
                       lambda found: f"{len(found['map'])} systems in plain numbers", "as the largest entry"),
            ExactCheck("exact on fresh sequences", held_out_task, rows_of_held_out,
                       lambda found: f"{len(found['error'])} random systems with k n_s >= n_h, n_h <= 6",
                       "in units of the observations' root mean square"),
        ),
        "random rotations W and Gaussian C, n_h <= 7, n_s <= 3, k <= 3, noise variance 0 to 0.3, second moments "
        "without "
        "sampling; that (W, C) outside a null set have full rank is proved in words",
        (
            Alterable(
                theory.formula,
                theory.points,
                points_of_checks,
                lambda altered: observation_claim(lambda: altered),
            ),
        ),
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (observation_claim(),)
