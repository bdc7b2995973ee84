"""Trains the decoders that come with the package: python benchmarks/train_decoders.py NAME ... [--output FOLDER]

One thread; the same bits on a machine of the same kind with the same torch. Writes NAME.safetensors and NAME.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from iclcheck.numerics.decoders.decoder_training import BLOCK, RunningTraining
from iclcheck.numerics.decoders.shipped import FOLDER, TRAININGS, write_shipped


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(TRAININGS))
    parser.add_argument("--output", type=Path, default=FOLDER)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    for name in wanted.names:
        train(name, wanted.output)


if __name__ == "__main__":
    main()
