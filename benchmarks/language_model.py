"""Small character models with softmax, mesa and linear layers, beside the exact entropy of the language.

    python benchmarks/language_model.py     # a table, and evidence/language_model.json; about 4 CPU minutes

Two layers of width 48 (2 heads of size 24), trained by Adam (rate 0.003) on 300 batches of 16 fresh documents of 128
characters; every kind sees the same documents, and each seed has its own documents and weights. The loss is measured
on 200 other documents. Their exact loss under the language is subtracted, so that the gap has little sampling error;
what is given are the mean gap and the smallest and largest over the seeds. Linear attention has no normalisation.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean

import torch

from iclcheck.numerics.mesa.language_model import Language, losses, trained_model

KINDS = {
    "softmax in both": ("softmax", "softmax"),
    "mesa, then softmax": ("mesa", "softmax"),
    "mesa in both": ("mesa", "mesa"),
    "linear in both": ("linear", "linear"),
}
LENGTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description="character models beside the exact entropy of their language")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", default="evidence", help="directory of language_model.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    language = Language()
    documents = language.documents(200, LENGTH, "language model/test")
    exact = language.exact_losses(documents)
    print(
        f"entropy rate {language.entropy_rate:.4f} nats a character; exact loss of test documents {exact.mean():.4f},"
    )
    print(f"of their last 32 characters {exact[:, -32:].mean():.4f}\n")
    print(f"{'layers':20} {'gap':>8} {'from':>8} {'to':>8} {'last 32':>9} {'CPU s':>7}")
    rows = []
    for name, kinds in KINDS.items():
        gaps, late, start = [], [], time.process_time()
        for seed in range(asked.seeds):
            model = trained_model(language, kinds, seed, steps=asked.steps, batch=16, length=LENGTH, rate=0.003)
            with torch.no_grad():
                gap = losses(model, documents).double() - exact
            gaps.append(float(gap.mean()))
            late.append(float(gap[:, -32:].mean()))
        took = (time.process_time() - start) / asked.seeds
        rows.append({"layers": name, "gaps": gaps, "gaps of the last 32": late, "cpu_seconds_a_run": round(took, 1)})
        shown = mean(gaps), min(gaps), max(gaps), mean(late)
        print(f"{name:20} " + " ".join(f"{one:8.4f}" for one in shown) + f" {took:8.1f}", flush=True)
    found = {
        "command": f"python benchmarks/language_model.py --seeds {asked.seeds} --steps {asked.steps}",
        "torch": torch.__version__,
        "entropy_rate": language.entropy_rate,
        "exact_loss": float(exact.mean()),
        "rows": rows,
    }
    Path(asked.out, "language_model.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
