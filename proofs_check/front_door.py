"""What `import iclcheck` offers: the verbs of the command line as functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..numerics.black_box.effective_weights import EffectiveWeights
    from ..numerics.users_models.conventions import Convention
    from ..theory.algebra.derivations import Derivation
    from .black_box.report import ModelReport
    from .checking import CheckRun
    from .claims.users_weights import WeightsReport
    from .decoders.users_decoders import DecoderReport


def claims() -> tuple[str, ...]:
    """The identifiers of all claims."""
    from .claims.registry import all_claims

    return tuple(all_claims())


def derive(claim: str) -> Derivation:
    """The derivation of a claim. Raises UsageError (a ValueError) for an unknown claim.

    >>> derive("fixed-point").failures()  # every step, at two random rational instances
    []
    """
    from .claims.registry import find

    return find(claim).derivation()


def predict(claim: str, **parameters: Any) -> dict[str, Any]:
    """The quantities of a claim for given parameters, as plain data.

    Raises UsageError for unknown or missing parameters and AssumptionError for values that the claim's
    assumptions exclude; both are ValueErrors of one sentence.

    >>> predict("uniform-covariates", dimension=1, context_length=4)["learning_rate"]
    2.5
    """
    from .claims.parameters import complete, finite_quantities
    from .claims.registry import find

    found = find(claim)
    return finite_quantities(claim, found.predict, complete(claim, found.parameters, parameters))


def check(
    *claims: str,
    profile: str = "quick",
    device: str = "cpu",
    seed: int = 0,
    store: str | Path = ".iclcheck/records.sqlite",
    workers: int = 1,
) -> CheckRun:
    """Check the named claims (all, if none is named) and return their verdicts.

    Measurements are kept in `store` and used again. `workers` above 1 starts processes, which needs the
    caller's script to guard its main part with `if __name__ == "__main__"`. Among several claims an audit brings its
    corrected claim.
    """
    from .checking import check_claims
    from .claims.claim import budget_for
    from .claims.parameters import UsageError
    from .claims.registry import all_claims, find, with_corrected
    from .records.store import RecordStore

    if workers < 1:
        raise UsageError(f"workers needs a whole number of at least 1, got {workers}; 1 measures in this process")
    chosen = with_corrected([find(name) for name in dict.fromkeys(claims)]) or list(all_claims().values())
    with RecordStore(store) as opened:
        return check_claims(chosen, budget_for(profile, device, seed), opened, workers=workers)


def check_weights(
    W_PV: Any, W_KQ: Any, *, within: float = 0.05, convention: Convention | str = "iclcheck", **parameters: Any
) -> WeightsReport:
    """Compare one layer's weights (d+1, d+1 each) with the fixed point for the law given by `parameters`.

    The weights may be nested lists, NumPy arrays or torch tensors, written in `convention` (`iclcheck.Convention`, or a
    name as "ACDS" or "no-1/N"). `parameters` are those of `predict("fixed-point", ...)`. Raises ValueErrors of one
    sentence.
    """
    from .claims.users_weights import judge_weights

    return judge_weights({"W_PV": W_PV, "W_KQ": W_KQ}, parameters, within=within, convention=convention)


def check_model(
    model: Any, *, claim: str = "fixed-point", **options: Any
) -> WeightsReport | ModelReport | DecoderReport:
    """Judge a model of your own against a claim on the law given by the claim's parameters.

    model: a function (xs, ys, x_query) -> prediction, a torch module (docs/users_models.md has its three shapes), the
    name of one as "package.module:function", or the path of a file of weights or of a decoder's checkpoint.
    claim: fixed-point, preconditioned-gradient-step, or model-selection. options: `within`, `convention`, `prompts`,
    `seed`, and the parameters of the law. Raises ValueErrors of one sentence.
    """
    from .black_box.checking import check_model as check_any

    return check_any(model, claim, options)


def effective_weights(
    model: Any, *, dimension: int, context_length: int, convention: Convention | str = "iclcheck"
) -> EffectiveWeights:
    """What a layer of linear attention computes, read off its answers to prompts with one token that is not zero.

    model: a function or torch module, as for `check_model`. Raises NotLinearAttentionError, a ValueError, where the
    model is no such layer.
    """
    from .black_box.checking import read_weights_of

    return read_weights_of(model, dimension, context_length, convention)
