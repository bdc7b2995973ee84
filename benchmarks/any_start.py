"""Where runs from any start of all parameters end: the smallest counterexample, and shares over the claim's domain.

    python benchmarks/any_start.py [replicas [steps]]
    python benchmarks/any_start.py minima

First the exact loss alone (d = 2, N = 1, Lambda = Psi = I, no noise): gradient descent from u12 = u21 = (1/2, 0),
u = 1/4, U = I/4 ends at the leaking point. Then sampled training with the settings of fixed-point-any-start.
`minima` lists the ends of SciPy's BFGS on the exact isotropic loss, from twelve random starts for each d and N.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from iclcheck.numerics.training.ends import trained_ends
from iclcheck.proofs_check.claims.any_start import (
    NOISE_PROMPTS,
    STEPS_PER_BUDGETED,
    AnyStartRuns,
    End,
    EndsAreStationary,
    any_start_claim,
    in_words,
)
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.settings import Setting
from iclcheck.theory.one_layer.any_start import leaking_point
from iclcheck.theory.one_layer.fixed_point import fixed_point
from iclcheck.theory.one_layer.population_loss import noiseless_loss


def print_counterexample() -> None:
    eye, loss = np.eye(2), noiseless_loss()
    W_PV, W_KQ = np.zeros((3, 3)), np.zeros((3, 3))
    W_PV[-1], W_KQ[:2, :2], W_KQ[2, 0] = [0.5, 0, 0.25], eye / 4, 0.5
    print(f"L at the start {loss.value(eye, 1, (W_PV, W_KQ)):.6f}")
    for rate, steps in ((0.05, 800), (0.01, 4000)):
        end = loss.descend(eye, 1, (W_PV, W_KQ), rate, steps)
        A = end[0][-1, -1] * end[1][:2, :2] + np.outer(end[0][-1, :2], end[1][-1, :2])
        slope = max(np.abs(part).max() for part in loss.gradients(eye, 1, end))
        print(f"rate {rate}: L {loss.value(eye, 1, end):.12f}, A {A.round(9).tolist()}, largest slope {slope:.1e}")
    print(f"leaking point {leaking_point(eye, 1).loss}, min L {fixed_point(eye, 1).loss}")


def runs() -> AnyStartRuns:
    (check,) = (one for one in any_start_claim().checks if isinstance(one, EndsAreStationary))
    return check.runs


def trained(replicas: int, steps: int) -> list[tuple[Setting, End]]:
    """Law and end of each replica."""
    made = runs()
    wanted = [{**one, "steps": steps} for one in made.configurations(Budget(replicas=replicas))][:replicas]
    found = trained_ends(wanted, NOISE_PROMPTS, "cpu")
    names = ("W_PV", "W_KQ", "averaged_prompts", "squared_gradient")
    laws = [one["distribution"] for one in wanted]
    rows = zip(*(found[name] for name in names), strict=True)
    return [(law, made.judge_end(law, *row)) for law, row in zip(laws, rows, strict=True)]


def print_shares(ends: Sequence[tuple[Setting, End]]) -> None:
    for title in ("gradient", "size"):
        values = [getattr(end, title) for _, end in ends]
        shown = ", ".join(f"{q:.0%} {np.quantile(values, q):.3g}" for q in (0.05, 0.5, 0.9, 0.95, 0.99))
        print(f"quantiles of {title}: {shown}")
    print(f"all: {in_words([end for _, end in ends])}")
    groups = Counter((len(law["covariance"]), law["context_lengths"][0]) for law, _ in ends)
    for d, n in sorted(groups):
        here = [end for law, end in ends if (len(law["covariance"]), law["context_lengths"][0]) == (d, n)]
        print(f"d = {d}, N = {n}: {in_words(here)}")


def print_minima() -> None:
    """The values of L at which BFGS ends, with their numbers."""
    for d in (2, 3, 4):
        for n in (1, 2, 3, 4, 5, 8, 16, 32, 100):
            found = Counter(minimised(d, n, start) for start in range(12))
            best = fixed_point(np.eye(d), n).loss
            print(f"d = {d}, N = {n}: min L {best:.4f}; ends {dict(sorted(found.items()))}", flush=True)


def minimised(d: int, n: int, seed: int) -> str:
    """L at the end, or that BFGS stopped before the gradient vanished."""
    loss, eye = noiseless_loss(), np.eye(d)

    def weights(entries: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        W_PV, W_KQ = np.zeros((2, d + 1, d + 1))
        W_PV[-1], W_KQ[:, :-1] = entries[: d + 1], entries[d + 1 :].reshape(d + 1, d)
        return W_PV, W_KQ

    def value_and_slope(entries: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        by_value, by_key_query = loss.gradients(eye, n, weights(entries))
        slope = np.concatenate([by_value[-1], by_key_query[:, :-1].ravel()])
        return float(loss.value(eye, n, weights(entries))), slope

    draw = np.random.default_rng([d, n, seed])
    start = draw.uniform(0.2, 1) * draw.normal(size=(d + 1) ** 2)
    end = minimize(value_and_slope, start, jac=True, method="BFGS", options={"gtol": 1e-8})
    return f"{end.fun:.4f}" if np.abs(end.jac).max() < 1e-5 else "stopped early"


def main() -> None:
    if sys.argv[1:] == ["minima"]:
        print_minima()
        return
    replicas = int(sys.argv[1]) if len(sys.argv) > 1 else 384
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS_PER_BUDGETED * Budget().training_steps
    print_counterexample()
    print_shares(trained(replicas, steps))


if __name__ == "__main__":
    main()
