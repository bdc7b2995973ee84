"""Somebody has trained models of three kinds and asks what each of them computes, without opening any.

The story uses nothing of iclcheck but its command. The first divides by N, the second does not and so trains to other
weights of the same function, the third has a softmax. Training of this size ends within about 1 % of the minimum.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from iclcheck.proofs_check.command_line import main

MODEL = """
import torch
from torch import nn

D, N = 2, 4
ROOT = torch.linalg.cholesky(torch.tensor([[1.0, 0.3], [0.3, 0.6]]))


class Attention(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.query, self.key, self.value = (nn.Linear(D + 1, D + 1, bias=False) for _ in range(3))
        with torch.no_grad():
            for layer in (self.query, self.key, self.value):
                layer.weight.mul_(0.2).add_(0.5 * torch.eye(D + 1))

    def forward(self, tokens):  # (B, N + 1, D + 1), tokens as rows
        scores = self.query(tokens) @ self.key(tokens).mT
        if self.kind == "softmax":
            scores = scores.softmax(-1)
        if self.kind == "mean":
            scores = scores / (tokens.shape[1] - 1)
        return tokens + scores @ self.value(tokens)


def trained(kind):
    torch.manual_seed(0)
    model = Attention(kind)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 800)
    for _ in range(800):
        x = torch.randn(1024, N + 1, D) @ ROOT.mT
        y = x @ torch.randn(1024, D, 1)
        hidden = torch.cat([x, torch.cat([y[:, :-1], 0 * y[:, -1:]], 1)], 2)
        loss = (model(hidden)[:, -1, -1] - y[:, -1, 0]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    return model


mean, total, softmax = trained("mean"), trained("total"), trained("softmax")
"""
LAW = ["--set", "covariance=[[1.0, 0.3], [0.3, 0.6]]", "--set", "context_length=4", "--within", "0.1"]


@pytest.mark.slow
def test_two_layers_that_are_written_differently_are_one_algorithm_and_a_softmax_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Path("model.py").write_text(MODEL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    status = {}
    for name in ("mean", "total", "softmax"):
        command = ["check", "fixed-point", "--model", f"model.py:{name}", "--convention", "rows", *LAW]
        status[name] = main([*command, "--json"])
        found[name] = json.loads(capsys.readouterr().out)
    torch.set_num_threads(threads)
    assert status == {"mean": 0, "total": 0, "softmax": 1}
    assert (found["mean"]["divides"], found["total"]["divides"], found["softmax"]["divides"]) == ("1/N", "none", None)
    for name in ("mean", "total"):
        assert found[name]["weights"]["distance"] < 0.1
    assert not found["softmax"]["form"]["is_linear_attention"]
