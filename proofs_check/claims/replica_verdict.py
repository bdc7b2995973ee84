"""The verdict of a check that counts replicas: one error each, a hit if it is within the margin.

What a pass says
    The probability p that a training drawn from the domain ends within the margin is at least `required`, at the rate
    `false_alarm` of Clopper-Pearson.
What it would have missed
    `detectable` is the margin plus the largest error of a hit: a prediction that is off by more turns a hit into a
    miss. Where errors have a sign and lower is better, it is the margin minus the least error: a shift of all errors
    by more turns every hit into a miss.
    `share` is the part of the domain where it has to be off by that: with probability 1 - miss the check then has more
    misses than it forgives, and does not agree. Wrong in a smaller part of the domain, a formula can pass.
"""

from __future__ import annotations

import numpy as np

from ..verdicts.replicas import count_replicas, detectable_share
from ..verdicts.verdict import Verdict
from .settings import FloatArray

MISS = 1e-3


def replica_verdict(
    name: str,
    errors: FloatArray,
    margin: float,
    required: float,
    false_alarm: float,
    unit: str,
    ran: str,
    *,
    signed: bool = False,
) -> Verdict:
    """Judge the errors (replicas,) of independent replicas; `unit` and `ran` are words. An error that is nan misses."""
    hits = errors[errors <= margin]
    count = count_replicas(len(hits), len(errors), required=required, false_alarm=false_alarm)
    return Verdict(
        check=name,
        outcome=count.outcome,
        measured=float(np.median(errors)),
        predicted=0.0,
        allowed=margin,
        detectable=margin - float(hits.min(initial=0.0)) if signed else margin + float(hits.max(initial=0.0)),
        unit=f"{unit} (median over replicas)",
        false_alarm=false_alarm,
        miss=MISS,
        ran=f"{count}; {ran}",
        details={
            "hits": count.hits,
            "replicas": count.replicas,
            "lower": count.lower,
            "upper": count.upper,
            "median": float(np.median(errors)),
            "largest": float(errors.max()),
            "share of the domain": detectable_share(len(errors), MISS, required=required, false_alarm=false_alarm),
        },
    )
