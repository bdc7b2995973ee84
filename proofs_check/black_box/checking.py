"""One door for models of users: a file, a function, a module, or the name of one, against the claim that is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claims.parameters import UsageError
from ..claims.users_weights import WeightsReport, convention_of, detached, judge_weights
from .models import CLAIMS, FIXED_POINT, WITHIN, judge_model

if TYPE_CHECKING:
    from ...numerics.black_box.effective_weights import EffectiveWeights
    from ...numerics.users_models.conventions import Convention
    from ..decoders.users_decoders import DecoderReport
    from .report import ModelReport

DECODER = "model-selection"


def check_model(model: Any, claim: str, options: Mapping[str, Any]) -> WeightsReport | ModelReport | DecoderReport:
    """The report of the claim on the model. Raises ValueErrors of one sentence."""
    from ..claims.registry import find

    if claim not in (*CLAIMS, DECODER):
        find(claim)
        raise UsageError(f"a model of your own is judged against {', '.join((*CLAIMS, DECODER))}, got {claim}")
    model = loaded_if_named(model)
    if claim == DECODER:
        from ..decoders.users_decoders import check_decoder

        if "convention" in options:
            raise UsageError(f"a convention is of one layer's weights; {DECODER} needs none")
        return check_decoder(model, **options)
    known = {name: options[name] for name in ("within", "prompts", "seed", "convention") if name in options}
    law = {name: value for name, value in options.items() if name not in known}
    if isinstance(model, str | Path):
        return weights_in_file(model, claim, known, law)
    return judge_model(callable_model(model), law, claim=claim, **known)


def weights_in_file(path: str | Path, claim: str, known: Mapping[str, Any], law: Mapping[str, Any]) -> WeightsReport:
    """One layer's weights, in the layout of their convention."""
    if claim != FIXED_POINT:
        raise UsageError(f"weights in a file are judged against {FIXED_POINT}; {claim} judges functions and modules")
    for name in ("prompts", "seed"):
        if name in known:
            raise UsageError(f"{name} belongs to a function, and weights in a file are judged without sampling")
    convention = convention_of(known.get("convention", "iclcheck"))
    weights = stored_weights(path, convention, {})
    return judge_weights(weights, law, within=known.get("within", WITHIN), convention=convention)


def stored_weights(path: str | Path, convention: Convention, names: Mapping[str, str]) -> dict[str, Any]:
    """W_PV and W_KQ from a file in the convention's layout. Raises WeightsFileError."""
    if convention.layout == "merged":
        from ...numerics.users_models.weights_files import read_weights

        return dict(read_weights(path, {"W_PV": "W_PV", "W_KQ": "W_KQ", **names}))
    from ...numerics.users_models.published_layouts import read_layer

    return dict(zip(("W_PV", "W_KQ"), read_layer(path, convention.layout, names), strict=True))


def loaded_if_named(model: Any) -> Any:
    """What "package.module:function" names; anything else as it is."""
    if isinstance(model, str) and ":" in model and not Path(model).exists():
        from ...numerics.users_models.functions import loaded

        return loaded(model)
    return model


def callable_model(model: Any) -> Callable[..., Any]:
    """The model, if it can be called. Raises UsageError."""
    if callable(model):
        return model  # type: ignore[no-any-return]
    kind = type(detached(model)).__name__
    raise UsageError(
        f"need a function (xs, ys, x_query) -> prediction, a torch module, or the path of a file, got the type {kind}; "
        "arrays are judged by check_weights"
    )


def read_weights_of(model: Any, dimension: int, context_length: int, convention: Convention | str) -> EffectiveWeights:
    """The effective weights of a function or module. Raises NotLinearAttentionError."""
    from ...numerics.black_box.asked import asked
    from ...numerics.black_box.effective_weights import read_effective_weights
    from ...theory.one_layer.assumptions import check_context_length, check_dimension

    d, N = check_dimension(dimension), check_context_length(context_length)
    found = callable_model(loaded_if_named(model))
    name = getattr(found, "__name__", type(found).__name__)
    return read_effective_weights(asked(found, name, convention_of(convention)), d, N)
