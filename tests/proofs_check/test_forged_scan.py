"""Forms of scan and snap that are false and vanish where a careless certificate looks: at a few whole numbers."""

from copy import deepcopy
from typing import Any

import pytest
import sympy as sp

from iclcheck.proofs_check.certificates.examining import StepRefusedError, examine
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.claims.registry import all_claims

K, k, h, x = sp.symbols("K k h x")
BOTTOM = 2 * k + 1


def solved(recursion: Any, starts: list[tuple[Any, Any]]) -> sp.Expr:
    """A polynomial in k and x that obeys a linear recursion, given by what has to vanish, and is 0 at the starts."""
    unknown = sp.symbols("c0:10")
    ansatz = sum(c * k**i * x**j for c, (i, j) in zip(unknown, [(i, j) for i in range(5) for j in (0, 1)], strict=True))
    equations = sp.Poly(sp.expand(recursion(ansatz)), k, x).coeffs() + [ansatz.subs({k: at, x: y}) for at, y in starts]
    (solution,) = sp.solve(equations, unknown, dict=True)
    return sp.factor(ansatz.subs(solution))


def moved(expression: sp.Expr, steps: int) -> sp.Expr:
    return expression.subs({k: k + steps, x: x * (1 - h) ** steps}, simultaneous=True)


def moves_over_a_bottom() -> tuple[sp.Expr, sp.Expr]:
    """N/BOTTOM and A/BOTTOM, N and A with the recursions that the moves have where no denominator depends on k."""
    decoder = solved(lambda N: (moved(N, 1) - N) * h - (1 - x * (1 - h)) * BOTTOM, [(0, 1)])
    attention = solved(
        lambda A: moved(A, 2) - moved(A, 1) * (2 - h) + A * (1 - h) - moved(decoder, 1), [(0, 1), (1, 1 - h)]
    )
    return decoder / BOTTOM, attention / BOTTOM


FORGERIES: dict[str, tuple[str, str, str, Any]] = {
    "the order for K = 2 and 3 alone": ("snap", "late times", "power", lambda f: f + (K - 2) * (K - 3)),
    "the exponent for K = 2 and 3 alone": ("snap", "late times", "exponent", lambda f: f + (K - 2) * (K - 3)),
    "a coefficient at p = 2 and 5 alone": (
        "snap", "late times", "coefficient", lambda f: f * (1 + (sp.Symbol("p") - 2) * (sp.Symbol("p") - 5)),
    ),
    "a common token of 2 to 5 classes alone": (
        "audit-snap-common-token", "the layer", "ratio", lambda f: f + (K - 2) * (K - 3) * (K - 4) * (K - 5),
    ),
}  # fmt: skip


def as_form(expression: sp.Expr) -> dict[str, Any]:
    """Numerator and denominator as a certificate has them."""
    letters = sorted(expression.free_symbols, key=str)
    return {
        name: {
            "rows": "1", "cols": "1", "terms": [
                [str(c), {str(s): int(e) for s, e in zip(letters, powers, strict=True) if e}, [], []]
                for powers, c in sp.Poly(part, *letters).terms()
            ],
        }
        for name, part in zip(("numerator", "denominator"), sp.fraction(sp.cancel(expression)), strict=True)
    }  # fmt: skip


def plain(expression: sp.Expr) -> sp.Expr:
    """The letters without assumptions."""
    return expression.subs({symbol: sp.Symbol(symbol.name) for symbol in expression.free_symbols})


@pytest.mark.parametrize(("claim", "step", "name", "forge"), FORGERIES.values(), ids=FORGERIES)
def test_a_form_that_is_right_at_a_few_sizes_is_refused(claim: str, step: str, name: str, forge: Any) -> None:
    derivation = all_claims()[claim].derivation()
    (original,) = [one.forms[name] for one in derivation.steps if one.name == step]
    forged = deepcopy(forms_of(derivation))
    assert forged[step][name].keys() == {"numerator", "denominator"}
    forged[step][name] = as_form(plain(original))
    examine(claim, forged, "seed")  # written anew and not changed, it passes
    forged[step][name] = as_form(sp.sympify(forge(plain(original))))
    with pytest.raises(StepRefusedError) as refusal:
        examine(claim, forged, "seed")
    assert refusal.value.step == step


def test_moves_of_momentum_over_a_denominator_that_moves_are_refused() -> None:
    forged = deepcopy(forms_of(all_claims()["scan-trained"].derivation()))
    for name, form in zip(("decoder", "attention"), moves_over_a_bottom(), strict=True):
        forged["steps with momentum"][name] = as_form(form)
    with pytest.raises(StepRefusedError, match="steps with momentum"):
        examine("scan-trained", forged, "seed")
