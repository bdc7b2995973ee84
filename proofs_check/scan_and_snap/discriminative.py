r"""The claim scan-discriminative: which tokens gain attention in the reparametrised flow.

Two checks
    the force     Z' of the real layer by autograd, with its decoder made from the pseudo-inverse of its class vectors,
                  at random tables and logits and at both counterexamples, against the derived force
    the signs     along the reparametrised flow: no distinct token falls while the sufficient condition holds, a single
                  common token falls, and both counterexamples go their way. What the flow of the loss itself does
                  there is said, not judged
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_and_snap import discriminative as theory
from ...theory.scan_and_snap.discriminative_predictions import for_user
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, ExactCount, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from . import quantities
from .attention_settings import arrays_of, random_table, row_of_forces

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

NUMERICS = "iclcheck.numerics.scan_and_snap.attention_forces"
Made = Callable[[], "Formula"]
TABLES = ((2, 7, 1, 2), (3, 11, 1, 3), (3, 12, 2, 3), (4, 14, 2, 4))  # classes, tokens, queries, common tokens
TIMES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # in units of K ln M/eta_Y
PARAMETERS = (
    Parameter("contexts", "P(l|n), a row of M probabilities for each class (K x M)"),
    Parameter("h", "of the decoder's logits w_n = h (M e_n - 1), above 0; scan-decoder gives it at a time"),
    Parameter("logits", "attention logits, a row for each query in use; left out: 0", False),
    Parameter("queries", "query token of each class; left out: one for all", False),
    Parameter("attention_rate", "eta_Z", False, 1.0),
)


def counterexample(table: Any) -> dict[str, Any]:
    """The plain classes of a table of whole numbers."""
    weights = np.array(table, dtype=float)
    K = len(weights)
    return {
        "contexts": (weights / weights.sum(1, keepdims=True)).tolist(),
        "queries": [0] * K,
        "probabilities": [1 / K] * K,
    }


def alike(table: dict[str, Any]) -> dict[str, Any]:
    """The table with equal probabilities of the classes."""
    K = len(table["contexts"])
    return {**table, "probabilities": [1 / K] * K}


# The force


def cases(seed: int) -> list[dict[str, Any]]:
    """Random tables at random attention logits, and both counterexamples at zero."""
    found = []
    for size in TABLES:
        name = f"scan-discriminative/{size}"
        draw = generator(name, seed)
        table = alike(random_table(f"{name}/table", seed, *size))
        attention = draw.uniform(-1, 1, size=(size[2], size[1])).tolist()
        h, rate = draw.uniform(0.05, 0.3), draw.uniform(0.2, 0.8)
        found.append(case(table, attention, float(h), float(rate)))
    for whole in (theory.LOSING_DISTINCT, theory.GAINING_COMMON):
        found.append(case(counterexample(whole), [[0.0] * len(whole[0])], 0.1, 1.0))
    return found


def case(table: dict[str, Any], attention: Any, h: float, rate: float) -> dict[str, Any]:
    """With the logits w_n = h (M e_n - 1) in their kept columns."""
    K, M = len(table["contexts"]), len(table["contexts"][0])
    logits = h * (M * np.eye(K, K + 1) - 1)
    return {"classes": table, "attention": attention, "logits": logits.tolist(), "eta_Z": rate, "h": h}


def letters_of(one: Mapping[str, Any]) -> dict[str, Any]:
    contexts, rows, _ = arrays_of(one["classes"])
    return theory.float_values(contexts, np.array(one["attention"]), rows, one["h"], one["eta_Z"])


def force_task(budget: Budget) -> Task:
    plain = [{key: value for key, value in one.items() if key != "h"} for one in cases(budget.seed)]
    return Task(f"{NUMERICS}:span_velocities", {"cases": plain}, budget.device, cost=0.1)


def sizes_of(values: Mapping[str, Any]) -> FloatArray:
    """The quadratic forms on absolute values, for each query, (Q, M)."""
    f, rows = values["f"], values["rows"]
    inverse = np.abs(np.linalg.inv(f @ f.T))
    pace = values["eta"] * values["p"] * values["M"] ** 2 * values["h"] / (values["E"] + values["M"] - 1)
    found = []
    for row in sorted(set(rows)):
        chosen = np.diag([float(own == row) for own in rows])
        per_class = np.einsum("kl,kj,jl->l", f, (inverse + 1) @ chosen, f) + np.einsum("kl,kj,jl->l", f, chosen, f)
        found.append(pace * per_class)
    return np.array(found)


# As in `attention_settings`, and what the pseudo-inverse by singular values and a linear solve with G lose beyond: some
# 10 K roundings times the condition number of G.
SPAN_ROUNDINGS = 1000.0


def force_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Z' against a formula."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        measured = zip(cases(budget.seed), found["velocity"], found["condition"], strict=True)
        for one, velocity, condition in measured:
            letters = letters_of(one)
            predicted = np.asarray(formula().value(letters), dtype=float)
            result.append(row_of_forces(velocity, predicted, sizes_of(letters), SPAN_ROUNDINGS * condition))
        return result

    return rows


# The signs


def tables_of_flows(seed: int) -> list[dict[str, Any]]:
    """One common token; several of them in a random table, all classes with one query; both counterexamples."""
    single = random_table("scan-discriminative/single", seed, 3, 10, 1, 1)
    weights = np.array(single["contexts"])
    weights[:, 0] = 0.2 + 0.1 * np.arange(3)
    weights /= weights.sum(1, keepdims=True)
    random = alike(random_table("scan-discriminative/several", seed, 4, 14, 1, 3))
    tables = [alike({**single, "contexts": weights.tolist()}), random]
    return [*tables, *(counterexample(whole) for whole in (theory.LOSING_DISTINCT, theory.GAINING_COMMON))]


def flow_task(budget: Budget) -> Task:
    parameters = {"classes": tables_of_flows(budget.seed), "eta_Y": 1.0, "eta_Z": 1.0, "scaled_times": list(TIMES)}
    return Task(f"{NUMERICS}:table_trajectories", parameters, budget.device, cost=3.0)


def path_of(found: Values, flow: str, place: int) -> tuple[FloatArray, float]:
    """Z of a table with one query, from 0 on, (times + 1, M), and what an entry may err by."""
    run = found[flow][place]
    Z = np.array(run["Z"])[:, 0]
    return np.concatenate([np.zeros((1, Z.shape[1])), Z]), run["error"] * float(np.abs(Z).max())


def wrong_signs(budget: Budget, found: Values) -> list[int]:
    """For each table: steps of the flow that go the wrong way by more than its error."""
    del budget
    places = range(len(found["classes"]))
    contexts = [np.array(table["contexts"]) for table in found["classes"]]
    paths = [path_of(found, "reparametrised", place) for place in places]
    single, error = paths[0]
    counts = [falls_of_distinct(contexts[place], *paths[place]) for place in (0, 1)]
    counts.append(int((np.diff(single[:, 0]) > -error).sum()))
    for (path, allowed), token, sign in ((paths[2], theory.LOSER, -1), (paths[3], theory.GAINER, 1)):
        counts.append(int(sign * path[1, token] <= allowed))
    return counts


def falls_of_distinct(contexts: FloatArray, path: FloatArray, error: float) -> int:
    """Falls of distinct tokens between times at which the sufficient condition holds for their class."""
    occurrences, falls = (contexts > 0).sum(0), 0
    for before, after in pairwise(path):
        for n, row in enumerate(contexts):
            if all(sufficient(contexts, logits, n) for logits in (before, after)):
                own = (row > 0) & (occurrences == 1)
                falls += int((after[own] - before[own] < -2 * error).sum())
    return falls


def sufficient(contexts: FloatArray, logits: FloatArray, n: int) -> bool:
    """Whether the overlaps of each other class with the others sum to at most 1."""
    f = theory.float_values(contexts, logits[None], [0] * len(contexts), 1.0, 1.0)["f"]
    return theory.weak(f @ f.T, n)


def said_of_flows(found: Values) -> str:
    """What was run, and the same tokens in the flow of the loss itself."""
    told = []
    for place, token, name in (
        (2, theory.LOSER, "the distinct token that loses"),
        (3, theory.GAINER, "the common token that gains"),
    ):
        ends = [path_of(found, flow, place)[0][1, token] for flow in ("reparametrised", "joint")]
        told.append(f"{name}: z = {ends[0]:.1e} at 1/8 K ln M, {ends[1]:.1e} in the flow of the loss itself")
    return f"{len(TIMES)} times on {len(found['classes'])} tables; " + "; ".join(told)


def discriminative_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same check refuse others."""
    return Claim(
        "scan-discriminative",
        theory.derivation,
        PARAMETERS,
        lambda parameters: for_user(**parameters)._asdict(),
        (
            ExactCheck(
                "force with the decoder in the span", force_task, force_rows(formula),
                lambda found: f"{len(found['velocity'])} tables, decoders by pseudo-inverse",
                "as a difference in units of the largest force",
            ),
            ExactCount(
                "signs along the flow", flow_task, wrong_signs, said_of_flows, "as steps that go the wrong way",
            ),
        ),
        "random tables with 2 to 4 classes, 1 or 2 queries, 2 to 4 common tokens, M <= 14, attention logits in (-1, "
        "1); the reparametrised flow from zero to 4 K ln M/eta_Y, eta_Z = eta_Y, on tables with one query; both "
        "counterexamples",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(one) for one in cases(seed)],
                lambda altered: discriminative_claim(lambda: altered),
            ),
        ),
        quantities=quantities.DISCRIMINATIVE,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (discriminative_claim(),)
