"""The inverse R_t of the mesa layer carried forwards in float64 and won back again: what is left of its digits.

    PYTHONPATH=src python benchmarks/mesa_way_back.py

Prints, for keys with independent normal entries, d = 10 and T = 50, the derived factor |lambda P_T/zeta_T0| of a
relative error over the whole way back, the largest condition number of P_t, and the relative error of R_0 = lambda I
at its end. The unit roundoff times the first two is about the size of the third (claim mesa-layer).
"""

from __future__ import annotations

import numpy as np

CASES = ((1.0, 1.0), (1e4, 1.0), (1.0, 0.9), (1.0, 0.5))  # (lambda, gamma)
TIMES, DIMENSION = 50, 10


def way_back(regulariser: float, gate: float) -> tuple[float, float, float]:
    """(factor, largest condition number, relative error of R_0)."""
    keys = np.random.default_rng(0).normal(size=(TIMES, DIMENSION))
    R, P, condition = np.eye(DIMENSION) * regulariser, np.eye(DIMENSION) / regulariser, 1.0
    for k in keys:
        Rk = R @ k
        R = (R - np.outer(Rk, Rk) / (gate + k @ Rk)) / gate
        P = gate * P + np.outer(k, k)
        condition = max(condition, float(np.linalg.cond(P)))
    for k in keys[::-1]:
        Rk = R @ k
        R = gate * (R + np.outer(Rk, Rk) / (1 - k @ Rk))
    factor = float(np.linalg.norm(P, 2)) * regulariser / gate**TIMES
    return factor, condition, float(np.linalg.norm(R / regulariser - np.eye(DIMENSION), 2))


def main() -> None:
    print("lambda   gamma   factor    condition   error of R_0")
    for regulariser, gate in CASES:
        factor, condition, error = way_back(regulariser, gate)
        print(f"{regulariser:6g}   {gate:5g}   {factor:.1e}   {condition:.1e}     {error:.1e}")


if __name__ == "__main__":
    main()
