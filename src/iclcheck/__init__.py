"""iclcheck: checks the theory of in-context learning against trained weights.

    >>> import iclcheck
    >>> numbers = iclcheck.predict("fixed-point", covariance=[[1.0, 0.0], [0.0, 1.0]], context_length=3)
    >>> numbers["preconditioner"]
    [[0.5, 0.0], [0.0, 0.5]]

Public names (each is loaded when it is first used):
    claims()                 identifiers of all claims
    derive(claim)            the derivation of a claim: ordered steps, each checkable alone
    predict(claim, **p)      the numbers of a claim for given parameters
    check(*claims, ...)      verdicts: predictions beside trained weights
    check_weights(...)       the verdict on weights of your own
    check_model(model, ...)  the verdict on a function, a torch module or a file of your own
    effective_weights(...)   what a layer of linear attention computes, from its answers alone
    Convention(...)          how such weights are written; CONVENTIONS: those of papers and public codes by name
Claims of your own are written with `iclcheck.own`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .numerics.users_models.conventions import PRESETS as CONVENTIONS
    from .numerics.users_models.conventions import Convention as Convention
    from .proofs_check.front_door import check as check
    from .proofs_check.front_door import check_model as check_model
    from .proofs_check.front_door import check_weights as check_weights
    from .proofs_check.front_door import claims as claims
    from .proofs_check.front_door import derive as derive
    from .proofs_check.front_door import effective_weights as effective_weights
    from .proofs_check.front_door import predict as predict

__version__ = "0.1.0"
__all__ = [
    "CONVENTIONS",
    "Convention",
    "__version__",
    "check",
    "check_model",
    "check_weights",
    "claims",
    "derive",
    "effective_weights",
    "predict",
]


def __getattr__(name: str) -> Any:
    if name in ("CONVENTIONS", "Convention"):
        from .numerics.users_models import conventions

        return conventions.Convention if name == "Convention" else conventions.PRESETS
    if name in __all__:
        from .proofs_check import front_door

        return getattr(front_door, name)
    raise AttributeError(f"module 'iclcheck' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
