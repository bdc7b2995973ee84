"""The flow beside training on the real layer, and what methods do to the conserved quantity: docs/training_dynamics.md.

    python benchmarks/training_dynamics.py            # the figures as text
    python benchmarks/training_dynamics.py picture    # and docs/pictures/training_dynamics.png, with matplotlib

One law (d = 2, N = 4, Lambda and Psi random with condition numbers up to 3, noise) and one unbalanced start. Upper
panel: the loss of the derived flow, and of weights trained by stochastic gradient descent on fresh prompts at three
rates. Lower panel: the conserved quantity along descent and along Adam.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from iclcheck.numerics.one_layer.observables import balance
from iclcheck.numerics.training.descent_paths import descent_path
from iclcheck.proofs_check.claims.settings import gaussian_setting
from iclcheck.theory.one_layer.decoupled_flow import FlowState, decoupled_flow
from iclcheck.theory.one_layer.population_loss import general_loss

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "training_dynamics.png"
LAW = gaussian_setting("training dynamics", 0, 2, [4], noise=True)
START = FlowState(0.3, np.array([[-0.1, 0.15], [0.05, 0.1]]))
TIME, BATCH, RATES = 8.0, 512, (0.02, 0.1, 0.3)


def weights_of(state: FlowState) -> tuple[Any, Any]:
    W_PV, W_KQ = np.zeros((3, 3)), np.zeros((3, 3))
    W_PV[2, 2], W_KQ[:2, :2] = state.u, state.U
    return W_PV, W_KQ


def trained(optimiser: str, rate: float) -> dict[str, Any]:
    """Every step of a run to the time TIME."""
    W_PV, W_KQ = weights_of(START)
    steps = round(TIME / rate)
    key = f"training dynamics/{optimiser}/{rate}"
    found = descent_path(LAW, W_PV.tolist(), W_KQ.tolist(), optimiser, rate, steps, BATCH, key, "cpu")
    return {"time": rate * np.arange(steps + 1), "W_PV": np.array(found["W_PV"]), "W_KQ": np.array(found["W_KQ"])}


def losses(run: dict[str, Any]) -> Any:
    """The population loss at every step."""
    loss = general_loss().for_task(np.array(LAW["task_covariance"]), LAW["noise_variance"])
    return loss.value(np.array(LAW["covariance"]), LAW["context_lengths"][0], (run["W_PV"], run["W_KQ"]))


def flow_losses(times: Any) -> tuple[Any, float]:
    """The loss of the derived flow at these times, and the least loss."""
    law = (LAW["covariance"], LAW["context_lengths"][0], LAW["task_covariance"], LAW["noise_variance"])
    flow = decoupled_flow(*law)
    found = [flow.minimum + flow.excess(flow.coordinates(flow.after(START, float(time)))) for time in times]
    return np.array(found), flow.minimum


def print_losses(runs: dict[float, dict[str, Any]]) -> None:
    print(f"{'time':>6} {'flow':>9} " + " ".join(f"{f'h = {rate:g}':>9}" for rate in runs))
    for time in (0.0, 1.0, 2.0, 4.0, TIME):
        at_steps = [losses(run)[int(np.argmin(np.abs(run["time"] - time)))] for run in runs.values()]
        print(f"{time:6.1f} {flow_losses([time])[0][0]:9.5f} " + " ".join(f"{one:9.5f}" for one in at_steps))


def print_balances(balances: dict[str, Any]) -> None:
    print(f"\n{'method':<22} {'Q at the start':>14} {'at the end':>11} {'moved by':>9}")
    for name, path in balances.items():
        print(f"{name:<22} {path[0]:14.5f} {path[-1]:11.5f} {path[-1] - path[0]:9.5f}")


def draw(runs: dict[float, dict[str, Any]], balances: dict[str, tuple[Any, Any]]) -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("need matplotlib to draw the picture; python -m pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(7, 7), sharex=True, layout="constrained")
    times = np.linspace(0, TIME, 200)
    derived, least = flow_losses(times)
    for rate, run in runs.items():
        upper.plot(run["time"], losses(run), lw=1, label=f"real layer, steps of {rate:g}")
    upper.plot(times, derived, "k--", lw=2, label="derived flow")
    upper.axhline(least, color="grey", lw=0.8, label="min L")
    upper.set_ylabel("population loss")
    upper.legend(loc="upper center")
    for name, (time, path) in balances.items():
        lower.plot(time, path, lw=1.2, label=name)
    lower.axhline(START.u**2 - float(np.sum(START.U**2)), color="k", ls="--", lw=1.5, label="flow: conserved")
    lower.set_xlabel("time (steps times rate)")
    lower.set_ylabel("|u12|² + u² - |U|² - |u21|²")
    lower.legend()
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    runs = {rate: trained("sgd", rate) for rate in RATES}
    methods = {f"descent, h = {rate:g}": run for rate, run in runs.items()}
    methods["Adam, h = 0.02"] = trained("adam", 0.02)
    balances = {name: (run["time"], balance(run["W_PV"], run["W_KQ"])) for name, run in methods.items()}
    print_losses(runs)
    print_balances({name: path for name, (_, path) in balances.items()})
    if sys.argv[1:] == ["picture"]:
        draw(runs, balances)


if __name__ == "__main__":
    main()
