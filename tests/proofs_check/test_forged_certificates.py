"""Forms that are false and made to pass: each vanishes where a careless engine looks, or means something else to it.

Every one is refused at its step; what would take an engine minutes is refused before any arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from iclcheck.proofs_check.certificates.certificate import AlteredError, sealed, to_bytes
from iclcheck.proofs_check.certificates.examining import StepRefusedError, examine, recheck
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.certificates.making import certify, engine_code, engines_behind
from iclcheck.proofs_check.claims.registry import all_claims

Forms = dict[str, dict[str, Any]]
LOSS = ("population-loss", "the loss on all parameters", "right")
MINIMUM = ("fixed-point", "the loss at the fixed point", "right")
PREDICTION = ("population-loss", "the layer's prediction", "right")
STEP = ("preconditioned-gradient-step", "layer = one preconditioned step", "step")
SLOPE = ("preconditioned-gradient-step", "gradient of the in-context risk at 0", "right")
GAIN = ("fixed-point", "isotropic case", "gain")
LIMIT = ("fixed-point", "infinite context", "limit")
RIDGE = ("fixed-point", "effective ridge", "ridge")
RATE = ("uniform-covariates", "learning rate for x ~ U(-a, a)^d", "rate")
UNIFORM_RISK = ("uniform-covariates", "risk at that rate", "risk")
LEAST = ("fixed-point-any-start", "its least value")
DISCRIMINANT = ("fixed-point-any-start", "local minimum or saddle", "discriminant")
TRAINED = ("test-risk", "labels of any law, at the trained layer (Psi = I, sigma = 0)", "right")
AVERAGED = ("random-context-length", "the loss averaged over context lengths", "averaged")
NOISELESS_RISK = ("mixture-noiseless-limit", "risk on dense functions", "risk")
BEST_RATE = ("baseline-risks", "best rate", "rate")
LEAST_RISK = ("baseline-risks", "best rate", "least")
SPECTRAL_RISK = ("ridge-risk", "risk given the spectrum", "risk")
TABLE_ENTRY = ("ridge-risk", "table without penalty", "S01")
FEW_EIGENVALUES = ("ridge-risk", "few eigenvalues", "1 of 4")
RISK_OF_NOISE = ("out-of-distribution", "the part of the noise", "noise")
RISK_OF_FUNCTION = ("out-of-distribution", "the part of the function", "bias")
BAYES_RISK = ("out-of-distribution", "dense prompts", "bayes")
EXCESS_RISK = ("out-of-distribution", "sparse prompts", "excess")


def coefficients(roots: list[int]) -> list[int]:
    """Those of prod (x - root), ascending."""
    found = [1]
    for root in roots:
        below = [0, *found]
        found = [low - root * high for low, high in zip(below, [*found, 0], strict=True)]
    return found


def number(terms: list[Any]) -> dict[str, Any]:
    return {"rows": "1", "cols": "1", "terms": terms}


def above(form: dict[str, Any], *terms: Any) -> dict[str, Any]:
    """A quotient with terms added to its numerator."""
    return {**form, "numerator": plus(form["numerator"], *terms)}


def plus(form: dict[str, Any], *terms: Any) -> dict[str, Any]:
    return {**form, "terms": [*form["terms"], *terms]}


def times(form: dict[str, Any], factor: list[Any]) -> dict[str, Any]:
    """A scalar polynomial times another, given by its terms (coefficient, powers)."""
    terms: dict[tuple[Any, ...], int] = {}
    for coefficient, powers, _, _ in form["terms"]:
        for value, others in factor:
            merged = {s: powers.get(s, 0) + others.get(s, 0) for s in {*powers, *others}}
            key = tuple(sorted((s, p) for s, p in merged.items() if p))
            terms[key] = terms.get(key, 0) + int(coefficient) * value
    return number([[str(value), dict(key), [], []] for key, value in terms.items() if value])


def both(form: dict[str, Any], factor: list[Any]) -> dict[str, Any]:
    """A quotient with numerator and denominator multiplied."""
    return {name: times(part, factor) for name, part in form.items()}


def polynomial_in(word: list[str], roots: list[int], powers: dict[str, int]) -> Iterator[Any]:
    """Terms of prod (tr(word) - root) times the powers."""
    for n, value in enumerate(coefficients(roots)):
        yield [str(value), powers, [word] * n, []]


def in_powers(symbol: str, roots: list[int], shift: int, powers: dict[str, int]) -> Iterator[Any]:
    """Terms of symbol^-shift prod (symbol - root) times the powers."""
    for n, value in enumerate(coefficients(roots)):
        yield [str(value), {**powers, **({symbol: n - shift} if n != shift else {})}, [], []]


ZERO = {
    "numerator": number([["1", {"N": 1}, [], []], ["-1", {"N": 1}, [], []]]),
    "denominator": number([["0", {}, [], []]]),
}


def hidden_dimension(tested: int, word: list[str]) -> Iterator[Any]:
    """Terms of (d - tested) tr(word): d = tr(R K R K)/N^2 + 2 tr(R Lambda) - tr(R Lambda R Lambda), R = Gamma^-1."""
    R, by = "Gamma^-1", [word] if word else []
    power = {"M": -1} if word else {}
    yield ["1", {"N": -2, **power}, [["K", R, "K", R], *by], []]
    yield ["2", power, [["Lambda", R], *by], []]
    yield ["-1", power, [["Lambda", R, "Lambda", R], *by], []]
    yield [str(-tested), power, by, []]


THIRD = [(1, 1, 1, 1), (-3, 1, 2), (2, 3)]  # 6 e_3 in power sums
FOURTH = [(1, 1, 1, 1, 1), (-6, 1, 1, 2), (3, 2, 2), (8, 1, 3), (-6, 4)]  # 24 e_4


def symmetric(sums: list[Any], powers: dict[str, int]) -> Iterator[Any]:
    """Terms of products of traces tr(P^k) times the powers; each sum is a coefficient and its k."""
    for value, *sizes in sums:
        yield [str(value), powers, [["P"] * k for k in sizes], []]


def fourth(powers: dict[str, int]) -> Iterator[Any]:
    """Terms of 24 e_4 of the eigenvalues of P: zero below four dimensions."""
    return symmetric(FOURTH, powers)


Forgery = Callable[[Any], Any]
FORGERIES: list[tuple[str, tuple[str, ...], Forgery]] = [
    ("the identity as a letter", LOSS, lambda f: plus(f, *polynomial_in(["I"], [1, 2, 3, 4, 6], {"sigma2": 1}))),
    ("the dimension as a letter", LOSS, lambda f: plus(f, *polynomial_in(["d"], [1, 2, 3, 4, 6], {"sigma2": 1}))),
    ("the same in min L", MINIMUM, lambda f: plus(f, *polynomial_in(["I"], [1, 2, 3, 4, 7], {"sigma2": 1}))),
    ("the same in the averaged loss", AVERAGED, lambda f: plus(f, *polynomial_in(["I"], [1, 2, 3, 4, 6], {"m1": 1}))),
    ("powers of d", LOSS, lambda f: plus(f, *in_powers("d", [1, 2, 3, 4, 6], 0, {"sigma2": 1}))),
    ("lengths 1 to 4", STEP, lambda f: plus(f, *in_powers("N", [1, 2, 3, 4], 0, {"u": 1}))),
    ("lengths 1 to 6", PREDICTION, lambda f: plus(f, *in_powers("N", [1, 2, 3, 4, 5, 6], 3, {"u": 1}))),
    ("a symbol called 1/N", PREDICTION, lambda f: plus(f, ["1", {"u": 1, "1/N": 1}, [], []])),
    ("another sample", SLOPE, lambda f: {**f, "terms": [["-1", {"N": -1}, [["y[1]"]], ["x[2]"]]]}),
    ("the direction in the gradient", SLOPE, lambda f: plus(
        f, ["1", {"N": -1}, [["x[1]^T", "beta"]], ["x_q"]], ["-1", {"N": -1}, [["x_q^T", "beta"]], ["x[1]"]])),
    ("0/0", GAIN, lambda f: ZERO),
    ("a denominator with a zero", GAIN, lambda f: both(f, [(1, {"d": 1}), (-5, {})])),
    ("a zero at N = 3", RATE, lambda f: both(f, [(1, {"N": 1}), (-3, {})])),
    ("0/0 in the risk", UNIFORM_RISK, lambda f: ZERO),
    ("a zero at N = 2", DISCRIMINANT, lambda f: both(f, [(1, {"N": 1}), (-2, {})])),
    ("another open word", RIDGE, lambda f: {**f, "terms": [[*term[:3], ["sigma2"]] for term in f["terms"]]}),
    ("a vector and its inverse", LIMIT, lambda f: plus(f, ["7", {}, [], ["w", "w^-1"]], ["-7", {}, [], []])),
    ("a number and its inverse as a loop", LIMIT, lambda f: plus(f, ["1", {}, [["sigma2", "sigma2^-1"]], []])),
    ("unknowns in M", (*LEAST, "M"), lambda f: plus(f, ["1", {}, [], ["u12", "u21^T"]])),
    ("unknowns in C", (*LEAST, "C"), lambda f: plus(f, ["1", {}, [], ["Lambda", "Psi", "B"]])),
    ("an antisymmetric part", (*LEAST, "M"), lambda f: plus(
        f, ["1", {}, [], ["Lambda", "Psi"]], ["-1", {}, [], ["Psi", "Lambda"]])),
    ("a huge exponent", LOSS, lambda f: {**f, "terms": [["1e999999999", {}, [], []], *f["terms"][1:]]}),
    ("a tiny exponent", LOSS, lambda f: {**f, "terms": [["1e-99999999", {}, [], []], *f["terms"][1:]]}),
    ("a long word", LOSS, lambda f: plus(f, ["0", {}, [["U"] * 40], []])),
    ("many loops", LOSS, lambda f: plus(f, ["1", {}, [["U"]] * 300, []])),
    ("a high power of d", LOSS, lambda f: plus(f, ["1", {"d": 64}, [], []], ["-1", {"d": 64}, [], []])),
    ("powers of d to make it slow", GAIN, lambda f: both(f, [(1, {"d": 5})])),
    ("a high power in a quotient", GAIN, lambda f: both(f, [(1, {"d": 60})])),
    ("a matrix as a symbol", LOSS, lambda f: plus(f, ["1", {"Lambda": 1}, [], []])),
    ("no terms", LOSS, lambda f: {**f, "terms": []}),
    ("a term that is 0", LOSS, lambda f: plus(f, ["0", {}, [["U", "Lambda"]], []])),
    ("words of 12 letters", LOSS, lambda f: plus(f, *[["1", {}, [["U", "Lambda", "Psi"] * 4], []]] * 50)),
    ("words of 9 letters in a matrix", (*LEAST, "M"), lambda f: plus(f, ["1", {}, [], ["Lambda", "Psi"] * 4])),
    ("d without its symbol", TRAINED, lambda f: plus(f, *hidden_dimension(7, []))),
    ("d without its symbol, times a word", TRAINED, lambda f: plus(
        f, *hidden_dimension(8, ["Gamma^-1", "Lambda", "Gamma^-1", "Sig"]))),
    ("a quotient of matrices", GAIN, lambda f: {**f, "denominator": {**f["denominator"], "rows": "d", "cols": "d"}}),
    ("a name that is no text", LOSS, lambda f: plus(f, ["1", {"m\ud800": 1}, [], []])),
    ("a name that clears the screen", LOSS, lambda f: plus(f, ["1", {"\x1b[2J": 1}, [], []])),
    ("one and two examples", NOISELESS_RISK, lambda f: above(f, *in_powers("N", [1, 2], 0, {"v_d": 1}))),
    ("lengths 1 to 8", BEST_RATE, lambda f: above(f, *in_powers("N", [*range(1, 9)], 0, {"W": 1}))),
    ("lengths 1 to 8 in the risk", LEAST_RISK, lambda f: above(f, *in_powers("N", [*range(1, 9)], 0, {"W": 1}))),
    ("one and two dimensions", SPECTRAL_RISK, lambda f: plus(f, *[
        [str(sign * value), {"T1": 1, "sigma2": 1, **more, **by}, [], []]
        for sign, more in ((1, {"T2": 1}), (-1, {})) for value, by in ((1, {}), (-2, {"d": -1}))])),
    ("odd D to 27", TABLE_ENTRY, lambda f: above(f, *in_powers("D", [*range(1, 28, 2)], 12, {}))),
    ("an integral's reciprocal", FEW_EIGENVALUES, lambda f: {**f, "numerator": number([
        [value, powers or {"K": -1}, *words] for value, powers, *words in f["numerator"]["terms"]])}),
    ("four eigenvalues", RISK_OF_NOISE, lambda f: plus(f, *fourth({"sigma2": 1}))),
    ("four eigenvalues in the bias", RISK_OF_FUNCTION, lambda f: plus(f, *fourth({"W": 1, "c": 1, "kappa": 2}))),
    ("four eigenvalues on dense prompts", BAYES_RISK, lambda f: plus(f, *fourth({"c": 1, "kappa": 1, "v": 1}))),
    ("four eigenvalues in the excess", EXCESS_RISK, lambda f: plus(f, *fourth({"c": 1, "kappa": 2, "v": 1}))),
    ("three eigenvalues, or three dimensions", EXCESS_RISK, lambda f: plus(
        f, *symmetric(THIRD, {"c": 1, "kappa": 2, "v": 1, "d": 1}),
        *symmetric([(-3 * value, *sizes) for value, *sizes in THIRD], {"c": 1, "kappa": 2, "v": 1}))),
]  # fmt: skip


def forms(claim: str) -> Forms:
    return deepcopy(forms_of(all_claims()[claim].derivation()))


@pytest.mark.parametrize(("place", "forge"), [one[1:] for one in FORGERIES], ids=[one[0] for one in FORGERIES])
def test_a_forged_form_is_refused_at_its_step_and_soon(place: tuple[str, str, str], forge: Forgery) -> None:
    claim, step, name = place
    forged = forms(claim)
    forged[step][name] = forge(forged[step][name])
    start = time.process_time()
    with pytest.raises(StepRefusedError) as refusal:
        examine(claim, forged, "seed")
    assert refusal.value.step == step
    assert time.process_time() - start < 10  # a whole certificate takes 2; a flood would take minutes


def test_the_same_change_in_two_forms_is_refused() -> None:
    """M and C of the completed square moved together: the square in A of rank one alone would not see it."""
    forged = forms("fixed-point-any-start")
    least = forged["its least value"]
    least["M"] = plus(least["M"], ["1", {}, [], ["Lambda"]])
    least["C"] = plus(least["C"], ["1/2", {}, [], ["Lambda", "u12", "u21^T"]])
    with pytest.raises(StepRefusedError, match="its least value"):
        examine("fixed-point-any-start", forged, "seed")


MALFORMED: dict[str, Callable[[dict[str, Any]], None]] = {
    "a list as claim": lambda c: c.update(claim=[]),
    "no steps": lambda c: c.pop("steps"),
    "steps of numbers": lambda c: c.update(steps=[1, 2]),
    "a step without name": lambda c: c["steps"][0].update(step=None),
    "forms in a list": lambda c: c["steps"][0].update(forms=[]),
    "checks of text": lambda c: c["steps"][0].update(checks=["fine"]),
    "a step twice": lambda c: c["steps"].append(c["steps"][0]),
    "versions in a list": lambda c: c.update(made_with=[]),
    "true for 1": lambda c: c.update(version=True),
    "evidence 6.0 for 6": lambda c: c["steps"][0]["checks"][0]["evidence"].update(pairs_of_legs_at_most=6.0),
    "another order": lambda c: c.update(claim=c.pop("claim")),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_malformed_certificates_are_refused_and_certify_nothing(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    claim = "random-context-length"
    derivation = all_claims()[claim].derivation()
    content = deepcopy({k: v for k, v in certify(derivation).items() if k != "sha256"})
    change(content)
    file = tmp_path / f"{claim}.json"
    file.write_bytes(to_bytes(sealed(content)))
    with pytest.raises(AlteredError):
        recheck(file)
    stub = {"format": "iclcheck certificate", "code": engine_code()}
    file.write_bytes(to_bytes(sealed(stub)))
    assert engines_behind(derivation, tmp_path) == ()
