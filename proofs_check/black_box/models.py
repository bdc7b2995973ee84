r"""The verdict on a model that is only asked: is it one preconditioned gradient step, which, and how far from others.

Main statements (rates: 1e-6 for each sampled line)
    form      the model's answers to prompts with a single token give the weights of a layer of linear attention
              (`numerics.black_box.effective_weights`); fresh prompts, those of the law among them, say whether it is
              that layer, up to rounding
    exact     where it is, and nothing of it is even in the labels, it is one step, yhat = s^T A x_q, and A is known:
              then fixed-point is judged as weights are, |A - A*|_F <= r |A*|_F, and nothing is sampled
    sampled   elsewhere the statement is E (f - g)^2 <= r^2 E g^2 on fresh prompts of the law, with g the step with A*
              (fixed-point) or with the A that was read (preconditioned-gradient-step); E g^2 is exact. Each square
              counts up to CAP r^2 E g^2, so that `empirical_bernstein` applies: contradicts where the whole interval
              is above r^2, which no cap can feign; agrees where it is below, the measured mean too, and what the caps
              cut off is at most MOST_BEYOND of r^2
Beside the verdict, without one of their own
    distances to the target, the predicted step, least squares, ridge, Bayes, averaging and zero, for each layer where
    the model gives answers after each; the metrics of [vonoswald2023transformers], and how large they are for
    predictors that are wrong on purpose
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..claims.parameters import UsageError, complete
from ..claims.settings import FloatArray
from ..claims.users_weights import WeightsReport, convention_of, excess_of, judge_weights, law_values, scaled_law
from ..verdicts.empirical_bernstein import deviation
from ..verdicts.verdict import Outcome
from .report import LayerDistances, ModelReport, Sampled

if TYPE_CHECKING:
    from ...numerics.black_box.alignment import DrawnPrompts
    from ...numerics.black_box.asked import AskedModel
    from ...numerics.black_box.effective_weights import EffectiveWeights
    from ...numerics.black_box.references import Reference
    from ...numerics.users_models.conventions import Convention
    from ...theory.one_layer.fixed_point import FixedPoint

STEP, FIXED_POINT = "preconditioned-gradient-step", "fixed-point"
CLAIMS = (FIXED_POINT, STEP)
PROMPTS, WITHIN = 2000, 0.05
RATE = 1e-6
CAP = 16.0
MOST_BEYOND = 0.05


def judge_model(
    model: Callable[..., Any],
    parameters: Mapping[str, Any],
    *,
    claim: str = FIXED_POINT,
    name: str | None = None,
    within: float = WITHIN,
    prompts: int = PROMPTS,
    seed: int = 0,
    convention: Convention | str = "iclcheck",
) -> ModelReport:
    """Judge a function or torch module (see `numerics.black_box.asked` for what it is asked) against a claim.

    parameters: the law, as for `predict("fixed-point", ...)`. Raises ValueErrors of one sentence.
    """
    from ...numerics.black_box.alignment import mean_square
    from ...numerics.black_box.asked import asked
    from ...numerics.black_box.effective_weights import probe
    from ...theory.one_layer.fixed_point import fixed_point
    from ..claims.one_layer import LAW

    judge_options(claim, within, prompts)
    stated = convention_of(convention)
    law = scaled_law(complete(claim, LAW, parameters), stated.input_scale)
    found = fixed_point(**law)
    d, N = len(found.preconditioner), int(law["context_length"])
    asked_model = asked(model, name or str(getattr(model, "__name__", type(model).__name__)), stated)
    drawn = drawn_from(law, prompts, seed)
    form = probe(asked_model, d, N, (drawn.xs, drawn.ys, drawn.queries))
    read = step_weights(form.preconditioner, law, within) if form.is_linear_attention else None
    needed = found.preconditioner if claim == FIXED_POINT else form.preconditioner
    answers = {name: one(drawn.xs, drawn.ys, drawn.queries) for name, one in references_of(law, found).items()}
    layers, sampled = measured(asked_model, drawn, answers, law, found, needed, within)
    return ModelReport(
        claim=claim,
        model=asked_model.name,
        outcome=outcome_of(claim, read if form.odd_only else None, sampled),
        within=within,
        parameters={key: np.asarray(v).tolist() if v is not None else None for key, v in law.items()},
        prompts=prompts,
        form=form,
        lengths=division(asked_model, form),
        read=read,
        sampled=sampled,
        layers=layers,
        exact_risks=exact_risks(law, found),
        errors={name: mean_square(values - drawn.targets) for name, values in answers.items()},
        wrong=wrong_predictors(found, drawn),
        target=math.sqrt(signal(law)),
    )


def judge_options(claim: str, within: float, prompts: int) -> None:
    """Raises UsageError."""
    if claim not in CLAIMS:
        raise UsageError(f"a function of one layer is judged against {' or '.join(CLAIMS)}, got {claim}")
    if not (math.isfinite(within) and 0 < within < 1):
        raise UsageError(f"--within needs a number between 0 and 1, got {within:g}; 0.05 allows 5 %")
    if not 2 <= prompts <= 10**7:
        raise UsageError(f"--prompts needs a whole number from 2 to 10 million, got {prompts}; {PROMPTS} if not given")


def step_weights(A: FloatArray, law: Mapping[str, Any], within: float) -> WeightsReport:
    """The report on W_PV = diag(0, 1), W_KQ = diag(A, 0), which are that step in our convention."""
    d = len(A)
    W_PV, W_KQ = np.zeros((2, d + 1, d + 1))
    W_PV[d, d], W_KQ[:d, :d] = 1.0, A
    return judge_weights({"W_PV": W_PV, "W_KQ": W_KQ}, law, within=within)


def division(model: AskedModel, form: EffectiveWeights) -> str | None:
    """What the model divides its sum over tokens by, from its answers at twice the length; None where it has none."""
    from ...numerics.black_box.effective_weights import normalisation

    if not form.is_linear_attention or not form.preconditioner.any():
        return None
    try:
        return normalisation(model, form, 2 * form.context_length)
    except ValueError:  # a model of one length only
        return None


def drawn_from(law: Mapping[str, Any], prompts: int, seed: int) -> DrawnPrompts:
    from ...numerics.black_box.alignment import drawn_prompts
    from ...numerics.one_layer.prompts import PromptDistribution

    values = law_values(law)
    distribution = PromptDistribution(values["Lambda"], (int(values["N"]),), values["Psi"], values["sigma2"])
    return drawn_prompts(distribution, prompts, f"a user's model/{seed}")


def signal(law: Mapping[str, Any]) -> float:
    """E (w.x_q)^2."""
    values = law_values(law)
    return float(np.trace(values["Lambda"] @ values["Psi"]))


def exact_risks(law: Mapping[str, Any], found: FixedPoint) -> dict[str, float]:
    """E (g - t)^2 of known predictors by theory, math.inf where it is infinite: of zero and of the predicted step for
    every law, of least squares and Bayes where Lambda and Psi are multiples of I."""
    from ...theory.one_layer.assumptions import AssumptionError
    from ...theory.one_layer.baselines import beside_the_layer

    known = {"the predicted step": 2 * found.loss, "zero": signal(law)}
    try:
        least_squares, bayes = beside_the_layer(**law)
    except AssumptionError:  # no formula for this law
        return known
    return {**known, "least squares": least_squares, "Bayes": bayes}


def references_of(law: Mapping[str, Any], found: FixedPoint) -> dict[str, Reference]:
    """The predicted step first, then what needs no theory."""
    from ...numerics.black_box.references import known_predictors, step

    values = law_values(law)
    others = known_predictors(values["Psi"], values["sigma2"], len(values["Lambda"]))
    return {"the predicted step": step(found.preconditioner), **others}


def measured(
    model: AskedModel,
    drawn: DrawnPrompts,
    answers: Mapping[str, FloatArray],
    law: Mapping[str, Any],
    found: FixedPoint,
    needed: FloatArray,
    within: float,
) -> tuple[tuple[LayerDistances, ...], Sampled]:
    """Distances of every layer, and the sampled statement on the last."""
    from ...numerics.black_box import alignment
    from ...numerics.black_box.references import step

    predicted = alignment.sides_of_reference(step(found.preconditioner), drawn)
    sides = alignment.sides_of_model(model, drawn)
    layers = tuple(
        LayerDistances(
            name,
            alignment.distances(side.values, {"the target": drawn.targets, **answers}),
            alignment.alignment(side.values, side.slopes, predicted.values, predicted.slopes).as_plain(),
        )
        for name, side in zip(alignment.names_of(sides), sides, strict=True)
    )
    unit = excess_of(needed, law) or signal(law)  # E (s^T A x_q)^2; of a step with A = 0 the target's
    difference = sides[-1].values - step(needed)(drawn.xs, drawn.ys, drawn.queries)
    sums = alignment.capped_sums(difference, unit, CAP * within**2)
    error = deviation(len(difference), sums["variance"], CAP * within**2, RATE)
    return layers, Sampled(
        mean=sums["mean"],
        lowest=max(0.0, sums["capped"] - error),
        highest=sums["capped"] + error,
        beyond=(sums["mean"] - sums["capped"]) / within**2,
        allowed=within**2,
        most_beyond=MOST_BEYOND,
    )


def outcome_of(claim: str, read: WeightsReport | None, sampled: Sampled) -> Outcome:
    """By the weights where the model is a step exactly, else by the sample."""
    if read is None:
        return sampled.outcome
    if claim == STEP:
        return "agrees"
    return "agrees" if read.outcome == "agrees" else "contradicts"


def wrong_predictors(found: FixedPoint, drawn: DrawnPrompts) -> dict[str, dict[str, Any]]:
    """The metrics of predictors that are wrong on purpose, beside the predicted step."""
    from ...numerics.black_box import alignment
    from ...numerics.black_box.references import least_squares, step, turned

    A = found.preconditioner
    wrong = {
        "gain 10 % too large": step(1.1 * A),
        "twice the gain": step(2 * A),
        **({"preconditioner turned at random": step(turned(A, 0))} if len(A) > 1 else {}),
        "least squares": least_squares,
    }
    predicted = alignment.sides_of_reference(step(A), drawn)
    sides = {name: alignment.sides_of_reference(one, drawn) for name, one in wrong.items()}
    return {
        name: alignment.alignment(side.values, side.slopes, predicted.values, predicted.slopes).as_plain()
        for name, side in sides.items()
    }
