r"""One softmax layer with a decoder on sequence classes, in the limit of long sequences [tian2023scan, sec. 3].

Attention logits Z, one row for each query in use, and decoder logits Y, one row for each token. For sequences of class
n with query m, as T -> infinity, softmax attention over positions gives the tokens the weights

    c_nl = P(l | n) e^{Z_ml} / sum_l' P(l' | n) e^{Z_ml'},

the output is normalised to f_n = c_n/|c_n|, the logits of the next token are Y^T f_n in R^M, and the loss is
- sum_n P(n) log softmax(Y^T f_n)_n. The query is not among its own keys, and there is no positional encoding.

Columns of Y
    Tokens that follow no sequence have equal columns of Y: from Y = 0 they get the same gradient for ever. So Y is
    kept as (M, K + 1), the last column standing for each of those M - K tokens (it is missing if K = M).

All functions take tables of many tasks at once: contexts (..., K, M), attention (..., Q, M), decoder (..., M, K + 1).
"""

from __future__ import annotations

import torch
from torch import Tensor


def columns(K: int, M: int) -> int:
    """How many columns of Y are kept."""
    return K + (K < M)


def multiplicities(K: int, M: int) -> Tensor:
    """For how many tokens each kept column stands, (columns,)."""
    counts = torch.ones(columns(K, M), dtype=torch.float64)
    if K < M:
        counts[K] = M - K
    return counts


def attention_weights(contexts: Tensor, logits: Tensor) -> Tensor:
    """c_n, (..., K, M), from logits of the class's query, (..., K, M)."""
    scores = contexts * (logits - logits.amax(-1, keepdim=True)).exp()
    return scores / scores.sum(-1, keepdim=True)


def class_vectors(contexts: Tensor, logits: Tensor) -> Tensor:
    """f_n = c_n/|c_n|, (..., K, M)."""
    scores = contexts * (logits - logits.amax(-1, keepdim=True)).exp()
    lengths: Tensor = scores.square().sum(-1, keepdim=True).sqrt()
    return scores / lengths


def class_losses(logits: Tensor, vocabulary: int) -> Tensor:
    """- log softmax(logits_n)_n over all M tokens, (..., K), from the kept columns, (..., K, columns)."""
    K = logits.shape[-2]
    everything = logits + multiplicities(K, vocabulary).log()
    own = logits[..., :K].diagonal(dim1=-2, dim2=-1)
    return everything.logsumexp(-1) - own


def population_loss(
    contexts: Tensor, rows: Tensor, probabilities: Tensor, decoder: Tensor, attention: Tensor
) -> Tensor:
    """The loss, (...,).

    `rows`, (K,), says which row of the attention logits belongs to a class; `probabilities` P(n), (..., K).
    """
    f = class_vectors(contexts, attention[..., rows, :])
    losses = class_losses(f @ decoder, contexts.shape[-1])
    return (probabilities * losses).sum(-1)


def entropies(weights: Tensor) -> Tensor:
    """- sum_l c_l ln c_l in nats, (...,)."""
    found: Tensor = -torch.special.xlogy(weights, weights).sum(-1)
    return found
