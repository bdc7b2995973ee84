"""The file that `iclcheck new-claim` writes: a small claim that holds, with a comment on everything to be replaced."""

from __future__ import annotations

from pathlib import Path

TEXT = '''"""Claims of my own. This file is Python and runs as my own code.

iclcheck check --claims @FILE@            measures, and puts altered statements to the same check
iclcheck derive @NAME@ --claims @FILE@    shows the steps; so do list, show, predict, certify, plan, controls, ...
"""

import numpy as np

from iclcheck.own import claim, mean, step, whole  # also: real, one_of; exact, replicas


def squared_error(parameters, generator):
    """What is measured: independent draws, as many as one call likes to give. It must not know the prediction.

    parameters: one point of the domain, a dict; generator: NumPy's, and the only source of randomness.
    """
    N, d, prompts = parameters["N"], parameters["d"], 4096
    x = generator.standard_normal((prompts, N, d))
    error = np.einsum("bni,bn->bi", x, x[:, :, 0]) / N  # S w for w = e_1
    error[:, 0] -= 1
    return (error**2).sum(axis=1)  # |S w - w|^2, the squared error averaged over the query


claim(
    "@NAME@",
    title="The risk of averaging",
    statement="For |w| = 1 the predictor (1/N) sum_i y_i x_i.x_q of w.x_q has the risk (d + 1)/N.",
    assumptions=["x_i, x_q ~ N(0, I_d), independent", "labels y_i = w.x_i without noise"],
    # Where it is claimed, and where it is tested: at 6 random points (settings=6).
    domain={"N": whole(1, 10), "d": whole(1, 4)},
    # Optional: equalities that end in the prediction. Each is checked exactly; iclcheck certify asks another engine.
    steps=[
        step("square", "(1/N)*(d + 2) + (1 - 1/N)", "(N + d + 1)/N", "E |S w|^2 for S = (1/N) sum_i x_i x_i^T"),
        step("risk", "(N + d + 1)/N - 2 + 1", "(d + 1)/N", "E |S w - w|^2 = E |S w|^2 - 2 E w.S w + 1, and E S = I"),
    ],
    # Text or SymPy in the parameters, or a function of them; several quantities as {"name": formula, ...}.
    prediction={"risk": "(d + 1)/N"},
    checks=[
        mean(
            squared_error,
            # A bound on the variance of one draw, whatever its tails: the error rates rest on it. Here E of the square.
            # For draws between known bounds: bounds=(0, 1) in its place.
            variance="(3*(d-1)**2 + 26*(d-1) + 60 + (N-1)*((d+1)**2 + 2*(d+3)))/N**3",
            detect=0.02,  # the relative gap that has to be caught; a tenth of it in the full profile
        ),
    ],
)
'''


def template(name: str, path: Path) -> str:
    """The text of the file."""
    return TEXT.replace("@NAME@", name).replace("@FILE@", path.name)
