r"""Ball arithmetic: one zero of a polynomial system in a box, and how near it lies to a given point.

Main statement
    Let f have Jacobian J, X be a box with midpoint m, and Y any invertible matrix. If
    K(X) = m - Y f(m) + (I - Y J(X))(X - m) lies inside X, then f has exactly one zero in X, and it lies in K(X)
    [krawczyk1969newton].
All operations are those of Arb's balls, which contain the exact results. The gradient of the loss vanishes along the
orbit of the scale (c W_PV, W_KQ/c): one parameter is fixed, and by Euler's identity its derivative vanishes with the
others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .refusals import RefutedError, UndecidedError

PRECISION = 256  # bits


@dataclass(frozen=True)
class OnlyZero:
    """The system has one zero in the box of this radius about the point, and it lies within `distance` of it.

    system      polynomials of python-flint in the unknowns, which are the ring's generators of these numbers
    point       rationals, one for each unknown
    """

    system: Sequence[Any]
    unknowns: Sequence[int]
    point: Sequence[Any]
    letters: Mapping[str, str]
    radius: str = "1e-4"
    distance: str = "1e-30"
    engine: str = field(default="python-flint (ball arithmetic)", init=False)

    def evidence(self) -> dict[str, Any]:
        return {
            "unknowns": len(self.unknowns),
            "zeros_in_the_box": 1,
            "radius_of_the_box": self.radius,
            "distance_to_the_closed_form_at_most": self.distance,
        }

    def check(self, seed: str) -> None:
        """Krawczyk's test for both boxes: one zero in the large one, and one in the small one inside it."""
        del seed
        import flint

        before, flint.ctx.prec = flint.ctx.prec, PRECISION
        try:
            for radius in (self.radius, self.distance):
                self.test(flint.arb(radius), radius)
        finally:
            flint.ctx.prec = before

    def test(self, radius: Any, name: str) -> None:
        """Raises RefutedError where the box of that radius holds no zero, UndecidedError where the test is too weak."""
        moved = self.krawczyk(radius)
        if any(abs(entry) > radius for entry in moved):
            raise RefutedError(f"no zero lies within {name} of the closed form")
        if not all(abs(entry) < radius for entry in moved):
            raise UndecidedError(f"Krawczyk's test does not decide about the box of radius {name}; take a smaller one")

    def krawczyk(self, radius: Any) -> list[Any]:
        """K(X) - m for the box of that radius; every zero in the box lies in K(X)."""
        import flint

        n = len(self.unknowns)
        middle = [flint.arb(value) for value in self.point]
        jacobian = [[p.derivative(k) for k in self.unknowns] for p in self.system]
        at_middle = flint.arb_mat(n, n, [self.at(entry, middle) for row in jacobian for entry in row])
        Y = flint.arb_mat(n, n, [entry.mid() for entry in at_middle.inv().entries()])
        box = [value + flint.arb(0, radius) for value in middle]
        J = flint.arb_mat(n, n, [self.at(entry, box) for row in jacobian for entry in row])
        f = flint.arb_mat(n, 1, [self.at(p, middle) for p in self.system])
        eye = flint.arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
        offsets = flint.arb_mat(n, 1, [flint.arb(0, radius)] * n)
        return list(((eye - Y * J) * offsets - Y * f).entries())

    def at(self, polynomial: Any, values: Sequence[Any]) -> Any:
        """A polynomial in the unknowns alone, at balls."""
        import flint

        total = flint.arb(0)
        for powers, coefficient in polynomial.to_dict().items():
            term = flint.arb(coefficient)
            for k, value in zip(self.unknowns, values, strict=True):
                for _ in range(int(powers[k])):  # a power of a ball about 0 would be taken by its logarithm
                    term *= value
            total += term
        return total
