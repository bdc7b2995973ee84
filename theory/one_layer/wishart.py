r"""Means of linear statistics of Wishart eigenvalues, by quadrature: E sum_i f(lam_i) for W = X^T X, X Gaussian.

Main statement
    For n x d standard normal X with n >= d the eigenvalues of W have, up to a constant, the density
        prod_{i<j} |lam_i - lam_j| prod_i w(lam_i),   w(t) = t^((n - d - 1)/2) e^(-t/2)
    [muirhead1982aspects, Theorem 3.2.18].
    With psi_i = p_i w for polynomials p_0, .., p_(d-1) of degrees 0, .., d - 1, de Bruijn's formula [debruijn1955some]
    gives E prod_i (1 + c f(lam_i)) = Pf A(c)/Pf A(0) with
        A(c)_ij = int int sgn(y - x) psi_i(x) psi_j(y) (1 + c f(x)) (1 + c f(y)),
    for odd d bordered by int psi_i (1 + c f); so at c = 0
        E sum_i f(lam_i) = 1/2 tr(A^-1 A').
Errors
    The integrals are over s = t^(1/2) from sqrt n - sqrt d - 10, or 0, to sqrt n + sqrt d + 10: a singular value of X
    is a function of Lipschitz constant 1, and is beyond with probability below 2 e^-50. Panels of length 1 resolve the
    psi_i, which are orthonormal. A resolvent (t + lambda)^-r has poles at s = +-i lambda^(1/2), however near to 0: so
    panels halve towards 0 until the last is shorter than lambda^(1/2)/2. Each is then as far from the poles as it is
    long, where 24 nodes of Gauss leave (3 + 8^(1/2))^-48 = 2e-37: what counts is rounding.
    The relative error stays below 1e-12 for d up to 40. Tests: E tr W^-1 = d/(n - d - 1), E tr W = n d and E tr W^2 =
    n d (n + d + 1) up to n = 1e12; resolvents at lambda from 1e-300 to 1e6 against exponential integrals (d = 1) and
    the recursions in many digits of `prompt_risks.wishart_resolvent`, which share de Bruijn's formula and no integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from .assumptions import AssumptionError, FloatArray

LARGEST, MOST_ROWS, SMALLEST_SCALE = 40, 10**12, 1e-300
NODES = 24
REACH = 10.0  # e^(-REACH^2/2) is below rounding


@cache
def unit_panel() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights on [0, 1], and B with (B g)_k = the integral of g from 0 to node k."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    orders = np.arange(NODES)
    values = np.polynomial.legendre.legvander(nodes, NODES)  # P_l at the nodes, one order more than is used
    # the integral of P_l from -1 is (P_(l+1) - P_(l-1))/(2l + 1), for l = 0: 1 + t
    lower = np.concatenate([-np.ones((NODES, 1)), values[:, : NODES - 1]], axis=1)
    integrals = (values[:, 1:] - lower) / (2 * orders + 1)
    coefficients = (values[:, :NODES] * weights[:, None]).T * (2 * orders[:, None] + 1) / 2
    return (nodes + 1) / 2, weights / 2, integrals @ coefficients / 2


@dataclass(frozen=True)
class Grid:
    """Panels of Gauss nodes: nodes and weights (K,), lengths of panels (K/NODES,)."""

    nodes: FloatArray
    weights: FloatArray
    lengths: FloatArray

    def running(self, functions: FloatArray) -> FloatArray:
        """The integrals of functions (d, K) from the lower end to every node."""
        _, weights, B = unit_panel()
        by_panel = functions.reshape(len(functions), -1, NODES)
        whole = by_panel @ weights * self.lengths
        before = np.cumsum(whole, axis=1) - whole
        inside = by_panel @ B.T * self.lengths[:, None]
        found: FloatArray = (before[:, :, None] + inside).reshape(functions.shape)
        return found


def graded_grid(n: int, d: int, scale: float) -> Grid:
    """Panels of at most 1 over the singular values of an n x d matrix, halving towards 0 where 0 is among them."""
    low = max(0.0, math.sqrt(n) - math.sqrt(d) - REACH)
    high = math.sqrt(n) + math.sqrt(d) + REACH
    ends = np.linspace(low, high, math.ceil(high - low) + 1)
    if low == 0:
        halvings = max(0, math.ceil(math.log2(2 * ends[1]) - math.log2(scale) / 2))
        ends = np.concatenate([[0.0], ends[1] * 0.5 ** np.arange(halvings, 0, -1), ends[1:]])
    nodes, weights, _ = unit_panel()
    lengths = np.diff(ends)
    return Grid(
        (ends[:-1, None] + lengths[:, None] * nodes).ravel(), (lengths[:, None] * weights).ravel(), lengths
    )  # fmt: skip


def singular_value_weight(s: FloatArray, power: int) -> FloatArray:
    """s^power e^(-s^2/2) over its largest value on the nodes: psi dt = p w 2 s ds, and w(s^2) s has power n - d."""
    if not power:
        return np.exp(-s * s / 2)
    mode = math.sqrt(power)
    u = (s - mode) / mode
    # near the mode of a long prompt both terms are large: s/mode is rounded, the difference to 1 is not
    logarithm = np.where(np.abs(u) < 0.5, np.log1p(np.maximum(u, -0.5)), np.log(s / mode))
    exponent = power * logarithm - (s - mode) * (s + mode) / 2
    found: FloatArray = np.exp(exponent - exponent.max())
    return found


def orthonormal(points: FloatArray, measure: FloatArray, count: int) -> FloatArray:
    """Polynomials of degrees 0 .. count - 1 in the points, orthonormal for the measure: (count, K), Stieltjes."""
    rows = [np.full_like(points, 1 / math.sqrt(measure.sum()))]
    previous, beta = np.zeros_like(points), 0.0
    for _ in range(count - 1):
        last = rows[-1]
        alpha = float(measure @ (points * last * last))
        new = (points - alpha) * last - beta * previous
        beta = math.sqrt(float(measure @ (new * new)))
        previous = last
        rows.append(new / beta)
    return np.array(rows)


def mean_over_eigenvalues(
    rows: int, columns: int, function: Callable[[FloatArray], FloatArray], scale: float = 1.0
) -> float:
    """E sum_i f(lam_i) over the min(rows, columns) positive eigenvalues of X^T X, X (rows, columns) standard normal.

    f: vectorised, analytic but for poles at -scale or further below 0. Raises AssumptionError above LARGEST for the
    smaller side and MOST_ROWS for the larger one, below SMALLEST_SCALE, and where f is no finite number.

    >>> round(mean_over_eigenvalues(7, 3, lambda t: t), 9)  # E tr W = n d
    21.0
    """
    n, d = max(rows, columns), min(rows, columns)
    check_range(n, d, scale)
    grid = graded_grid(n, d, scale)
    s = grid.nodes
    density = singular_value_weight(s, n - d)
    psi = orthonormal(s * s, grid.weights * density**2, d) * density
    return skew_quotient(psi, finite_values(function, s * s), grid)


def check_range(n: int, d: int, scale: float) -> None:
    """Refuse what the tests of the errors above do not cover."""
    if d > LARGEST:
        raise AssumptionError(
            f"the mean over Wishart eigenvalues is evaluated up to {LARGEST} of them, got {d}; lower the dimension or "
            "the number of examples"
        )
    if n > MOST_ROWS:
        raise AssumptionError(
            f"the mean over Wishart eigenvalues is evaluated up to {MOST_ROWS:.0e} examples or dimensions, got "
            f"{n:.3g}; lower it"
        )
    if scale < SMALLEST_SCALE:
        raise AssumptionError(
            f"the mean over Wishart eigenvalues needs a penalty of 0 or at least {SMALLEST_SCALE:g}, got {scale:g}; "
            "give another one"
        )


def finite_values(function: Callable[[FloatArray], FloatArray], points: FloatArray) -> FloatArray:
    """f at the points. Raises AssumptionError where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.asarray(function(points))
    if not np.isfinite(found).all():
        raise AssumptionError(
            "the mean over Wishart eigenvalues needs values below 1e308 at every eigenvalue; give sizes nearer to 1"
        )
    return found


def skew_quotient(psi: FloatArray, f: FloatArray, grid: Grid) -> float:
    """1/2 tr(A^-1 A') for the functions psi (d, K) at the nodes."""
    weights = grid.weights

    def signed(left: FloatArray, right: FloatArray) -> FloatArray:
        """int int sgn(y - x) left_i(x) right_j(y)."""
        found: FloatArray = (2 * grid.running(left) - (left @ weights)[:, None]) @ (right * weights).T
        return found

    pairs, slope = signed(psi, psi), signed(psi * f, psi) + signed(psi, psi * f)
    if len(psi) % 2:
        edge, edge_slope = psi @ weights, (psi * f) @ weights
        pairs, slope = bordered(pairs, edge), bordered(slope, edge_slope)
    return float(np.trace(np.linalg.solve(pairs, slope))) / 2


def bordered(skew: FloatArray, edge: FloatArray) -> FloatArray:
    """[[skew, edge], [-edge^T, 0]]."""
    return np.block([[skew, edge[:, None]], [-edge[None, :], np.zeros((1, 1))]])
