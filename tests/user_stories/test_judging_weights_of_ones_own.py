"""Somebody trains one layer of linear attention in a few lines of torch, and asks what it has become.

The stories use nothing of iclcheck but its command. Training of this size ends within about 1 % of the
minimum (600 steps of 1024 prompts), so a margin of 10 % is far from chance on every machine.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from iclcheck.proofs_check.command_line import main

D, N = 2, 4
COVARIANCE = [[1.0, 0.3], [0.3, 0.6]]
STEPS, BATCH = 600, 1024


class Attention(nn.Module):
    """f(E) = E + W_PV E (E^T W_KQ E)/N, read at the query's label; without the 1/N if asked."""

    def __init__(self, mean: bool = True) -> None:
        super().__init__()
        self.mean = mean
        self.W_PV = nn.Parameter(0.1 * torch.randn(D + 1, D + 1))
        self.W_KQ = nn.Parameter(0.1 * torch.randn(D + 1, D + 1))
        with torch.no_grad():
            self.W_PV[-1, -1] += 0.5
            self.W_KQ[:D, :D] += 0.5 * torch.eye(D)

    def forward(self, E: Tensor) -> Tensor:
        attended = self.W_PV @ E @ (E.mT @ self.W_KQ @ E)
        return (E + attended / (N if self.mean else 1))[:, -1, -1]


def prompts() -> tuple[Tensor, Tensor]:
    """A fresh batch: E of shape (batch, d + 1, N + 1), the query's label hidden, and the hidden labels."""
    x = torch.randn(BATCH, N + 1, D) @ torch.linalg.cholesky(torch.tensor(COVARIANCE)).mT
    y = (x @ torch.randn(BATCH, D, 1)).squeeze(-1)
    target = y[:, -1].clone()
    y[:, -1] = 0
    return torch.cat([x.mT, y[:, None]], dim=1), target


def train(model: Attention) -> Attention:
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        E, target = prompts()
        loss = ((model(E) - target) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    return model


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def command(file: str) -> list[str]:
    law = ["--set", f"covariance={COVARIANCE}", "--set", f"context_length={N}"]
    return ["check", "fixed-point", "--model", file, *law, "--within", "0.1"]


def test_a_trained_layer_has_become_the_predicted_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    before = Attention()
    safetensors.torch.save_file(before.state_dict(), "before.safetensors")
    assert main(command("before.safetensors")) == 1
    capsys.readouterr()
    safetensors.torch.save_file(train(before).state_dict(), "weights.safetensors")
    assert main(command("weights.safetensors")) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "agrees with the prediction" in said.out
    assert "match under" not in said.out


def test_the_layer_without_its_factor_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    model = train(Attention(mean=False))
    torch.save(model.state_dict(), "weights.pt")
    assert main(command("weights.pt")) == 1
    said = capsys.readouterr().out.splitlines()
    assert "contradicts the prediction" in said[0]
    named = [line for line in said if line.startswith("your weights match under")]
    assert "'no 1/N' (distance" in named[0]
    # stated, it is no mismatch any more
    assert main([*command("weights.pt"), "--convention", "no-1/N"]) == 0


def test_weights_inside_a_larger_model_are_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The first try fails with the names that are in the file, the second uses them."""
    model = nn.ModuleDict({"attention": Attention(), "head": nn.Linear(2, 2)})
    torch.save(model.state_dict(), "model.pt")
    assert main(command("model.pt")) == 2
    said = capsys.readouterr().err
    assert "attention.W_KQ, attention.W_PV, head.bias" in said
    assert "--name W_PV=attention.W_PV" in said
    names = ["--name", "W_PV=attention.W_PV", "--name", "W_KQ=attention.W_KQ"]
    assert main([*command("model.pt"), *names]) == 1  # untrained
