"""One mesa layer against deep linear and softmax attention with as many parameters, on sequences s_{t+1} = W s_t.

    python benchmarks/mesa_against_depth.py

n = 4, T = 20, W Haar and fresh for each sequence, |s_1|^2 = n, no noise. All models have one head, constructed tokens
(D = 12) and 576 parameters, the mesa layer one more: key and value size 12 in 1 layer, 6 in 2, 4 in 3. Each trains from
three starts on 1,500 batches of 128 fresh sequences, with Adam at one learning rate for all (0.005; at 0.01 one of the
deep softmax models diverged). Softmax scores start larger (scale 0.5 in place of 0.2), which helps them. Losses are
1/2 |s_{t+1} - prediction|^2 on 20,000 fresh sequences, with standard errors below 0.003. Least squares of least norm on
the pairs seen so far stands beside them; it is no bound. Writes evidence/mesa_against_depth.json and
docs/pictures/mesa_against_depth.png, which needs matplotlib.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclcheck.numerics.mesa.attention import ModelShape
from iclcheck.numerics.mesa.autoregressive_training import AutoregressiveTraining, trained_models
from iclcheck.numerics.mesa.sequences import SequenceTask, sample_sequences
from iclcheck.numerics.training.random_streams import stream

ROOT = Path(__file__).parent.parent
EVIDENCE, PICTURE = ROOT / "evidence/mesa_against_depth.json", ROOT / "docs/pictures/mesa_against_depth.png"
TASK = SequenceTask(size=4, length=20, initial="sphere")
STARTS, STEPS, BATCH, RATE, TEST = 3, 1500, 128, 0.005, 20_000
WIDTH = 12
MODELS = [("mesa", 1), ("linear", 1), ("linear", 2), ("linear", 3), ("softmax", 1), ("softmax", 2), ("softmax", 3)]
COLOURS = {"mesa": "#009e73", "linear": "#0072b2", "softmax": "#d55e00"}
STYLES = {1: "-", 2: "--", 3: ":"}


def training(kind: str, layers: int, replica: int) -> AutoregressiveTraining:
    """The run of one model from one start."""
    size = WIDTH // layers
    scale = 0.5 if kind == "softmax" else 0.2
    shape = ModelShape(size=TASK.size, layers=layers, kind=kind, key_size=size, value_size=size, scale=scale)
    return AutoregressiveTraining(TASK, shape, steps=STEPS, batch_size=BATCH, learning_rate=RATE, replica=replica)


def measured(kind: str, layers: int) -> dict[str, Any]:
    """Losses of the three starts, per position and as a mean, and what the training took."""
    started = time.process_time()
    runs = [training(kind, layers, replica).to_plain() for replica in range(STARTS)]
    found = trained_models(runs, TEST, "cpu", keep_weights=False)
    losses = [one["sum"] / one["count"] for one in found["losses"]]
    errors = [((one["sum_of_squares"] / TEST - loss**2) / TEST) ** 0.5
              for one, loss in zip(found["losses"], losses, strict=True)]  # fmt: skip
    return {
        "kind": kind,
        "layers": layers,
        "parameters": found["parameters"][0],
        "losses": losses,
        "standard_errors": errors,
        "position_losses": [(np.array(one["position_sums"]) / TEST).tolist() for one in found["losses"]],
        "cpu_seconds": time.process_time() - started,
    }


def least_squares() -> list[float]:
    """The loss of the least-norm solution of all pairs seen so far, at t = 1 .. T - 1."""
    s = sample_sequences(TASK, 2000, stream("least squares")).observed.numpy()
    found = []
    for t in range(TASK.length - 1):
        past, following = s[:, :t].swapaxes(1, 2), s[:, 1 : t + 1].swapaxes(1, 2)
        Phi = following @ np.linalg.pinv(past, rcond=1e-9) if t else np.zeros((len(s), TASK.size, TASK.size))
        found.append(float(np.square(np.einsum("bij,bj->bi", Phi, s[:, t]) - s[:, t + 1]).sum(-1).mean() / 2))
    return found


def draw(rows: list[dict[str, Any]], bound: list[float]) -> None:
    """The loss at each position, of the best start of each model."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    places = range(1, TASK.length)
    for row in rows:
        best = row["position_losses"][int(np.argmin(row["losses"]))]
        name = f"{row['kind']}, {row['layers']} layer{'s' if row['layers'] > 1 else ''}: {min(row['losses']):.3f}"
        axes.plot(places, best, STYLES[row["layers"]], color=COLOURS[row["kind"]], label=name)
    axes.plot(places, np.maximum(bound, 1e-4), "k.", ms=4, label="least squares of least norm")
    axes.set(yscale="log", ylim=(5e-4, 4), xlabel="t, the number of states seen", ylabel="1/2 |s_{t+1} - prediction|^2")
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize=8, title="mean over t, best of 3 starts", title_fontsize=8)
    axes.set_title("s_{t+1} = W s_t, n = 4: 576 parameters each (mesa 577)", fontsize=10)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def main() -> None:
    rows = []
    for kind, layers in MODELS:
        rows.append(measured(kind, layers))
        row = rows[-1]
        shown = ", ".join(f"{loss:.4f}" for loss in sorted(row["losses"]))
        print(f"{kind:8} {layers} layers, {row['parameters']} parameters: {shown}   {row['cpu_seconds']:.0f} s of CPU")
    bound = least_squares()
    print(f"least squares of least norm: {np.mean(bound):.4f}")
    EVIDENCE.write_text(
        json.dumps(
            {
                "command": "python benchmarks/mesa_against_depth.py",
                "machine": f"shared 2-core {platform.machine()} machine, one thread, torch {torch.__version__}",
                "task": TASK.to_plain(),
                "steps": STEPS,
                "batch_size": BATCH,
                "learning_rate": RATE,
                "test_sequences": TEST,
                "models": rows,
                "least_squares_position_losses": bound,
            },
            indent=1,
        )
        + "\n"
    )
    draw(rows, bound)


if __name__ == "__main__":
    sys.exit(main())
