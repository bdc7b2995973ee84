"""The layer beside least squares, ridge and Bayes, against the length of the prompt and that of training.

    python benchmarks/risk_against_length.py

d = 10, noise variance 0.25. Curves: the derived risks (`theory/one_layer/baselines.py`). Crosses: the real layer, and
least squares, ridge and Bayes in NumPy, on fresh prompts, with standard errors of at most a few per cent. Where least
squares has an infinite risk (n = 9, 10, 11) there is no curve and no cross. Prints how far the crosses are from the
curves in units of their standard errors. Writes docs/pictures/risk_against_length.png, which needs matplotlib.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.one_layer.layer import fast_prediction
from iclcheck.numerics.one_layer.prompts import PromptDistribution, Prompts, sample_prompts
from iclcheck.numerics.training.random_streams import stream
from iclcheck.theory.one_layer import baselines
from iclcheck.theory.one_layer.fixed_point import balanced_weights, fixed_point

PICTURE = Path(__file__).parent.parent / "docs/pictures/risk_against_length.png"
D, NOISE, STRONG_RIDGE, PROMPTS = 10, 0.25, 10.0, 20_000
LENGTHS = (*range(1, 31), 35, 40, 50, 60, 80)
MEASURED = (2, 5, 8, 14, 20, 40, 80)
TRAINED = (5, 20, 80)
ORANGE, BLUE, GREEN, GREY = "#d55e00", "#0072b2", "#009e73", "#666666"


def finite(values: list[float]) -> list[float]:
    """With gaps where a risk is infinite."""
    return [value if math.isfinite(value) else math.nan for value in values]


def layer_errors(trained: int, prompts: Prompts) -> Any:
    """yhat - w.x_q of the real layer with the weights of fixed-point at that length."""
    weights = balanced_weights(fixed_point(np.eye(D), trained, None, NOISE).preconditioner)
    W_PV, W_KQ = (torch.from_numpy(part) for part in weights)
    return (fast_prediction(prompts, W_PV, W_KQ) - prompts.target).numpy()


def ridge_errors(ridge: float, prompts: Prompts) -> Any:
    """x_q.w_hat - w.x_q for ridge regression, least squares of least norm at 0."""
    E = prompts.embedding.numpy()
    X, y, query = np.swapaxes(E[:, :D, :-1], 1, 2), E[:, D, :-1], E[:, :D, -1]
    if ridge:
        w = np.linalg.solve(np.swapaxes(X, 1, 2) @ X + ridge * np.eye(D), np.einsum("bnd,bn->bd", X, y)[..., None])
    else:
        w = np.linalg.pinv(X) @ y[..., None]
    return np.einsum("bd,bd->b", w[..., 0], query) - prompts.target.numpy()


def measured(length: int, errors: Callable[[Prompts], Any]) -> tuple[float, float]:
    """Mean squared error over fresh prompts, and its standard error."""
    law = PromptDistribution(np.eye(D), (length,), np.eye(D), NOISE)
    squares = errors(sample_prompts(law, PROMPTS, stream(f"risk against length/{length}"))) ** 2
    return float(squares.mean()), float(squares.std() / math.sqrt(len(squares)))


def crosses(
    axes: Any, lengths: tuple[int, ...], errors: Callable[[int, Prompts], Any], derived: list[float], colour: str
) -> float:
    """Draw the measured risks; the largest distance from the derived ones in standard errors."""
    found = [measured(n, lambda prompts, n=n: errors(n, prompts)) for n in lengths]  # type: ignore[misc]
    shown = [(n, one, risk) for n, one, risk in zip(lengths, found, derived, strict=True) if math.isfinite(risk)]
    axes.errorbar(
        [n for n, _, _ in shown], [one[0] for _, one, _ in shown], [one[1] for _, one, _ in shown],
        fmt="x", ms=4, lw=0.8, color=colour,
    )  # fmt: skip
    return max(abs(one[0] - risk) / one[1] for _, one, risk in shown)


def against_test_length(axes: Any) -> float:
    """Risk against the length of the prompt."""
    others: list[tuple[str, str, str, Callable[[int], float], Callable[[int, Prompts], Any]]] = [
        ("least squares (infinite at M = 9, 10, 11)", GREY, "-", lambda n: baselines.least_squares_risk(D, n, NOISE),
         lambda n, p: ridge_errors(0, p)),
        (f"ridge, penalty {STRONG_RIDGE:g}", GREEN, "--", lambda n: baselines.ridge_risk(D, n, NOISE, STRONG_RIDGE),
         lambda n, p: ridge_errors(STRONG_RIDGE, p)),
        ("Bayes", GREEN, "-", lambda n: baselines.bayes_risk(D, n, NOISE), lambda n, p: ridge_errors(NOISE, p)),
    ]  # fmt: skip
    worst = 0.0
    for name, colour, style, risk, errors in others:
        axes.plot(LENGTHS, finite([risk(n) for n in LENGTHS]), style, color=colour, label=name)
        worst = max(worst, crosses(axes, MEASURED, errors, [risk(n) for n in MEASURED], colour))
    for trained, colour, style in zip(TRAINED, (ORANGE, ORANGE, BLUE), (":", "-", "-"), strict=True):
        risks = [baselines.layer_risk(D, n, NOISE, trained) for n in LENGTHS]
        axes.plot(LENGTHS, risks, style, color=colour, label=f"layer trained at N = {trained}")
        derived = [baselines.layer_risk(D, n, NOISE, trained) for n in MEASURED]
        worst = max(worst, crosses(axes, MEASURED, lambda n, p, t=trained: layer_errors(t, p), derived, colour))
    axes.set_xlabel("length M of the prompt")
    return worst


def against_training_length(axes: Any) -> float:
    """Risk of the layer against the length of training, at three lengths of the prompt and at its own."""
    worst = 0.0
    for tested, colour in ((5, GREY), (20, ORANGE), (80, BLUE)):
        risks = [baselines.layer_risk(D, tested, NOISE, trained) for trained in LENGTHS]
        axes.plot(LENGTHS, risks, color=colour, label=f"tested at M = {tested}")
        derived = [baselines.layer_risk(D, tested, NOISE, trained) for trained in MEASURED]
        found = [measured(tested, lambda prompts, t=t: layer_errors(t, prompts)) for t in MEASURED]  # type: ignore[misc]
        axes.errorbar(MEASURED, [m for m, _ in found], [e for _, e in found], fmt="x", ms=4, lw=0.8, color=colour)
        worst = max(worst, *(abs(m - risk) / e for (m, e), risk in zip(found, derived, strict=True)))
    axes.plot(LENGTHS, [baselines.layer_risk(D, n, NOISE) for n in LENGTHS], "k--", label="tested at M = N")
    axes.set_xlabel("length N of training")
    return worst


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    started = time.process_time()
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    worst = [against_test_length(panels[0]), against_training_length(panels[1])]
    for axes in panels:
        axes.set(xscale="log", yscale="log", ylim=(0.02, 40))
        axes.axhline(D, lw=0.6, color="k")
        axes.grid(alpha=0.25, which="both")
        axes.legend(fontsize=8)
    panels[0].set_ylabel("E (prediction - w.x_q)^2;   line: E (w.x_q)^2 = 10")
    figure.suptitle("d = 10, noise variance 0.25: curves derived, crosses measured on 20 000 prompts", fontsize=10)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    print(f"largest distance from the curves: {worst[0]:.1f} and {worst[1]:.1f} standard errors")
    print(f"{time.process_time() - started:.0f} s of CPU time; wrote {PICTURE.name}")


if __name__ == "__main__":
    sys.exit(main())
