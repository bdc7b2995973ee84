r"""Training of many configurations at once on the real loss of the layer.

Each step draws fresh prompts for each configuration from its own stream and applies a plain first-order
update (`optimisers`) to all entries of W_PV and W_KQ, with the batch gradient of the layer
(`one_layer.gradients`). Nothing that is known about the solution enters: no preconditioning by data
covariances, no closed form, no restart. Averaging the late weights while the rate falls brings the error
near the statistical limit of the prompts seen, where a constant rate would stay at its noise floor.

Configurations that name shared draws (`shared_draws`) read one array of fresh Gaussian numbers at each step, each
through its own law, and train together whatever their d and N.

Configurations stand along the leading axis of one padded batch (smaller d and N are filled with zeros, whose
gradient is exactly zero), so a configuration trains alike alone and in a batch. On a CPU, batches are cut
by shape and by size, so that they stay in a core's cache; on a GPU there is one batch for each number of
steps and batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from .configurations import TrainingConfiguration, initial_weights
from .optimisers import SGD, Adam, Optimiser, TailAverage, schedule_factor
from .prompt_feed import PromptFeed
from .shared_draws import SharedFeed, draws_key
from .soap import Soap
from .threads import one_thread

CACHE_NUMBERS = 1 << 17  # numbers of one step's prompts that keep a CPU batch inside the second-level cache
CURVE_POINTS = 40
STEPS_BETWEEN_CHECKS = 100


@dataclass(frozen=True)
class TrainedWeights:
    """The end of a run: W_PV and W_KQ (d + 1, d + 1), the prompts used, and a coarse learning curve.

    curve: pairs (prompts seen, mean batch loss since the pair before).
    """

    configuration: TrainingConfiguration
    W_PV: NDArray[np.float64]
    W_KQ: NDArray[np.float64]
    prompts: int
    curve: list[tuple[int, float]]


class DivergedTrainingError(RuntimeError):
    """A run whose weights or losses stopped being finite numbers."""


def train(
    configurations: Sequence[TrainingConfiguration],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[TrainedWeights]:
    """Train all configurations; results in their order.

    float32 takes half the time of float64; its rounding, below 1e-5 of the weights, is far under the sampling
    error of any such run.

    Raises DivergedTrainingError, naming the configurations whose weights stopped being finite.
    """
    results: dict[int, TrainedWeights] = {}
    for members in _batches(configurations, torch.device(device)):
        trained = train_one_batch([configurations[place] for place in members], device, dtype)
        results.update(zip(members, trained, strict=True))
    return [results[place] for place in range(len(configurations))]


@one_thread()
def train_one_batch(
    configurations: Sequence[TrainingConfiguration],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[TrainedWeights]:
    """Train configurations with equal steps, batch_size and optimiser, any d and N, as one padded batch."""
    if len({_run_shape(one) for one in configurations}) != 1:
        raise ValueError(
            "need configurations that share steps, batch_size and optimiser (and shared draws, if any) in one padded "
            f"batch, got {sorted({_run_shape(one) for one in configurations})}; `train` sorts mixed ones into batches"
        )
    run = _Run(list(configurations), torch.device(device), dtype)
    for step in range(run.steps):
        run.step()
        if step % STEPS_BETWEEN_CHECKS == 0:
            run.check_finite()
    run.check_finite()
    return run.results()


def _run_shape(one: TrainingConfiguration) -> tuple[int, int, str, str]:
    return one.steps, one.batch_size, one.optimiser, draws_key(one) or ""  # the key names the early batches too


def _batches(configurations: Sequence[TrainingConfiguration], device: torch.device) -> Iterator[list[int]]:
    """Places of the configurations that train as one padded batch."""

    def shape(place: int) -> tuple[int, int, str, str, int, int]:
        one = configurations[place]
        law = one.distribution
        by_size = on_cpu and one.shared_draws is None  # what shares draws trains together
        return (*_run_shape(one), law.dimension, law.longest_context) if by_size else (*_run_shape(one), 0, 0)

    on_cpu = device.type == "cpu"
    for _, same in groupby(sorted(range(len(configurations)), key=shape), key=shape):
        places = list(same)
        apart = on_cpu and configurations[places[0]].shared_draws is None
        size = _members_in_cache(configurations[places[0]]) if apart else len(places)
        yield from (places[start : start + size] for start in range(0, len(places), size))


def _members_in_cache(one: TrainingConfiguration) -> int:
    law = one.distribution
    numbers = one.batch_size * (law.dimension + 1) * (law.longest_context + 1)
    return max(1, CACHE_NUMBERS // numbers)


class _Run:
    """The state of one padded batch of configurations in training."""

    def __init__(self, configurations: list[TrainingConfiguration], device: torch.device, dtype: torch.dtype) -> None:
        self.configurations = configurations
        self.steps = configurations[0].steps
        shared = configurations[0].shared_draws is not None
        self.prompts = (SharedFeed if shared else PromptFeed)(configurations, device, dtype)
        self.parameters = _stacked_start(configurations, device, dtype)
        self.optimiser = _optimiser(configurations[0].optimiser, self.parameters)
        self.rates = _schedules(configurations, device, dtype)
        self.average = TailAverage(self.parameters, self.steps, [one.averaging for one in configurations])
        self.losses: list[torch.Tensor] = []

    def step(self) -> None:
        """One update of all configurations on fresh prompts."""
        value, key_query = self.parameters
        loss, value_gradient, key_query_gradient = self.prompts.gradient(value, key_query)
        place = len(self.losses)
        self.optimiser.step([value_gradient.unsqueeze(-2), key_query_gradient], self.rates[place])
        self.average.add(place)
        self.losses.append(loss)

    def check_finite(self) -> None:
        """Refuse weights that are not finite."""
        finite = [parameter.flatten(1).isfinite().all(-1) for parameter in self.parameters]
        good = (finite[0] & finite[1]).tolist()
        lost = [one for one, fine in zip(self.configurations, good, strict=True) if not fine]
        if lost:
            first = lost[0]
            raise DivergedTrainingError(
                f"need finite weights in training, got others in {len(lost)} of {len(good)} configurations, "
                f"the first with key {first.key[:12]}: {first.optimiser}, learning_rate "
                f"{first.learning_rate:g}, d = {first.distribution.dimension}, replica {first.replica}; "
                "lower the learning rate or raise the batch size"
            )

    def results(self) -> list[TrainedWeights]:
        """The averaged weights without padding, and the learning curves."""
        value, key_query = (mean.double().cpu().numpy() for mean in self.average.means())
        losses = torch.stack(self.losses, -1).double().cpu().numpy()
        return [
            TrainedWeights(
                one,
                *_unpad(value[place], key_query[place], one),
                one.prompts,
                _curve(losses[place], one),
            )
            for place, one in enumerate(self.configurations)
        ]


def _stacked_start(
    configurations: list[TrainingConfiguration], device: torch.device, dtype: torch.dtype
) -> list[torch.Tensor]:
    """The last row of W_PV, (C, 1, D), and W_KQ, (C, D, D), padded."""
    size = max(one.distribution.dimension for one in configurations) + 1
    value = torch.zeros(len(configurations), 1, size, dtype=dtype, device=device)
    key_query = torch.zeros(len(configurations), size, size, dtype=dtype, device=device)
    for place, one in enumerate(configurations):
        W_PV, W_KQ = initial_weights(one)
        keep = _kept(one, size)
        value[place, 0, keep] = torch.as_tensor(W_PV[-1], dtype=dtype, device=device)
        key_query[place, keep[:, None], keep] = torch.as_tensor(W_KQ, dtype=dtype, device=device)
    return [value, key_query]


def _kept(one: TrainingConfiguration, size: int) -> torch.Tensor:
    """The places of a configuration's rows among `size` padded rows: its covariates first, the label last."""
    return torch.tensor([*range(one.distribution.dimension), size - 1])


def _unpad(
    value: NDArray[np.float64], key_query: NDArray[np.float64], one: TrainingConfiguration
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W_PV, zero above its last row `value` (1, D), and W_KQ, without the padded rows and columns."""
    keep = _kept(one, len(key_query)).numpy()
    W_PV = np.zeros((len(keep), len(keep)))
    W_PV[-1] = value[0, keep]
    return W_PV, key_query[np.ix_(keep, keep)]


def _optimiser(name: str, parameters: list[torch.Tensor]) -> Optimiser:
    methods: dict[str, Callable[[list[torch.Tensor]], Optimiser]] = {"adam": Adam, "sgd": SGD, "soap": Soap}
    return methods[name](parameters)


def _schedules(configurations: list[TrainingConfiguration], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The learning rate of each step and configuration, (steps, C)."""
    rates = [
        [one.learning_rate * schedule_factor(one.schedule, step / one.steps) for one in configurations]
        for step in range(configurations[0].steps)
    ]
    return torch.tensor(rates, dtype=dtype, device=device)


def _curve(losses: NDArray[np.float64], one: TrainingConfiguration) -> list[tuple[int, float]]:
    """Pairs (prompts seen, mean loss since the pair before) at about CURVE_POINTS places."""
    edges = np.unique(np.linspace(0, len(losses), CURVE_POINTS + 1).astype(int))
    seen = np.cumsum([0, *(one.batch_size_at(step) for step in range(len(losses)))])
    return [(int(seen[end]), float(losses[start:end].mean())) for start, end in pairwise(edges)]
