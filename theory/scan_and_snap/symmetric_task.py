r"""K classes alike, one common token: the reparametrised flow in closed form, in numbers.

Setting [tian2023scan, sec. 3 and 6]
    One query. Every class n <= K has the common token with probability P_C and tokens of its own with P_1 .. P_D,
    P_C + sum P_l = 1; class and next token n with probability 1/K; M tokens in all. Logits and decoder start at 0.
Main statements (derived in `snap`)
    decoder       w_n = (u/M)(M e_n - 1) with e^u - 1 + (M - 1) u = M eta_Y t/K
    clock         one number sigma gives all attention logits: with d_l = 1 - sigma P_l^2
                  e^{2 z_l} = 1/d_l,   e^{2 z_C} = prod_l d_l^K
    law           int_0^sigma N/phi dsigma = (eta_Z/eta_Y) u^2, the drive; N = |c|^2, phi the force in units of the
                  decoder's pull. Rates and time enter through the drive alone
Error
    The integrals are taken by Gauss's rule on short pieces, the clock is solved for: relative errors near 1e-13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from ..one_layer.assumptions import AssumptionError, FloatArray, check_number, real_array
from ..orthogonal_dynamics.learning_rate import check_whole

MOST_CLASSES, MOST_TOKENS, MOST_DISTINCT = 1000, 10**9, 1000
LEAST_COMMON = 1e-100
NODES = 20


@dataclass(frozen=True, eq=False)
class SymmetricTask:
    """K, M, P_C and (P_1, .., P_D)."""

    classes: int
    vocabulary: int
    common: float
    distinct: FloatArray

    @cached_property
    def squares(self) -> FloatArray:
        """P_l^2, (D,)."""
        return np.asarray(self.distinct**2)

    @property
    def overlap(self) -> float:
        """f_n.f_n' at the start: P_C^2/(P_C^2 + sum P_l^2)."""
        return float(self.common**2 / (self.common**2 + self.squares.sum()))

    @property
    def winners(self) -> int:
        """How many distinct tokens of a class have the largest probability."""
        return int((self.distinct == self.distinct.max()).sum())


def symmetric_task(classes: Any, vocabulary: Any, common_probability: Any, distinct_profile: Any) -> SymmetricTask:
    """The task of a profile, whose entries the P_l are in proportion to. Raises AssumptionError."""
    K = check_whole(classes, "classes", 2, MOST_CLASSES)
    M = check_whole(vocabulary, "vocabulary", 2, MOST_TOKENS)
    profile = real_array(distinct_profile, "distinct_profile")
    if profile.ndim != 1 or not 1 <= profile.size <= MOST_DISTINCT or not (profile > 0).all():
        raise AssumptionError(
            f"distinct_profile needs 1 to {MOST_DISTINCT} positive numbers, got {fault_of(profile)}; leave tokens that "
            "never occur out"
        )
    common = check_number(common_probability, "common_probability")
    if not 0 < common < 1:
        raise AssumptionError(f"need common_probability between 0 and 1, got {common:g}; without a common token, or "
                              "without distinct ones, attention does not move")  # fmt: skip
    if common < LEAST_COMMON:
        raise AssumptionError(f"need common_probability of at least {LEAST_COMMON:g}, got {common:g}: its square has "
                              "no digits left")  # fmt: skip
    if K * profile.size + 1 > M:
        raise AssumptionError(
            f"need a vocabulary of at least {K * profile.size + 1} tokens for {K} classes with {profile.size} distinct "
            f"tokens each and a common one, got {M}"
        )
    profile = profile / profile.max()
    return SymmetricTask(K, M, common, np.asarray((1 - common) * profile / profile.sum()))


def fault_of(profile: FloatArray) -> str:
    """The number that is not positive, or the shape."""
    few = profile.ndim == 1 and 1 <= profile.size <= MOST_DISTINCT
    return f"{profile[~(profile > 0)][0]:g}" if few else f"shape {profile.shape}"


def check_time(value: Any, name: str = "time") -> float:
    """One number of at least 0. Raises AssumptionError."""
    number = check_number(value, name)
    if number < 0:
        raise AssumptionError(f"need {name} of at least 0, got {number:g}; the flow starts at time 0")
    return number


def decoder_logit(tau: float, vocabulary: int) -> float:
    """u with e^u - 1 + (M - 1) u = M tau: how far the next token's logit lies above the others.

    The left side is convex and rises, so Newton's method comes down from u = min(tau, ln(1 + M tau)), which is too
    large (e^u - 1 >= u). It ends where rounding no longer lets it fall.

    >>> decoder_logit(0.0, 10)
    0.0
    """
    M = vocabulary
    u = min(tau, math.log1p(M * tau))
    while True:
        step = (math.expm1(u) + (M - 1) * u - M * tau) / (math.exp(u) + M - 1)
        if not u - step < u:
            return u
        u -= step


LARGEST = 1e300  # of M eta_Y t: what floats hold
MOST_DRIVE = 1e100


def check_reach(task: SymmetricTask, eta_Y: float, eta_Z: float, time: float) -> float:
    """The drive at a time, where floats reach it. Raises AssumptionError."""
    if not task.vocabulary * eta_Y * time < LARGEST:
        raise AssumptionError(f"need M eta_Y t below {LARGEST:g}, which floats hold; take an earlier time")
    found = drive(task, eta_Y, eta_Z, time)
    if not found < MOST_DRIVE:
        raise AssumptionError(f"need (eta_Z/eta_Y) u^2 below {MOST_DRIVE:g}, got {found:g}; take a smaller eta_Z/eta_Y")
    return found


def drive(task: SymmetricTask, eta_Y: float, eta_Z: float, time: float) -> float:
    """(eta_Z/eta_Y) u^2 at a time."""
    return eta_Z / eta_Y * decoder_logit(eta_Y * time / task.classes, task.vocabulary) ** 2


@cache
def gauss_rule() -> tuple[FloatArray, FloatArray]:
    """Nodes and weights on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention of class n at one value of y = 2 z of the dominant token, where sigma = (1 - e^{-y})/max P_l^2.

    y is an array (...,): the token axis comes last.
    """

    task: SymmetricTask
    y: FloatArray

    @cached_property
    def shrunk(self) -> FloatArray:
        """d_l = 1 - sigma P_l^2, (..., D), without cancellation."""
        ratio = self.ratio
        return np.asarray((1 - ratio) + ratio * np.exp(-self.y)[..., None])

    @property
    def ratio(self) -> FloatArray:
        """P_l^2/max P^2, (D,)."""
        return np.asarray(self.task.squares / self.task.squares.max())

    @cached_property
    def log_shrunk(self) -> FloatArray:
        """ln d_l, (..., D), with its digits where d_l is near 1."""
        y = self.y[..., None]
        return np.where(y < 0.5, np.log1p(self.ratio * np.expm1(-np.minimum(y, 0.5))), np.log(self.shrunk))

    @cached_property
    def common_square(self) -> FloatArray:
        """u_C = (P_C e^{z_C})^2, (...,)."""
        return np.asarray(self.task.common**2 * np.exp(2 * self.common_logit))

    @property
    def common_logit(self) -> FloatArray:
        """z_C, (...,)."""
        return np.asarray(self.task.classes / 2 * self.log_shrunk.sum(-1) + 0.0)

    @property
    def distinct_logits(self) -> FloatArray:
        """z_l, (..., D)."""
        return np.asarray(-self.log_shrunk / 2 + 0.0)

    @cached_property
    def distinct_square(self) -> FloatArray:
        """S = sum_l (P_l e^{z_l})^2, (...,)."""
        return np.asarray((self.task.squares / self.shrunk).sum(-1))

    @property
    def overlap(self) -> FloatArray:
        """rho = f_n.f_n', (...,)."""
        return np.asarray(self.common_square / (self.common_square + self.distinct_square))

    @property
    def force(self) -> FloatArray:
        """phi = xi/c, (...,)."""
        K, M, C, S = self.task.classes, self.task.vocabulary, self.common_square, self.distinct_square
        return np.asarray((K - 1) * C * (M * C + S) / (M * S * (S + K * C)))

    @property
    def clock_rate(self) -> FloatArray:
        """dsigma/dy, (...,)."""
        return np.asarray(np.exp(-self.y) / self.task.squares.max())

    @property
    def drive_rate(self) -> FloatArray:
        """d drive/dy = (N/phi) dsigma/dy, (...,)."""
        return (self.common_square + self.distinct_square) / self.force * self.clock_rate

    @property
    def strength_rate(self) -> FloatArray:
        """dB/dy = (N/2) dsigma/dy, (...,)."""
        return (self.common_square + self.distinct_square) / 2 * self.clock_rate

    @property
    def weights(self) -> FloatArray:
        """Attention probabilities, the common token first, (..., 1 + D)."""
        raw = np.concatenate(
            [
                (self.task.common * np.exp(self.common_logit))[..., None],
                self.task.distinct * np.exp(self.distinct_logits),
            ],
            -1,
        )
        return np.asarray(raw / raw.sum(-1, keepdims=True))


def integrals(task: SymmetricTask, start: float, end: float) -> tuple[float, float]:
    """(drive, B) gained between two values of y on one short piece."""
    nodes, weights = gauss_rule()
    at = Attention(task, start + (end - start) * nodes)
    width = end - start
    return float(width * weights @ at.drive_rate), float(width * weights @ at.strength_rate)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The attention at a drive: y of the dominant token, and B."""

    task: SymmetricTask
    y: float
    strength: float

    @cached_property
    def attention(self) -> Attention:
        return Attention(self.task, np.asarray(self.y))

    @property
    def logits(self) -> FloatArray:
        """z of the common token and of the distinct ones, (1 + D,)."""
        return np.append(self.attention.common_logit, self.attention.distinct_logits)


def attention_at(task: SymmetricTask, driven: float) -> Snapshot:
    """The solution of int N/phi dsigma = driven. The drive rises without bound, so there is one."""
    from scipy.optimize import brentq

    # On a piece the logarithm of the integrand changes by a few units at most: d_l^K does, by K D pieces.
    piece = 2 / (4 + task.classes * task.distinct.size)
    start, left, strength = 0.0, driven, 0.0
    while True:
        gained, more = integrals(task, start, start + piece)
        if gained >= left:
            break
        start, left, strength = start + piece, left - gained, strength + more
    # y may be as small as the drive: its digits count, not its distance
    inside = brentq(
        lambda part: integrals(task, start, start + part)[0] - left, 0.0, piece, xtol=1e-300, rtol=1e-15, maxiter=2000
    )  # fmt: skip
    return Snapshot(task, start + inside, strength + integrals(task, start, start + inside)[1])


def entropy(weights: FloatArray) -> float:
    """- sum c ln c in nats."""
    kept = weights[weights > 0]
    return float(-(kept * np.log(kept)).sum())
