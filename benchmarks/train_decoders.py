"""Trains the decoders that come with the package: python benchmarks/train_decoders.py NAME ... [--output FOLDER]

    --table      print what the records of the shipped models say, and measure each beside its Bayes predictor

One thread; the same bits on a machine of the same kind with the same torch. Writes NAME.safetensors and NAME.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from iclcheck.numerics.decoders.decoder_training import BLOCK, RunningTraining
from iclcheck.numerics.decoders.evaluations import evaluated_models
from iclcheck.numerics.decoders.shipped import FOLDER, TRAININGS, shipped_model, shipped_names, write_shipped


def train(name: str, folder: Path) -> None:
    """Train one and write it."""
    started, run = time.process_time(), RunningTraining.begin(TRAININGS[name])
    while not run.ended:
        run.advance()
        if run.blocks % 10 == 0:
            print(f"{name}: {BLOCK * run.blocks} steps, loss {sum(run.losses[-10:]) / 10:.4f}", flush=True)
    further = {
        "losses": [round(loss, 5) for loss in run.losses],
        "command": f"python benchmarks/train_decoders.py {name}",
        "cpu_seconds": round(time.process_time() - started),
        "machine": "shared 2-core x86-64 machine",
        "torch": torch.__version__,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_shipped(folder, name, run.model, run.training, further)


def row(name: str, prompts: int = 4096) -> str:
    """A line of the table: the training by its record, and losses on fresh prompts, averaged over prefixes."""
    found, record = shipped_model(name), json.loads((FOLDER / f"{name}.json").read_text())
    law, size = dict(found.training.law), found.training.shape
    sums = evaluated_models(
        law,
        {name: found.digest},
        [],
        {"oracle": law},
        prompts,
        f"table/{name}",
        [1.0] * law["length"],
        "cpu",
        among=False,
    )
    count = prompts * law["length"]
    best = sum(sums["variance"]["oracle"]["sum"]) / count + law["noise_variance"]
    excess = sum(sums["distance"][name]["oracle"]["sum"]) / count
    shown = (
        name, f"{found.training.steps:,}", found.training.optimiser, f"{size['layers']} x {size['width']}",
        str(size["heads"]), f"{record['cpu_seconds']} s", f"{best:.3f}", f"{excess:.3f}", f"{1 + excess / best:.3f}",
    )  # fmt: skip
    return f"| {' | '.join(shown)} |"


def print_table() -> None:
    """All shipped models."""
    head = ("model", "steps", "optimiser", "layers x width", "heads", "CPU time", "oracle", "excess", "quotient")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in shipped_names():
        print(row(name), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(sorted(TRAININGS)))
    parser.add_argument("--table", action="store_true", help="print the table of the shipped models, and train none")
    parser.add_argument("--output", type=Path, default=FOLDER)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    if wanted.table:
        print_table()
        return
    if unknown := set(wanted.names) - set(TRAININGS):
        parser.error(f"need names among {', '.join(sorted(TRAININGS))}, got {', '.join(sorted(unknown))}")
    for name in wanted.names:
        train(name, wanted.output)


if __name__ == "__main__":
    main()
