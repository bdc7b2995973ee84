r"""Several decoders of one shape trained at once on one device: one pass for all of them.

Their weights stand along a leading axis E, so a kernel of all models is one batched product, and E models cost a GPU
little more launches than one. Each training draws its own prompts, and starts where it starts alone: it ends with the
weights that it gets alone, up to rounding (`RunningTraining` is the plain form, which the tests compare).
    compiled    torch.compile on the pass; prompts are padded to their full length, so that a curriculum on points does
                not compile again: what stands later changes no earlier prediction. Where it fails, training goes on
                without it, and `note` says so
    half        the blocks in bfloat16 (autocast); weights, read-in, read-out and the residual stream stay float32
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .checkpoints import checkpoint_of, read_checkpoint, restore, write_checkpoint
from .decoder import Decoder, DecoderShape, interleaved
from .decoder_training import BLOCK, DecoderTraining
from .soap_updates import SoapUpdates

Weights = Mapping[str, Tensor]
Losses = Callable[[Weights, Tensor, Tensor, Tensor], Tensor]


def stacked_predictions(weights: Weights, shape: DecoderShape, xs: Tensor, ys: Tensor, half: bool = False) -> Tensor:
    """Predictions (E, B, N) of E decoders on prompts of their own, xs (E, B, N, d), ys (E, B, N)."""
    E, B, N, d = xs.shape
    tokens = interleaved(xs.reshape(E * B, N, d), ys.reshape(E * B, N)).view(E, B * 2 * N, d)
    h = _linear(weights, "_read_in", tokens).view(E, B, 2 * N, shape.width)
    h = h + weights["_backbone.wpe.weight"][:, None, : 2 * N]
    with torch.autocast(xs.device.type, torch.bfloat16, enabled=half):
        for layer in range(shape.layers):
            name = f"_backbone.h.{layer}"
            h = h + _attention(weights, f"{name}.attn", _normalised(weights, f"{name}.ln_1", h), shape.heads)
            h = h + _perceptron(weights, f"{name}.mlp", _normalised(weights, f"{name}.ln_2", h))
    read = _normalised(weights, "_backbone.ln_f", h)[:, :, ::2].reshape(E, B * N, shape.width)
    return _linear(weights, "_read_out", read).view(E, B, N)


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return torch.baddbmm(weights[f"{name}.bias"][:, None], x, weights[f"{name}.weight"].mT)


def _kernel(weights: Weights, name: str, x: Tensor) -> Tensor:
    E, B, T, w = x.shape
    flat = torch.baddbmm(weights[f"{name}.bias"][:, None], x.reshape(E, B * T, w), weights[f"{name}.weight"])
    return flat.view(E, B, T, -1)


def _normalised(weights: Weights, name: str, h: Tensor) -> Tensor:
    gain, shift = (weights[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    return functional.layer_norm(h, h.shape[-1:]) * gain + shift


def _attention(weights: Weights, name: str, h: Tensor, heads: int) -> Tensor:
    E, B, T, w = h.shape
    joined = _kernel(weights, f"{name}.c_attn", h).view(E * B, T, 3, heads, w // heads)
    query, key, value = joined.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return _kernel(weights, f"{name}.c_proj", mixed.transpose(1, 2).reshape(E, B, T, w))


def _perceptron(weights: Weights, name: str, h: Tensor) -> Tensor:
    return _kernel(weights, f"{name}.c_proj", functional.gelu(_kernel(weights, f"{name}.c_fc", h), approximate="tanh"))


def _optimiser(training: DecoderTraining, weights: list[Tensor]) -> torch.optim.Optimizer:
    """Adam does not know one model's entries from another's; SOAP is told."""
    if training.optimiser == "soap":
        return SoapUpdates(weights, training.learning_rate, stacked=True)
    return torch.optim.Adam(weights, training.learning_rate, fused=weights[0].device.type == "cuda")


def ensemble_key(trainings: Sequence[DecoderTraining]) -> str:
    """SHA-256 of the parameters of all, in their order."""
    return hashlib.sha256("".join(one.key for one in trainings).encode()).hexdigest()


@dataclass
class Ensemble:
    """Trainings that differ in their classes, weights, noise, inputs or replica alone, between two blocks.

    weights    by name, with a leading axis E; losses: for each block the mean loss of each training
    note       what was tried and did not work, in a sentence
    further    plain data that the checkpoint keeps
    """

    trainings: tuple[DecoderTraining, ...]
    weights: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    half: bool = False
    compiled: bool = False
    blocks: int = 0
    losses: list[list[float]] = field(default_factory=list)
    note: str = ""
    further: dict[str, Any] = field(default_factory=dict)
    _compiled_losses: Losses | None = None

    @classmethod
    def begin(
        cls,
        trainings: Sequence[DecoderTraining],
        device: str | torch.device = "cpu",
        half: bool = False,
        compiled: bool = False,
    ) -> Ensemble:
        """All of them before their first step. Raises ValueError where they do not fit together."""
        check_alike(trainings)
        starts = [one.model().state_dict() for one in trainings]
        stacked = {name: torch.stack([start[name] for start in starts]).to(device) for name in starts[0]}
        weights = {name: value.requires_grad_() for name, value in stacked.items()}
        return cls(tuple(trainings), weights, _optimiser(trainings[0], list(weights.values())), half, compiled)

    @classmethod
    def resume(
        cls,
        trainings: Sequence[DecoderTraining],
        folder: Path,
        device: str | torch.device = "cpu",
        half: bool = False,
        compiled: bool = False,
    ) -> Ensemble:
        """All of them where their checkpoint in the folder stands; before their first step if there is none."""
        run = cls.begin(trainings, device, half, compiled)
        found = read_checkpoint(folder, ensemble_key(trainings), device)
        if found is not None:
            restore(found, run.weights, run.optimiser)
            run.blocks, run.losses, run.further = found.blocks, found.losses.tolist(), dict(found.further)
        return run

    def save(self, folder: Path) -> None:
        """Write the checkpoint of all into the folder, in place of an earlier one."""
        found = checkpoint_of(self.blocks, self.weights, self.optimiser, self.losses, self.further)
        record = {
            "trainings": [one.plain() for one in self.trainings], "steps": self.steps_done, "losses": self.losses,
        }  # fmt: skip
        write_checkpoint(folder, ensemble_key(self.trainings), found, record)

    @property
    def steps_done(self) -> int:
        return min(BLOCK * self.blocks, self.trainings[0].steps)

    @property
    def ended(self) -> bool:
        return self.blocks * BLOCK >= self.trainings[0].steps

    @property
    def device(self) -> torch.device:
        return next(iter(self.weights.values())).device

    @property
    def shape(self) -> DecoderShape:
        return DecoderShape.from_plain(self.trainings[0].shape)

    def model(self, place: int) -> Decoder:
        """One of the models, on the CPU."""
        model = Decoder(self.shape)
        model.load_state_dict({name: value[place].detach().cpu() for name, value in self.weights.items()})
        return model.eval()

    def advance(self) -> None:
        """One block of steps of all. Raises FloatingPointError where a loss is no number."""
        first, total, count = self.trainings[0], torch.zeros(len(self.trainings), device=self.device), 0
        batches = (one.batches(self.blocks, self.device) for one in self.trainings)
        for prompts in zip(*batches, strict=True):
            for group in self.optimiser.param_groups:
                group["lr"] = first.rate(BLOCK * self.blocks + count)
            losses = self._losses(torch.stack([one.xs for one in prompts]), torch.stack([one.ys for one in prompts]))
            self.optimiser.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total, count = total + losses.detach(), count + 1
        means = (total / count).tolist()
        if not max(means, key=lambda mean: (mean != mean, mean)) < float("inf"):
            raise FloatingPointError(f"the losses are {means} after {BLOCK * self.blocks + count} steps")
        self.blocks += 1
        self.losses.append(means)

    def _losses(self, xs: Tensor, ys: Tensor) -> Tensor:
        """The loss of each training, (E,)."""
        N, full = xs.shape[2], self.shape.positions
        share = torch.full((N,), 1 / N, dtype=xs.dtype, device=xs.device)
        if self.compiled:
            padding = (0, full - N)
            xs = functional.pad(xs, (0, 0, *padding))
            ys, share = functional.pad(ys, padding), functional.pad(share, padding)
            if self._compiled_losses is None:
                return self._first_compiled(xs, ys, share)
            return self._compiled_losses(self.weights, xs, ys, share)
        return self._plain_losses(self.weights, xs, ys, share)

    def _plain_losses(self, weights: Weights, xs: Tensor, ys: Tensor, share: Tensor) -> Tensor:
        """The mean over prompts of the squared errors, weighted by prefix."""
        errors = stacked_predictions(weights, self.shape, xs, ys, self.half) - ys
        return (errors.square() * share).sum(-1).mean(-1)

    def _first_compiled(self, xs: Tensor, ys: Tensor, share: Tensor) -> Tensor:
        """The compiled pass, tried with its gradient; the plain one from here on where that fails."""
        try:
            compiled: Losses = torch.compile(self._plain_losses)
            torch.autograd.grad(compiled(self.weights, xs, ys, share).sum(), list(self.weights.values()))
        except Exception as error:
            # torch.compile fails in many ways (no compiler, an unknown card), all of them after the call
            self.compiled = False
            reason = str(error).strip().partition("\n")[0][:120]
            self.note = f"torch.compile failed ({type(error).__name__}: {reason}); trained without it"
            return self._plain_losses(self.weights, xs, ys, share)
        self._compiled_losses = compiled
        return compiled(self.weights, xs, ys, share)


def check_alike(trainings: Sequence[DecoderTraining]) -> None:
    """Raises ValueError unless the trainings differ in classes, weights, noise, inputs and replica alone."""
    if not trainings:
        raise ValueError("need at least one training, got none")
    sizes = {(one.law["dimension"], one.law["length"]) for one in trainings}
    rest = {replace(one, law={}, replica=0).key for one in trainings}
    if len(sizes) > 1 or len(rest) > 1:
        raise ValueError(
            "need trainings that differ in the classes, weights, noise and inputs of their prompts and in their "
            "replica alone, got others; train them apart"
        )
