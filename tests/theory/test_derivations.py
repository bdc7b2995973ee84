"""Every step of every derivation holds at random instances; with one coefficient altered it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp

from iclcheck.theory.algebra.derivations import Derivation, Source, Statement, Step, equality
from iclcheck.theory.algebra.printing import to_latex
from iclcheck.theory.algebra.trace_polynomials import TracePolynomial, identity, matrix, number, scalar, trace
from iclcheck.theory.one_layer import (
    fixed_point,
    gradient_step,
    layer,
    nonlinear_targets,
    population_loss,
    random_context_length,
    random_covariance,
    uniform_covariates,
)
from iclcheck.theory.one_layer.prompt_law import PromptLaw
from iclcheck.theory.symbols import KAPPA, LAMBDA, PSI, SIGMA2

MODULES = (
    population_loss,
    fixed_point,
    gradient_step,
    uniform_covariates,
    random_context_length,
    nonlinear_targets,
    random_covariance,
)


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_step_holds_at_six_instances(module: Any) -> None:
    assert module.derivation().failures(range(6)) == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_step_has_a_check_or_a_proof_in_words(module: Any) -> None:
    bare = [step.name for step in module.derivation().steps if step.check is None and not step.proof]
    assert bare == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_derivation_prints_all_of_its_steps(module: Any) -> None:
    derivation = module.derivation()
    text, latex = derivation.to_text(), derivation.to_latex()
    for step in derivation.steps:
        assert step.name in text
        assert step.right in text
        assert step.latex in latex
    assert derivation.statement.latex
    assert latex.count("{") == latex.count("}")


# Each derivation takes its results from functions. One of them is replaced by one that alters its result;
# the derivation is built anew, and the step that states this result must fail at the instances that
# `failures` takes by default.


def altered_terms(polynomial: TracePolynomial) -> Iterator[TracePolynomial]:
    """The polynomial with one coefficient altered by a seventh of itself, for each of its terms."""
    for monomial, value in polynomial.terms.items():
        terms = {**polynomial.terms, monomial: value * Fraction(8, 7)}
        yield TracePolynomial(polynomial.rows, polynomial.cols, terms)


def rebuilt(module: Any) -> Derivation:
    """The derivation without its cache."""
    derivation = module.derivation.__wrapped__()
    assert isinstance(derivation, Derivation)
    return derivation


def failing(module: Any, monkeypatch: pytest.MonkeyPatch, function: str, result: Any) -> list[str]:
    with monkeypatch.context() as patch:
        patch.setattr(module, function, lambda *_: result)
        return rebuilt(module).failures()


POLYNOMIAL_RESULTS: list[tuple[Any, str, Callable[[], TracePolynomial], str]] = [
    (
        population_loss,
        "population_loss",
        lambda: population_loss.population_loss(PromptLaw()),
        "the loss on all parameters",
    ),
    (
        population_loss,
        "even_loss",
        lambda: population_loss.even_loss(PromptLaw()),
        "the even part of the loss",
    ),
    (
        population_loss,
        "reduced_loss",
        lambda: population_loss.reduced_loss(PromptLaw()),
        "the odd part of the loss",
    ),
    (
        population_loss,
        "prediction",
        lambda: layer.prediction(PromptLaw()),
        "the layer's prediction",
    ),
    (
        fixed_point,
        "minimal_loss",
        lambda: fixed_point.minimal_loss(PromptLaw()),
        "the loss at the fixed point",
    ),
    (
        fixed_point,
        "minimal_loss",
        lambda: fixed_point.minimal_loss(PromptLaw()),
        "completing the square",
    ),
    (
        fixed_point,
        "minimal_loss",
        lambda: fixed_point.minimal_loss(PromptLaw()),
        "global optimality over all parameters",
    ),
    (population_loss, "even_loss", lambda: population_loss.even_loss(PromptLaw()), "decomposition"),
    (population_loss, "reduced_loss", lambda: population_loss.reduced_loss(PromptLaw()), "decomposition"),
    (fixed_point, "fixed_point_inverse", lambda: fixed_point.fixed_point_inverse(PromptLaw()), "closed form"),
    (fixed_point, "effective_ridge", lambda: fixed_point.effective_ridge(PromptLaw()), "effective ridge"),
    (
        gradient_step,
        "least_squares_gradient",
        gradient_step.least_squares_gradient,
        "gradient of the in-context risk at 0",
    ),
    (gradient_step, "layer_without_leak", gradient_step.layer_without_leak, "the layer at u12 = u21 = 0"),
    (gradient_step, "step_prediction", gradient_step.step_prediction, "layer = one preconditioned step"),
    (
        uniform_covariates,
        "minimal_loss",
        lambda: fixed_point.minimal_loss(uniform_covariates.any_kurtosis()),
        "completing the square",
    ),
    (
        uniform_covariates,
        "fixed_point_inverse",
        lambda: fixed_point.fixed_point_inverse(uniform_covariates.any_kurtosis()),
        "fixed point for any kurtosis",
    ),
    (
        random_context_length,
        "fixed_point_inverse",
        lambda: fixed_point.fixed_point_inverse(random_context_length.random_length_law()),
        "fixed point",
    ),
]


@pytest.mark.parametrize(
    "module,function,result,step",
    POLYNOMIAL_RESULTS,
    ids=[f"{name_of(m)}-{f}-{s}" for m, f, _, s in POLYNOMIAL_RESULTS],
)
def test_every_altered_coefficient_is_caught_by_its_step(
    module: Any,
    function: str,
    result: Callable[[], TracePolynomial],
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    altered = list(altered_terms(result()))
    assert altered
    for polynomial in altered:
        assert step in failing(module, monkeypatch, function, polynomial), repr(polynomial)


def test_an_altered_part_of_the_prediction_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    odd, even = layer.odd_and_even(layer.prediction(PromptLaw()))
    for polynomial in altered_terms(odd):
        names = failing(population_loss, monkeypatch, "odd_and_even", (polynomial, even))
        assert "the part of yhat odd in (w, eps)" in names


stationary_system = fixed_point.stationary_system


def for_one_law(given: PromptLaw, altered: fixed_point.StationarySystem) -> Callable[[PromptLaw], Any]:
    """An altered system for one law; other laws (the isotropic one) keep theirs."""
    return lambda law: altered if law == given else stationary_system(law)


@pytest.mark.parametrize("part", ["second_moment", "cross_moment"])
@pytest.mark.parametrize("module", [fixed_point, uniform_covariates], ids=name_of)
def test_an_altered_moment_is_caught(module: Any, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    law = PromptLaw() if module is fixed_point else uniform_covariates.any_kurtosis()
    system = stationary_system(law)
    for polynomial in altered_terms(getattr(system, part)):
        altered = replace(system, **{part: polynomial})
        monkeypatch.setattr(module, "stationary_system", for_one_law(law, altered))
        names = rebuilt(module).failures()
        assert {"gradient of the reduced loss", "second moment of s = (1/N) sum y_i x_i"} & set(names)


@pytest.mark.parametrize("part", ["left", "right"])
@pytest.mark.parametrize(
    "module,step",
    [
        (fixed_point, "the stationary equation divided by the covariance"),
        (uniform_covariates, "fixed point for any kurtosis"),
        (random_context_length, "fixed point"),
    ],
    ids=["fixed_point", "uniform_covariates", "random_context_length"],
)
def test_an_altered_stationary_equation_is_caught(
    module: Any, step: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    law = {
        "fixed_point": PromptLaw(),
        "uniform_covariates": uniform_covariates.any_kurtosis(),
        "random_context_length": random_context_length.random_length_law(),
    }[name_of(module)]
    system = stationary_system(law)
    inverse = fixed_point.fixed_point_inverse(law)
    monkeypatch.setattr(module, "fixed_point_inverse", lambda *_: inverse)
    for polynomial in altered_terms(getattr(system, part)):
        altered = replace(system, **{part: polynomial})
        monkeypatch.setattr(module, "stationary_system", for_one_law(law, altered))
        assert step in rebuilt(module).failures()


@pytest.mark.parametrize(
    "module,function,step",
    [
        (fixed_point, "isotropic_gain", "isotropic case"),
        (random_context_length, "isotropic_gain", "isotropic case"),
        (uniform_covariates, "learning_rate", "learning rate for x ~ U(-a, a)^d"),
        (uniform_covariates, "risk", "risk at that rate"),
    ],
    ids=["fixed_point", "random_context_length", "learning_rate", "risk"],
)
def test_an_altered_scalar_formula_is_caught(
    module: Any, function: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = {fixed_point: PromptLaw(), random_context_length: random_context_length.random_length_law()}
    formula = getattr(module, function)(*([laws[module]] if module in laws else []))
    for symbol in formula.free_symbols:
        altered = formula.subs(symbol, symbol + sp.Rational(1, 7))
        assert step in failing(module, monkeypatch, function, altered), (symbol, altered)


def test_an_altered_limit_and_an_altered_average_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    limit, right = fixed_point.infinite_context_limit, stationary_system(PromptLaw()).right
    monkeypatch.setattr(
        fixed_point,
        "infinite_context_limit",
        lambda polynomial: limit(polynomial) * (2 if polynomial == right else 1),
    )
    assert "infinite context" in rebuilt(fixed_point).failures()
    averaged = population_loss.reduced_loss(random_context_length.random_length_law())
    fixed = population_loss.reduced_loss(PromptLaw())
    for polynomial in altered_terms(averaged):
        with monkeypatch.context() as patch:
            patch.setattr(
                random_context_length,
                "reduced_loss",
                lambda law, p=polynomial: p if law.random_length else fixed,
            )
            assert "the loss averaged over context lengths" in rebuilt(random_context_length).failures()


@pytest.mark.parametrize(
    "law",
    [
        PromptLaw(noise_variance=2 * SIGMA2),
        PromptLaw(task_covariance=PSI * Fraction(9, 10)),
        PromptLaw(covariance=LAMBDA**2),
        PromptLaw(task_covariance=LAMBDA),
    ],
    ids=["noise", "task scale", "covariance", "task covariance"],
)
def test_the_loss_of_another_law_does_not_pass_for_that_of_the_model(law: PromptLaw) -> None:
    assert "the loss on all parameters" in population_loss.derivation.__wrapped__(law).failures()


def test_with_a_kurtosis_the_loss_on_all_parameters_is_no_trace_polynomial() -> None:
    law = PromptLaw(task_covariance=identity(), covariate_cumulants=((4, KAPPA), (6, Fraction(0))))
    with pytest.raises(ValueError, match="not a trace polynomial"):
        population_loss.population_loss(law)


def test_shapes_count_when_a_step_compares_its_sides() -> None:
    def step(left: Any, right: Any) -> bool:
        return Step("s", "l", "r", "l = r", "rule", lambda _: (left, right)).holds_at(0)

    assert step(np.zeros((2, 2)), np.zeros((2, 2)))
    assert not step(np.zeros((2, 2)), 0)
    assert not step(np.zeros((2, 2)), np.zeros((1, 2)))
    assert not step(np.zeros((0,)), 1)
    assert step(Fraction(1, 3), Fraction(2, 6))
    assert not step(Fraction(1, 3), 1 / 3)
    assert not step(2**53 + 1, 2.0**53)  # equal in float64 only


def test_a_proof_in_words_has_no_instance_to_check() -> None:
    words = Step("s", "l", "r", "l = r", "rule", proof="because")
    with pytest.raises(ValueError, match="step 's' is a proof in words; it has no instance to check"):
        words.holds_at(0)


def test_failures_name_the_steps_that_fail_and_text_holds_the_proof() -> None:
    statement = Statement("s", "Title", "a = b", "Text.", (), "", (Source("key", "Thm 1"), Source("ours", "")))
    steps = (
        equality("good", ("1", "1"), number(1), "counting", lambda instance: (1, 1)),
        equality("bad at 1", ("1", "1"), number(1), "counting", lambda instance: (instance, 0)),
        Step("words", "l", "r", "l = r", "rule", proof="because"),
    )
    derivation = Derivation(statement, steps, {}, lambda seed: seed)
    assert derivation.failures() == ["bad at 1"]
    assert derivation.failures([0]) == []
    assert "because" in derivation.to_text()
    assert [str(source) for source in statement.sources] == ["key, Thm 1", "ours"]
    assert statement.uses == ()
    assert [step.proof for step in steps] == ["", "", "because"]


def test_a_derivation_is_written_step_by_step() -> None:
    statement = Statement("s", "Title", "a = b", "Text.", (), "", ())
    steps = (
        equality("two_terms", ("tr(B A)", r"\operatorname{tr}(B A)"), trace(matrix("A") * matrix("B")), "rotation"),
        Step("words", "l", "r", "l = r", "rule", proof="because"),
    )
    derivation = Derivation(statement, steps, {}, lambda seed: seed)
    assert derivation.to_text().splitlines() == [
        "Title",
        "",
        "Text.",
        "",
        "1. two_terms",
        "   tr(B A)",
        "   = tr(A B)",
        "   why: rotation",
        "2. words",
        "   l",
        "   = r",
        "   why: rule",
        "   because",
    ]
    assert derivation.to_latex().splitlines() == [
        r"\begin{enumerate}",
        r"  \item \textbf{two terms.}",
        rf"    \[ \operatorname{{tr}}(B A) = {to_latex(trace(matrix('A') * matrix('B')))} \]",
        r"  \item \textbf{words.}",
        r"    \[ l = r \]",
        r"\end{enumerate}",
    ]


COLD = """
import sys, time
from importlib import import_module
names = "population_loss fixed_point gradient_step uniform_covariates random_context_length".split()
modules = [import_module(f"iclcheck.theory.one_layer.{name}") for name in (*names, "stationarity")]
assert "sympy" not in sys.modules
failures = [m.derivation().failures() for m in modules if hasattr(m, "derivation")]
assert len(failures) == 5 and not any(failures), failures
assert "torch" not in sys.modules
print(time.process_time())
"""


def test_all_derivations_and_their_checks_take_less_than_two_seconds_from_cold() -> None:
    """CPU time of a fresh interpreter, imports included; the median of three runs sheds a noisy one."""
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        times.append(float(done.stdout))
    assert median(times) < 2, times


def test_results_of_another_shape_than_the_derivation_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="need a polynomial P A, got Psi B"):
        fixed_point.factor_before_A(PSI * matrix("B"))
    with pytest.raises(ValueError, match=r"need a polynomial P A, got A\^2"):
        fixed_point.factor_before_A(matrix("A") ** 2)
    with pytest.raises(ValueError, match="need a multiple of the identity, got Psi"):
        fixed_point.coefficient_of_identity(PSI)
    with pytest.raises(ValueError, match="need a polynomial in 1/N for the limit N -> oo"):
        fixed_point.infinite_context_limit(scalar("N") * PSI)
