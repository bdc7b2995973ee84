r"""Steps of Richardson's iteration for A p = s, and how small they make the residual on an interval of eigenvalues.

p_0 = omega_0 s and p_j = p_{j-1} + omega_j (s - A p_{j-1}) leave the residual s - A p_k = R(A) s, of the polynomial
R(a) = prod_j (1 - omega_j a), degree m = k + 1, R(0) = 1. On mu <= a <= M, with kappa = M/mu:
Main statements
    neumann       omega_j = 1: |R| <= max(|1 - mu|, |1 - M|)^m, the partial sums of sum_j (I - A)^j; below 1 iff M < 2
    richardson    omega_j = 2/(mu + M), the best constant: |R| <= ((kappa - 1)/(kappa + 1))^m
    chebyshev     1/omega_j at the zeros of T_m((M + mu - 2a)/(M - mu)): |R| <= 1/T_m((kappa + 1)/(kappa - 1)), the
                  least for any polynomial of degree m with R(0) = 1; at most 2 ((sqrt kappa - 1)/(sqrt kappa + 1))^m
Proof of the last: R takes its bound r with alternating signs at a_j = (M + mu)/2 - (M - mu)/2 cos(pi j/m), j = 0..m.
For any Q of degree m with Q(0) = 1, interpolation at these m + 1 points gives 1 = Q(0) = sum_j l_j(0) Q(a_j) with
l_j(0) = prod_{i != j} a_i/(a_i - a_j), of alternating signs because 0 lies left of all a_j. So 1 <= max |Q| sum_j
|l_j(0)|, and for R itself equality holds: sum_j |l_j(0)| = 1/r. []
References
    [saad2003iterative, sections 4.2 and 6.11].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import sympy as sp

FloatArray = NDArray[np.float64]
ITERATIONS = ("neumann", "richardson", "chebyshev")


def step_sizes(iteration: str, steps: int, low: float, high: float) -> FloatArray:
    """omega_0 .. omega_k, (steps + 1,), for eigenvalues in [low, high]."""
    m = steps + 1
    if iteration == "neumann":
        return np.ones(m)
    if iteration == "richardson":
        return np.full(m, 2 / (low + high))
    angles = (np.arange(m) + 0.5) * (math.pi / m)
    return 1 / spread_out((low + high) / 2 - (high - low) / 2 * np.cos(angles))


def spread_out(nodes: FloatArray) -> FloatArray:
    """The nodes in Leja's order: the partial products of (1 - a/node) stay small, and rounding is not blown up."""
    left = list(nodes)
    ordered = [left.pop(int(np.argmax(np.abs(left))))]
    while left:
        distances = [float(np.sum(np.log(np.abs(np.array(ordered) - node) + 1e-300))) for node in left]
        ordered.append(left.pop(int(np.argmax(distances))))
    return np.array(ordered)


def residual_bound(iteration: str, steps: int, low: float, high: float) -> float:
    """The largest |R| on [low, high]."""
    m = steps + 1
    if iteration == "neumann":
        return max(abs(1 - low), abs(1 - high)) ** m
    if iteration == "richardson":
        return ((high - low) / (high + low)) ** m
    # 1/T_m((kappa + 1)/(kappa - 1)) = 2 rho^m/(1 + rho^2m), rho = (sqrt kappa - 1)/(sqrt kappa + 1)
    rho = (high - low) / (math.sqrt(high) + math.sqrt(low)) ** 2
    return float(2 * rho**m / (1 + rho ** (2 * m)))


# The same as rational functions, for m = 1, 2, 3


def chebyshev(m: int, x: Any) -> Any:
    """T_m(x) by T_{m+1} = 2 x T_m - T_{m-1}."""
    before, now = 1, x
    for _ in range(m - 1):
        before, now = now, 2 * x * now - before
    return now if m else before


def symbols() -> tuple[sp.Symbol, sp.Symbol, sp.Symbol]:
    """a, mu and gap = M - mu, positive."""
    import sympy as sp

    a, mu, gap = (sp.Symbol(name, positive=True) for name in ("a", "mu", "gap"))
    return a, mu, gap


def residual_polynomial(m: int) -> sp.Expr:
    """T_m((M + mu - 2a)/(M - mu)) / T_m((M + mu)/(M - mu))."""
    import sympy as sp

    a, mu, gap = symbols()
    return sp.cancel(chebyshev(m, (2 * mu + gap - 2 * a) / gap) / chebyshev(m, (2 * mu + gap) / gap))


def rate(m: int) -> sp.Expr:
    """1/T_m((M + mu)/(M - mu))."""
    import sympy as sp

    _, mu, gap = symbols()
    return sp.cancel(1 / chebyshev(m, (2 * mu + gap) / gap))


def best_constant() -> tuple[sp.Expr, sp.Expr]:
    """(omega, rate) with 1 - omega mu = -(1 - omega M): the solution is asserted to be unique."""
    import sympy as sp

    _, mu, gap = symbols()
    omega = sp.Symbol("omega", positive=True)
    (found,) = sp.solve(1 - omega * mu + 1 - omega * (mu + gap), omega)
    return sp.cancel(found), sp.cancel(1 - found * mu)
