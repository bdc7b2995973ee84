"""Somebody trains a small Transformer on linear functions, and forgets the causal mask in one of two.

The stories use nothing of iclcheck but its command. Both models are torch's own encoder, trained for 300 steps.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from iclcheck.proofs_check.command_line import main

MODEL = """
import torch
from torch import nn

D, N, WIDTH = 2, 5, 32


class Model(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.read_in = nn.Linear(D, WIDTH)
        self.positions = nn.Parameter(0.1 * torch.randn(2 * N, WIDTH))
        block = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.read_out = nn.Linear(WIDTH, 1)

    def forward(self, xs, ys):
        ys = nn.functional.pad(ys[..., None], (0, D - 1))
        tokens = torch.stack([xs, ys], 2).flatten(1, 2)
        length = tokens.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1) if self.causal else None
        h = self.blocks(self.read_in(tokens) + self.positions[:length], mask=mask)
        return self.read_out(h[:, ::2])[..., 0]


def trained(causal):
    torch.manual_seed(0)
    model = Model(causal)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        xs, w = torch.randn(64, N, D), torch.randn(64, D, 1)
        ys = (xs @ w)[..., 0] + 0.3 * torch.randn(64, N)
        loss = (model(xs, ys) - ys).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


masked, forgotten = trained(True), trained(False)
"""
LAW = ("dimension=2", "length=5", "sparsity=1", "noise_variance=0.09")


@pytest.mark.slow
def test_the_model_that_sees_the_answer_is_told_from_the_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Path("model.py").write_text(MODEL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    for name in ("masked", "forgotten"):
        settings = [part for one in LAW for part in ("--set", one)]
        main(["check", "model-selection", "--model", f"model.py:{name}", *settings, "--json"])
        found[name] = {one["law"]: one for one in json.loads(capsys.readouterr().out)["laws"]}
    torch.set_num_threads(threads)
    assert {one["oracle_not_beaten"] for one in found["masked"].values()} == {"agrees"}
    assert {one["oracle_not_beaten"] for one in found["forgotten"].values()} == {"contradicts"}
    # at no example there is nothing to predict from, and the one without a mask predicts all the same
    first = {name: one["dense"]["risks"]["model"][0] for name, one in found.items()}
    assert first["masked"] > 1.5
