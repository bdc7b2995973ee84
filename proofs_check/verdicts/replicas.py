r"""Counting replicas: a statement about trained weights whose distribution nobody knows.

Main statement
    Of n independent trainings k end within the margin. Whatever the distribution of trained weights, k is
    binomial(n, p), where p is the probability that a training ends within the margin, and the Clopper-Pearson
    bounds hold at their stated rate [clopper1934use]. Without a miss it takes 132 replicas to show p >= 0.9 at a
    rate of 1e-6 (0.9^132 = 0.91e-6; 131 replicas show p >= 0.8999).
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
    """The share f of misses from which on fewer than `miss` of such checks agree; None if none can agree.

    With k misses forgiven it solves P(binomial(replicas, f) <= k) = miss.

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
