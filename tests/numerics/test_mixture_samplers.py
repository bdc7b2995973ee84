"""Functions and prompts of mixtures have the laws that their plain descriptions state.

Two bounds, each failing with probability at most RATE, whatever the tails: means are compared with a known bound on
their variance (`verdicts.heavy_tails`); and an empirical distribution function is farther than sqrt(ln(2/RATE)/(2 n))
from the true one, anywhere, with that probability (Dvoretzky, Kiefer, Wolfowitz and Massart). The streams are fixed;
the rate is that of an unlucky choice of stream, for each assertion.
"""

import json
import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mixtures.function_classes import sampled_functions
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean

COUNT, RATE, D = 50_000, 1e-6, 4
DENSE = {"kind": "dense", "variance": 2.0}
SPARSE = {"kind": "sparse", "nonzeros": 2, "variance": 0.5}
RELU = {"kind": "relu", "hidden": 6, "variance": 1.5}
SINUSOID = {"kind": "sinusoid", "lowest": 1.0, "highest": 4.0, "variance": 2.0}
COMBINATION = {"kind": "combination", "share": 0.3, "first": DENSE, "second": SINUSOID}


def values_at(kind: Any, points: list[list[float]], name: str, count: int = COUNT) -> torch.Tensor:
    """Values (count, len(points)) of functions of a class at fixed points."""
    xs = torch.tensor(points, dtype=torch.float64)
    return sampled_functions(kind, count, xs.shape[1], stream(name), torch.float64)(xs.expand(count, *xs.shape))


def assert_mean(values: torch.Tensor, expected: float, variance: float) -> None:
    """`variance` bounds that of one draw."""
    total, squares = float(values.sum()), float(values.square().sum())
    comparison = compare_mean(len(values), total, squares, variance, predicted=expected, false_alarm=RATE)
    assert comparison.holds, comparison


def assert_uniform(values: torch.Tensor, low: float, high: float) -> None:
    """Their distribution function is that of U(low, high)."""
    n = len(values)
    steps = np.arange(n + 1) / n
    ordered = (np.sort(values.numpy()) - low) / (high - low)
    assert 0 <= ordered[0] <= ordered[-1] <= 1
    distance = max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1]))
    assert distance <= math.sqrt(math.log(2 / RATE) / (2 * n))


def test_coefficients_of_dense_functions_are_independent_and_have_the_stated_variance() -> None:
    w = values_at(DENSE, np.eye(D).tolist(), "dense")
    for i in range(D):
        assert_mean(w[:, i], 0.0, 2.0)
        assert_mean(w[:, i] ** 2, 2.0, 8.0)  # the square of N(0, v) has the variance 2 v^2
        assert_mean(w[:, i] ** 4, 12.0, 96 * 16.0)  # and the fourth power (105 - 9) v^4
    for i, j in combinations(range(D), 2):
        assert_mean(w[:, i] * w[:, j], 0.0, 4.0)


def test_a_dense_function_is_linear_in_its_input() -> None:
    x = [[1.0, 2.0, -1.0, 0.5], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
    values = values_at(DENSE, x, "linear", 50)
    # four products and three sums of numbers of at most 20
    torch.testing.assert_close(values[:, 0], values[:, 1:] @ torch.tensor(x[0]).double(), rtol=0, atol=20 * 8 * 2.3e-16)


def test_a_sparse_function_has_exactly_k_coefficients_on_a_uniform_support() -> None:
    w = values_at(SPARSE, np.eye(D).tolist(), "sparse")
    supports = (w != 0).double()
    assert set(supports.sum(-1).tolist()) == {2.0}
    for pair in combinations(range(D), 2):
        p = 1 / 6
        assert_mean(supports[:, pair].prod(-1), p, p * (1 - p))
        here = w[supports[:, pair].prod(-1) == 1][:, pair]
        assert_mean(here[:, 0] ** 2, 0.5, 0.5)  # the variance does not depend on the support
        assert_mean(here.prod(-1), 0.0, 0.25)


def test_relu_networks_have_the_variance_of_a_dense_function_and_the_arc_cosine_kernel() -> None:
    """E f(x)^2 = v |x|^2, as half of a ReLU's square is left; at right angles 2 v (E max(0, g))^2 = v/pi."""
    f = values_at(RELU, [[2.0, 0], [0, 1.0], [-1.0, 0], [1.0, 0]], "relu")
    v, r = 1.5, 6
    fourth = 3 * v**2 * (1 + 5 / r)  # f is normal given the inner weights: 3 E (2 v/r sum_j s_j)^2, s = max(0, g)^2
    assert_mean(f[:, 1] ** 2, v, fourth - v**2)
    assert_mean(f[:, 0] ** 2, 4 * v, 16 * (fourth - v**2))
    assert_mean(f[:, 1] * f[:, 3], v / math.pi, fourth)  # Cauchy and Schwarz bound the second moment
    assert_mean(f[:, 2] * f[:, 3], 0.0, fourth)
    torch.testing.assert_close(f[:, 0], 2 * f[:, 3], rtol=0, atol=1e-13)  # positively homogeneous


def sinusoid_parts(kind: Any, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """omega, phi mod pi and a^2, solved for from three values: f(t) + f(-t) = 2 cos(omega t) f(0), and so on."""
    t = 0.1
    f = values_at(kind, [[0.0, 9.0], [t, 5.0], [-t, 7.0]], name)  # the second coordinate must not matter
    omega = torch.arccos(((f[:, 1] + f[:, 2]) / (2 * f[:, 0])).clamp(-1, 1)) / t
    sine, cosine = f[:, 0], (f[:, 1] - f[:, 2]) / (2 * torch.sin(omega * t))
    return omega, torch.atan2(sine, cosine) % math.pi, sine**2 + cosine**2


def test_sinusoids_have_uniform_frequency_and_phase_and_normal_amplitude() -> None:
    omega, phase, square = sinusoid_parts(SINUSOID, "sinusoid")
    # Where sin(phi) is small, omega is known to some 1e-10 only, and may leave its range by that.
    assert_uniform(omega.clamp(1.0, 4.0), 1.0, 4.0)
    assert_uniform(phase, 0.0, math.pi)  # phi and phi + pi differ in the sign of a, which is even
    assert_uniform(torch.erf((square / (2 * 2.0)).sqrt()), 0.0, 1.0)  # the distribution function of |N(0, 2)|


def test_the_covariance_of_a_sinusoid_is_the_mean_of_a_cosine() -> None:
    """E f(x) f(x') = (v/2) E cos(omega (x - x')); E f^4 = (9/8) v^2 bounds the variances."""
    f = values_at(SINUSOID, [[0.3], [1.1]], "kernel")
    delta = 0.8
    for values, expected in ((f[:, 0] ** 2, 1.0), (f[:, 1] ** 2, 1.0), (f[:, 0], 0.0)):
        assert_mean(values, expected, 4.5)
    assert_mean(f[:, 0] * f[:, 1], (math.sin(4 * delta) - math.sin(delta)) / (3 * delta), 4.5)


def test_a_combination_adds_independent_functions_with_its_shares() -> None:
    x = [[0.7], [-1.2]]
    alone = stream("shares")
    xs = torch.tensor(x, dtype=torch.float64).expand(COUNT, 2, 1)
    first, second = (sampled_functions(kind, COUNT, 1, alone, torch.float64)(xs) for kind in (DENSE, SINUSOID))
    both = values_at(COMBINATION, x, "shares")
    assert torch.equal(both, 0.3 * first + 0.7 * second)
    assert_mean(first[:, 0] * second[:, 0], 0.0, 0.98 * 1.0)  # E f_1^2 E f_2^2
    # E f^4 of a sum is at most 8 (E f_1^4 + E f_2^4)
    bound = 8 * (0.3**4 * 12 * 0.7**4 + 0.7**4 * 4.5)
    assert_mean(both[:, 0] ** 2, 0.3**2 * 2 * 0.49 + 0.7**2 * 1.0, bound)


LAW = PromptLaw(3, 5, (DENSE, {**SPARSE, "nonzeros": 1}), (0.25, 0.75), 0.4, 2.0)


def test_prompts_have_the_weights_the_noise_and_the_scale_of_their_law() -> None:
    prompts = LAW.sample(COUNT, stream("prompts"))
    assert prompts.xs.shape == (COUNT, 5, 3)
    noise = prompts.ys - prompts.targets
    assert_mean((prompts.classes == 0).double(), 0.25, 0.25 * 0.75)
    for i in (0, 4):
        assert_mean(noise[:, i], 0.0, 0.4)
        assert_mean(noise[:, i] ** 2, 0.4, 2 * 0.4**2)
        assert_mean(prompts.xs[:, i, 1] ** 2, 2.0, 2 * 2.0**2)
    assert_mean(noise[:, 0] * noise[:, 1], 0.0, 0.4**2)
    assert_mean(prompts.xs[:, 0, 0] * prompts.xs[:, 1, 0], 0.0, 4.0)


def test_the_label_of_a_prompt_names_the_class_that_its_targets_come_from() -> None:
    """Linear functions of 3 coordinates are read off 3 examples: dense ones have 3 coefficients, sparse ones one."""
    prompts = LAW.sample(500, stream("labels"))
    w = torch.linalg.solve(prompts.xs[:, :3], prompts.targets[:, :3])
    size = torch.linalg.cond(prompts.xs[:, :3])[:, None] * 1e-13 * (1 + w.abs().amax(-1, keepdim=True))
    found = (w.abs() > size).sum(-1)
    assert torch.equal(found[prompts.classes == 1], torch.ones(int((prompts.classes == 1).sum()), dtype=torch.long))
    assert found[prompts.classes == 0].double().mean() > 2.9  # a coefficient below 1e-11 or so is not found


def test_exponential_covariances_are_diagonal_and_new_in_each_prompt() -> None:
    """With Lambda_jj ~ Exp(1): E x_j^2 = c, E x_1j^2 x_2j^2 = 2 c^2 in one prompt, and c^2 between coordinates."""
    xs = replace(LAW, covariance="exponential", input_scale=1.0).sample(COUNT, stream("exponential")).xs
    assert_mean(xs[:, 0, 0] ** 2, 1.0, 3 * 2.0 - 1)
    assert_mean(xs[:, 0, 0] ** 2 * xs[:, 1, 0] ** 2, 2.0, 9 * 24.0)  # E Lambda^4 = 24
    assert_mean(xs[:, 0, 0] ** 2 * xs[:, 0, 1] ** 2, 1.0, 36.0)
    assert_mean(xs[:, 0, 0] * xs[:, 0, 1], 0.0, 1.0)


def test_a_curriculum_leaves_later_coordinates_out_of_inputs_and_supports() -> None:
    law = replace(LAW, noise_variance=0.0)
    prompts = law.sample(400, stream("curriculum"), used=2)
    assert not prompts.xs[..., 2:].any()
    assert prompts.xs[..., :2].all()
    assert prompts.targets.all()  # a support beyond the second coordinate would give targets 0
    whole, all_used = law.sample(50, stream("whole")), law.sample(50, stream("whole"), used=3)
    assert all(torch.equal(a, b) for a, b in zip(whole, all_used, strict=True))


def test_prompts_follow_from_the_name_of_their_stream_and_from_nothing_else() -> None:
    again = PromptLaw.from_plain(json.loads(json.dumps(LAW.plain())))
    assert again == LAW
    assert again.key == LAW.key
    torch.rand(7)  # the global generator is another one
    first, second = LAW.sample(20, stream(LAW.key)), again.sample(20, stream(again.key))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.xs, LAW.sample(20, stream(LAW.key + "/other")).xs)


def test_laws_that_differ_in_one_parameter_have_different_keys() -> None:
    changed = [
        replace(LAW, dimension=4), replace(LAW, length=6), replace(LAW, weights=(0.5, 0.5)),
        replace(LAW, noise_variance=0.41), replace(LAW, input_scale=2.1), replace(LAW, covariance="exponential"),
        replace(LAW, classes=(DENSE, {**SPARSE, "nonzeros": 2})), replace(LAW, classes=(SINUSOID, DENSE)),
    ]  # fmt: skip
    assert len({law.key for law in (LAW, *changed)}) == len(changed) + 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown class": ({"kind": "cubic"}, "need a class among combination, dense, .*, got 'cubic'"),
    "a class without a kind": ({"variance": 1.0}, "need a class among .*, got None"),
    "a class without its variance": ({"kind": "dense"}, "need a dense class with kind, variance, got kind"),
    "a number too many": ({**DENSE, "nonzeros": 2}, "need a dense class with kind, variance, got kind, nonzeros"),
    "a negative variance": ({**DENSE, "variance": -1.0}, "from 0 to inf for variance of a dense class, got -1.0"),
    "a variance that is no number": ({**DENSE, "variance": "1"}, "need a number .*, got '1'"),
    "an infinite variance": ({**DENSE, "variance": math.inf}, "need a number .*, got inf"),
    "no coefficient": ({**SPARSE, "nonzeros": 0}, "a whole number from 1 to 3 for nonzeros of a sparse class, got 0"),
    "more coefficients than coordinates": ({**SPARSE, "nonzeros": 4}, "from 1 to 3 for nonzeros .*, got 4"),
    "half a hidden unit": ({**RELU, "hidden": 0.5}, "need a whole number from 1 to inf for hidden .*, got 0.5"),
    "a range upside down": ({**SINUSOID, "highest": 0.5}, "need a number from 1.0 to inf for highest .*, got 0.5"),
    "a share above 1": ({**COMBINATION, "share": 1.5}, "need a number from 0 to 1 for share .*, got 1.5"),
    "a combination of nothing known": ({**COMBINATION, "first": {"kind": "x"}}, "need a class among .*, got 'x'"),
}


@pytest.mark.parametrize("kind, words", REFUSED.values(), ids=REFUSED)
def test_a_class_that_is_none_is_refused_in_one_sentence(kind: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        replace(LAW, classes=(kind,), weights=(1.0,))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=words):
        sampled_functions(kind, 2, 3, stream("refused"), torch.float64)


LAWS_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "weights of a sum other than 1": ({"weights": (0.5, 0.4)}, "need a probability for each of 2 classes"),
    "a negative weight": ({"weights": (1.5, -0.5)}, "need a probability for each of 2 classes"),
    "a weight that is no number": ({"weights": (math.nan, 1.0)}, "need a probability for each of 2 classes"),
    "a weight too few": ({"weights": (1.0,)}, "need a probability for each of 2 classes"),
    "no class": ({"classes": (), "weights": ()}, "need a probability for each of 0 classes"),
    "an unknown covariance": ({"covariance": "wishart"}, "need the covariance identity or exponential, got 'wishart'"),
    "negative noise": ({"noise_variance": -0.1}, "need a noise variance from 0 on .*, got -0.1"),
    "noise that is no number": ({"noise_variance": math.nan}, "need a noise variance from 0 on .*, got nan"),
    "inputs of scale 0": ({"input_scale": 0.0}, "an input scale above 0, got 0.4 and 0.0"),
    "prompts without a point": ({"length": 0}, "need a dimension and a length from 1 on, got 3 and 0"),
}


@pytest.mark.parametrize("changed, words", LAWS_REFUSED.values(), ids=LAWS_REFUSED)
def test_a_law_that_is_none_is_refused_in_one_sentence(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        replace(LAW, **changed)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("used", [0, 4])
def test_a_curriculum_of_no_coordinate_or_of_too_many_is_refused(used: int) -> None:
    with pytest.raises(ValueError, match=f"need a curriculum with 1 to 3 coordinates, got {used}"):
        LAW.sample(2, stream("refused"), used=used)
