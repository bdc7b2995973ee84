"""Three decoders in the papers' setting, trained at once for as long as you give: python benchmarks/decoders_full.py

    --device cuda --seconds 1500 --output DIR    train, or go on from the checkpoint in DIR; then evaluate
    --device cuda --seconds 0 --output DIR       evaluate what is there
    --plan                                       the work of a step, and the steps that a speed allows; trains nothing
    --setting '{"width": 16, "layers": 1, ...}'  other sizes (numerics/decoders/paper_training.py, PaperSetting)

DIR gets two files: checkpoint.safetensors (weights and optimiser of all three) and training.json (what was reached, and
the losses of the models beside the Bayes predictor's on each law, at every prefix). Kill it at any time: the next call
loses at most a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from iclcheck.numerics.decoders.checkpoints import RECORD
from iclcheck.numerics.decoders.paper_training import (
    NAMES,
    PaperSetting,
    go_on,
    losses_on,
    operations_of_a_step,
    reached,
)
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw

CAP = 1e4  # of squared errors in the capped sums, which this command does not print
SPEEDS = (50, 100, 200)  # TFLOP/s


def plan(setting: PaperSetting, seconds: float) -> str:
    """The work of a step, and steps in `seconds` at some speeds."""
    work = operations_of_a_step(setting)
    steps = ", ".join(f"{1e12 * speed * seconds / work:,.0f} at {speed} TFLOP/s" for speed in SPEEDS)
    return f"one step of three models: {work:.2e} operations at full length\nsteps in {seconds:.0f} s: {steps}"


def told(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


def by_prefix(found: dict[str, Any]) -> dict[str, list[float]]:
    """Mean squared error without the noise, by model and for the oracle, at each prefix."""
    return {name: [value / found["count"] for value in found["loss"][name]["sum"]] for name in (*NAMES, "oracle")}


def evaluation(setting: PaperSetting, run: Any, prompts: int, device: str) -> dict[str, Any]:
    """Losses of the three models and of the oracle on each of the three laws."""
    models = {name: run.model(place) for place, name in enumerate(NAMES)}
    found = {}
    for name, training in setting.trainings().items():
        law = PromptLaw.from_plain(training.law)
        found[name] = by_prefix(losses_on(law, models, prompts, f"decoders-full/{name}", CAP, device))
    return found


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seconds", type=float, default=1500.0, help="of training in this call, on the wall")
    parser.add_argument("--output", type=Path, default=Path(".iclcheck/decoders"), help="the folder of the checkpoint")
    parser.add_argument("--prompts", type=int, default=1024, help="for the evaluation on each law; 0: none")
    parser.add_argument("--setting", type=json.loads, default={}, help="sizes other than the papers', as JSON")
    parser.add_argument("--plan", action="store_true", help="print the work of a step, and train nothing")
    wanted = parser.parse_args(given)
    setting = PaperSetting(**wanted.setting)
    if wanted.plan:
        print(plan(setting, wanted.seconds))
        return
    run = go_on(setting, wanted.output, wanted.seconds, wanted.device, told=told)
    if wanted.prompts:
        run.further["evaluation"] = evaluation(setting, run, wanted.prompts, wanted.device)
        run.save(wanted.output)
    print(json.dumps(reached(run), indent=1))
    for law, losses in run.further.get("evaluation", {}).items():
        means = [f"{name} {sum(values) / len(values):.4f}" for name, values in losses.items()]
        print(f"{law} prompts, mean over prefixes: {', '.join(means)}")
    print(f"{wanted.output / RECORD} holds the rest")


if __name__ == "__main__":
    main()
