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
    The integrals are spectral in s = t^(1/2) on [0, sqrt n + sqrt d + 9], beyond which the density is below 1e-17:
    smooth integrands, and p_i such that the psi_i are orthonormal. Against E tr W^-1 = d/(n - d - 1), E tr W = n d and
    E tr W^2 = n d (n + d + 1) the relative error stays below 1e-11 (tests, up to d = 40 and n = 10000).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .assumptions import AssumptionError, FloatArray

LARGEST = 40
NODES = 480


@cache
def unit_grid() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights on [0, 1], and B with (B g)_k = the integral of g from 0 to node k."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    orders = np.arange(NODES)
    values = np.polynomial.legendre.legvander(nodes, NODES)  # P_l at the nodes, one order more than is used
    # the integral of P_l from -1 is (P_(l+1) - P_(l-1))/(2l + 1), for l = 0: 1 + t
    lower = np.concatenate([-np.ones((NODES, 1)), values[:, : NODES - 1]], axis=1)
    integrals = (values[:, 1:] - lower) / (2 * orders + 1)
    coefficients = (values[:, :NODES] * weights[:, None]).T * (2 * orders[:, None] + 1) / 2
    return (nodes + 1) / 2, weights / 2, integrals @ coefficients / 2


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


def mean_over_eigenvalues(rows: int, columns: int, function: Callable[[FloatArray], FloatArray]) -> float:
    """E sum_i f(lam_i) over the min(rows, columns) positive eigenvalues of X^T X, X (rows, columns) standard normal.

    f: vectorised. Raises AssumptionError above LARGEST for the smaller side.

    >>> round(mean_over_eigenvalues(7, 3, lambda t: t), 9)  # E tr W = n d
    21.0
    """
    n, d = max(rows, columns), min(rows, columns)
    if d > LARGEST:
        raise AssumptionError(
            f"the mean over Wishart eigenvalues is evaluated up to {LARGEST} of them, got {d}; lower the dimension or "
            "the number of examples"
        )
    end = math.sqrt(n) + math.sqrt(d) + 9
    s, weights, integrate = (end * part for part in unit_grid())
    # psi dt = p w 2 s ds with w(s^2) s = s^(n - d) e^(-s^2/2), scaled by its largest value
    exponent = (n - d) * np.log(s) - s * s / 2
    density = np.exp(exponent - exponent.max())
    polynomials = orthonormal(s * s, weights * density**2, d)
    psi, f = polynomials * density, np.asarray(function(s * s))
    return skew_quotient(psi, f, weights, integrate)


def skew_quotient(psi: FloatArray, f: FloatArray, weights: FloatArray, integrate: FloatArray) -> float:
    """1/2 tr(A^-1 A') for the functions psi (d, K) at the nodes."""
    d = len(psi)

    def signed(left: FloatArray, right: FloatArray) -> FloatArray:
        """int int sgn(y - x) left_i(x) right_j(y)."""
        below = left @ integrate.T
        found: FloatArray = (2 * below - (left @ weights)[:, None]) @ (right * weights).T
        return found

    pairs, slope = signed(psi, psi), signed(psi * f, psi) + signed(psi, psi * f)
    if d % 2:
        edge, edge_slope = psi @ weights, (psi * f) @ weights
        pairs, slope = bordered(pairs, edge), bordered(slope, edge_slope)
    return float(np.trace(np.linalg.solve(pairs, slope))) / 2


def bordered(skew: FloatArray, edge: FloatArray) -> FloatArray:
    """[[skew, edge], [-edge^T, 0]]."""
    return np.block([[skew, edge[:, None]], [-edge[None, :], np.zeros((1, 1))]])
