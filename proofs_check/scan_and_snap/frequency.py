r"""The claim scan-frequency: distinct tokens of one class move by one clock.

Three checks
    the force      Z' of the real layer by autograd, at random tables, logits and decoders, against the derived force
    one clock      along the reparametrised flow of the real layer, all distinct tokens of a class from one of them; by
                   how much the flow of the loss itself breaks this is said beside it, not judged
    the order      of the distinct tokens along that flow, and the share of the leading one: no inversion, no fall
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_and_snap import attention_force, frequency
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, ExactCount, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from . import quantities
from .attention_settings import EPS, all_columns, arrays_of, random_table, row_of_forces, sizes_of_forces

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

NUMERICS = "iclcheck.numerics.scan_and_snap.attention_forces"
Made = Callable[[], "Formula"]
TABLES = ((2, 6, 1, 2), (3, 10, 2, 3), (4, 14, 2, 4))  # classes, tokens, queries, common tokens
FLOWS = (
    {"classes": 2, "vocabulary": 8, "queries": 1, "common": 2, "distinct": 3},
    {"classes": 3, "vocabulary": 14, "queries": 1, "common": 2, "distinct": 3},
    {"classes": 4, "vocabulary": 20, "queries": 2, "common": 3, "distinct": 3},
)
TIMES = (0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0)  # in units of K ln M/eta_Y
PARAMETERS = (
    Parameter("probabilities", "P(l|n) of the tokens that only class n has, a list"),
    Parameter("logits", "z_l at the start, a list; left out: 0", False),
    Parameter("clock", "sigma, with 1/u_l = 1/u_l(0) - sigma, u_l = P(l|n)^2 e^(2 z_l)", False),
    Parameter("token", "instead of the clock: one of these tokens, the first is 0", False),
    Parameter("logit", "and its logit at the time in question", False),
)


# The force


def cases(seed: int) -> list[dict[str, Any]]:
    """Tables with logits of size one and decoders with entries in (-1, 1)."""
    found = []
    for size in TABLES:
        name = f"scan-frequency/{size}"
        table, draw = random_table(f"{name}/table", seed, *size), generator(name, seed)
        shapes = {"attention": (size[2], size[1]), "decoder": (size[1], size[0] + 1)}
        drawn = {key: draw.uniform(-1, 1, size=shape).tolist() for key, shape in shapes.items()}
        found.append({"classes": table, **drawn, "eta_Z": float(draw.uniform(0.2, 0.8))})
    return found


def letters_of(case: Mapping[str, Any]) -> dict[str, Any]:
    contexts, rows, probabilities = arrays_of(case["classes"])
    decoder = all_columns(np.array(case["decoder"]), contexts.shape[1])
    logits = np.array(case["attention"])
    return attention_force.float_values(contexts, logits, rows, probabilities, decoder, case["eta_Z"])


def force_task(budget: Budget) -> Task:
    return Task(f"{NUMERICS}:attention_velocities", {"cases": cases(budget.seed)}, budget.device, cost=0.1)


def force_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Z' against a formula."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for case, measured in zip(cases(budget.seed), found["velocity"], strict=True):
            letters = letters_of(case)
            result.append(row_of_forces(measured, formula().value(letters), sizes_of_forces(letters)))
        return result

    return rows


# The clock


def flow_task(budget: Budget) -> Task:
    keys = [f"scan-frequency/flow/{k}/{budget.seed}" for k in range(len(FLOWS))]
    parameters = {"sizes": list(FLOWS), "keys": keys, "eta_Y": 1.0, "eta_Z": 5.0, "scaled_times": list(TIMES)}
    return Task(f"{NUMERICS}:scan_trajectories", parameters, budget.device, cost=3.0)


def distinct_paths(found: Values, flow: str) -> Iterator[tuple[FloatArray, FloatArray, float]]:
    """For each class of each table: P(l|n) of its distinct tokens, their logits (times + 1, tokens), what Z may err by.

    The error is the largest difference between runs at two tolerances, about nine times that of the finer one.
    """
    for table, run in zip(found["classes"], found[flow], strict=True):
        contexts, rows, _ = arrays_of(table)
        Z = np.array(run["Z"])
        error = run["error"] * float(np.abs(Z).max())
        for n, row in enumerate(rows):
            tokens = np.flatnonzero((contexts[n] > 0) & ((contexts > 0).sum(0) == 1))
            path = np.concatenate([np.zeros((1, len(tokens))), Z[:, row][:, tokens]])
            yield contexts[n, tokens], path, error


def clock_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """u_l of all tokens from that of the first, and of the last, relative to the measured one."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        del budget
        paths = distinct_paths(found, "reparametrised")
        return [row for P, path, error in paths for one in (0, -1) for row in rows_from(formula(), P, path, one, error)]

    return rows


def rows_from(formula: Formula, P: FloatArray, path: FloatArray, one: int, error: float) -> Iterator[Row]:
    """All times and the other tokens.

    An error e in a logit is 2 e in ln u. With 1/u = 1/v + 1/s - 1/w one of 2 e in ln s makes 2 e u/s in ln u; the three
    terms of the denominator add a few roundings, relative to u/v + u/s + u/w.
    """
    squares = P**2 * np.exp(2 * path)
    for moved in squares[1:]:
        letters = {"v": np.delete(squares[0], one), "w": squares[0, one], "s": moved[one]}
        u = np.delete(moved, one)
        allowed = 2 * error * (1 + u / letters["s"]) + 20 * EPS * sum(u / x for x in letters.values())
        difference = np.abs(formula.value(letters) / u - 1)
        yield from zip(difference.tolist(), allowed.tolist(), strict=True)


def conserved_changes(found: Values, flow: str) -> float:
    """The largest change of 1/u_l - 1/u_l', in units of its size at the start."""
    worst = 0.0
    for P, path, _ in distinct_paths(found, flow):
        inverse = np.exp(-2 * path) / P**2
        differences = inverse[:, 1:] - inverse[:, :1]
        worst = max(worst, float(np.abs(differences / differences[0] - 1).max()))
    return worst


def said_of_flows(found: Values) -> str:
    """What was run, and the error budget of a reader who has the flow of the loss in mind."""
    largest = max(float(np.abs(np.array(run["Z"])).max()) for run in found["reparametrised"])
    held, broken = (conserved_changes(found, flow) for flow in ("reparametrised", "joint"))
    return (
        f"{len(found['classes'])} random tables, |z| <= {largest:.2g}; 1/u_l - 1/u_l' moves by {held:.1e} of itself, "
        f"and by {broken:.0%} in the flow of the loss itself"
    )


def disorder(budget: Budget, found: Values) -> list[int]:
    """For each class: inversions of the order of attention, and falls of the leading token's logit."""
    del budget
    counts = []
    for P, path, error in distinct_paths(found, "reparametrised"):
        scores = np.log(P) + path
        order = np.argsort(scores[0])
        inversions = int((np.diff(scores[:, order]) < -2 * error).sum())
        leader = path[:, order[-1]]
        counts.append(inversions + int((np.diff(leader) < -2 * error).sum()))
    return counts


def frequency_claim(force: Made = attention_force.formula, clock: Made = frequency.formula) -> Claim:
    """Both formulas can be altered, to see the same checks refuse others."""
    return Claim(
        "scan-frequency",
        frequency.derivation,
        PARAMETERS,
        lambda parameters: frequency.for_user(**parameters)._asdict(),
        (
            ExactCheck(
                "force of the real layer", force_task, force_rows(force),
                lambda found: f"{len(found['velocity'])} random tables, logits and decoders",
                "as a difference in units of the largest force",
            ),
            ExactCheck(
                "all distinct tokens from one", flow_task, clock_rows(clock), said_of_flows,
                "as a relative difference of u_l = P(l|n)^2 e^(2 z_l)", resolution=1e-5,
            ),
            ExactCount(
                "order of attention, leading token", flow_task, disorder,
                lambda found: f"{len(TIMES)} times on {len(found['classes'])} random tables",
                "as inversions and falls of one class",
            ),
        ),
        "random tables with 2 to 4 classes, 1 or 2 queries, 2 to 4 common tokens, 1 to 3 distinct ones a class; forces "
        "at any decoder and logits; the reparametrised flow from zero to 8 K ln M/eta_Y, eta_Z = 5 eta_Y",
        (
            Alterable(
                frequency.formula,
                frequency.points,
                letters_of_paths,
                lambda formula: frequency_claim(clock=lambda: formula),
            ),
            Alterable(
                attention_force.formula,
                attention_force.points,
                lambda seed: [letters_of(case) for case in cases(seed)],
                lambda formula: frequency_claim(force=lambda: formula),
            ),
        ),
        quantities=quantities.FREQUENCY,
    )  # fmt: skip


def letters_of_paths(seed: int) -> list[dict[str, Any]]:
    """Squares as they come up along a flow: starts of two tokens, and a later value of one."""
    draw = generator("scan-frequency/letters", seed)
    v, w = draw.uniform(0.005, 0.1, size=(2, 8))
    return [{"v": v, "w": w, "s": w / (1 - draw.uniform(0, 0.9) * w / np.maximum(v, w))}]


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (frequency_claim(),)
