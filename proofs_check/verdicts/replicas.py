r"""Counting replicas: a statement about trained weights whose distribution nobody knows.

Main statement
    Of n independent trainings, each with a law and start of its own drawn from the domain, k end within the margin.
    Whatever the distribution of trained weights, k is binomial(n, p), where p is the probability that a training
    ends within the margin, and the Clopper-Pearson bounds hold at their stated rate [clopper1934use]:
        P_p(lower(k) > p) < rate,    P_p(upper(k) < p) < rate,    for every p.
    Without a miss it takes 132 replicas to show p >= 0.9 at a rate of 1e-6 (0.9^132 = 0.91e-6; 131 replicas show
    p >= 0.8999).
Proof
    G_k(p) = P_p(k hits or more) = I_p(k, n - k + 1) (regularised incomplete beta function) grows strictly with p from
    0 to 1 for k >= 1, and falls with k. lower(k) solves G_k(lower) = rate, and lower(0) = 0. So lower(k) > p exactly
    where G_k(p) < rate, that is for k >= k* with k* the first such k, and P_p(k >= k*) = G_k*(p) < rate.
    Misses in the place of hits, 1 - p in that of p, give the upper bound.  QED
Rates of the statements
    "agrees" (lower >= required) is wrong where p < required, and is then said with probability at most P_p(lower > p)
    < rate. "contradicts" (upper < required) is wrong where p >= required: at most P_p(upper < p) < rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from .verdict import Outcome


@dataclass(frozen=True)
class ReplicaCount:
    """How many replicas ended within the margin, and what that says about the probability p.

    lower, upper     one-sided bounds on p, each at rate `false_alarm`
    """

    hits: int
    replicas: int
    required: float
    lower: float
    upper: float
    false_alarm: float

    def __str__(self) -> str:
        return f"{self.hits} of {self.replicas} replicas, p >= {self.lower:.3f}"

    @property
    def outcome(self) -> Outcome:
        """agrees: p >= required is shown;  contradicts: p < required is shown;  else inconclusive."""
        if self.lower >= self.required:
            return "agrees"
        return "contradicts" if self.upper < self.required else "inconclusive"


def count_replicas(hits: int, replicas: int, *, required: float = 0.9, false_alarm: float = 1e-6) -> ReplicaCount:
    """Clopper-Pearson bounds on the probability of a hit.

    >>> count_replicas(132, 132).outcome, count_replicas(100, 100).outcome, count_replicas(60, 132).outcome
    ('agrees', 'inconclusive', 'contradicts')
    """
    from scipy.special import betaincinv  # the quantile of the beta law

    if not 0 <= hits <= replicas or replicas < 1:
        raise ValueError(f"need between 0 and {replicas} hits of at least one replica, got {hits}")
    lower = float(betaincinv(hits, replicas - hits + 1, false_alarm)) if hits else 0.0
    upper = 1.0 - float(betaincinv(replicas - hits, hits + 1, false_alarm)) if hits < replicas else 1.0
    return ReplicaCount(hits, replicas, required, lower, upper, false_alarm)


def detectable_share(replicas: int, miss: float, *, required: float = 0.9, false_alarm: float = 1e-6) -> float | None:
    """The share f of misses from which on at most `miss` of such checks agree; None if none can agree.

    With c misses forgiven a check agrees with probability P(binomial(replicas, f) <= c) = 1 - I_f(c + 1, replicas - c),
    which falls with f and is `miss` at this f. It holds for a statement that is wrong in a share f of the domain if
    it turns each replica there into a miss; misses elsewhere only help.

    >>> round(detectable_share(192, 1e-3), 3), detectable_share(100, 1e-3)
    (0.057, None)
    """
    from scipy.special import betaincinv

    forgiven = -1
    while (
        forgiven + 1 < replicas
        and count_replicas(replicas - forgiven - 1, replicas, required=required, false_alarm=false_alarm).outcome
        == "agrees"
    ):
        forgiven += 1
    return None if forgiven < 0 else float(betaincinv(forgiven + 1, replicas - forgiven, 1 - miss))
