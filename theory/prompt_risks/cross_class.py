r"""The Bayes predictor of dense linear functions on prompts of other linear functions, and at other scales of inputs.

    x = sqrt(c) z with z from any law that turns leave alone, z ~ N(0, I_d) for one; y = w.x + e, e ~ N(0, sigma2).
The predictor expects w ~ N(0, v I): it is ridge regression, w_hat = (X^T X + sigma2/v)^{-1} X^T y.
Main statements, with G = Z^T Z, kappa = sigma2/(c v), P = (G + kappa)^{-1}
    error   (G + kappa)(w - w_hat) = kappa w - c^{-1/2} Z^T e
    risk    E (w_hat.x_q - w.x_q)^2 = W c kappa^2 tr(P^2)/d + sigma2 (tr P - kappa tr P^2) over noise, query and turns
            of the inputs, for every w with |w|^2 = W, or in the mean with E |w|^2 = W: nothing else about w counts
    dense   W = d v: sigma2 tr P, the Bayes risk
    sparse  k coefficients of variance s: the bias is k s/(d v) times that on dense prompts, the rest is the same
    scale   inputs sqrt(c) times as large are functions sqrt(c) times as large: only c v and c W count
Assumptions
    e independent of w and of the inputs, whose law no turn changes; x_q from the same law.
Reference
    The cross-class prompts and scales are those of [yadlowsky2023pretraining, Figures 2 and 4].
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step
from ..algebra.evaluation import evaluate, exact_inverse
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, identity, matrix, scalar, substitute, trace
from ..one_layer.assumptions import (
    AssumptionError,
    check_non_negative,
    check_positive,
    is_whole,
    real_array,
)

EYE, P = identity("d"), matrix("P", symmetric=True)
KAPPA, SIGMA2, SCALE, V, W = (scalar(name) for name in ("kappa", "sigma2", "c", "v", "W"))
NONZEROS, SPARSE, D = scalar("k"), scalar("s"), scalar("d")


# The derivation


@cache
def ridge() -> TracePolynomial:
    """kappa: what stands beside Z^T Z in X^T X + sigma2/v = c (Z^T Z + kappa)."""
    return SIGMA2 * V**-1 * SCALE**-1


@cache
def noise() -> TracePolynomial:
    """c |P Z^T e|^2/c in the mean over e: sigma2 tr(P G P), G P = I - kappa P."""
    return SIGMA2 * trace(P * (EYE - KAPPA * P))


@cache
def bias() -> TracePolynomial:
    """d times c |kappa P w|^2 in the mean over turns: c kappa^2 W tr P^2."""
    return SCALE * KAPPA**2 * W * trace(P * P)


@cache
def at_ridge() -> TracePolynomial:
    """sigma2 by kappa."""
    return KAPPA * SCALE * V


@cache
def bayes() -> TracePolynomial:
    """The risk on dense prompts, W = d v, in kappa: the two terms in tr P^2 cancel.

    >>> bayes()
    c kappa v tr(P)
    """
    of_noise = substitute(noise(), scalars={"sigma2": at_ridge()})
    return substitute(bias(), scalars={"W": D * V}) * D**-1 + of_noise


@cache
def excess() -> TracePolynomial:
    """d times what k coefficients of variance s cost above dense prompts."""
    return substitute(bias(), scalars={"W": NONZEROS * SPARSE}) - substitute(bias(), scalars={"W": D * V})


# Instances: literal prompts


def instance(seed: int) -> dict[str, Any]:
    """Rational inputs (N, d), w, e, root of the scale, v and sigma2."""
    draw = random.Random(f"cross class/{seed}")

    def array(*shape: int) -> Any:
        numbers = [Fraction(draw.randint(-40, 40), 11) for _ in range(int(np.prod(shape)))]
        return np.array(numbers, dtype=object).reshape(shape)

    d, length = 2 + seed % 2, 2 + seed % 3
    positive = {name: Fraction(draw.randint(1, 40), 11) for name in ("v", "sigma2", "root", "s")}
    return {"Z": array(length, d), "w": array(d, 1), "e": array(length, 1), "k": Fraction(1 + seed % d), **positive}


def resolvent(at: Mapping[str, Any]) -> tuple[Fraction, Any]:
    """kappa and P."""
    kappa = at["sigma2"] / (at["v"] * at["root"] ** 2)
    d = at["Z"].shape[1]
    return kappa, exact_inverse(at["Z"].T @ at["Z"] + kappa * unit(d))


def unit(d: int) -> Any:
    """I with exact entries."""
    return np.eye(d).astype(int).astype(object)


def letters_of(at: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the formula's letters."""
    kappa, found = resolvent(at)
    square = (at["w"].T @ at["w"])[0, 0]
    scalars = {
        "kappa": kappa,
        "c": at["root"] ** 2,
        "W": square,
        **{name: at[name] for name in ("v", "sigma2", "s", "k")},
    }
    return {"P": found, **{name: np.array(one, dtype=object)[()] for name, one in scalars.items()}}


def value(polynomial: TracePolynomial, at: Mapping[str, Any], **letters: Any) -> Any:
    """The exact value of a polynomial at an instance."""
    return np.asarray(evaluate(polynomial, {**letters_of(at), **letters}), dtype=object)[()]


def estimate(at: Mapping[str, Any]) -> Any:
    """w_hat from the literal examples, by the normal equations with sigma2/v."""
    X = at["root"] * at["Z"]
    y = X @ at["w"] + at["e"]
    return exact_inverse(X.T @ X + at["sigma2"] / at["v"] * unit(X.shape[1])) @ (X.T @ y)


def error_equation(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """(G + kappa)(w - w_hat), and kappa w - Z^T e/root."""
    kappa, _ = resolvent(at)
    G = at["Z"].T @ at["Z"] + kappa * unit(len(at["w"]))
    return G @ (at["w"] - estimate(at)), kappa * at["w"] - at["Z"].T @ at["e"] / at["root"]


def group(d: int) -> list[Any]:
    """Signed cyclic permutations of d coordinates."""
    eye = unit(d)
    return [
        np.diag(signs).astype(object) @ np.roll(eye, k, 0) for k in range(d) for signs in product((1, -1), repeat=d)
    ]


def noise_part(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """The sum over unit errors e_i of c |w_hat|^2 at w = 0, times sigma2, and the derived mean."""
    length = len(at["Z"])
    total = Fraction(0)
    for i in range(length):
        e = np.array([[Fraction(int(i == j))] for j in range(length)], dtype=object)
        found = estimate({**at, "e": e, "w": at["w"] * 0})
        total += (found.T @ found)[0, 0]
    return at["root"] ** 2 * at["sigma2"] * total, value(noise(), at)


def bias_part(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """d times the mean over signed shifts of c |w - w_hat|^2 without noise, and the derived form."""
    copies, d = group(len(at["w"])), len(at["w"])
    total = Fraction(0)
    for turn in copies:
        turned = {**at, "w": turn @ at["w"], "e": at["e"] * 0}
        left = turned["w"] - estimate(turned)
        total += (left.T @ left)[0, 0]
    return at["root"] ** 2 * d * total / len(copies), value(bias(), at)


def dense_part(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """bias/d + noise at W = d v, and sigma2 tr P by kappa."""
    d = len(at["w"])
    whole = value(bias(), at, W=np.array(d * at["v"], dtype=object)[()]) / d + value(noise(), at)
    return whole, value(bayes(), at)


def sparse_part(at: Mapping[str, Any]) -> tuple[Any, Any]:
    """d (risk at W = k s - risk at W = d v), and the form; the bias at W = k s by its share."""
    d = len(at["w"])
    sparse, dense = (value(bias(), at, W=np.array(size, dtype=object)[()]) for size in (at["k"] * at["s"], d * at["v"]))
    return [sparse - dense, sparse * d * at["v"]], [value(excess(), at), dense * at["k"] * at["s"]]


ERROR, NOISE, BIAS = "error of the predictor", "the part of the noise", "the part of the function"
DENSE_STEP, SPARSE_STEP = "dense prompts", "sparse prompts"


@cache
def derivation() -> Derivation:
    """From the normal equations to the two kinds of prompts."""
    steps = (
        Step(
            ERROR,
            "(G + kappa)(w - w_hat)",
            "kappa w - c^(-1/2) Z^T e",
            r"(G + \kappa)(w - \hat w) = \kappa\,w - c^{-1/2} Z^\top e,\quad \kappa = \tfrac{\sigma^2}{c v}",
            "the normal equations c (G + kappa) w_hat = sqrt(c) Z^T (sqrt(c) Z w + e)",
            error_equation,
        ),
        Step(
            NOISE,
            "E_e |P Z^T e|^2",
            to_text(noise()),
            rf"\mathbb E_e\,|P Z^\top e|^2 = {to_latex(noise())}",
            "E e e^T = sigma2 I, and P G P = P - kappa P^2; the query's covariance c I cancels the 1/c",
            noise_part,
            forms={"noise": noise()},
        ),
        Step(
            BIAS,
            "d times the mean over turns of c kappa^2 |P w|^2",
            to_text(bias()),
            rf"d\;\mathbb E_Q\,c\kappa^2\,|P Q w|^2 = {to_latex(bias())}",
            "a turn of the inputs is the opposite turn of w; the mean of Q w w^T Q^T is |w|^2 I/d, and already that "
            "over the signed cyclic permutations. Noise and w have no product in the mean",
            bias_part,
            forms={"bias": bias()},
        ),
        Step(
            DENSE_STEP,
            "bias/d + noise at W = d v",
            to_text(bayes()),
            rf"\tfrac1d\,\mathrm{{bias}} + \mathrm{{noise}} = {to_latex(bayes())} = \sigma^2\,\mathrm{{tr}}\,P",
            "sigma2 = kappa c v",
            dense_part,
            forms={"bayes": bayes()},
        ),
        Step(
            SPARSE_STEP,
            "d times the risk on k coefficients of variance s, less that on dense prompts",
            to_text(excess()),
            rf"d\,(\mathrm{{risk}}_{{k}} - \mathrm{{risk}}_{{d}}) = {to_latex(excess())}",
            "W = k s in the place of d v; so the bias is k s/(d v) times that on dense prompts, at every length, noise "
            "and scale, and with k s = d v a dense predictor cannot lose by sparsity",
            sparse_part,
            forms={"excess": excess()},
        ),
    )  # fmt: skip
    results = {"ridge": ridge(), "bias": bias(), "noise": noise(), "bayes": bayes(), "excess": excess()}
    return Derivation(STATEMENT, steps, results, instance)


STATEMENT = Statement(
    identifier="out-of-distribution",
    title="Prompts from outside of the pretraining mixture: Bayes predictors, and trained decoders beside them",
    latex=r"\mathrm{risk} = \frac{\mathbb E|w|^2}{d}\,c\,\kappa^2\,\mathrm{tr}\,P^2 + \sigma^2\,(\mathrm{tr}\,P - "
    r"\kappa\,\mathrm{tr}\,P^2),\quad P = (Z^\top Z + \kappa)^{-1},\ \kappa = \frac{\sigma^2}{c v}",
    text=(
        "The Bayes predictor of dense functions errs on sparse prompts as on dense ones, but for a bias that is k s/(d "
        "v) times as large, and at other scales of the inputs as at other sizes of the function. On prompts of the "
        "other class a decoder trained on dense functions keeps to its own Bayes predictor, one trained on sparse ones "
        "does not. Convex combinations of two classes cost a decoder about what they cost its own Bayes predictor; "
        "inputs three times as large, and frequencies beyond the range, cost multiples of what the right one pays."
    ),
    assumptions=(
        "for the risk: noise independent of all else; inputs whose law no turn changes; the query from the same law",
        "for trained decoders: none is derived; what is measured holds for the files or trainings named in the domain",
    ),
    conventions="risks are of the noiseless target; Z are the inputs before scaling, one example per row",
    sources=(Source("ours", ""), Source("yadlowsky2023pretraining", "Figures 2 and 4 (the prompts)")),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The risk of one prompt's inputs, in the mean over turns and noise."""
    vocabulary = Vocabulary({"v": ("W", "c"), "W": ("v",), "c": ("v",), "sigma2": ("v",), "d": ("N",), "kappa": ("c",)})
    parts = {"ridge": ridge(), "bias": bias() * D**-1, "noise": noise()}
    return Formula(parts, risk_of_parts, vocabulary)


def risk_of_parts(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """bias + noise at the Gram matrix `gram` (d, d)."""
    letters = {name: one for name, one in values.items() if name != "gram"}
    G, kappa = np.asarray(values["gram"]), evaluate(parts["ridge"], letters)
    if G.dtype.kind == "O":
        found = exact_inverse(G + kappa * unit(len(G)))
    else:
        found = np.linalg.inv(G + kappa * np.eye(len(G)))
    at = {**letters, "P": found, "kappa": kappa}
    return np.asarray(evaluate(parts["bias"], at) + evaluate(parts["noise"], at))


def points(name: str) -> list[dict[str, Any]]:
    """Rational Gram matrices and letters."""
    found = []
    for k in range(4):
        draw = random.Random(f"{name}/cross class/{k}")
        d, length = 1 + k % 3, 4
        Z = np.array([[Fraction(draw.randint(-30, 30), 7) for _ in range(d)] for _ in range(length)], dtype=object)
        letters = {
            one: np.array(Fraction(draw.randint(1, 900), 211), dtype=object)[()] for one in ("v", "sigma2", "c", "W")
        }
        found.append({"gram": Z.T @ Z, "d": Fraction(d), "N": Fraction(length), **letters})
    return found


def letters_at(
    inputs: Any, dense_variance: float, noise_variance: float, square: float, scale: float
) -> dict[str, Any]:
    """Values for the formula at inputs (N, d) before scaling and |w|^2."""
    Z = np.asarray(inputs, dtype=float)
    return {
        "gram": Z.T @ Z, "d": float(Z.shape[1]), "N": float(len(Z)), "v": dense_variance, "sigma2": noise_variance,
        "W": square, "c": scale,
    }  # fmt: skip


# For a user


def for_user(
    inputs: Any, dense_variance: Any, noise_variance: Any, nonzeros: Any, sparse_variance: Any, input_scale: Any = 1.0
) -> dict[str, float]:
    """Risks of the dense Bayes predictor on dense and on k-sparse prompts with these inputs, turned at random.

    Raises AssumptionError.

    >>> for_user([[1.0]], 1.0, 1.0, 1, 2.0)
    {'risk_on_dense': 0.5, 'risk_on_sparse': 0.75, 'bias_ratio': 2.0}
    """
    Z = real_array(inputs, "inputs")
    if Z.ndim != 2 or 0 in Z.shape:
        raise AssumptionError(f"inputs needs the shape (N, d) with N, d >= 1, got {Z.shape}; give one example per row")
    d, k = Z.shape[1], nonzeros_of(nonzeros, Z.shape[1])
    v, noise_ = check_positive(dense_variance, "dense_variance"), check_positive(noise_variance, "noise_variance")
    s, scale = check_non_negative(sparse_variance, "sparse_variance"), check_positive(input_scale, "input_scale")
    eigenvalues = resolved_eigenvalues(Z, noise_, scale, v)
    try:
        on_dense, on_sparse = (float(risk_at(eigenvalues, v, noise_, size, scale)) for size in (d * v, k * s))
    except OverflowError:
        raise AssumptionError(
            f"the risk needs to be below 1e308, got more at variances {v:g} and {s:g} and input_scale {scale:g}; give "
            "smaller ones"
        ) from None
    return {"risk_on_dense": on_dense, "risk_on_sparse": on_sparse, "bias_ratio": k * s / (d * v)}


RESOLVED = 1e-10  # how far an eigenvalue of Z^T Z may be off, relative to it or to kappa


def resolved_eigenvalues(Z: Any, noise: float, scale: float, variance: float) -> list[Fraction]:
    """The d eigenvalues of Z^T Z by singular values, so that d - N of them are 0 without rounding.

    A singular value is off by at most the machine epsilon times the largest one and the larger side of Z. Raises
    AssumptionError where an eigenvalue is neither that well known nor small beside kappa.
    """
    found = np.linalg.svd(Z, compute_uv=False)
    rounding = max(Z.shape) * float(np.finfo(float).eps) * float(found.max())
    unknown = [float(one) for one in found if rounding > RESOLVED * one]
    least = max((rounding * (2 * one + rounding) for one in unknown), default=0.0) / RESOLVED * scale * variance
    if noise < least or not np.isfinite(found).all():
        raise AssumptionError(
            f"noise_variance needs at least {least:.3g} with inputs that are nearly dependent, got {noise:g}: rounding "
            "decides which functions they do not see; give that much, or leave out rows that depend on others"
        )
    return [Fraction(float(one)) ** 2 for one in found] + [Fraction(0)] * (Z.shape[1] - len(found))


def risk_at(eigenvalues: list[Fraction], variance: float, noise: float, square: float, scale: float) -> Fraction:
    """The risk, a trace, as its sum over eigenvalues of Z^T Z, without rounding: 1/kappa may be of any size."""
    names = {"v": variance, "sigma2": noise, "W": square, "c": scale, "d": len(eigenvalues), "N": 1}
    letters = {name: np.array(Fraction(one), dtype=object)[()] for name, one in names.items()}
    found = [formula().value({**letters, "gram": np.array([[one]], dtype=object)}) for one in eigenvalues]
    return sum((Fraction(one.item()) for one in found), Fraction(0))


def nonzeros_of(value: Any, dimension: int) -> int:
    """A whole number from 1 to d. Raises AssumptionError."""
    if not is_whole(value) or not 1 <= value <= dimension:
        raise AssumptionError(
            f"nonzeros needs a whole number from 1 to {dimension}, the width of inputs, got {value!r}; give 1, say"
        )
    return int(value)
