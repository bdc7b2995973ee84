r"""A trained decoder beside Bayes predictors, on prompts from outside of what it was trained on.

Main statement
    groups_of_settings    mean squared differences, group by group of independent prompts, between the answers of the
                          decoder, of Bayes predictors of any laws, and the noiseless target: D(a, b) = E (a - b)^2
        D(decoder, target)                          its risk
        D(decoder, right)                           its excess over the predictor that knows the law of the prompts
        D(decoder, own) beside D(own, right)        whether it answers as the predictor of its own law of training does
Groups are independent and alike, whatever the tails: a statement on a group is a coin that is tossed for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..mixtures.posterior import posterior
from ..mixtures.prompt_laws import PromptLaw, Prompts
from ..training.random_streams import stream
from .decoder import Decoder
from .decoder_training import DecoderTraining, RunningTraining
from .shipped import shipped_digest, shipped_model

Plain = Mapping[str, Any]
CHUNK = 256  # prompts at a time: some hundred MB for a class of a thousand models


def decoder_of(model: Plain, device: str) -> Decoder:
    """A decoder from {"shipped": name, "sha256": of its file} or {"training": plain}, which trains it.

    Raises ValueError where the file has another SHA-256.
    """
    if "training" in model:
        running = RunningTraining.begin(DecoderTraining.from_plain(model["training"]), device)
        while not running.ended:
            running.advance()
        return running.model.eval()
    if shipped_digest(model["shipped"]) != model["sha256"]:
        raise ValueError(f"need the file with the SHA-256 {model['sha256']} for {model['shipped']}, got another one")
    return shipped_model(model["shipped"]).model.to(device)


def groups_of_settings(
    model: Plain, settings: Sequence[Plain], groups: int, stream_key: str, device: str
) -> dict[str, Any]:
    """For each setting the names of what answers, and distances (groups, P, P), and by position (N, P, P).

    A setting holds prompts, the law that is drawn from; size, how many of them make a group; oracles, name -> the law
    that a Bayes predictor expects; and first, the position from which on the distances of a group are means. P:
    decoder, the oracles in their order, target.
    """
    decoder = decoder_of(model, device)
    found = []
    for place, setting in enumerate(settings):
        law, size = PromptLaw.from_plain(setting["prompts"]), setting["size"]
        expected = {name: PromptLaw.from_plain(plain) for name, plain in setting["oracles"].items()}
        whole = all_distances(decoder, law, expected, groups * size, stream(f"{stream_key}/{place}", device))
        grouped = whole[:, setting["first"] :].mean(1).view(groups, size, *whole.shape[2:]).mean(1)
        names = ["decoder", *expected, "target"]
        found.append({"names": names, "groups": grouped.tolist(), "by_position": whole.mean(0).tolist()})
    return {"settings": found}


def all_distances(
    decoder: Decoder, law: PromptLaw, oracles: Mapping[str, PromptLaw], count: int, generator: torch.Generator
) -> Tensor:
    """(count, N, P, P), on the CPU."""
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    return torch.cat([distances(answers(decoder, oracles, law.sample(size, generator))).cpu() for size in sizes])


@torch.no_grad()
def answers(decoder: Decoder, oracles: Mapping[str, PromptLaw], drawn: Prompts) -> Tensor:
    """What each answers at every position, and the target: (B, N, P)."""
    trained = decoder(drawn.xs.float(), drawn.ys.float()).double()
    bayes = [posterior(law, drawn.xs, drawn.ys).prediction for law in oracles.values()]
    return torch.stack([trained, *bayes, drawn.targets], -1)


def distances(found: Tensor) -> Tensor:
    """(a - b)^2 for every pair of answers, (..., P, P)."""
    return (found[..., :, None] - found[..., None, :]).square()
