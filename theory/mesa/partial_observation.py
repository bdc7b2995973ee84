r"""The next observation of a hidden linear system as a linear map of the last k: when it is exact, and what is missed.

h_{t+1} = W h_t and s_t = C h_t + eps_t; z_t = (s_t, s_{t-1}, .., s_{t-k+1}), the newest first. With h = h_{t-k+1},
O = O_k = (C W^{k-1}; ..; C W; C) and G = C W^k: z_t = O h and s_{t+1} = G h, up to noise. Let h ~ N(0, I) and
eps ~ N(0, sigma^2 I).
Main statements
    residual    s_{t+1} - M z_t has the covariance (G - M O)(G - M O)^T + sigma^2 (M M^T + I)
    best map    M (O O^T + sigma^2 I) = G O^T, and what it leaves is G G^T - M O G^T + sigma^2 I: no other map, linear
                or not, leaves less (for Gaussian h and eps it is the conditional covariance)
    exact       without noise M = G O^+ leaves G (I - O^+ O) G^T. It is 0, and s_{t+1} = M z_t for every h, iff the
                rows of C W^k lie in the row space of O, that is iff rank O_{k+1} = rank O_k
    generic     for all (W, C) but a null set rank O_k = min(k n_s, n_h): the map is exact iff k n_s >= n_h
    exceptions  k n_s >= n_h is neither sufficient nor necessary for a given (W, C)
    noise       sigma^2 > 0 leaves at least sigma^2 I, and more through M
Assumptions
    W orthogonal, which keeps h_t ~ N(0, I) for every t. For any other W the statements hold with h_{t-k+1} ~ N(0, I).
Reference
    [vonoswald2023uncovering, section on partial observability].
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import Array, evaluate, exact_inverse
from ..algebra.formulas import Formula, Values, left_divided
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, identity, matrix, scalar
from ..algebra.words import Letter
from ..one_layer.assumptions import AssumptionError, check_shape, is_whole, real_array
from .causal_layer import draw_fractions

O_K = matrix("O", rows="z", cols="h")
G = matrix("G", rows="s", cols="h")
M = matrix("M", rows="s", cols="z")
D = matrix("D", rows="s", cols="z")
SIGMA2 = scalar("sigma2")
MOST_DELAYS = 1000
RANK = 1e-10  # singular values below this share of the largest count as 0: entries typed in with 11 digits


def residual(of: TracePolynomial = M) -> TracePolynomial:
    """Covariance of s_{t+1} - M z_t: h and the noise of the observations are independent."""
    missed = G - of * O_K
    return missed * missed.T + SIGMA2 * (of * of.T) + SIGMA2 * identity("s")


@cache
def gram() -> TracePolynomial:
    """O O^T + sigma^2 I: what multiplies M from the right in half of the part of residual(M + D) linear in D."""
    return O_K * O_K.T + SIGMA2 * identity("z")


@cache
def cross() -> TracePolynomial:
    """G O^T."""
    return G * O_K.T


@cache
def least() -> TracePolynomial:
    """The residual where M gram = cross: M gram M^T - M cross^T cancel."""
    return G * G.T - M * O_K * G.T + SIGMA2 * identity("s")


# Instances


def cayley(draw: random.Random, n: int) -> Array:
    """A rational orthogonal matrix (I - S)(I + S)^-1 of an antisymmetric S."""
    B = draw_fractions(draw, n, n)
    S, eye = (B - B.T) / Fraction(3), np.eye(n, dtype=int).astype(object)
    rotation: Array = (eye - S) @ exact_inverse(eye + S)
    return rotation


class Instance:
    """Rational W (3 x 3, orthogonal), C (1 x 3 or 2 x 3), k = 2, any M and D, sigma^2."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"mesa-partial-observation/{seed}")
        n_s, self.delays = 1 + seed % 2, 2
        self.W, self.C = cayley(draw, 3), draw_fractions(draw, n_s, 3)
        self.letters: dict[str, Any] = {
            "O": observability(self.W, self.C, self.delays), "G": next_row(self.W, self.C, self.delays),
            "M": draw_fractions(draw, n_s, n_s * self.delays), "D": draw_fractions(draw, n_s, n_s * self.delays),
            "sigma2": Fraction(draw.randint(1, 9), 5),
        }  # fmt: skip

    def at(self, polynomial: TracePolynomial) -> Array:
        return np.asarray(evaluate(polynomial, self.letters))

    def best(self) -> Array:
        """cross gram^-1."""
        found: Array = self.at(cross()) @ exact_inverse(self.at(gram()))
        return found


def powers(W: Array, highest: int) -> list[Array]:
    """I, W, .., W^highest."""
    eye = np.eye(len(W), dtype=int).astype(object) if W.dtype.kind == "O" else np.eye(len(W))
    found = [eye]
    for _ in range(highest):
        found.append(found[-1] @ W)
    return found


def observability(W: Array, C: Array, delays: int) -> Array:
    """(C W^{k-1}; ..; C W; C), (k n_s, n_h)."""
    return np.concatenate([C @ power for power in reversed(powers(W, delays - 1))])


def next_row(W: Array, C: Array, delays: int) -> Array:
    """C W^k."""
    found: Array = C @ powers(W, delays)[-1]
    return found


def exact_rank(matrix_of: Array) -> int:
    """The rank of a rational matrix, by elimination."""
    rows, rank = [list(row) for row in matrix_of], 0
    for col in range(matrix_of.shape[1]):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][col]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for r in range(rank + 1, len(rows)):
            factor = Fraction(rows[r][col]) / rows[rank][col]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    return rank


def simulated(one: Instance) -> tuple[Any, Any]:
    """(z, s_{t+1}) of each unit vector h by running the system, and the columns of O and G."""
    left = []
    for h in np.eye(3, dtype=int).astype(object):
        seen, state = [], h
        for _ in range(one.delays + 1):
            seen.append(one.C @ state)
            state = one.W @ state
        left.append(np.concatenate([*reversed(seen[:-1]), seen[-1]]))
    return np.array(left).T, np.concatenate([one.letters["O"], one.letters["G"]])


def covariance_by_directions(one: Instance, of: Array) -> Array:
    """Covariance of s_{t+1} - M z_t as a sum over unit directions of h, of the noise in z and of that in s_{t+1}."""
    O_at, G_at, sigma2 = (one.letters[name] for name in ("O", "G", "sigma2"))
    columns = [(G_at - of @ O_at)[:, i] for i in range(O_at.shape[1])]
    found = sum(np.outer(column, column) for column in columns)
    noisy = [-of[:, i] for i in range(of.shape[1])] + list(np.eye(len(of), dtype=int).astype(object))
    return np.asarray(found + sigma2 * sum(np.outer(column, column) for column in noisy))


def completed(one: Instance) -> tuple[Any, Any]:
    """residual(M + D) - residual(M) for any M, and what gram and cross say."""
    M_at, D_at = one.letters["M"], one.letters["D"]
    slope = one.at(cross()) - M_at @ one.at(gram())
    left = covariance_by_directions(one, M_at + D_at) - covariance_by_directions(one, M_at)
    return left, D_at @ one.at(gram()) @ D_at.T - D_at @ slope.T - slope @ D_at.T


def least_at_best(one: Instance) -> tuple[Any, Any]:
    best = one.best()
    return covariance_by_directions(one, best), evaluate(least(), {**one.letters, "M": best})


def exactness(one: Instance) -> tuple[Any, Any]:
    """Whether G (I - P) vanishes, and whether the rank stays: for k = 1, 2, 3, 4."""
    left, right = [], []
    for k in (1, 2, 3, 4):
        O_at, G_at = observability(one.W, one.C, k), next_row(one.W, one.C, k)
        rows = independent_rows(O_at)
        P = rows.T @ exact_inverse(rows @ rows.T) @ rows
        left.append(not np.any(G_at - G_at @ P))
        right.append(exact_rank(observability(one.W, one.C, k + 1)) == exact_rank(O_at))
    return left, right


def independent_rows(matrix_of: Array) -> Array:
    """Rows that span the row space, none too many."""
    chosen: list[Array] = []
    for row in matrix_of:
        if exact_rank(np.array([*chosen, row])) > len(chosen):
            chosen.append(row)
    return np.array(chosen)


def cyclic_shift(n: int, sign: int = 1) -> Array:
    """The orthogonal matrix with e_i W = e_{i+1}, the last row with a sign: determinants 1 and -1 both occur."""
    W = np.zeros((n, n), dtype=int).astype(object)
    for i in range(n):
        W[i, (i + 1) % n] = sign if i == n - 1 else 1
    return W


def full_ranks(one: Instance) -> tuple[Any, Any]:
    """Ranks of O_k for cyclic shifts and C with the rows e_1, e_{1+k}, e_{1+2k}, ..: min(k n_s, n_h) for n_h <= 5."""
    del one
    left, right = [], []
    for n in range(2, 6):
        for n_s in range(1, n):
            for k in range(1, n + 1):
                rows = np.eye(n, dtype=int).astype(object)[[(i * k) % n for i in range(n_s)]]
                for sign in (1, -1):
                    left.append(exact_rank(observability(cyclic_shift(n, sign), rows, k)))
                    right.append(min(k * n_s, n))
    return left, right


NOT_SUFFICIENT = (cyclic_shift(4), np.eye(4, dtype=int).astype(object)[:2], 2)
ROTATION = [[Fraction(3, 5), Fraction(-4, 5), 0], [Fraction(4, 5), Fraction(3, 5), 0], [0, 0, 1]]
NOT_NECESSARY = (np.array(ROTATION, dtype=object), np.array([[1, 0, 0]], dtype=object), 2)


def projected(W: Array, C: Array, delays: int) -> tuple[Array, Array]:
    """(M, residual covariance) without noise, exactly: G O^+ and G (I - O^+ O) G^T; rows of O independent or not."""
    O_at, G_at = observability(W, C, delays), next_row(W, C, delays)
    rows = independent_rows(O_at)
    inverse = rows.T @ exact_inverse(rows @ rows.T)  # O^+ = rows^+ (O rows^+)^+
    spread = O_at @ inverse
    pseudo = inverse @ exact_inverse(spread.T @ spread) @ spread.T
    return G_at @ pseudo, G_at @ G_at.T - G_at @ pseudo @ O_at @ G_at.T


def exceptional(one: Instance) -> tuple[Any, Any]:
    """Residual covariances and maps of the two exceptions."""
    del one
    _, missed = projected(*NOT_SUFFICIENT)
    found, nothing = projected(*NOT_NECESSARY)
    left = [*missed.reshape(-1), *found.reshape(-1), *nothing.reshape(-1)]
    return left, [0, 0, 0, 1, Fraction(6, 5), -1, 0]


GENERIC = (
    "The minors of O_k are polynomials in C and in the entries of W, real analytic on each of the two components of "
    "O(n_h). For cyclic shifts W, with either determinant by a sign, and C with the rows e_1, e_{1+k}, e_{1+2k}, .. "
    "the "
    "rows of O_k are the vectors e_i, up to signs: min(k n_s, n_h) different ones. So some minor of that size is not "
    "identically 0, and vanishes on a null set only. For k n_s < n_h the rank then still grows from k to k + 1."
)


@cache
def derivation() -> Derivation:
    """From the system to the best map, and when it is exact."""
    steps = (
        Step(
            "what the delays see",
            "(z_t, s_{t+1}) without noise",
            "(O h, G h) with O = (C W^{k-1}; ..; C W; C), G = C W^k, h = h_{t-k+1}",
            r"z_t = O h,\quad s_{t+1} = CW^k h",
            "h_{t-j} = W^{k-1-j} h",
            simulated,
            forms={f"W^{j}": CW(j) for j in range(4)},
        ),
        equality(
            "residual covariance of a map",
            ("Cov(s_{t+1} - M z_t)", r"\operatorname{Cov}(s_{t+1} - M z_t)"),
            residual(),
            "h, the noise of z and that of s_{t+1} are independent, with covariances I and sigma^2 I",
            lambda one: (covariance_by_directions(one, one.letters["M"]), one.at(residual())),
        ),
        Step(
            "the best map",
            "residual(M + D) - residual(M)",
            "D gram D^T - D (cross - M gram)^T - (cross - M gram) D^T",
            rf"M\,({to_latex(gram())}) = {to_latex(cross())}",
            f"gram = {to_text(gram())}, cross = {to_text(cross())}; gram is positive semi-definite, and M gram = cross "
            "has a solution",
            completed,
            proof=(
                "Without noise cross = G O^T lies in the range of gram. For Gaussian h and noise M z_t is E[s_{t+1} | "
                "z_t], so that no function of z_t leaves less."
            ),
            forms={"gram": gram(), "cross": cross()},
        ),
        equality(
            "what it leaves",
            ("min Cov(s_{t+1} - M z_t)", r"\min_M\operatorname{Cov}(s_{t+1} - M z_t)"),
            least(),
            "residual = least + (M gram - cross) M^T; without noise M = G O^+, and it is G (I - O^+ O) G^T",
            least_at_best,
        ),
        Step(
            "when the map is exact",
            "G (I - O^+ O) = 0",
            "rank O_{k+1} = rank O_k",
            r"G(I - O^+O)G^\top = 0 \iff \operatorname{rank} O_{k+1} = \operatorname{rank} O_k",
            "I - O^+ O projects on the complement of the row space of O; O_{k+1} is O_k with the rows of C W^k above "
            "it",
            exactness,
            proof=(
                "G P' G^T = (G P')(G P')^T for a projector P': zero iff G P' = 0. Then s_{t+1} = M z_t for every h, of "
                "any "
                "law; otherwise it fails for every law of h with a density. The ranks stay from then on (W maps the "
                "row "
                "space into itself)."
            ),
        ),
        Step(
            "the generic case",
            "rank O_k for cyclic shifts W and C = (e_1; e_{1+k}; ..)",
            "min(k n_s, n_h)",
            r"\operatorname{rank} O_k = \min(k n_s, n_h)\ \text{outside a null set}",
            "one example for each (n_h, n_s, k) and determinant is enough",
            full_ranks,
            proof=GENERIC,
        ),
        Step(
            "neither sufficient nor necessary",
            "residual of (4-cycle, C = (e_1; e_2), k = 2); map and residual of (rotation + 1, C = e_1, k = 2)",
            "diag(0, 1); (6/5, -1) and 0",
            r"k n_s = 4 = n_h:\ \operatorname{diag}(0, 1);\qquad k n_s = 2 < 3 = n_h:\ s_{t+1} = \tfrac65 s_t - "
            r"s_{t-1}",
            "C W repeats a row of C, so that O has rank 3; C sees an invariant subspace only, where W has the minimal "
            "polynomial x^2 - 6/5 x + 1",
            exceptional,
        ),
    )
    return Derivation(STATEMENT, steps, {"gram": gram(), "cross": cross(), "least": least()}, Instance)


def CW(power: int) -> TracePolynomial:
    """C W^j as a polynomial."""
    found = matrix("C", rows="s", cols="h")
    for _ in range(power):
        found = found * matrix("W", rows="h", cols="h")
    return found


STATEMENT = Statement(
    identifier="mesa-partial-observation",
    title="The next observation as a linear map of the last k: exact iff one observation more adds nothing to the rank",
    latex=r"M = GO^{+},\quad \min\operatorname{Cov}(s_{t+1} - Mz_t) = G(I - O^{+}O)G^\top,\quad "
    r"G = CW^k,\ O = (CW^{k-1};\dots;CW;C)",
    text=(
        "For h_{t+1} = W h_t seen through s_t = C h_t the best map of z_t = (s_t, .., s_{t-k+1}) to s_{t+1} is C W^k "
        "O^+, "
        "with O the observability matrix, and leaves C W^k (I - O^+ O)(C W^k)^T. It is exact iff rank O_{k+1} = rank "
        "O_k: for all (W, C) outside a null set iff k n_s >= n_h, while single (W, C) are exceptions on both sides. "
        "Observation noise makes it M (O O^T + sigma^2 I) = G O^T, never exact."
    ),
    assumptions=(
        "W orthogonal and h_1 ~ N(0, I), or h_{t-k+1} ~ N(0, I) for any other W",
        "independent observation noise N(0, sigma^2 I); no noise in the hidden state",
        "the generic case: (W, C) drawn with a density on O(n_h) x R^{n_s x n_h}, C apart from W",
    ),
    conventions="z_t has the newest observation first; where O O^T is singular, the map of least norm is given",
    sources=(Source("vonoswald2023uncovering", "partially observed dynamics"), Source("ours", "")),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The map and the residual covariance, of gram, cross and least."""
    shapes = {"O": (Letter("O'", rows="z", cols="h"),), "G": (Letter("G'", rows="s", cols="h"),)}
    vocabulary = Vocabulary({"sigma2": ("sigma",)}, shapes)
    return Formula({"gram": gram(), "cross": cross(), "least": least()}, map_and_residual, vocabulary)


def map_and_residual(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(M, residual covariance) side by side, (n_s, k n_s + n_s). Raises SingularSystemError."""
    best = left_divided(evaluate(parts["gram"], values).T, evaluate(parts["cross"], values).T).T
    return np.concatenate([best, evaluate(parts["least"], {**values, "M": best})], axis=1)


def letters_of_system(W: Array, C: Array, delays: int, sigma2: Any) -> dict[str, Any]:
    """Values of the letters, and of those that they may be mistaken for: one step less, delays in the other order."""
    turned = [C @ power for power in powers(W, delays - 1)]
    return {
        "O": observability(W, C, delays), "G": next_row(W, C, delays), "sigma2": sigma2,
        "O'": np.concatenate(turned) if delays > 1 else C @ W, "G'": next_row(W, C, delays - 1),
        "sigma": sigma2 ** Fraction(1, 2) if not isinstance(sigma2, Fraction) else sigma2 * sigma2 + 1,
    }  # fmt: skip


def points(name: str) -> list[dict[str, Any]]:
    """Rational systems."""
    found = []
    for k, (n_h, n_s, delays) in enumerate(((3, 1, 2), (3, 2, 2), (4, 2, 1), (3, 1, 3))):
        draw = random.Random(f"{name}/observed/{k}")
        sigma2 = Fraction(draw.randint(1, 400), 401)
        found.append(letters_of_system(cayley(draw, n_h), draw_fractions(draw, n_s, n_h), delays, sigma2))
    return found


# For a user


ORDERS = ("newest-first", "oldest-first")


def for_user(
    transition: Any, observation: Any, delays: Any, noise_variance: Any = 0.0, order: Any = ORDERS[0]
) -> dict[str, Any]:
    """The best map (n_s, k n_s), its residual covariance (n_s, n_s), whether it is exact. Raises AssumptionError."""
    W = real_array(transition, "transition")
    if W.ndim != 2 or W.shape[0] != W.shape[1] or not len(W):
        raise AssumptionError(f"transition needs a square matrix, got shape {W.shape}; write nested lists, [[1]]")
    C = real_array(observation, "observation")
    if C.ndim != 2 or not len(C) or C.shape[1] != len(W):
        raise AssumptionError(f"observation needs shape (n_s, {len(W)}), one row for each number seen, got {C.shape}")
    if not is_whole(delays) or not 1 <= delays <= MOST_DELAYS:
        raise AssumptionError(f"delays needs a whole number from 1 to {MOST_DELAYS}, got {delays!r}; it counts "
                              "observations")  # fmt: skip
    sigma2 = float(check_shape(noise_variance, (), "noise_variance"))
    if sigma2 < 0:
        raise AssumptionError(f"noise_variance needs at least 0, got {sigma2:g}; it is the variance of an entry of eps")
    if order not in ORDERS:
        raise AssumptionError(f"order needs one of {', '.join(ORDERS)}, got {order!r}; it is that of the blocks of z_t")
    found = best_map(W, C, int(delays), sigma2)
    if order == ORDERS[1]:
        blocks = np.split(np.array(found["next_step_map"]), int(delays), axis=1)
        found["next_step_map"] = np.concatenate(blocks[::-1], axis=1).tolist()
    return found


def best_map(W: Array, C: Array, delays: int, sigma2: float) -> dict[str, Any]:
    """As `for_user`, of arrays: without noise by the singular values of O, which may be dependent."""
    O_at, G_at = observability(W, C, delays), next_row(W, C, delays)
    left, sizes, right = np.linalg.svd(O_at, full_matrices=False)
    kept = sizes > RANK * max(float(sizes.max()), 1e-300)
    left, sizes, right = left[:, kept], sizes[kept], right[kept]
    inside = G_at @ right.T  # G in the row space of O
    missed = G_at - inside @ right
    # gram = U (S^2 + sigma^2) U^T on the range of O: M = G V S/(S^2 + sigma^2) U^T
    best = (inside * (sizes / (sizes**2 + sigma2))) @ left.T
    kept_back = inside * np.sqrt(sigma2 / (sizes**2 + sigma2)) if sigma2 else 0 * inside
    covariance = missed @ missed.T + kept_back @ kept_back.T + sigma2 * np.eye(len(C))
    exact = not sigma2 and float(np.linalg.norm(missed)) <= RANK * float(np.linalg.norm(G_at))
    return {
        "next_step_map": best.tolist(),
        "residual_covariance": covariance.tolist(),
        "exists": bool(exact),
        "rank": int(kept.sum()),
    }
