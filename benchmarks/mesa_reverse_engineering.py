"""Trained autoregressive attention taken apart: the pictures of docs/mesa_reverse_engineering.md, and their numbers.

    python benchmarks/mesa_reverse_engineering.py                                # n = 5, T = 20, some minutes
    python benchmarks/mesa_reverse_engineering.py --profile full --device cuda   # n = 10, T = 50, 1 to 6 layers
    python benchmarks/mesa_reverse_engineering.py draw                           # the pictures from the numbers

Every training keeps its checkpoints, and every run its numbers, in .iclcheck/mesa_reverse_engineering/: the same
command goes on from there after a stop. Writes evidence/mesa_reverse_engineering.json and docs/pictures/mesa_*.png;
the pictures need matplotlib.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.mesa.attention import AutoregressiveModel
from iclcheck.numerics.mesa.autoregressive_training import (
    AutoregressiveTraining,
    Checkpoint,
    load,
    loss_sums,
    new_model,
    save,
    train,
)
from iclcheck.numerics.reverse_engineering.compressed_algorithm import products
from iclcheck.numerics.reverse_engineering.copying import copying_mass, sensitivities
from iclcheck.numerics.reverse_engineering.interpolation import barrier
from iclcheck.numerics.reverse_engineering.polynomial_steps import (
    chebyshev,
    fitted_coefficients,
    krylov_vectors,
    left_on,
    optimal_coefficients,
    predicted_vectors,
    richardson,
    spectrum,
)
from iclcheck.numerics.reverse_engineering.reverse_engineering import fresh, taken_apart
from iclcheck.proofs_check.verdicts.bounded_means import compare_bounded_mean

ROOT = Path(__file__).parent.parent
CACHE = Path(".iclcheck/mesa_reverse_engineering")
NUMBERS, PICTURES = ROOT / "evidence/mesa_reverse_engineering.json", ROOT / "docs/pictures"
RATE = 1e-6  # of every interval
Plain = dict[str, Any]

PROFILES: dict[str, Plain] = {
    "quick": {
        "size": 5, "length": 20, "layers": [1, 2, 3], "seeds": 2, "positions": [3, 5, 8, 12, 19],
        "test": 4096, "fit": 512, "fit_steps": 80, "piece": 5000, "degrees": 6,
        "shape": {"heads": 2}, "steps": {1: 1000, 2: 1500, 3: 2000},
        "training": {"batch_size": 64, "learning_rate": 0.005},
        "learned": {"size": 3, "length": 12, "layers": [1, 2], "channels": 10, "positions": 12, "steps": 1500},
    },
    "full": {
        "size": 10, "length": 50, "layers": [1, 2, 3, 4, 5, 6], "seeds": 5, "positions": [5, 10, 15, 25, 35, 49],
        "test": 4096, "fit": 1024, "fit_steps": 300, "piece": 2000, "degrees": 8,
        "shape": {"heads": 4, "key_size": 20, "value_size": 20, "scale": 0.1},
        "steps": dict.fromkeys(range(1, 7), 20_000),
        "training": {"batch_size": 512, "learning_rate": 0.002},
        "learned": {"size": 10, "length": 50, "layers": [1, 2], "channels": 40, "positions": 40, "steps": 20_000},
    },
}  # fmt: skip
SHARES = [k / 8 for k in range(9)]
PICTURED_LAYERS = 2  # of the model whose weights are drawn
COPY_STEPS = 12  # places along the training where the copying layer is looked at


# Trainings


def constructed_runs(sizes: Plain) -> list[AutoregressiveTraining]:
    task = {"size": sizes["size"], "length": sizes["length"], "initial": "sphere"}
    return [
        AutoregressiveTraining.from_plain(
            {
                "task": task, "shape": {"size": sizes["size"], "layers": layers, **sizes["shape"]},
                "steps": sizes["steps"][layers], **sizes["training"], "replica": seed,
            }
        )
        for layers in sizes["layers"] for seed in range(sizes["seeds"])
    ]  # fmt: skip


def learned_runs(sizes: Plain) -> list[AutoregressiveTraining]:
    given = sizes["learned"]
    task = {"size": given["size"], "length": given["length"], "initial": "sphere"}
    shape = {
        "size": given["size"], "heads": sizes["shape"]["heads"], "tokens": "learned", "readout": "learned",
        "channels": given["channels"], "positions": given["positions"], "copy_heads": 2,
    }  # fmt: skip
    return [
        AutoregressiveTraining.from_plain(
            {"task": task, "shape": {**shape, "layers": layers}, "steps": given["steps"], **sizes["training"]}
        )
        for layers in given["layers"]
    ]


def trained(run: AutoregressiveTraining, piece: int, device: str) -> AutoregressiveModel:
    """Trained in pieces, each kept as a file, from the last one that is there."""
    path = CACHE / f"{run.key}.safetensors"
    start: Checkpoint | None = load(path, run, device) if path.exists() else None
    while start is None or start.step < run.steps:
        _, start = train(run, device, start, (start.step if start else 0) + piece)
        save(start, path, run)
    model = new_model(run)
    model.load_state_dict({name: value.cpu() for name, value in start.weights.items()})
    return model


def kept(name: str, make: Any) -> Plain:
    """What `make` gives, from the cache where it is there."""
    path = CACHE / f"{name}.json"
    if not path.exists():
        started = time.process_time()
        found = make()
        found["cpu_seconds"] = time.process_time() - started
        path.write_text(json.dumps(found))
        print(f"{name[:24]}: {found['cpu_seconds']:.0f} s of CPU time", file=sys.stderr)
    loaded: Plain = json.loads(path.read_text())
    return loaded


# Measurements


def taken(run: AutoregressiveTraining, sizes: Plain, device: str) -> Plain:
    """Everything about one model on constructed tokens."""
    model = trained(run, sizes["piece"], device).double()
    test, other = fresh(run, "test", sizes["test"]), fresh(run, "fit", sizes["fit"])
    found = taken_apart(model, test, other, sizes["fit_steps"], sizes["positions"], 1.0, SHARES)
    shown = run.shape.layers == PICTURED_LAYERS and run.replica == 0
    return {
        "layers": run.shape.layers, "seed": run.replica, **found, **(weights(model) if shown else {}),
        "polynomials": polynomials(model, test, other, sizes["degrees"]),
    }  # fmt: skip


def weights(model: AutoregressiveModel) -> Plain:
    """The balanced products, to four decimals: for the picture."""
    whole = products(model)
    return {"W_KQ": np.round(whole.W_KQ.numpy(), 4).tolist(), "W_PV": np.round(whole.W_PV.numpy(), 4).tolist()}


def polynomials(model: AutoregressiveModel, test: torch.Tensor, other: torch.Tensor, degrees: int) -> Plain:
    """Shares of predictions and of second blocks that polynomials of G explain, and residuals of named ones."""
    layers = model.shape.layers
    with torch.no_grad():
        predictions, streams = model(test), model.streams(test)
    n = model.shape.size
    shares, best = [], []
    for degree in range(degrees + 1):
        features = predicted_vectors(test, degree)
        shares.append(fitted_coefficients(predictions[:, :-1], features[:, :, :-1])[1])
        best.append(optimal_coefficients(other, degree)[1])
    inputs = [
        [fitted_coefficients(one[..., n : 2 * n], krylov_vectors(test, degree))[1] for degree in range(3)]
        for one in streams
    ]
    fitted, _ = fitted_coefficients(predictions[:, :-1], predicted_vectors(test, layers - 1)[:, :, :-1])
    optimal, _ = optimal_coefficients(other, layers - 1)
    return {
        "prediction_explained": shares, "target_explained": best, "input_explained": inputs,
        **residuals(test, layers, fitted.tolist(), optimal.tolist()),
    }  # fmt: skip


def residuals(states: torch.Tensor, layers: int, fitted: list[float], optimal: list[float]) -> Plain:
    """1 - x q(x) on the spectrum of the last G_t, for the fitted and the best polynomial, Richardson and Chebyshev."""
    eigenvalues = spectrum(states, states.shape[1]).reshape(-1).numpy()
    low, high = (float(one) for one in np.quantile(eigenvalues, [0.01, 0.99]))
    grid = np.linspace(low, high, 60)
    named = {
        "fitted": fitted, "best": optimal,
        "richardson": richardson(low, high, layers).tolist(), "chebyshev": chebyshev(low, high, layers).tolist(),
    }  # fmt: skip
    return {
        "interval": [low, high], "grid": grid.tolist(), "coefficients": named,
        "residuals": {name: left_on(one, grid).tolist() for name, one in named.items()},
    }  # fmt: skip


def copied(run: AutoregressiveTraining, device: str) -> Plain:
    """The copying layer along training, and what the prediction listens to at its end."""
    states = fresh(run, "test", 1024).to(next(new_model(run).parameters()).dtype)
    steps = sorted({round(run.steps * k / COPY_STEPS) for k in range(COPY_STEPS + 1)})
    start: Checkpoint | None = None
    masses, model = [], new_model(run)
    for step in steps:
        if step:
            _, start = train(run, device, start, step)
            model.load_state_dict({name: value.cpu() for name, value in start.weights.items()})
        masses.append(copying_mass(model, states).tolist())
    at = states.shape[1] - 2
    return {
        "layers": run.shape.layers, "steps": steps, "mass": masses, "position": at,
        "sensitivity": sensitivities(model, model.tokens(states), at).tolist(),
        "loss": loss_sums(model, run.task, 2048, run.key + "/copy test"),
    }  # fmt: skip


def measure(profile: str, device: str) -> Plain:
    sizes = PROFILES[profile]
    CACHE.mkdir(parents=True, exist_ok=True)
    runs = [kept(f"taken-{run.key}", lambda run=run: taken(run, sizes, device)) for run in constructed_runs(sizes)]
    copies = [kept(f"copied-{run.key}", lambda run=run: copied(run, device)) for run in learned_runs(sizes)]
    keys = ("size", "length", "layers", "seeds", "positions", "test", "fit", "fit_steps", "steps", "shape", "training")
    return {
        "profile": profile, "device": device, "sizes": {key: sizes[key] for key in keys}, "learned": sizes["learned"],
        "shares": SHARES, "runs": runs, "copying": copies, "rate": RATE,
        "python": platform.python_version(), "torch": torch.__version__,
    }  # fmt: skip


# Text


def mean(one: Plain, name: str) -> float:
    return float(one["losses"][name]["sum"] / one["losses"][name]["count"])


def interval(moments: Plain, *place: int) -> tuple[float, float]:
    """Mean of a bounded contrast and the half width of its interval at RATE."""
    parts = []
    for name in ("pilot", "main"):
        sums = [moments[name][key] for key in ("sum", "sum_of_squares")]
        for k in place:
            sums = [one[k] for one in sums]
        parts.append((moments[name]["count"], *sums))
    found = compare_bounded_mean(*parts, 1.0, false_alarm=RATE)
    return found.measured, found.allowed


def outside(one: Plain, name: str) -> Any:
    """(layers, heads): the share of the weight outside the multiples of I."""
    return np.sum(one["outside"][name], axis=(-2, -1))


def print_runs(found: Plain) -> None:
    names = ("trained", "projected", "fitted", "shallower", "polynomial")
    heads = "by head: outside KQ; PV; antisymmetric KQ; PV"
    print(f"{'layers':>6} {'seed':>4} " + " ".join(f"{name:>10}" for name in names) + f"  distance  line  {heads}")
    for one in found["runs"]:
        trained_loss = mean(one, "trained")
        line = max(one["line"]["losses"]) / trained_loss - 1
        shares = "; ".join(
            " ".join(f"{value:.3f}" for value in np.ravel(row))
            for row in (*(outside(one, name) for name in ("KQ", "PV")), *one["antisymmetric"].values())
        )
        print(
            f"{one['layers']:6d} {one['seed']:4d} " + " ".join(f"{mean(one, name):10.4f}" for name in names)
            + f"  {one['distance'] / trained_loss:8.4f} {line:5.3f}  {shares}"
        )  # fmt: skip


def print_lines(found: Plain) -> None:
    """The share with the largest loss on each line, and the contrast with the trained model there."""
    for name, title in (("line", "fitted"), ("line_to_projection", "projected")):
        print(f"\nline to the {title} algorithm: largest loss above the trained model, where, and its contrast")
        for one in found["runs"]:
            losses = one[name]["losses"]
            k = int(np.argmax(losses))
            middle, half = interval(one[name]["contrasts"], k)
            print(
                f"  {one['layers']} layers, seed {one['seed']}: {100 * (losses[k] / losses[0] - 1):.2f} % at "
                f"{found['shares'][k]:g}, contrast {middle:+.4f} ({half:.4f}); barrier above the chord "
                f"{100 * barrier(losses, found['shares']):.2f} %"
            )  # fmt: skip


def print_probes(found: Plain) -> None:
    for target in ("next", "preconditioned"):
        print(
            f"\n{target}: relative errors by layer, at t = {found['sizes']['positions']}; contrasts of the last layer"
        )
        for one in found["runs"]:
            probes = one["probes"][target]
            for layer, row in enumerate(probes["relative"]):
                print(
                    f"  {one['layers']} layers, seed {one['seed']}, after {layer}: " + " ".join(f"{e:.3f}" for e in row)
                )
            for k in range(len(probes["relative"]) - 1):
                intervals = [interval(probes["depth"], k, p) for p in range(len(probes["relative"][0]))]
                print(f"    contrast of layer {k + 1}: " + " ".join(f"{m:+.3f}({h:.3f})" for m, h in intervals))


def print_polynomials(found: Plain) -> None:
    print("\nshare of the mean square explained by M_t q(G_t) s_t, degree of q from 0")
    for one in found["runs"]:
        rows = one["polynomials"]
        print(f"  {one['layers']} layers, seed {one['seed']}: predictions " + words(rows["prediction_explained"]))
        print(f"    targets {words(rows['target_explained'])}; of the second block after each layer: "
              + "; ".join(words(row) for row in rows["input_explained"]))  # fmt: skip
    for one in found["copying"]:
        mass = np.mean(one["mass"], axis=-1)
        print(f"learned tokens, {one['layers']} layers: mean attention on t - 1 {words(mass[0])} -> {words(mass[-1])}")


def words(row: Any) -> str:
    return " ".join(f"{value:.3f}" for value in row)


# Pictures

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def by_depth(found: Plain) -> dict[int, list[Plain]]:
    return {k: [one for one in found["runs"] if one["layers"] == k] for k in found["sizes"]["layers"]}


def draw_positions(plt: Any, found: Plain) -> None:
    """The loss at each position, one panel for each depth."""
    depths = by_depth(found)
    figure, panels = plt.subplots(1, len(depths), figsize=(4.2 * len(depths), 4), sharey=True, layout="constrained")
    styles = {
        "trained": ("trained model", COLOURS[0], "-", 2.4), "fitted": ("compressed, fitted", COLOURS[1], "--", 1.8),
        "projected": ("compressed, projected", COLOURS[2], ":", 1.8),
        "shallower": ("compressed, one layer less", COLOURS[4], "-.", 1.2),
        "polynomial": ("tuned gradient descent, as many steps", COLOURS[3], "-", 1.2),
    }  # fmt: skip
    for axes, (layers, runs) in zip(panels, depths.items(), strict=True):
        for name, (label, colour, style, width) in styles.items():
            rows = [np.array(one["losses"][name]["position_sums"]) / one["losses"][name]["count"] for one in runs]
            t = np.arange(1, len(rows[0]) + 1)
            axes.plot(t, np.mean(rows, 0), style, color=colour, lw=width, label=label)
            axes.fill_between(t, np.min(rows, 0), np.max(rows, 0), color=colour, alpha=0.15, lw=0)
        axes.set(title=f"{layers} layer{'s' * (layers > 1)}", xlabel="position t", yscale="log")
        axes.set_xticks(range(0, len(t) + 2, max(1, len(t) // 4)))
    panels[0].set_ylabel("loss at t: 1/2 |error|²")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
    figure.savefig(PICTURES / "mesa_loss_by_position.png", dpi=110)


def draw_probes(plt: Any, found: Plain) -> None:
    """Relative held-out errors, against depth (top) and against t (bottom), of the deepest models."""
    runs = by_depth(found)[max(found["sizes"]["layers"])]
    positions = found["sizes"]["positions"]
    figure, panels = plt.subplots(2, 2, figsize=(9.5, 7), layout="constrained")
    titles = {"next": "next state s$_{t+1}$", "preconditioned": "preconditioned input (SSᵀ + I)⁻¹s$_t$"}
    for column, (target, title) in enumerate(titles.items()):
        errors = np.array([one["probes"][target]["relative"] for one in runs])  # (seeds, layers + 1, positions)
        for k, t in enumerate(positions):
            spread(panels[0, column], np.arange(errors.shape[1]), errors[:, :, k], COLOURS[k], f"t = {t}")
        for layer in range(errors.shape[1]):
            label = "tokens" if layer == 0 else f"after layer {layer}"
            spread(panels[1, column], positions, errors[:, layer], COLOURS[layer], label)
        panels[0, column].set(title=f"probe for the {title}", xlabel="layers behind", yscale="log")
        panels[0, column].set_xticks(range(errors.shape[1]))
        panels[1, column].set(xlabel="position t", yscale="log")
    for row in panels:
        row[0].set_ylabel("held-out error / mean square")
        row[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(PICTURES / "mesa_probes.png", dpi=110)


def spread(axes: Any, x: Any, rows: Any, colour: str, label: str) -> None:
    """The mean over seeds, and their range."""
    axes.plot(x, rows.mean(0), "o-", ms=4, color=colour, label=label)
    axes.fill_between(x, rows.min(0), rows.max(0), color=colour, alpha=0.2, lw=0)


def draw_weights(plt: Any, found: Plain) -> None:
    """All blocks of both products of every head of one model."""
    one = next(one for one in found["runs"] if "W_KQ" in one)
    layers, heads = np.shape(one["W_KQ"])[:2]
    columns = [(layer, head) for layer in range(layers) for head in range(heads)]
    figure, panels = plt.subplots(2, len(columns), figsize=(3.1 * len(columns) + 0.6, 6.6), layout="constrained")
    n = found["sizes"]["size"]
    for row, (name, title) in enumerate((("W_KQ", "key-query"), ("W_PV", "value-projection"))):
        top = float(np.abs(one[name]).max())
        for axes, (layer, head) in zip(panels[row], columns, strict=True):
            image = axes.imshow(one[name][layer][head], cmap="RdBu_r", vmin=-top, vmax=top)
            grid(axes, n, len(one[name][layer][head]))
            share = outside(one, name[2:])[layer][head]
            axes.set_title(f"{title}, layer {layer + 1}, head {head + 1}\n{100 * share:.1f} % outside", fontsize=9)
        figure.colorbar(image, ax=panels[row], shrink=0.75)
    figure.savefig(PICTURES / "mesa_weight_products.png", dpi=110)


def grid(axes: Any, n: int, width: int) -> None:
    """Lines between the blocks, and their names."""
    for edge in range(n, width, n):
        axes.axhline(edge - 0.5, color="black", lw=0.7)
        axes.axvline(edge - 0.5, color="black", lw=0.7)
    names = ["prediction", "s$_t$", "s$_{t-1}$"]
    middles = [n * k + (n - 1) / 2 for k in range(width // n)]
    axes.set_xticks(middles, names, fontsize=7)
    axes.set_yticks(middles, names, fontsize=7, rotation=90, va="center")


def draw_interpolation(plt: Any, found: Plain) -> None:
    """Losses along the lines to the fitted and to the projected algorithm, relative to the trained model."""
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True, layout="constrained")
    lines = {"line": "to the fitted algorithm", "line_to_projection": "to the projection alone"}
    for axes, (name, title) in zip(panels, lines.items(), strict=True):
        for one in found["runs"]:
            losses = np.array(one[name]["losses"]) / mean(one, "trained") - 1
            first = one["seed"] == 0
            axes.plot(
                found["shares"], 100 * losses, "o-" if first else "s--", ms=3.5, color=COLOURS[one["layers"]],
                label=f"{one['layers']} layer{'s' * (one['layers'] > 1)}, {'first seed' if first else 'others'}",
            )  # fmt: skip
        axes.axhline(0, color="grey", lw=0.8)
        axes.set(title=title, xlabel="share of the way from the trained model")
    panels[0].set_ylabel("change of the loss, %")
    handles, labels = panels[0].get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))  # one entry for all further seeds
    panels[1].legend(shown.values(), shown.keys())
    figure.savefig(PICTURES / "mesa_interpolation.png", dpi=110)


def draw_steps(plt: Any, found: Plain) -> None:
    """What polynomials explain; what they leave on the spectrum; the copying layer; what predictions listen to."""
    figure, ((left, right), (lower, last)) = plt.subplots(2, 2, figsize=(10.5, 7.6), layout="constrained")
    for layers, runs in by_depth(found).items():
        rows = np.array([one["polynomials"]["prediction_explained"] for one in runs])
        spread(left, np.arange(rows.shape[1]), 1 - rows, COLOURS[layers], f"{layers} layer{'s' * (layers > 1)}")
    left.set(xlabel="degree of q in M q(G) s", ylabel="share of the predictions left", yscale="log")
    left.set_title("trained predictions as polynomials")
    left.legend()
    one = by_depth(found)[2][0]["polynomials"]
    names = {
        "fitted": "fitted to the model",
        "best": "best for the loss",
        "richardson": "Richardson",
        "chebyshev": "Chebyshev",
    }
    for k, (name, label) in enumerate(names.items()):
        right.plot(one["grid"], one["residuals"][name], ("-", "--", ":", "-.")[k], color=COLOURS[k], label=label)
    right.axhline(0, color="grey", lw=0.8)
    right.set(xlabel="eigenvalue x of G at t = T", ylabel="1 - x q(x)", title="2 layers: what degree 1 leaves")
    right.legend()
    for copied_run in found["copying"]:
        mass = np.mean(copied_run["mass"], axis=-1)
        style = "-" if copied_run["layers"] == 1 else "--"
        for head in range(mass.shape[1]):
            label = f"{copied_run['layers']} linear layer{'s' * (copied_run['layers'] > 1)}, head {head + 1}"
            lower.plot(copied_run["steps"], mass[:, head], style, color=COLOURS[1 + head], label=label)
        values = np.array(copied_run["sensitivity"])[: copied_run["position"]]
        last.plot(range(1, len(values) + 1), values, "o" + style, ms=4, color=COLOURS[copied_run["layers"]],
                  label=f"{copied_run['layers']} linear layer{'s' * (copied_run['layers'] > 1)}")  # fmt: skip
    length = found["learned"]["length"]
    uniform = float(np.mean(1 / np.arange(2, length + 1)))
    lower.axhline(uniform, color="grey", lw=0.8, label="uniform attention")
    lower.set(
        xlabel="training step", ylabel="mean attention on t - 1", title="learned tokens: the copying layer", ylim=(0, 1)
    )
    lower.legend(fontsize=8)
    last.set(xlabel="token t'", ylabel="|d prediction / d token|²", yscale="log")
    last.set_title(f"what the prediction at t = {found['copying'][0]['position']} listens to")
    last.legend()
    figure.savefig(PICTURES / "mesa_steps.png", dpi=110)


def draw(found: Plain) -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("need matplotlib to draw the pictures; python -m pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for one in (draw_positions, draw_probes, draw_weights, draw_interpolation, draw_steps):
        one(pyplot, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("measure", "draw"), default="measure")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="quick")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.what == "measure":
        torch.set_num_threads(1)
        found = measure(options.profile, options.device)
        NUMBERS.write_text(json.dumps(found) + "\n")
    found = json.loads(NUMBERS.read_text())
    print_runs(found)
    print_lines(found)
    print_probes(found)
    print_polynomials(found)
    draw(found)


if __name__ == "__main__":
    main()
