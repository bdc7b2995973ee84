r"""One gradient step on sequences of random orthogonal dynamics: its best learning rate and its loss, exactly.

Setting
    s_1 ~ N(0, I_n), s_(t+1) = W s_t, W ~ Haar(O(n)); a sequence has T states. At t = 1 .. T - 1 the step from
    Phi = 0 on L_t(Phi) = 1/2 sum_{t' < t} |s_(t'+1) - Phi s_t'|^2 predicts s_(t+1) by
        yhat_t = eta sum_{t' < t} s_(t'+1) (s_t' . s_t).
    Loss: 1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1.
Main statements
    pull and square   with c_k = s_t . s_(t+k): sum_t E s_(t+1) . yhat_t = eta B and sum_t E |yhat_t|^2 = eta^2 D,
                          B = sum_{k=1}^{T-2} (T - 1 - k) E c_k^2
                          D = sum_{k,l=1}^{T-2} (T - 1 - max(k, l)) E c_k c_l c_(k-l)
    rate              eta* = B/D, and the least loss is n/2 - B^2/(2 D (T - 1)); rational numbers for every n and T
    large n           T = tau n, n -> infinity: n eta* -> I_1/(I_1 + 4 I_2), and the share of the loss that the step
                      takes away, 1 - loss/(n/2), tends to I_1^2/(tau (I_1 + 4 I_2)), where with m(x) = min(x, 1)
                          I_1 = int_0^tau (tau - x) (1 + m(x)) dx
                          I_2 = int_0^tau (tau - x) int_0^x (1 + m(y) + m(x - y)) dy dx;
                      for tau <= 1 the rate is (3 + tau)/((1 + tau)(3 + 2 tau))
    bound             the share is below 1/2 in the limit, and tends to 1/2 as tau -> infinity
Proof of the limit
    By `haar_traces`, a moment of the p_k is a combination of counts of nu with nu, nu + j, .. in a window of n points
    on a line, plus counts of paths that are folded at 0. A folded path returns for at most one nu, so it counts for
    O(1), and the counts on the line are sums of max(n - k, 0). Adding them up, for k > l >= 1,
        E c_k^2 = n + min(k, n) + O(1),    E c_k c_l c_(k-l) = 2 n + 2 min(l, n) + 2 min(k - l, n) + O(1) if k != 2 l
    and O(n) if k = 2 l, where c_l occurs twice; these are O(n) of the O(n^2) pairs. E c_k^2 c_0 = (n + 4) E c_k^2, as
    c_k/|s|^2 and |s|^2 are independent. So B/n^3 and D/n^4 are Riemann sums, with an error of O(1/n).
References
    The task is that of [vonoswald2023uncovering, section 3]; they tune the rate by hand. The statements are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from .autocorrelations import Autocorrelations, autocorrelations

if TYPE_CHECKING:
    import sympy as sp

LONGEST = 400  # states: the moments of a sequence of T take T^2/2 traces of n/2 x n/2 matrices


@dataclass(frozen=True)
class StepLoss:
    """The loss of the step as a quadratic in eta: (n/2) - (eta B - eta^2 D/2)/(T - 1).

    pull B, square D    sums over the positions of a sequence of `length` states in dimension n
    """

    n: int
    length: int
    pull: Fraction
    square: Fraction

    def at(self, rate: Any) -> Any:
        """The loss at a learning rate."""
        return Fraction(self.n, 2) - (rate * self.pull - rate**2 * self.square / 2) / (self.length - 1)

    @property
    def rate(self) -> Fraction:
        """eta* = B/D. Raises ValueError for T = 2: no pair is seen before the last target, so nothing fixes eta."""
        if self.square == 0:
            raise ValueError("need a length of at least 3: with 2 states no pair is seen before the one target")
        return self.pull / self.square

    @property
    def least(self) -> Fraction:
        """The loss at eta*."""
        loss: Fraction = self.at(self.rate)
        return loss


def step_loss(moments: Autocorrelations, length: int) -> StepLoss:
    """B and D of a sequence of `length` states."""
    last = length - 2  # the largest lag of a pair that is seen before a target
    pull = sum(((length - 1 - k) * moments.moment(k, k) for k in range(1, last + 1)), Fraction(0))
    square = Fraction(0)
    for k in range(1, last + 1):
        below = sum((moments.moment(k, other, k - other) for other in range(1, k)), Fraction(0))
        among = moments.moment(k, k, 0) + 2 * below
        square += (length - 1 - k) * among
    return StepLoss(moments.n, length, pull, square)


@cache
def derived_step_loss(n: int, length: int, initial: str = "gaussian") -> StepLoss:
    """The step's loss from the derived moments; the law of s_1 as in `autocorrelations`.

    >>> derived_step_loss(10, 50).rate
    Fraction(5713, 629500)
    """
    return step_loss(autocorrelations(n, initial), length)


# Large n


@cache
def integrals(piece: int) -> tuple[sp.Expr, sp.Expr]:
    """(I_1, I_2) as polynomials in tau: piece 0 for tau <= 1, piece 1 for tau >= 1.

    I_1'' = 1 + m(tau) and I_2'' = J(tau), J(x) = int_0^x (1 + m(y) + m(x - y)) dy = x + 2 int_0^x m; so both
    are integrated twice, from 0 at tau = 0 and from the first piece at tau = 1.
    """
    import sympy as sp

    tau, x = sp.Symbol("tau"), sp.Symbol("x")
    mass = x**2 / 2 if piece == 0 else x - sp.Rational(1, 2)  # int_0^x min(y, 1) dy
    densities = (1 + sp.diff(mass, x), x + 2 * mass)
    below = integrals(piece - 1) if piece else (sp.Integer(0), sp.Integer(0))
    found = []
    for density, lower in zip(densities, below, strict=True):
        value, slope = lower.subs(tau, piece), sp.diff(lower, tau).subs(tau, piece)
        found.append(sp.expand(value + slope * (tau - piece) + sp.integrate((tau - x) * density, (x, piece, tau))))
    return found[0], found[1]


@cache
def limits(piece: int) -> tuple[sp.Expr, sp.Expr]:
    """(limit of n eta*, limit of the share) in tau.

    >>> limits(0)[0]
    (tau + 3)/((tau + 1)*(2*tau + 3))
    """
    import sympy as sp

    tau = sp.Symbol("tau")
    first, second = integrals(piece)
    rate = sp.factor(sp.cancel(first / (first + 4 * second)))
    return rate, sp.factor(sp.cancel(first**2 / (tau * (first + 4 * second))))


def limits_at(ratio: Fraction) -> tuple[Fraction, Fraction]:
    """Both limits at tau = T/n > 0."""
    import sympy as sp

    piece = min(int(ratio), 1)
    rate, share = (expression.subs(sp.Symbol("tau"), sp.Rational(ratio)) for expression in limits(piece))
    return Fraction(int(rate.p), int(rate.q)), Fraction(int(share.p), int(share.q))
