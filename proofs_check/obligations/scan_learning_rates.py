"""Obligations of scan-learning-rates: elasticities from the decoder's own law, and slopes in the clock."""

from __future__ import annotations

from typing import Any

from ..engines.identities import Identity
from ..engines.points import Point
from ..engines.ratios import Ratio, difference
from .obligation import ClaimObligations, Forms, Obligation
from .scan_snap import TRUSTED, along_u, exact, form_at, kinds, over_one

ELASTIC, CROSSING, ORDER = "elasticities", "one crossing", "what the drive does"


def time_scaled(point: Point) -> Ratio:
    """tau(u) of the decoder: its slope in u is (x + m)/(m + 1)."""
    return Ratio(point["x"] - 1 + point["m"] * point["u"], point["m"] + 1)


def elasticity_obligation(forms: Forms) -> Identity:
    """s = (eta_Z/eta_Y) u^2; du/dln eta_Y = tau/(dtau/du) at fixed t; and dtau/du = (x + m)/(m + 1), the softmax's."""

    def at(point: Point) -> list[Any]:
        tau = time_scaled(point)
        slope = tau.derivative(*along_u(point))
        by_Z, by_Y, both = (form_at(forms, ELASTIC, name, point) for name in ("eta Z", "eta Y", "both"))
        return [
            difference(slope, Ratio(point["x"] + point["m"], point["m"] + 1)),
            difference(by_Y, tau / slope * 2 / point["u"] - 1),
            difference(by_Z, over_one(point, 1)),
            difference(both, by_Y + by_Z),
        ]

    return exact(at, "u", "x", "m")


def crossing_obligation(forms: Forms) -> Identity:
    """The elasticity is sign/(u (x + m)); slope and bend are its derivatives; value 0 and slope M at u = 0."""

    def at(point: Point) -> list[Any]:
        by_Y = form_at(forms, ELASTIC, "eta Y", point)
        sign, slope, bend = (form_at(forms, CROSSING, name, point) for name in ("sign", "slope", "bend"))
        origin = {"u": point.one * 0, "x": point.one}
        return [
            difference(by_Y * point["u"] * (point["x"] + point["m"]), sign),
            difference(sign.derivative(*along_u(point)), slope),
            difference(slope.derivative(*along_u(point)), bend),
            difference(bend, -over_one(point, point["u"] * point["x"])),
            form_at(forms, CROSSING, "sign", point, **origin).top,
            difference(form_at(forms, CROSSING, "slope", point, **origin), over_one(point, point["m"] + 1)),
        ]

    return exact(at, "u", "x", "m")


def order_obligation(forms: Forms) -> Identity:
    """At u_l = q_l/(1 - sigma q_l) and C in proportion to prod (1 - sigma q_l)^K, two tokens."""

    def at(point: Point) -> list[Any]:
        (sigma,) = point.numbers["sigma"]
        by_sigma = (sigma, point.one)
        u1, u2 = (Ratio(point[q], point.one - point["sigma"] * point[q]) for q in ("q1", "q2"))
        S = u1 + u2
        squares = u1 * u1 + u2 * u2
        fall = (u1.derivative(by_sigma) / u1 + u2.derivative(by_sigma) / u2) * point["K"]  # of -ln C
        derived = form_at(forms, ORDER, "overlap", point)
        unequal = form_at(forms, ORDER, "unequal", point)
        ratio = u1 / u2
        return [
            difference(ratio.derivative(by_sigma), ratio * (u1 - u2)),
            difference(unequal, over_one(point, point["u1"] - point["u2"])),
            difference(-fall - S.derivative(by_sigma) / S, -S * point["K"] - squares / S),
            difference(derived, -Ratio(point["K"] * point["S"] * point["S"] + point["Q"], point["S"])),
        ]

    return exact(at, "sigma", "q1", "q2", "K", "u1", "u2", "S", "Q")


IN_WORDS = (
    "In words: a concave function with value 0 and a positive slope at 0 has at most one positive zero, and e^u makes "
    "it negative in the end; and that a larger ratio of every larger to every smaller share is majorisation."
)


def obligations() -> ClaimObligations:
    """The three steps."""
    return ClaimObligations(
        "scan-learning-rates",
        ("K classes alike with one common token; the reparametrised flow, with the law and the clock of snap",),
        {
            ELASTIC: kinds(eta_Z="", eta_Y="u x m", both="u x m"),
            CROSSING: kinds(sign="u x m", slope="u x m", bend="u x m"),
            ORDER: kinds(unequal="u1 u2", overlap="K S Q"),
        },
        (
            Obligation(ELASTIC, "eta Y = 2 tau u'/u - 1, both = eta Y + eta Z", elasticity_obligation),
            Obligation(CROSSING, "eta Y = sign/(u (x + m)); sign is 0 at 0, slope M, bend -u x", crossing_obligation),
            Obligation(ORDER, "slopes of ln u_1/u_2 and of ln C/S in sigma", order_obligation),
        ),
        (*TRUSTED[:2], TRUSTED[3], IN_WORDS),
    )
