r"""Formulas in numbers: a quotient of polynomials from a SymPy expression, or a plain function of its arguments.

Main statement
    An expression is brought to numerator/denominator, polynomials in letters. Each symbol is a letter; so is each other
    generator, such as exp(-a t) or sqrt(d). At exact points every such letter has a random rational value of its own:
    two formulas that agree there are equal for all values of all letters. Relations between generators, such as
    exp(2 a) = exp(a)^2, are not used: so equal formulas may count as different, but different ones never as equal, but
    for the chance of [schwartz1980fast].
    A function is altered from outside: in the arguments that it is given, and by a factor.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp

from .alterations import Vocabulary
from .formulas import Formula, SingularSystemError, Values
from .trace_polynomials import TracePolynomial, number, scalar

POINT = "exact point"  # among the values of letters: the name of a point, from which other generators get theirs
LARGEST = 97  # numerators and denominators at exact points: a wrong polynomial of degree k passes one with k/96
DIGITS = 12  # of a function's value that two formulas have to share to be equal


@dataclass(frozen=True)
class ScalarQuotient:
    """The quantity numerator/denominator of a `Formula`, with what its letters stand for.

    letters    name -> SymPy expression in the symbols
    """

    letters: Mapping[str, sp.Expr]

    def __call__(self, parts: Mapping[str, TracePolynomial], values: Values) -> Any:
        used = {name for part in parts.values() for monomial in part.terms for name, _ in monomial.scalars}
        known = {name: self.value_of(self.letters[name], values) for name in used}
        try:
            numerator, *denominator = (value_of_polynomial(part, known) for part in parts.values())
            return numerator / denominator[0] if denominator else numerator
        except ArithmeticError as error:
            raise SingularSystemError(f"it has no value at {shown(values)} ({error})") from None

    def value_of(self, letter: sp.Expr, values: Values) -> Any:
        """The value of one letter: exact at exact points, else in float64."""
        if POINT not in values:
            return float_of(letter, values)
        if letter.is_Symbol:
            return Fraction(values[letter.name])
        if (letter - 1).is_Symbol:  # what a parameter may be mistaken for
            return Fraction(values[(letter - 1).name]) + 1
        return random_rational(f"{values[POINT]}/{letter}")


def value_of_polynomial(polynomial: TracePolynomial, values: Mapping[str, Any]) -> Any:
    """A polynomial without words at numbers; exact at fractions."""
    exact = all(isinstance(value, Fraction) for value in values.values())
    total: Any = Fraction(0)
    for monomial, coefficient in polynomial.terms.items():
        term: Any = coefficient if exact else float(coefficient)
        for name, power in monomial.scalars:
            term = term * values[name] ** power
        total = total + term
    return total


def float_of(expression: sp.Expr, values: Values) -> float:
    """An expression in float64. Raises SingularSystemError where it is no real number."""
    if expression.is_Symbol:
        return float(values[expression.name])
    found = expression.subs({symbol: values[symbol.name] for symbol in expression.free_symbols}).evalf(20)
    if not found.is_number or not found.is_real or not found.is_finite:
        raise SingularSystemError(f"{expression} is no real number at {shown(values)}")
    return float(found)


def shown(values: Values) -> str:
    """Values by name, in words."""
    return ", ".join(f"{name} = {value}" for name, value in values.items() if name != POINT)


def random_rational(name: str) -> Fraction:
    """A positive rational that follows from a name, never 1."""
    draw = random.Random(hashlib.sha256(name.encode()).hexdigest())
    top, bottom = draw.sample(range(2, LARGEST + 1), 2)
    return Fraction(top, bottom)


def exact_points(parameters: Sequence[str], name: str, count: int = 3) -> list[dict[str, Any]]:
    """Random rational values of the parameters, by the name of the point."""
    return [
        {POINT: f"{name}/{k}", **{one: random_rational(f"{name}/{k}/{one}") for one in parameters}}
        for k in range(count)
    ]


def formula_of_expression(expression: sp.Expr, parameters: Sequence[str], name: str = "quantity") -> Formula:
    """A SymPy expression in the named parameters as a formula that can be altered. Raises ValueError.

    name    of the quantity, for the description of what is altered

    >>> N, d = sp.symbols("N d")
    >>> made = formula_of_expression((d + 1) / N, ("N", "d"), "risk")
    >>> {name: repr(part) for name, part in made.parts.items()}
    {'numerator of risk': '1 + d', 'denominator of risk': 'N'}
    >>> float(made.value({"N": 4, "d": 1}))
    0.5
    """
    reduced = sp.cancel(sp.together(sp.nsimplify(expression, rational=True)))
    if reduced.has(sp.zoo, sp.nan, sp.oo):
        raise ValueError(f"{expression} divides by 0")
    pair = sp.fraction(reduced)
    polynomials, letters = [], {name: sp.Symbol(name) for name in parameters}
    for part in pair:
        made, found = polynomial_of(part)
        polynomials.append(made)
        letters |= found
    whole = polynomials[1] == number(1)
    names = (name,) if whole else (f"numerator of {name}", f"denominator of {name}")
    alternatives, further = mistaken_for(letters, parameters)
    quotient = ScalarQuotient({**letters, **further})
    return Formula(dict(zip(names, polynomials, strict=False)), quotient, Vocabulary(alternatives))


def polynomial_of(part: sp.Expr) -> tuple[TracePolynomial, dict[str, sp.Expr]]:
    """A polynomial, and its letters by name."""
    if part.is_Rational:
        return number(Fraction(int(part.p), int(part.q))), {}
    made = sp.Poly(part)
    if not made.domain.is_ZZ and not made.domain.is_QQ:
        raise ValueError(f"{part} is no polynomial with rational coefficients in its letters")
    letters = {str(generator): generator for generator in made.gens}
    total = number(0)
    for powers, coefficient in made.terms():
        term = number(Fraction(int(coefficient.p), int(coefficient.q)))
        for name, power in zip(letters, powers, strict=True):
            term = term * scalar(name) ** power if power else term
        total = total + term
    return total, letters


def mistaken_for(
    letters: Mapping[str, sp.Expr], parameters: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, sp.Expr]]:
    """What may stand in the place of a letter, by name, and the letters that this needs besides.

    A parameter: another one, and one more than it. Another generator: itself at one parameter larger by 1, or doubled.
    """
    found: dict[str, tuple[str, ...]] = {}
    further: dict[str, sp.Expr] = {}
    for name, letter in letters.items():
        if name in parameters:
            further[f"({name} + 1)"] = letter + 1
            found[name] = (*(other for other in parameters if other != name), f"({name} + 1)")
            continue
        moved = [letter.subs(one, to) for one in sorted(letter.free_symbols, key=str) for to in (one + 1, 2 * one)]
        further |= {str(other): other for other in moved}
        found[name] = tuple(str(other) for other in moved)
    return found, further


@dataclass(frozen=True)
class AlteredCall:
    """The quantity factor * function(arguments) of a `Formula`, whose parts are the factor and the numeric arguments.

    names    argument -> part;  factor: the name of that part
    """

    function: Callable[[Mapping[str, Any]], float]
    names: Mapping[str, str]
    factor: str

    def __call__(self, parts: Mapping[str, TracePolynomial], values: Values) -> Any:
        known = {**values, **{f"({name} + 1)": values[name] + 1 for name in self.names}}
        try:
            arguments = {name: plain_number(at_letters(parts[part], known)) for name, part in self.names.items()}
        except ArithmeticError as error:
            raise SingularSystemError(f"it has no value at {shown(values)} ({error})") from None
        found = self.function({**values, **arguments})
        return at_letters(parts[self.factor], known) * Fraction(f"{found:.{DIGITS}g}")


def at_letters(polynomial: TracePolynomial, values: Mapping[str, Any]) -> Any:
    """A polynomial at those of the values that it needs."""
    used = {name for monomial in polynomial.terms for name, _ in monomial.scalars}
    return value_of_polynomial(polynomial, {name: values[name] for name in used})


def plain_number(value: Any) -> int | float:
    """A whole number where it is one."""
    return int(value) if value == int(value) else float(value)


def formula_of_function(
    function: Callable[[Mapping[str, Any]], float], numeric: Sequence[str], name: str = "quantity"
) -> Formula:
    """A function of parameters as a formula: altered in each numeric argument, and by a factor.

    function    raises ValueError where it has no value

    >>> made = formula_of_function(lambda p: p["N"] / 4, ("N",))
    >>> float(made.value({"N": 2}))
    0.5
    """
    factor, arguments = f"factor of {name}", {one: f"argument {one} of {name}" for one in numeric}
    parts = {factor: number(1), **{part: scalar(one) for one, part in arguments.items()}}
    alternatives = {one: (*(other for other in numeric if other != one), f"({one} + 1)") for one in numeric}
    return Formula(parts, AlteredCall(function, arguments, factor), Vocabulary(alternatives))
