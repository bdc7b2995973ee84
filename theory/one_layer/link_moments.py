r"""Moments of labels y = phi(w.x) + eps: what a link function phi leaves of the second moments that a layer sees.

Main statements
    powers     P = E m m^T with m = E[x y | w], Q = E y^2 x x^T and E g^2 for g = w.x or (w.x)^3, any Lambda, Psi and
               sigma^2, by Isserlis' theorem; of ReLU by folding the signs of x
    links      alpha = E |m|^2, beta = E y^2 |x|^2 and tau = E g^2 at Lambda = I, w ~ N(0, I) or uniform on the unit
               sphere, by integration: given |w| = r, m is along w with length E phi(rz) z
    networks   g(x) = sum_h a_h ReLU(w_h.x)/sqrt(H) with independent a_h of mean 0 and variance 1 has the moments of one
               ReLU: its second moments E g(x) g(x') are the mean over one unit
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..algebra.component_moments import ComponentPolynomial, constant, gaussian_moment, mean, variable
from ..algebra.gaussian_moments import RandomVector, expectation
from ..algebra.trace_polynomials import TracePolynomial
from ..symbols import LAMBDA, PSI, SIGMA2, W, X
from .enumeration import Instance

if TYPE_CHECKING:
    import sympy as sp


@cache
def power_moments(power: int) -> tuple[TracePolynomial, TracePolynomial, TracePolynomial]:
    """(P, Q - sigma^2 Lambda, tau) for y = (w.x)^power + eps, x ~ N(0, Lambda), w ~ N(0, Psi), by Isserlis' theorem."""
    g = W.T * X
    for _ in range(power - 1):
        g = g * (W.T * X)
    covariates, tasks = RandomVector("x", LAMBDA), RandomVector("w", PSI)
    m = expectation(g * X, [covariates])
    return (
        expectation(m * m.T, [tasks]),
        expectation(expectation(g * g * X * X.T, [covariates]), [tasks]),
        expectation(expectation(g * g, [covariates]), [tasks]),
    )


@cache
def moments_for(link: str) -> tuple[TracePolynomial, TracePolynomial, TracePolynomial]:
    """(P, Q, tau) for any Lambda, Psi and sigma^2.

    ReLU(t) - ReLU(-t) = t and ReLU(t)^2 + ReLU(-t)^2 = t^2: folding the signs of x gives m = 1/2 E x (w.x), and half of
    the means of the squares.
    """
    P_link, Q_link, tau = power_moments(3 if link == "cubic" else 1)
    if link == "relu":
        P_link, Q_link, tau = P_link / 4, Q_link / 2, tau / 2
    return P_link, Q_link + SIGMA2 * LAMBDA, tau


def cubic_moments() -> tuple[TracePolynomial, TracePolynomial]:
    """(P, Q) of the cubic link."""
    P_link, Q_link, _ = moments_for("cubic")
    return P_link, Q_link


# Moments by integration


@dataclass(frozen=True)
class Link:
    """phi on both half-lines as text in t, and whether -phi(t) = phi(-t)."""

    upper: str
    lower: str

    def parts(self, t: sp.Symbol) -> tuple[sp.Expr, sp.Expr]:
        """(phi(t), phi(-t)) for t > 0."""
        import sympy as sp

        upper, lower = (sp.sympify(text, locals={"t": t}) for text in (self.upper, self.lower))
        return upper, lower.subs(t, -t)


LINKS = {
    "linear": Link("t", "t"),
    "relu": Link("t", "0"),
    "cubic": Link("t**3", "t**3"),
    "sine": Link("sin(t)", "sin(t)"),
    "sign": Link("1", "-1"),
}
NETWORK = "relu-network"  # sum_h a_h ReLU(w_h.x)/sqrt(H), a_h of mean 0 and variance 1: the moments of one ReLU
TASK_LAWS = ("gaussian", "sphere")


def half_line_mean(expression: sp.Expr, z: sp.Symbol) -> sp.Expr:
    """The integral of expression times the standard normal density over z > 0."""
    import sympy as sp

    density = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    return sp.integrate(sp.expand(expression * density), (z, 0, sp.oo))


@cache
def moments_at_length(link: str) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """(E phi(rz) z, E phi(rz)^2, E phi(rz)^2 z^2) for z ~ N(0, 1) and |w| = r."""
    import sympy as sp

    z, r, t = (sp.Symbol(name, positive=True) for name in ("z", "r", "t"))
    upper, lower = (part.subs(t, r * z) for part in LINKS[link].parts(t))
    sides = ((upper, 1), (lower, -1))
    powers = ((1, 1), (2, 0), (2, 2))
    found = [sum(half_line_mean(phi**k * (sign * z) ** j, z) for phi, sign in sides) for k, j in powers]
    first, second, fourth = (sp.simplify(value.rewrite(sp.exp)) for value in found)
    return first, second, fourth


def over_gaussian_length(expression: sp.Expr) -> sp.Expr:
    """E over r = |w|, w ~ N(0, I_d), of a sum of terms c r^k exp(-t r^2): r has the density of sqrt(chi^2_d)."""
    import sympy as sp

    r, d = sp.Symbol("r", positive=True), sp.Symbol("d", positive=True)
    total = sp.Integer(0)
    for term in sp.Add.make_args(sp.expand(expression)):
        number, rest = term.as_independent(r)
        k = sp.degree(rest.subs({f: 1 for f in rest.atoms(sp.exp)}), r)
        exponents = [sp.log(f).expand(force=True) for f in rest.atoms(sp.exp)]
        t = sp.simplify(-sum(exponents) / r**2)
        total += number * radial_mean(int(k), t, d)
    return sp.factor(total)


def radial_mean(k: int, t: sp.Expr, d: sp.Symbol) -> sp.Expr:
    """E r^k exp(-t r^2) for r^2 ~ chi^2_d, from the integral of r^(d-1+k) exp(-(t + 1/2) r^2)."""
    import sympy as sp

    r, b, p = (sp.Symbol(name, positive=True) for name in ("r", "b", "p"))
    integral = sp.integrate(r ** (p - 1) * sp.exp(-b * r**2), (r, 0, sp.oo))
    top, bottom = integral.subs({p: d + k, b: t + sp.Rational(1, 2)}), integral.subs({p: d, b: sp.Rational(1, 2)})
    return sp.simplify(sp.gammasimp(top / bottom))


@dataclass(frozen=True)
class LinkMoments:
    """alpha = E |m|^2, beta = E y^2 |x|^2 and tau = E g^2 as SymPy expressions in d and sigma2."""

    alpha: sp.Expr
    beta: sp.Expr
    tau: sp.Expr


@cache
def link_moments(link: str, task_law: str = "gaussian") -> LinkMoments:
    """The moments for y = phi(w.x) + eps, x ~ N(0, I), w ~ N(0, I) or uniform on the unit sphere.

    Given |w| = r, m is along w with length E phi(rz) z, and |x|^2 = z^2 + d - 1 other squares of mean 1.

    >>> link_moments("relu").alpha, link_moments("relu").beta
    (d/4, d*(d + 2*sigma2 + 2)/2)
    """
    import sympy as sp

    d, r, sigma2 = sp.Symbol("d", positive=True), sp.Symbol("r", positive=True), sp.Symbol("sigma2", positive=True)
    first, second, fourth = moments_at_length("relu" if link == NETWORK else link)
    at_length = (first**2, fourth + (d - 1) * second, second)
    if task_law == "sphere":
        alpha, beta, tau = (value.subs(r, 1) for value in at_length)
    else:
        alpha, beta, tau = (over_gaussian_length(value) for value in at_length)
    return LinkMoments(sp.factor(alpha), sp.factor(beta + d * sigma2), sp.factor(tau))


# Power links in components


def component_moments(power: int, d: int, noise_root: int) -> tuple[Fraction, Fraction, Fraction]:
    """(alpha, beta, tau) for y = (w.x)^power + eps with Lambda = Psi = I, from components."""
    z = [variable(k) for k in range(3 * d + 1)]
    w, x, other = z[:d], z[d : 2 * d], z[2 * d : 3 * d]
    first, second = (dotted(w, x), dotted(w, other))
    g, h = raised(first, power), raised(second, power)
    y = g + z[3 * d] * noise_root
    means = (g * h * dotted(x, other), y * y * dotted(x, x), g * g)
    alpha, beta, tau = (mean(value, lambda _, order: gaussian_moment(order)) for value in means)
    return alpha, beta, tau


def dotted(a: list[ComponentPolynomial], b: list[ComponentPolynomial]) -> ComponentPolynomial:
    total = constant(0)
    for p, q in zip(a, b, strict=True):
        total = total + p * q
    return total


def raised(value: ComponentPolynomial, power: int) -> ComponentPolynomial:
    result = value
    for _ in range(power - 1):
        result = result * value
    return result


def cubic_traces(given: Instance) -> list[Fraction]:
    """E y y' x.x' = tr P and E y^2 |x|^2 = tr Q of cubic labels, from components."""
    d, z = given.dimension, [variable(k) for k in range(3 * given.dimension + 1)]
    w = list(given.task_root @ np.array(z[:d], dtype=object))
    x, other = (list(given.covariance_root @ np.array(z[k : k + d], dtype=object)) for k in (d, 2 * d))
    g, h = raised(dotted(w, x), 3), raised(dotted(w, other), 3)
    y = g + z[3 * d] * given.noise_root
    products = (g * h * dotted(x, other), y * y * dotted(x, x))
    return [mean(value, lambda _, order: gaussian_moment(order)) for value in products]
