"""The domain of a claim of one's own: which values its parameters take, in words and at random."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..claims.claim import Parameter
from ..claims.parameters import UsageError, quoted
from ..claims.settings import generator
from ..records.plain_data import canonical_json, plain_copy

TRIES = 50  # draws of one setting before an earlier one is drawn again


@dataclass(frozen=True)
class Choice:
    """The values of one parameter: a range of whole numbers or of real ones, or a list of any plain data."""

    kind: Literal["whole", "real", "listed"]
    low: float = 0.0
    high: float = 0.0
    listed: tuple[Any, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether every value is a number."""
        return self.kind != "listed" or all(is_real(value) for value in self.listed)

    def draw(self, numbers: Any) -> Any:
        """A value at random; uniform."""
        if self.kind == "whole":
            return int(numbers.integers(int(self.low), int(self.high) + 1))
        if self.kind == "real":
            # Nine digits: a setting is plain data that a reader can type.
            return min(self.high, max(self.low, float(f"{numbers.uniform(self.low, self.high):.9g}")))
        return self.listed[int(numbers.integers(len(self.listed)))]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if self.kind == "listed":
            return any(canonical_json(value) == canonical_json(one) for one in self.listed)
        whole = self.kind == "real" or (is_real(value) and value == int(value))
        return is_real(value) and whole and self.low <= value <= self.high

    def __str__(self) -> str:
        if self.kind == "listed":
            return "one of " + ", ".join(map(str, self.listed))
        kind = "a whole number" if self.kind == "whole" else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"


def is_real(value: Any) -> bool:
    """A finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(low: int, high: int) -> Choice:
    """Whole numbers from `low` to `high`, both included. Raises UsageError.

    >>> str(whole(2, 20))
    'a whole number from 2 to 20'
    """
    if not (is_real(low) and is_real(high) and low == int(low) and high == int(high) and low <= high):
        raise UsageError(f"whole needs two whole numbers in order, got {low!r} and {high!r}; write whole(2, 20)")
    return Choice("whole", low, high)


def real(low: float, high: float) -> Choice:
    """Real numbers from `low` to `high`. Raises UsageError."""
    if not (is_real(low) and is_real(high) and low < high):
        raise UsageError(f"real needs two numbers in order, got {low!r} and {high!r}; write real(0.1, 2)")
    return Choice("real", float(low), float(high))


def one_of(*values: Any) -> Choice:
    """The listed values: numbers, words, or nested lists such as a covariance. Raises UsageError."""
    if not values:
        raise UsageError("one_of needs at least one value; write one_of(1, 2, 4)")
    try:
        return Choice("listed", listed=tuple(plain_copy(value, "a value of one_of") for value in values))
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None


Domain = Mapping[str, Choice]


def parameters_of(domain: Domain) -> tuple[Parameter, ...]:
    """The parameters of `predict`."""
    return tuple(Parameter(name, str(choice), word=not choice.is_number) for name, choice in domain.items())


def refuse_outside(identifier: str, domain: Domain, given: Mapping[str, Any]) -> None:
    """Raises UsageError for values that the claim says nothing about."""
    for name, choice in domain.items():
        if not choice.holds(given[name]):
            raise UsageError(
                f"{identifier} is stated for {name} {choice}, got {quoted(str(given[name]))}; "
                "its file says so in domain="
            )


def settings_of(
    identifier: str, domain: Domain, seed: int, count: int, purpose: str = "settings"
) -> list[dict[str, Any]]:
    """Random settings that follow from the claim's name and the seed; different ones as long as there are some."""
    numbers = generator(f"own claim/{identifier}/{purpose}", seed)
    found: list[dict[str, Any]] = []
    for _ in range(count):
        for _ in range(TRIES):
            setting = {name: choice.draw(numbers) for name, choice in domain.items()}
            if setting not in found:
                break
        found.append(setting)
    return found


def described(setting: Mapping[str, Any]) -> str:
    """A setting in words."""
    return ", ".join(f"{name} = {value}" for name, value in setting.items())


def domain_in_words(domain: Domain, tested: Sequence[str]) -> str:
    """The domain, and how it is tested."""
    ranges = "; ".join(f"{name} is {choice}" for name, choice in domain.items())
    return f"{ranges}. Tested: {'; '.join(tested)}"
