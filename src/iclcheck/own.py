"""Claims of your own, in a file that every verb works on: iclcheck check --claims my_claims.py.

    claim(...)                           state one
    whole, real, one_of                  the values of a parameter
    exact, mean, replicas                what is measured, and how it is judged
    step(name, left, right, why)         one equality of a derivation
    claims_from(file)                    a context in which `iclcheck.check` and the others know the claims of a file

Such a file is Python and runs as your own code, with all of your rights.
"""

from .proofs_check.own.claim_files import claims_from
from .proofs_check.own.derivations import step
from .proofs_check.own.domains import one_of, real, whole
from .proofs_check.own.observables import exact, mean, replicas
from .proofs_check.own.stating import claim

__all__ = ["claim", "claims_from", "exact", "mean", "one_of", "real", "replicas", "step", "whole"]
