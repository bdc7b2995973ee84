"""Streams of random numbers named by a text key.

A key names what is drawn ("<configuration key>/prompts"), so that a configuration sees the same numbers
alone, in a batch, and after a restart, whatever else is computed in between. Two texts name two unrelated
streams: both come from the SHA-256 of the text.

`torch.Generator().manual_seed(seed)` on the CPU keeps the lowest 32 bits of its seed only (the seeds 5 and
5 + 2**32 give the same numbers), so a few ten thousand streams would meet by accident. Here all 624 words
of the Mersenne twister are filled from the whole digest.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

_HEADER_BYTES = 24  # seed, counters: left as manual_seed wrote them, so that the first draw regenerates the words
_WORDS = 624
_STATE_BYTES = 5056


def stream(key: str, device: str | torch.device = "cpu") -> torch.Generator:
    """The generator named by `key` on `device`, at its beginning.

    CPU and CUDA streams of one key are different numbers. A part of a computation gets a stream of its own
    by a suffix, for example `stream(key + "/prompts")`.
    """
    digest = hashlib.sha256(key.encode()).digest()
    generator = torch.Generator(device=device)
    if generator.device.type != "cpu":
        return generator.manual_seed(int.from_bytes(digest[:8], "big"))  # Philox uses all 64 bits
    generator.manual_seed(0)
    generator.set_state(_twister_state(generator.get_state(), digest))
    return generator


def _twister_state(state: torch.Tensor, digest: bytes) -> torch.Tensor:
    """torch's CPU generator state with the twister's words initialised from the digest."""
    if state.numel() != _STATE_BYTES:
        raise RuntimeError(
            f"need torch's {_STATE_BYTES}-byte CPU generator state, got {state.numel()} bytes from torch "
            f"{torch.__version__}; use a torch release below 3"
        )
    entropy = np.random.SeedSequence(int.from_bytes(digest, "big"))
    words = np.random.MT19937(entropy).state["state"]["key"].astype(np.uint64)  # torch keeps 64 bits per word
    state[_HEADER_BYTES : _HEADER_BYTES + 8 * _WORDS] = torch.from_numpy(words.view(np.uint8).copy())
    return state


def standard_normals(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Independent N(0, 1) numbers of the given shape, on the generator's device.

    In float64 by Box and Muller from 53-bit uniforms: 6 ns a number on one core, where `torch.randn` takes
    15. The largest radius is sqrt(2 * 53 * log 2) = 8.6, beyond which a normal falls once in 10**17.
    """
    if dtype != torch.float64:
        return torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
    count = math.prod(shape)
    half = (count + 1) // 2
    uniform = torch.rand(2, half, generator=generator, dtype=dtype, device=generator.device)
    radius, angle = uniform[0], uniform[1].mul_(2 * math.pi)
    radius.neg_().add_(1).log_().mul_(-2).sqrt_()  # 1 - uniform is exact and never 0
    normals = torch.empty_like(uniform)
    torch.cos(angle, out=normals[0])
    torch.sin(angle, out=normals[1])
    return normals.mul_(radius).flatten()[:count].view(shape)


def centred_uniforms(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Independent numbers with the uniform law on (-sqrt 3, sqrt 3), which has mean 0 and variance 1."""
    uniform = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
    return uniform.sub_(0.5).mul_(2 * math.sqrt(3))
