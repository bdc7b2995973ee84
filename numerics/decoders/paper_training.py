r"""Three decoders in the setting of the papers, trained at once for as long as there is time.

The setting of Garg et al. [garg2022can], taken over by Yadlowsky et al. [yadlowsky2023pretraining]: d = 20, 12 layers,
8 heads, width 256, batches of 64 prompts, Adam with the rate 1e-4, 500,000 steps, and a curriculum from 5 coordinates
and 11 points up by 1 and by 2 every 2,000 steps. The models: `dense` and `sparse` (two nonzero coefficients), each on
its own class, and `mixture`, on both with equal probability.
Two differences: labels have noise of variance 1e-6 (the papers have none), with which the Bayes predictor is that of a
density and whose effect is far below what a trained model resolves; and there are positions for 41 points, not 101.
Training stops when its time is up and goes on from its checkpoint at the next call: what was reached is part of every
result. It is meant for one modern GPU; on a CPU a step of this size takes minutes, so only small sizes end there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..mixtures.prompt_laws import PromptLaw
from .decoder import Decoder, parameter_count
from .decoder_training import DecoderTraining
from .ensembles import Ensemble
from .evaluations import Predict, evaluated

Plain = Mapping[str, Any]
Told = Callable[[str], None]
NAMES = ("dense", "sparse", "mixture")
SECONDS_BETWEEN_CHECKPOINTS = 60.0
LATE_BLOCKS = 10  # whose mean loss stands for the present one


@dataclass(frozen=True)
class PaperSetting:
    """Sizes of the three trainings; the defaults are those of the papers, but for the noise (see above)."""

    dimension: int = 20
    nonzeros: int = 2
    points: int = 41
    width: int = 256
    layers: int = 12
    heads: int = 8
    steps: int = 500_000
    batch_size: int = 64
    learning_rate: float = 1e-4
    noise_variance: float = 1e-6
    first_coordinates: int = 5
    first_points: int = 11
    interval: int = 2000
    replica: int = 0

    def trainings(self) -> dict[str, DecoderTraining]:
        """The training of each model, by name."""
        return {name: self._training(share) for name, share in zip(NAMES, (1.0, 0.0, 0.5), strict=True)}

    def _training(self, share: float) -> DecoderTraining:
        dense = {"kind": "dense", "variance": 1.0}
        sparse = {"kind": "sparse", "nonzeros": self.nonzeros, "variance": 1.0}
        pairs = [(kind, weight) for kind, weight in ((dense, share), (sparse, 1 - share)) if weight]
        law = PromptLaw(
            self.dimension, self.points, tuple(kind for kind, _ in pairs), tuple(weight for _, weight in pairs),
            self.noise_variance,
        )  # fmt: skip
        shape = {
            "dimension": self.dimension, "positions": self.points, "width": self.width, "layers": self.layers,
            "heads": self.heads,
        }  # fmt: skip
        return DecoderTraining(
            law.plain(), shape, self.steps, self.batch_size, self.learning_rate, replica=self.replica,
            coordinates={
                "start": self.first_coordinates, "end": self.dimension, "step": 1, "interval": self.interval,
            },
            points={"start": self.first_points, "end": self.points, "step": 2, "interval": self.interval},
        )  # fmt: skip


def operations_of_a_step(setting: PaperSetting) -> float:
    """Multiplications and additions of one step of the three trainings at full length.

    6 for each weight of a kernel and each token (forward 2, backward 4), and 12 T w for each token, layer and model
    for the scores and what they weigh, of which a causal kernel needs half.
    """
    tokens = len(NAMES) * setting.batch_size * 2 * setting.points
    kernels = setting.layers * 12 * setting.width**2
    return tokens * (6.0 * kernels + setting.layers * 12.0 * 2 * setting.points * setting.width)


def go_on(
    setting: PaperSetting,
    folder: Path,
    seconds: float,
    device: str = "cpu",
    half: bool | None = None,
    compiled: bool | None = None,
    told: Told = lambda said: None,
    in_all: bool = False,
) -> Ensemble:
    """The three trainings, from their checkpoint in the folder on, for `seconds` or to the end; written every minute.

    half, compiled: see `Ensemble`; on a GPU if None. A kill loses what came after the last checkpoint.
    in_all: the seconds of earlier calls count too.
    """
    begun = time.monotonic()
    on_gpu = torch.device(device).type == "cuda"
    trainings = setting.trainings()
    run = Ensemble.resume(
        list(trainings.values()), folder, device, on_gpu if half is None else half,
        on_gpu if compiled is None else compiled,
    )  # fmt: skip
    calls, first = list(run.further.get("calls", [])), run.steps_done
    left = seconds - seconds_of(run) if in_all else seconds
    written = begun
    told(f"{run.steps_done} of {setting.steps} steps are there")

    def keep() -> None:
        run.further = {"calls": [*calls, call(run, first, time.monotonic() - begun)]}
        run.save(folder)
        told(f"{run.steps_done} of {setting.steps} steps, losses {present_losses(run)}")

    def time_left() -> bool:
        """A call with any time at all takes a block, so that short calls end too."""
        return time.monotonic() - begun < left or (left > 0 and run.steps_done == first)

    while not run.ended and time_left():
        run.advance()
        if time.monotonic() - written > SECONDS_BETWEEN_CHECKPOINTS:
            keep()
            written = time.monotonic()
    if run.steps_done > first:
        keep()
    return run


def call(run: Ensemble, first: int, seconds: float) -> dict[str, Any]:
    """What one call did, plain data; seconds on the wall."""
    device = torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else "cpu"
    return {
        "steps": run.steps_done - first, "seconds": round(seconds, 1), "device": device, "torch": torch.__version__,
        "bfloat16": run.half, "compiled": run.compiled, "note": run.note,
    }  # fmt: skip


def present_losses(run: Ensemble) -> dict[str, float]:
    """The mean loss of each training over its last blocks, with the noise of the labels."""
    late = torch.tensor(run.losses[-LATE_BLOCKS:], dtype=torch.float64).reshape(-1, len(NAMES))
    return {name: round(float(value), 5) for name, value in zip(NAMES, late.mean(0), strict=True)} if len(late) else {}


def paper_models(setting: PaperSetting, folder: Path) -> dict[str, Decoder]:
    """The three models as they stand in the folder's checkpoint. Raises ValueError if there is none."""
    run = Ensemble.resume(list(setting.trainings().values()), folder)
    if not run.steps_done:
        raise ValueError(f"need trained models in {folder}, got none; run benchmarks/decoders_full.py first")
    return {name: run.model(place) for place, name in enumerate(NAMES)}


def predictor(model: Decoder, device: str | torch.device = "cpu") -> Predict:
    """The model's answers at all prefixes, in float32 on the device."""
    placed = model.to(device)
    return lambda xs, ys: placed(xs.float(), ys.float())


def losses_on(
    law: PromptLaw, models: Mapping[str, Decoder], prompts: int, stream_key: str, cap: float, device: str
) -> dict[str, Any]:
    """Sums over fresh prompts of the law for the models and for its Bayes predictor, `oracle` (see `evaluated`)."""
    return beside(law, models, {"oracle": law}, prompts, stream_key, cap, device)


def beside(
    law: PromptLaw,
    models: Mapping[str, Decoder],
    oracles: Mapping[str, PromptLaw],
    prompts: int,
    stream_key: str,
    cap: float | Sequence[float],
    device: str,
) -> dict[str, Any]:
    """Sums over fresh prompts of the law for the models and for Bayes predictors (see `evaluated`)."""
    predictors = {name: predictor(model, device) for name, model in models.items()}
    return evaluated(law, predictors, oracles, prompts, stream_key, cap, device)


def trained_and_evaluated(
    setting: Plain,
    folder: str,
    seconds: float,
    prompts: int,
    stream_key: str,
    oracles: Mapping[str, Mapping[str, str]],
    caps: Mapping[str, Sequence[float]],
    device: str,
) -> dict[str, Any]:
    """A unit of work: train, or go on, for `seconds` in all; then all three models on prompts of each of the laws.

    seconds    of training, those of earlier calls counted: a unit that was killed goes on from its checkpoint with the
               seconds that are left
    oracles    by name of a law {name of an oracle: name of the law whose Bayes predictor it is}
    caps       by name of a law, one for each prefix
    -> setting, reached (steps, wanted, seconds, present losses, calls), parameters of one model, and by name of a law
    the sums. The models stay in the folder, for whoever evaluates them further (`paper_models`).
    """
    sizes = PaperSetting(**setting)
    run = go_on(sizes, Path(folder), seconds, device, in_all=True)
    models = {name: run.model(place) for place, name in enumerate(NAMES)}
    laws = {name: PromptLaw.from_plain(training.law) for name, training in sizes.trainings().items()}
    return {
        "setting": asdict(sizes),
        "reached": reached(run),
        "parameters": parameter_count(models["dense"]),
        "laws": {
            name: beside(
                laws[name], models, {oracle: laws[one] for oracle, one in named.items()}, prompts,
                f"{stream_key}/{name}", caps[name], device,
            )
            for name, named in oracles.items()
        },
    }  # fmt: skip


def seconds_of(run: Ensemble) -> float:
    """Of training in all calls, on the wall."""
    return round(float(sum(one["seconds"] for one in run.further.get("calls", []))), 1)


def reached(run: Ensemble) -> dict[str, Any]:
    """How far the three trainings are."""
    return {
        "steps": run.steps_done, "wanted": run.trainings[0].steps, "seconds": seconds_of(run),
        "losses": present_losses(run), "calls": run.further.get("calls", []),
    }  # fmt: skip
