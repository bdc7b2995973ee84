"""The verb check with --model: weights, a decoder or a function of the user's own against a claim.

fixed-point                    weights of one layer, from a file; or a function
preconditioned-gradient-step   a function, given as package.module:name or file.py:name
model-selection                a decoder's checkpoint, or a function
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claims.parameters import UsageError, quoted, read_settings
from ..claims.registry import find
from .exit_status import reader_may_leave, say
from .printing import print_json

if TYPE_CHECKING:
    from torch import Tensor

    from ...numerics.users_models.decoder_checkpoints import DecoderCheckpoint

LAYER, STEP, DECODER = "fixed-point", "preconditioned-gradient-step", "model-selection"
QUIET = 5.0  # seconds between two words on how far it is


@dataclass(frozen=True)
class ModelOptions:
    """What was given beside --model; None and empty where nothing was."""

    model: str
    names: Sequence[str]
    within: float | None
    settings: Sequence[str]
    parameters: str | None
    heads: int | None
    prompts: int | None
    seed: int | None
    convention: str | None = None


def refuse_model_options(given: dict[str, Any]) -> None:
    """Options that only mean something together with --model. Raises UsageError."""
    for option, value in given.items():
        if value is not None and value != []:  # --within 0 is given, too
            raise UsageError(f"{option} describes weights of your own; add --model FILE")


def refuse_measuring_options(given: Iterable[str], claims: Sequence[str], model: str) -> None:
    """Options of a measurement, which weights that are there already do not need. Raises UsageError."""
    functions = is_reference(model)
    for name in given:
        if list(claims) != [DECODER] and not (functions and name == "seed"):
            raise UsageError(f"--{name} belongs to a measurement, and --model makes none; leave one of the two out")
        if name != "seed":
            raise UsageError(f"--{name} belongs to a check of trainings; the size of this one is set with --prompts")


def check_model(claims: Sequence[str], options: ModelOptions, as_json: bool) -> int:
    """Judge the model against the one claim that was named."""
    if list(claims) == [DECODER]:
        return check_decoder(options, as_json)
    for name in claims:
        if name not in (LAYER, STEP, DECODER):
            find(name)
    if len(claims) != 1 or claims[0] not in (LAYER, STEP):
        raise UsageError(
            f"--model judges weights against {LAYER}, functions against {LAYER} or {STEP}, and decoders or functions "
            f"against {DECODER}; write: iclcheck check {LAYER} --model {options.model}"
        )
    if is_reference(options.model):
        return check_function(claims[0], options, as_json)
    if claims[0] == STEP:
        raise UsageError(
            f"{STEP} judges functions; weights in a file are judged by: iclcheck check {LAYER} --model FILE"
        )
    return check_layer(options, as_json)


def check_layer(options: ModelOptions, as_json: bool) -> int:
    """One layer's weights against the fixed point."""
    from ...numerics.users_models.published_layouts import ARRAYS
    from ..black_box.checking import stored_weights
    from ..claims.users_weights import convention_of, judge_weights

    for option, value in (("--heads", options.heads), ("--prompts", options.prompts)):
        if value is not None:
            raise UsageError(
                f"{option} belongs to a decoder, which is judged by: iclcheck check {DECODER} --model FILE"
            )
    convention = convention_of(options.convention or "iclcheck")
    names = name_map(options.names, ARRAYS[convention.layout])
    law = read_settings(options.settings, options.parameters)
    allowed = 0.05 if options.within is None else options.within
    report = judge_weights(stored_weights(options.model, convention, names), law, within=allowed, convention=convention)
    with reader_may_leave():
        if as_json:
            print_json({"model": options.model, **report.as_plain()})
        else:
            print(report)
    return report.exit_status


def check_function(claim: str, options: ModelOptions, as_json: bool) -> int:
    """A function or torch module against a claim on one layer."""
    from ...numerics.users_models.functions import loaded
    from ..black_box.models import PROMPTS, judge_model

    for option, value in (("--heads", options.heads), ("--name", options.names or None)):
        if value is not None:
            raise UsageError(f"{option} belongs to a file, and {options.model} is code; leave it out")
    report = judge_model(
        loaded(options.model),
        read_settings(options.settings, options.parameters),
        claim=claim,
        name=options.model,
        within=0.05 if options.within is None else options.within,
        prompts=PROMPTS if options.prompts is None else options.prompts,
        seed=options.seed or 0,
        convention=options.convention or "iclcheck",
    )
    with reader_may_leave():
        if as_json:
            print_json(report.as_plain())
        else:
            print(report)
    return report.exit_status


def check_decoder(options: ModelOptions, as_json: bool) -> int:
    """A decoder or a function beside Bayes predictors."""
    from ..decoders.users_decoders import PROMPTS, WITHIN, completed_law, judge_predictor, judge_size

    if options.convention is not None:
        raise UsageError(f"--convention belongs to one layer, which is judged by {LAYER}; leave it out")
    if options.names:
        raise UsageError(f"--name maps W_PV and W_KQ of one layer; a decoder's arrays are found by {DECODER} itself")
    within = WITHIN if options.within is None else options.within
    prompts = PROMPTS if options.prompts is None else options.prompts
    judge_size(within, prompts)
    given = read_settings(options.settings, options.parameters)
    checkpoint = None if is_reference(options.model) else read_checkpoint(options)
    law = (
        completed_law(given) if checkpoint is None else completed_law(given, checkpoint.dimension, checkpoint.positions)
    )
    predict = function_of(options) if checkpoint is None else predictor_of(checkpoint, options.model)
    report = judge_predictor(
        predict, law, within=within, prompts=prompts, seed=options.seed or 0, progress=progress_every(QUIET)
    )
    with reader_may_leave():
        if as_json:
            print_json({"model": options.model, "checkpoint": described(checkpoint), **report.as_plain()})
        else:
            if checkpoint is not None:
                print(f"{options.model}: {checkpoint}")
            print(report)
    return report.exit_status


def is_reference(model: str) -> bool:
    """Whether --model names a function in a module, and not a file."""
    return ":" in model and not Path(model).exists()


def read_checkpoint(options: ModelOptions) -> DecoderCheckpoint:
    from ...numerics.users_models.decoder_checkpoints import read_decoder

    return read_decoder(options.model, options.heads)


def predictor_of(checkpoint: DecoderCheckpoint, name: str) -> Callable[[Tensor, Tensor], Tensor]:
    from ...numerics.users_models.functions import of_module

    return of_module(checkpoint.decoder(), name)


def function_of(options: ModelOptions) -> Callable[[Tensor, Tensor], Tensor]:
    from ...numerics.users_models.functions import loaded, predictor

    if options.heads is not None:
        raise UsageError("--heads belongs to a checkpoint; a function needs none")
    return predictor(loaded(options.model), options.model)


def described(checkpoint: DecoderCheckpoint | None) -> dict[str, Any] | None:
    """What a checkpoint is, plain data; None for a function."""
    return None if checkpoint is None else {k: v for k, v in checkpoint._asdict().items() if k != "weights"}


def progress_every(seconds: float) -> Callable[[int, int], None]:
    """Says how far the evaluation is, on stderr."""
    started = said = time.perf_counter()

    def tell(done: int, total: int) -> None:
        nonlocal said
        now = time.perf_counter()
        if now - said > seconds and done < total:
            said, left = now, (now - started) * (total - done) / done
            say(f"evaluated {done} of {total} prompts, about {max(1, round(left))} s left")

    return tell


def name_map(names: Sequence[str], arrays: Sequence[str]) -> dict[str, str]:
    """The arrays of a layout to their names in the file, where they are given. Raises UsageError."""
    mapped = {}
    for entry in names:
        own, equals, other = entry.partition("=")
        if own not in arrays or not equals or not other:
            needed = " or ".join(f"{name}=NAME" for name in arrays)
            raise UsageError(f"--name needs {needed}, got {quoted(entry)}; write --name {arrays[0]}=layer.value")
        mapped[own] = other
    return mapped
