"""Fresh prompts for each step of many configurations, each from its own stream, in one padded batch."""

from __future__ import annotations

import torch

from ..one_layer.gradients import batch_gradient
from ..one_layer.prompts import Prompts, PromptSampler, write_padded
from .configurations import TrainingConfiguration
from .random_streams import stream

DRAWN_AT_ONCE = 4096  # prompts per call of a sampler


class PromptFeed:
    """Batches of prompts for one step of all configurations, each from its own stream."""

    def __init__(self, configurations: list[TrainingConfiguration], device: torch.device, dtype: torch.dtype) -> None:
        laws = [one.distribution for one in configurations]
        self.samplers = [PromptSampler(law, dtype, device) for law in laws]
        self.generators = [stream(one.key + "/prompts", device) for one in configurations]
        self.batch_size = configurations[0].batch_size
        # from the configuration alone: the cut of the stream must not depend on its companions
        self.ahead = max(1, DRAWN_AT_ONCE // self.batch_size)
        rows, tokens = max(law.dimension for law in laws) + 1, max(law.longest_context for law in laws) + 1
        shape = (self.ahead, len(laws))
        self.embedding = torch.zeros(*shape, rows, tokens, self.batch_size, dtype=dtype, device=device)
        self.target = torch.empty(*shape, self.batch_size, dtype=dtype, device=device)
        self.context_length = torch.empty_like(self.target)
        self.used = self.ahead

    def next(self) -> Prompts:
        """Fresh prompts, (C, B, d_max + 1, N_max + 1)."""
        if self.used == self.ahead:
            self._draw()
        place = self.used
        self.used += 1
        embedding = self.embedding[place].permute(0, 3, 1, 2)
        return Prompts(embedding, self.target[place], self.context_length[place])

    def gradient(self, value: torch.Tensor, key_query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The mean loss on fresh prompts (C) and its gradient in the last row of W_PV (C, D) and in W_KQ (C, D, D)."""
        return batch_gradient(self.next(), value, key_query)

    def _draw(self) -> None:
        for place, (draw, generator) in enumerate(zip(self.samplers, self.generators, strict=True)):
            fresh = draw(self.ahead * self.batch_size, generator)
            rows = fresh.embedding.permute(1, 2, 0)
            rows = rows.view(*rows.shape[:2], self.ahead, self.batch_size)
            write_padded(self.embedding[:, place].permute(1, 2, 0, 3), rows)
            self.target[:, place] = fresh.target.view(self.ahead, self.batch_size)
            self.context_length[:, place] = fresh.context_length.view(self.ahead, self.batch_size)
        self.used = 0
