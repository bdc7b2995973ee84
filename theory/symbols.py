"""The letters of the library: one letter per object, the same in every module, text and table.

Letters
    d, N            dimension of the covariates, context length
    x, x_q          covariates of a sample and of the query, N(0, Lambda) unless said otherwise
    w               task vector, N(0, Psi);  sigma2: variance of the label noise eps
    u12, u          last row of W_PV;  U, u21: first d columns of W_KQ
    A               effective preconditioner u U + u12 u21^T
    s, S            (1/N) sum y_i x_i and (1/N) sum x_i x_i^T
    lam, psi        Lambda = lam I, Psi = psi I in isotropic cases
    kappa           excess kurtosis E z^4 - 3 of standardised components
    m1, m2, ...     E[1/N], E[1/N^2], ... where the context length is random
"""

from __future__ import annotations

from .algebra.trace_polynomials import identity, matrix, scalar, vector, zero

LAMBDA = matrix("Lambda", symmetric=True)
PSI = matrix("Psi", symmetric=True)
U = matrix("U")
A = matrix("A")
V = matrix("V")
A_STAR = matrix("A_*")
U12 = vector("u12")
U21 = vector("u21")
X = vector("x")
X_Q = vector("x_q")
W = vector("w")
EPS = vector("eps", space="1")
u = scalar("u")
N = scalar("N")
d = scalar("d")
SIGMA2 = scalar("sigma2")
LAM = scalar("lam")
PSI_SCALE = scalar("psi")
KAPPA = scalar("kappa")
NEXT_LENGTH = "(N+1)"  # a symbol of its own, so that N + 1 can stand in the place of N
I = identity("d")  # noqa: E741  the identity's own letter
ZERO = zero()
