"""Interrupted trainings of decoders go on as if nothing had happened, and several at once train as each alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from iclcheck.numerics.decoders import checkpoints, decoder_training, ensembles
from iclcheck.numerics.decoders.decoder_training import DecoderTraining, RunningTraining
from iclcheck.numerics.decoders.ensembles import Ensemble, stacked_predictions
from iclcheck.numerics.decoders.soap_updates import SoapUpdates
from iclcheck.numerics.mixtures.prompt_laws import Prompts
from iclcheck.numerics.training.random_streams import standard_normals, stream
from iclcheck.numerics.training.threads import one_thread

BLOCK = 4  # steps, in the place of 100: what is tested does not know how many there are
DENSE, SPARSE = {"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 1.0}
SHAPE = {"dimension": 4, "positions": 6, "width": 8, "layers": 2, "heads": 2}
CURRICULUM = {
    "coordinates": {"start": 2, "end": 4, "interval": BLOCK}, "points": {"start": 3, "end": 6, "interval": BLOCK},
}  # fmt: skip


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decoder_training, ensembles):
        monkeypatch.setattr(module, "BLOCK", BLOCK)


def training(share: float = 0.5, **further: Any) -> DecoderTraining:
    law = {
        "dimension": 4, "length": 6, "classes": [DENSE, SPARSE], "weights": [share, 1 - share],
        "noise_variance": 0.1, "input_scale": 1.0, "covariance": "identity",
    }  # fmt: skip
    how: dict[str, Any] = {"steps": 10, "batch_size": 4, "warmup": 5, "start_scale": 0.3, **CURRICULUM}
    return DecoderTraining(law, SHAPE, **{**how, **further})


def trio(**further: Any) -> tuple[DecoderTraining, ...]:
    return training(1.0, **further), training(0.0, **further), training(0.5, **further)


def doubled(prompts: Prompts) -> Prompts:
    return Prompts(prompts.xs.double(), prompts.ys.double(), prompts.targets.double(), prompts.classes)


def same_bits(one: RunningTraining, other: RunningTraining) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return one.losses == other.losses and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_a_training_taken_up_at_any_block_ends_with_the_same_bits(tmp_path: Path, optimiser: str) -> None:
    one = training(optimiser=optimiser, steps=22)  # SOAP takes new bases at the steps 10 and 20
    whole = RunningTraining.begin(one)
    while not whole.ended:
        part = RunningTraining.resume(one, tmp_path)
        assert part.blocks == whole.blocks
        assert same_bits(part, whole)
        whole.advance()
        part.advance()
        part.save(tmp_path)
    assert RunningTraining.resume(one, tmp_path).ended
    assert same_bits(RunningTraining.resume(one, tmp_path), whole)


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_an_ensemble_taken_up_at_any_block_ends_with_the_same_bits(tmp_path: Path, optimiser: str) -> None:
    all_three = trio(optimiser=optimiser, steps=22)
    whole = Ensemble.begin(all_three)
    while not whole.ended:
        part = Ensemble.resume(all_three, tmp_path)
        whole.advance()
        part.advance()
        part.save(tmp_path)
    again = Ensemble.resume(all_three, tmp_path)
    assert again.ended
    assert again.steps_done == 22
    assert again.losses == whole.losses
    assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)


def test_the_record_says_what_was_reached(tmp_path: Path) -> None:
    run = RunningTraining.begin(training())
    run.save(tmp_path)
    assert RunningTraining.resume(training(), tmp_path).blocks == 0
    run.advance()
    run.save(tmp_path)
    record = json.loads((tmp_path / checkpoints.RECORD).read_text())
    assert record == {"training": training().plain(), "steps": 4, "losses": run.losses}
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoints.CHECKPOINT, checkpoints.RECORD]


def test_a_checkpoint_that_is_cut_off_while_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunningTraining.begin(training())
    run.advance()
    run.save(tmp_path)
    run.advance()

    def cut(tensors: Any, path: Path, header: Any) -> None:
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_file", cut)
        with pytest.raises(KeyboardInterrupt):
            run.save(tmp_path)
    again = RunningTraining.resume(training(), tmp_path)
    assert again.blocks == 1
    again.advance()
    again.save(tmp_path)
    assert same_bits(again, run)


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    RunningTraining.begin(training()).save(tmp_path)
    with pytest.raises(ValueError, match=r"need a checkpoint of the training .* name another folder"):
        RunningTraining.resume(training(replica=1), tmp_path)
    with pytest.raises(ValueError, match="need a checkpoint of the training"):
        Ensemble.resume(trio(), tmp_path)


KILLED = """
import json, sys, torch
from pathlib import Path
from iclcheck.numerics.decoders import decoder_training
decoder_training.BLOCK = 4
training = decoder_training.DecoderTraining.from_plain(json.loads(sys.argv[1]))
folder = Path(sys.argv[2])
torch.set_num_threads(1)
run = decoder_training.RunningTraining.resume(training, folder)
while not run.ended:
    run.advance()
    run.save(folder)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_where_its_last_checkpoint_stands(tmp_path: Path) -> None:
    """Killed twice, each time after at least one more checkpoint, then left to end."""
    one = training(steps=1000)
    seen = 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(one.plain()), str(tmp_path)])
        while RunningTraining.resume(one, tmp_path).blocks <= seen:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        now = RunningTraining.resume(one, tmp_path).blocks
        assert now > seen
        seen = now
    assert BLOCK * seen < one.steps
    run, whole = RunningTraining.resume(one, tmp_path), RunningTraining.begin(one)
    with one_thread():  # as the killed process has: sums on two threads have other bits
        while not whole.ended:
            whole.advance()
        while not run.ended:
            run.advance()
    assert same_bits(run, whole)


def test_several_models_at_once_predict_as_each_alone() -> None:
    ensemble, generator = Ensemble.begin(trio()), stream("test/ensemble")
    weights = {}
    for name, value in ensemble.weights.items():
        moved = value.detach().double() + 0.3 * standard_normals(tuple(value.shape), generator, torch.float64)
        weights[name] = moved
    xs = standard_normals((3, 5, 6, 4), generator, torch.float64)
    ys = standard_normals((3, 5, 6), generator, torch.float64)
    found = stacked_predictions(weights, ensemble.shape, xs, ys)
    for place, one in enumerate(trio()):
        model = one.model().double()
        model.load_state_dict({name: value[place] for name, value in weights.items()})
        # sums of at most 4 w = 32 products of numbers below 1e2, through layer norms that magnify by less than 10:
        # 32 * 1e2 * 10 * 2.2e-16 = 7e-12
        torch.testing.assert_close(found[place], model(xs[place], ys[place]), rtol=0, atol=7e-12)


@pytest.mark.parametrize(
    ("optimiser", "full_length", "steps"), [("adam", False, 4), ("adam", True, 4), ("soap", False, 9)]
)
def test_several_trainings_at_once_go_as_each_alone(
    optimiser: str, full_length: bool, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where prompts are padded to their full length, as for a compiled pass.

    In float64, so that rounding stays far below what another number in the training would do: Adam divides a gradient
    by its size, so an entry's step moves with the gradient's relative error, 1e-12 here, by 1e-12 of the rate. By SOAP
    for nine steps: the basis that it takes at the tenth is open where the gradients have left directions out, and there
    rounding decides.
    """
    for module in (decoder_training, ensembles):
        monkeypatch.setattr(module, "BLOCK", steps)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    drawn = DecoderTraining.batches
    monkeypatch.setattr(DecoderTraining, "batches", lambda *given: (doubled(one) for one in drawn(*given)))
    kind, all_three = {"adam": torch.optim.Adam, "soap": SoapUpdates}[optimiser], trio(optimiser=optimiser)
    double = [one.model().double() for one in all_three]
    singles = [RunningTraining(one, model, kind(model.parameters(), 1e-3), 0, []) for one, model in
               zip(all_three, double, strict=True)]  # fmt: skip
    together = Ensemble.begin(all_three, compiled=full_length)
    together.weights = {name: value.detach().double().requires_grad_() for name, value in together.weights.items()}
    weights = list(together.weights.values())
    together.optimiser = SoapUpdates(weights, 1e-3, stacked=True) if optimiser == "soap" else torch.optim.Adam(weights)
    for _ in range(2 if optimiser == "adam" else 1):
        together.advance()
        for place, single in enumerate(singles):
            single.advance()
            for name, value in single.model.state_dict().items():
                torch.testing.assert_close(together.weights[name][place].detach(), value, rtol=0, atol=1e-9)
    for place, single in enumerate(singles):
        assert [row[place] for row in together.losses] == pytest.approx(single.losses, rel=1e-6)
        prompts = next(all_three[place].batches(0, "cpu"))
        alone = together.model(place)(prompts.xs.float(), prompts.ys.float())
        torch.testing.assert_close(alone.double(), single.model(prompts.xs, prompts.ys), rtol=0, atol=1e-5)


def test_half_precision_moves_predictions_by_its_rounding_and_no_more() -> None:
    ensemble = Ensemble.begin(trio())
    prompts = [next(one.batches(0, "cpu")) for one in trio()]
    xs, ys = torch.stack([one.xs for one in prompts]), torch.stack([one.ys for one in prompts])
    exact, half = (stacked_predictions(ensemble.weights, ensemble.shape, xs, ys, half) for half in (False, True))
    size = exact.detach().abs().max()
    # bfloat16 keeps 8 bits: each of 2 layers adds two rounded branches, of a few roundings of 2^-9 each
    assert 0 < (exact - half).detach().abs().max() < 0.1 * size
    assert half.dtype == torch.float32


def test_where_compiling_fails_training_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        def call(*given: Any) -> Any:
            raise RuntimeError("no compiler here\nand more")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    tried, plain = Ensemble.begin(trio(), compiled=True), Ensemble.begin(trio())
    for run in (tried, plain):
        run.advance()
        run.advance()
    assert tried.note == "torch.compile failed (RuntimeError: no compiler here); trained without it"
    assert plain.note == ""
    # the first step alone is taken with padded prompts
    assert tried.losses == [pytest.approx(row, rel=1e-3) for row in plain.losses]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
def test_the_compiled_pass_trains_as_the_plain_one() -> None:
    compiled, plain = Ensemble.begin(trio(), compiled=True), Ensemble.begin(trio())
    for run in (compiled, plain):
        run.advance()
    assert compiled.losses == [pytest.approx(row, rel=1e-3) for row in plain.losses]


@pytest.mark.parametrize("other", [{"steps": 30}, {"batch_size": 8}, {"points": None}, {"optimiser": "soap"}])
def test_trainings_that_do_not_fit_together_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="in their replica alone, got others; train them apart"):
        ensembles.check_alike([training(), training(**other)])


def test_an_ensemble_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="need at least one training"):
        Ensemble.begin([])


def test_losses_that_are_no_numbers_stop_all() -> None:
    run = Ensemble.begin(trio())
    with torch.no_grad():
        run.weights["_read_out.bias"][1] = float("nan")
    with pytest.raises(FloatingPointError, match="after 4 steps"):
        run.advance()
