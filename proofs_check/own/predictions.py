"""What a claim of one's own predicts, and the claim that follows: its checks, `predict`, and its altered statements."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...theory.algebra.formulas import Formula, SingularSystemError
from ...theory.algebra.scalar_formulas import exact_points, formula_of_expression, formula_of_function
from ..claims.alterable import Alterable
from ..claims.claim import Check, Claim, Quantity
from ..claims.parameters import UsageError, quoted
from .domains import Domain, described, domain_in_words, parameters_of, refuse_outside, settings_of
from .expressions import number_at, read_expression
from .observables import KINDS, DerivationSteps, Number, Observable, Predicted
from .users_errors import told_with_place

if TYPE_CHECKING:
    import sympy as sp

    from ...theory.algebra.derivations import Derivation
    from .stating import OwnClaim

Prediction = Number | Mapping[str, Number]
ONE = "value"  # the name of a prediction that was given without one
EXACT_POINTS = 3


@dataclass(frozen=True)
class QuantityPrediction:
    """The prediction of one quantity.

    expression    where it is a formula;  formula: that, or the function of its arguments, to be evaluated and altered
    """

    name: str
    expression: sp.Expr | None
    formula: Formula

    def latex(self) -> str:
        """The formula in LaTeX; of a function its name."""
        import sympy as sp

        name = rf"\mathrm{{{self.name.replace('_', chr(92) + '_')}}}"
        return name if self.expression is None else f"{name} = {sp.latex(self.expression)}"


def numeric(domain: Domain) -> list[str]:
    """The parameters whose values are numbers."""
    return [name for name, choice in domain.items() if choice.is_number]


def read_predictions(written: Prediction, domain: Domain, file: Path | None) -> list[QuantityPrediction]:
    """The predictions of a claim. Raises UsageError."""
    listed = written if isinstance(written, Mapping) else {ONE: written}
    if not listed:
        raise UsageError("prediction needs a formula, a function, or a dict of them by quantity")
    return [read_prediction(name, one, domain, file) for name, one in listed.items()]


def read_prediction(name: Any, written: Number, domain: Domain, file: Path | None) -> QuantityPrediction:
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise UsageError(f"a quantity needs a name of letters, digits and _, got {quoted(str(name))}")
    if callable(written):
        function = called_with(written, f"the prediction {name}", file)
        return QuantityPrediction(name, None, formula_of_function(function, numeric(domain), name))
    expression = read_expression(written, numeric(domain), f"the prediction {name}")
    try:
        return QuantityPrediction(name, expression, formula_of_expression(expression, numeric(domain), name))
    except ValueError as error:
        raise UsageError(f"the prediction {name}: {error}") from None


def called_with(function: Callable[..., Any], what: str, file: Path | None) -> Callable[[Mapping[str, Any]], float]:
    """A user's function of the parameters by name, as one of a setting. It raises UsageError."""

    def call(setting: Mapping[str, Any]) -> float:
        with told_with_place(file, f"{what} fails at {described(setting)}"):
            found = float(function(**setting))
        if not math.isfinite(found):
            raise UsageError(f"{what} is {found} at {described(setting)}")
        return found

    return call


def completed(observable: Observable, domain: Domain, file: Path | None) -> Observable:
    """An observable whose variance and bounds, given as formulas or functions, are functions of a setting."""

    def of_setting(written: Any, what: str) -> Callable[[Mapping[str, Any]], float]:
        if callable(written):
            return called_with(written, what, file)
        expression = read_expression(written, numeric(domain), what)
        return lambda setting: number_at(expression, setting, what)

    made = observable
    if observable.variance is not None:
        made = replace(made, variance=of_setting(observable.variance, f"the variance of {observable.name}"))
    if observable.bounds is not None:
        low, high = (of_setting(one, f"a bound of {observable.name}") for one in observable.bounds)
        made = replace(made, bounds=(low, high))
    return made


def claim_by(own: OwnClaim, derivation: Derivation, predictions: Sequence[QuantityPrediction]) -> Claim:
    """The claim of a file."""
    stated = {one.name: one.formula for one in predictions}
    predicted = values_by(stated, own.place)

    def predict(parameters: Mapping[str, Any]) -> dict[str, Any]:
        refuse_outside(own.identifier, own.domain, parameters)
        return dict(predicted(parameters))

    return Claim(
        own.identifier,
        lambda: derivation,
        parameters_of(own.domain),
        predict,
        (*steps_checked(derivation), *checks_by(own, predicted, predicted)),
        domain_in_words(own.domain, [one.in_words() for one in own.observables]),
        tuple(alterable(own, one, stated, derivation) for one in predictions),
        quantities=tuple(Quantity(one.name, described_formula(one)) for one in predictions),
    )


def described_formula(one: QuantityPrediction) -> str:
    return "by a function of the parameters" if one.expression is None else str(one.expression)


def steps_checked(derivation: Derivation) -> tuple[Check, ...]:
    """The check of a derivation's own steps, where it has some that can be checked."""
    return (DerivationSteps(derivation),) if any(step.check is not None for step in derivation.steps) else ()


def checks_by(own: OwnClaim, predicted: Predicted, stated: Predicted) -> tuple[Check, ...]:
    """The checks of a claim, put to a perhaps altered formula."""
    return tuple(KINDS[one.kind](own, one, predicted, stated) for one in own.observables)


def values_by(formulas: Mapping[str, Formula], place: str) -> Predicted:
    """Setting -> the stated value of every quantity. Raises UsageError where there is none."""

    def predicted(setting: Mapping[str, Any]) -> dict[str, float]:
        found = {}
        for name, formula in formulas.items():
            try:
                found[name] = float(formula.value(setting))
            except UsageError:
                raise
            except ValueError as error:
                raise UsageError(f"{place}: the prediction {name} at {described(setting)}: {error}") from None
        return found

    return predicted


def altered_values_by(formulas: Mapping[str, Formula]) -> Predicted:
    """Setting -> values. Raises SingularSystemError where an altered formula has none."""

    def predicted(setting: Mapping[str, Any]) -> dict[str, float]:
        try:
            return {name: float(formula.value(setting)) for name, formula in formulas.items()}
        except (ValueError, OverflowError) as error:
            raise SingularSystemError(str(error)) from None

    return predicted


def alterable(
    own: OwnClaim, one: QuantityPrediction, stated: Mapping[str, Formula], derivation: Derivation
) -> Alterable:
    """The formula of one quantity, and what claim an altered one makes."""

    def points(name: str) -> list[dict[str, Any]]:
        if one.expression is None:
            return settings_of(own.identifier, own.domain, 0, EXACT_POINTS, name)
        return exact_points(numeric(own.domain), f"{own.identifier}/{name}", EXACT_POINTS)

    def altered_claim(formula: Formula) -> Claim:
        checks = checks_by(own, altered_values_by({**stated, one.name: formula}), values_by(stated, own.place))
        return Claim(own.identifier, lambda: derivation, (), lambda _: {}, checks, "")

    return Alterable(
        lambda: one.formula,
        points,
        lambda seed: settings_of(own.identifier, own.domain, seed, own.settings),
        altered_claim,
    )
