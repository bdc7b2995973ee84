"""The mixture's Bayes predictor beside what one would write: speed and digits.

    python benchmarks/mixture_posterior.py                 # tables, and nothing is written
    python benchmarks/mixture_posterior.py --write         # and evidence/mixture_posterior.json

Speed: d = 20, sparsity 2 (190 supports and the dense model), 40 prefixes, in CPU seconds of one thread; the plain
form works on fewer prompts and is scaled. Digits: the largest errors of P(dense) and of the prediction against the
formula in rational numbers, at d = 6, sparsity 2, every prefix up to 8 examples, noise variances from 0.1 to 1e-12. The
plain form inverts s2 I + v X_S X_S^T of every support with NumPy, and takes slogdet.

Exits 1 if 1,000 prompts take 2 seconds or more, or if an error at noise 1e-8 reaches 1e-9.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream
from iclcheck.theory.mixtures.mixture_posterior import for_user

FloatArray = NDArray[np.float64]
EVIDENCE = Path(__file__).parent.parent / "evidence" / "mixture_posterior.json"
NOISES = (0.1, 1e-4, 1e-8, 1e-12)
PROMPTS, FEW, SECONDS, DIGITS = 1_000, 10, 2.0, 1e-9


def law(d: int, length: int, k: int, noise: float) -> PromptLaw:
    """Half dense, half sparse, unit variances."""
    kinds = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": k, "variance": 1.0})
    return PromptLaw(d, length, kinds, (0.5, 0.5), noise)


def plain(made: PromptLaw, xs: FloatArray, ys: FloatArray) -> tuple[FloatArray, FloatArray]:
    """P(dense) and the prediction at every prefix, (B, N) each, by inverses and determinants."""
    B, N, d = xs.shape
    shares, means = np.zeros((B, N)), np.zeros((B, N))
    for n in range(N):
        X, y, query = xs[:, :n], ys[:, :n, None], xs[:, n]
        logs, predictions = [], []
        for supports, prior in ([[range(d)], 0.5], [list(combinations(range(d), made.classes[1]["nonzeros"])), 0.5]):
            for support in supports:
                R, q = X[:, :, list(support)], query[:, None, list(support)]
                K = made.noise_variance * np.eye(n) + R @ R.transpose(0, 2, 1)
                solved = np.linalg.inv(K) @ y
                log = -(y.transpose(0, 2, 1) @ solved)[:, 0, 0] / 2 - np.linalg.slogdet(K)[1] / 2
                logs.append(log + math.log(prior / len(supports)))
                predictions.append((q @ R.transpose(0, 2, 1) @ solved)[:, 0, 0])
        weights = np.array(logs)
        weights = np.exp(weights - weights.max(0))
        weights /= weights.sum(0)
        shares[:, n], means[:, n] = weights[0], (weights * np.array(predictions)).sum(0)
    return shares, means


def seconds(run: Callable[[], Any], rounds: int) -> float:
    """CPU seconds, the least of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def speed() -> dict[str, float]:
    """CPU seconds for 1,000 prompts of 40 prefixes."""
    made = law(20, 40, 2, 0.1)
    drawn = made.sample(PROMPTS, stream("benchmark of the mixture's posterior"))
    xs, ys = drawn.xs[:FEW].numpy(), drawn.ys[:FEW].numpy()
    return {
        "rotations": round(seconds(lambda: posterior(made, drawn.xs, drawn.ys), 3), 3),
        "inverses, scaled": round(seconds(lambda: plain(made, xs, ys), 1) * PROMPTS / FEW, 1),
    }


def digits(noise: float) -> dict[str, Any]:
    """Largest errors of P(dense) and of the prediction, of both forms."""
    made = law(6, 9, 2, noise)
    drawn = made.sample(6, stream(f"digits of the mixture's posterior at {noise}"))
    exact = np.array(
        [[tuple(exact_at(made, xs, ys, n)) for n in range(9)] for xs, ys in zip(drawn.xs, drawn.ys, strict=True)]
    )
    found = posterior(made, drawn.xs, drawn.ys)
    rotations = np.stack([found.classes[..., 0].numpy(), found.prediction.numpy()], -1)
    inverses = np.stack(plain(made, drawn.xs.numpy(), drawn.ys.numpy()), -1)
    errors = {
        name: [float(f"{error:.1e}") for error in np.abs(part - exact).max((0, 1))]
        for name, part in (("rotations", rotations), ("inverses", inverses))
    }
    return {"noise variance": noise, "errors of P(dense) and prediction": errors}


def exact_at(made: PromptLaw, xs: torch.Tensor, ys: torch.Tensor, n: int) -> tuple[float, float]:
    """The formula in rational numbers after n examples."""
    variances = {"dense_variance": 1.0, "sparse_variance": 1.0, "noise_variance": made.noise_variance}
    prompt = (xs[:n].tolist(), ys[:n].tolist(), xs[n].tolist())
    return tuple(for_user(*prompt, 2, dense_probability=0.5, **variances))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Speed and digits of the mixture's Bayes predictor.")
    parser.add_argument("--write", action="store_true", help="write evidence/mixture_posterior.json")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {
        "command": "python benchmarks/mixture_posterior.py --write",
        "machine": f"{platform.machine()}, one thread",
        "torch": torch.__version__,
        "CPU seconds, 1,000 prompts of 40 prefixes, d = 20, k = 2": speed(),
        "digits, d = 6, k = 2, up to 8 examples": [digits(noise) for noise in NOISES],
    }
    text = json.dumps(found, indent=1)
    print(text)
    if asked.write:
        EVIDENCE.write_text(text + "\n", encoding="utf-8")
    fast = found["CPU seconds, 1,000 prompts of 40 prefixes, d = 20, k = 2"]["rotations"] < SECONDS
    at_little = found["digits, d = 6, k = 2, up to 8 examples"][2]["errors of P(dense) and prediction"]["rotations"]
    return 0 if fast and max(at_little) < DIGITS else 1


if __name__ == "__main__":
    raise SystemExit(main())
