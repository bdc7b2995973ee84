r"""Expectations of trace polynomials in independent random vectors.

Main statement (moments from cumulants; Isserlis' theorem where the law is Gaussian)
    The mean of a product of components of independent centred vectors is the sum, over all ways to
    part its factors into blocks, of the product of the blocks' cumulants. For a Gaussian vector
    with covariance C only pairs have one:  <x_a x_b> = C_ab  [isserlis1918formula].
    A pair therefore joins the two words that end in x through the letter C, and the mean of every
    trace polynomial is again a trace polynomial.
Sums over samples
    <x_i x_j^T> = delta_ij C: every block forces the sample indices of its members to be equal. What
    is left of the indices is counted: c classes of equal indices give sum_{1..N} = N^c.
Independent components
    x = D^(1/2) z with D diagonal and iid standardised z has in addition the cumulants of order
    m = 4, 6, ...:  kappa_m sum_a D_aa^(m/2) e_a (x) ... (x) e_a. The unit vectors e_a that this
    brings are removed by  D e_a = D_aa e_a,  e_a^T e_b = delta_ab  and  sum_a D_aa^p e_a e_a^T = D^p;
    an expression for which these three do not suffice is not a trace polynomial, and is refused.
Assumptions
    Vectors of different names are independent, so are different samples; all laws are symmetric
    under x -> -x (odd moments vanish).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import comb

from .matrix_derivatives import linear_part_to_matrix
from .trace_polynomials import Monomial, Scalars, TracePolynomial, matrix, multiply_scalars, normal_form, trace
from .words import LINE, Letter, Word, closed_normal_form, join, transpose

COPY = "unit vector"  # e_a of the law's own basis; no letter of a model has this name (noise may well be called e)


@dataclass(frozen=True)
class RandomVector:
    """A centred random vector (or scalar, space "1") with symmetric law.

    covariance      one term: a letter, a symbol times the identity, or a word
    cumulants       order m -> kappa_m of the standardised components, m = 4, 6, ..., each a number or
                    one commuting symbol; None: Gaussian. All laws with cumulants share one basis e_a.
    """

    name: str
    covariance: TracePolynomial
    space: str = "d"
    cumulants: Mapping[int, Fraction | TracePolynomial] | None = None

    def __post_init__(self) -> None:
        if len(self.covariance.terms) != 1 or next(iter(self.covariance.terms)).traces:
            raise ValueError(
                f"need a covariance of one term for {self.name}, got {self.covariance!r}; name the sum by a letter"
            )
        if self.covariance.rows != self.space or self.covariance != self.covariance.T:
            raise ValueError(
                f"need a symmetric {self.space} x {self.space} covariance of {self.name}, "
                f"got {self.covariance!r}; make its letter symmetric"
            )
        word = self.covariance_monomial().word
        if self.cumulants is not None and (len(word) > 1 or any(x.inverse for x in word)):
            raise ValueError(
                f"need one diagonal letter or a multiple of the identity as covariance of {self.name}, "
                f"got {self.covariance!r}: independent components fix the basis"
            )

    def covariance_monomial(self) -> Monomial:
        return next(iter(self.covariance.terms))

    def covariance_coefficient(self) -> Fraction:
        return next(iter(self.covariance.terms.values()))


@dataclass(frozen=True)
class Contraction:
    """A partly contracted monomial.

    open_pieces    closed words that still end in a random letter
    closed         closed words without one
    classes        sample index -> its class representative
    copies         copy index -> power of D collected so far
    """

    value: Fraction
    scalars: Scalars
    open_pieces: tuple[Word, ...]
    closed: tuple[Word, ...]
    classes: tuple[tuple[int, int], ...]
    copies: tuple[tuple[int, int], ...] = ()


def cumulants(moment: Callable[[int], Fraction], last: int) -> tuple[tuple[int, Fraction], ...]:
    """The cumulants of orders 4, 6, ..., `last` of a symmetric standardised variable with given moments.

    By the recursion  m_n = sum_k binom(n-1, k-1) kappa_k m_(n-k).

    >>> cumulants(lambda order: Fraction(1 if order == 0 else order - 1), 4)  # moments 1, 3: a Gaussian
    ((4, Fraction(0, 1)),)
    """
    kappa: dict[int, Fraction] = {}
    for n in range(2, last + 1, 2):
        lower = sum((comb(n - 1, k - 1) * kappa[k] * moment(n - k) for k in kappa), Fraction(0))
        kappa[n] = moment(n) - lower
    return tuple((n, kappa[n]) for n in range(4, last + 1, 2))


def expectation(polynomial: TracePolynomial, laws: Sequence[RandomVector]) -> TracePolynomial:
    """E[F] over the given independent vectors and over the N samples of the indexed ones.

    Raises ValueError where a cumulant that is needed was not given, or the mean is not a trace
    polynomial (see the module).
    """
    if not polynomial.is_scalar:
        probe = matrix("probe", rows=polynomial.rows, cols=polynomial.cols)
        return linear_part_to_matrix(expectation(trace(polynomial * probe.T), laws), probe)
    by_name = {law.name: law for law in laws}
    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for monomial, value in polynomial.terms.items():
        for finished in contractions(start(monomial, value, by_name), by_name):
            terms[finish(finished, by_name)] += finished.value
    return TracePolynomial(LINE, LINE, terms)


def start(monomial: Monomial, value: Fraction, laws: Mapping[str, RandomVector]) -> Contraction:
    """The monomial before any contraction, each sample index a class of its own."""
    is_open = [any(letter.name in laws for letter in word) for word in monomial.traces]
    unknown = {x.name for x in monomial.letters() if x.index and x.name not in laws}
    if unknown:
        raise ValueError(f"need a law for the sample letters {sorted(unknown)}")
    check_random_letters([x for x in monomial.letters() if x.name in laws], laws)
    return Contraction(
        value,
        monomial.scalars,
        tuple(word for word, open_ in zip(monomial.traces, is_open, strict=True) if open_),
        tuple(word for word, open_ in zip(monomial.traces, is_open, strict=True) if not open_),
        tuple((k, k) for k in sorted({x.index for x in monomial.letters() if x.index})),
    )


def check_random_letters(letters: Sequence[Letter], laws: Mapping[str, RandomVector]) -> None:
    """Random letters are vectors of their law's space, and each name is that of a sample or of one vector."""
    for x in letters:
        if {x.rows, x.cols} != {laws[x.name].space, LINE}:
            raise ValueError(f"need a vector of space {laws[x.name].space} for the law of {x.name}, got {x}")
    mixed = {x.name for x in letters if x.index} & {x.name for x in letters if not x.index}
    if mixed:
        raise ValueError(
            f"the letters {sorted(mixed)} occur with a sample index and without; "
            "bind all with sum_over_samples, or name the single vector otherwise"
        )


def contractions(state: Contraction, laws: Mapping[str, RandomVector]) -> Iterator[Contraction]:
    """All complete contractions: the block of the first random end is chosen, then the rest."""
    if not state.open_pieces:
        yield state
        return
    ends = random_ends(state.open_pieces, laws)
    first, others = ends[0], ends[1:]
    law = laws[end_letter(state.open_pieces, first).name]
    partners = [end for end in others if end_letter(state.open_pieces, end).name == law.name]
    if len(partners) % 2 == 0:  # an odd moment of a symmetric law
        return
    for partner in partners:
        yield from contractions(pair(state, first, partner, law, laws), laws)
    for order in range(4, len(partners) + 2, 2) if law.cumulants is not None else ():
        for block in combinations(partners, order - 1):
            yield from contractions(block_of_copies(state, (first, *block), law, laws), laws)


End = tuple[int, int]  # (which piece, 0: its first letter | -1: its last); a scalar letter has end 0 only


def random_ends(pieces: tuple[Word, ...], laws: Mapping[str, RandomVector]) -> list[End]:
    """The ends of the pieces that are random, first piece first."""
    ends = []
    for which, piece in enumerate(pieces):
        if piece[0].name in laws:
            ends.append((which, 0))
        if len(piece) > 1 and piece[-1].name in laws:
            ends.append((which, -1))
    return ends


def end_letter(pieces: tuple[Word, ...], end: End) -> Letter:
    return pieces[end[0]][end[1]]


def pair(state: Contraction, a: End, b: End, law: RandomVector, laws: Mapping[str, RandomVector]) -> Contraction:
    """Join two ends through the covariance of their law."""
    pieces = state.open_pieces
    covariance = law.covariance_monomial()
    rest = tuple(piece for which, piece in enumerate(pieces) if which not in (a[0], b[0]))
    joined = join_ends(pieces, a, b, covariance.word, law.space)
    classes = merge(state.classes, [end_letter(pieces, end).index for end in (a, b)])
    value = state.value * law.covariance_coefficient()
    scalars = multiply_scalars(state.scalars, covariance.scalars)
    return sort_piece(Contraction(value, scalars, rest, state.closed, classes, state.copies), *joined, laws)


def join_ends(pieces: tuple[Word, ...], a: End, b: End, middle: Word, space: str) -> tuple[Word, str]:
    """The closed word made of two ends and the covariance, and the space where it begins."""
    if len(pieces[a[0]]) == 1:  # a scalar random letter: nothing is left of either piece
        return (), LINE
    left = pieces[a[0]] if a[1] == -1 else transpose(pieces[a[0]])
    if a[0] == b[0]:
        return join(join(left[1:-1], middle), ()), space
    right = pieces[b[0]] if b[1] == 0 else transpose(pieces[b[0]])
    return join(join(left[:-1], middle), right[1:]), LINE


def sort_piece(state: Contraction, word: Word, space: str, laws: Mapping[str, RandomVector]) -> Contraction:
    """Put a new piece where it belongs: still open, or closed (an empty one is a number or a dimension)."""
    if space == LINE and word and (word[0].name in laws or word[-1].name in laws):
        return replace(state, open_pieces=(*state.open_pieces, word))
    merged = normal_form(state.scalars, [(word, space)], ())
    return replace(state, scalars=merged.scalars, closed=state.closed + merged.traces)


def merge(classes: tuple[tuple[int, int], ...], indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The classes after some sample indices are forced to be equal (index 0 is no sample)."""
    representative = dict(classes)
    joined = {representative[k] for k in indices if k}
    return tuple((k, min(joined) if r in joined else r) for k, r in classes)


def block_of_copies(
    state: Contraction, block: Sequence[End], law: RandomVector, laws: Mapping[str, RandomVector]
) -> Contraction:
    """Contract a block of order m >= 4: each end becomes the unit vector e_a of a new summed copy."""
    assert law.cumulants is not None
    order = len(block)
    if order not in law.cumulants:
        raise ValueError(f"need the cumulant of order {order} of {law.name} for this expectation; it was not given")
    kappa, kappa_value = one_term(law.cumulants[order])
    value = state.value * kappa_value * law.covariance_coefficient() ** (order // 2)
    covariance = law.covariance_monomial()
    scalars = multiply_scalars(state.scalars, kappa)
    for _ in range(order // 2):
        scalars = multiply_scalars(scalars, covariance.scalars)
    classes = merge(state.classes, [end_letter(state.open_pieces, end).index for end in block])
    if law.space == LINE:  # a scalar has no components: nothing is left of the pieces in the block
        gone = {which for which, _ in block}
        left = tuple(piece for which, piece in enumerate(state.open_pieces) if which not in gone)
        return Contraction(value, scalars, left, state.closed, classes, state.copies)
    copy = 1 + max((k for k, _ in state.copies), default=0)
    pieces = [list(piece) for piece in state.open_pieces]
    for which, end in block:
        unit = Letter(COPY, index=copy, cols=LINE)
        pieces[which][end] = unit.T if end == 0 else unit
    powers = len(covariance.word) * (order // 2)
    new = Contraction(value, scalars, (), state.closed, classes, (*state.copies, (copy, powers)))
    for piece in pieces:
        new = sort_piece(new, tuple(piece), LINE, laws)
    return new


def one_term(cumulant: Fraction | TracePolynomial) -> tuple[Scalars, Fraction]:
    """A cumulant as powers of commuting symbols times a number."""
    if not isinstance(cumulant, TracePolynomial):
        return (), Fraction(cumulant)
    if len(cumulant.terms) != 1 or any(True for m in cumulant.terms for _ in m.letters()):
        raise ValueError(f"need a number or one commuting symbol as cumulant, got {cumulant!r}")
    ((monomial, value),) = cumulant.terms.items()
    return monomial.scalars, value


def finish(state: Contraction, laws: Mapping[str, RandomVector]) -> Monomial:
    """Count the free sample indices and remove the unit vectors."""
    scalars, closed = state.scalars, state.closed
    free = len({representative for _, representative in state.classes})
    if free:
        scalars = multiply_scalars(scalars, (("N", free),))
    if state.copies:
        scalars, closed = remove_copies(scalars, closed, dict(state.copies), diagonal_letters(laws))
    normal = tuple(sorted(closed_normal_form(word) for word in closed))
    return Monomial(scalars, normal, ())


def diagonal_letters(laws: Mapping[str, RandomVector]) -> set[str]:
    """The covariances that are diagonal in the basis of independent components."""
    found = {x.name for law in laws.values() if law.cumulants is not None for x in law.covariance_monomial().word}
    if len(found) > 1:
        raise ValueError(f"need one diagonal covariance for all laws with independent components, got {sorted(found)}")
    return found


def remove_copies(
    scalars: Scalars, closed: tuple[Word, ...], powers: dict[int, int], diagonal: set[str]
) -> tuple[Scalars, tuple[Word, ...]]:
    """Sum over the unit vectors:  D e_a = D_aa e_a,  e_a^T e_b = delta_ab,  sum_a D_aa^p e_a e_a^T = D^p."""
    pieces = [strip_diagonal(list(word), powers, diagonal) for word in closed]
    while (merging := next((w for w in pieces if is_overlap(w)), None)) is not None:
        pieces.remove(merging)
        keep, gone = sorted((merging[0].index, merging[1].index))
        if keep != gone:
            powers[keep] += powers.pop(gone)
            pieces = [[rename_copy(x, gone, keep) for x in word] for word in pieces]
    for copy, power in powers.items():
        pieces, scalars = sum_over_copy(pieces, scalars, copy, power, diagonal)
    return scalars, tuple(tuple(word) for word in pieces)


def strip_diagonal(word: list[Letter], powers: dict[int, int], diagonal: set[str]) -> list[Letter]:
    """Move the diagonal letters that touch a unit vector into its power of D_aa."""
    while len(word) > 2 and word[0].name == COPY and word[1].name in diagonal:
        powers[word[0].index] += -1 if word.pop(1).inverse else 1
    while len(word) > 2 and word[-1].name == COPY and word[-2].name in diagonal:
        powers[word[-1].index] += -1 if word.pop(-2).inverse else 1
    return word


def is_overlap(word: Sequence[Letter]) -> bool:
    """Whether a piece is e_a^T e_b."""
    return len(word) == 2 and word[0].name == COPY == word[1].name


def rename_copy(x: Letter, old: int, new: int) -> Letter:
    return x._replace(index=new) if x.name == COPY and x.index == old else x


def sum_over_copy(
    pieces: list[list[Letter]], scalars: Scalars, copy: int, power: int, diagonal: set[str]
) -> tuple[list[list[Letter]], Scalars]:
    """sum_a D_aa^p over what is left of the copy a: nothing, or one e_a e_a^T."""
    if power and not diagonal:  # the covariance is a multiple of the identity: no powers arise
        raise AssertionError("a power of D without a diagonal letter")
    d_to_p = tuple(Letter(name, symmetric=True, inverse=power < 0) for name in diagonal) * abs(power)
    touching = [word for word in pieces if any(x.name == COPY and x.index == copy for x in word)]
    ends = [(i, e) for i, word in enumerate(touching) for e in (0, -1) if word[e][:2] == (COPY, copy)]
    rest = [word for word in pieces if word not in touching]
    if not ends:
        merged = normal_form(scalars, [(d_to_p, "d")], ())
        return [*rest, *(list(w) for w in merged.traces)], merged.scalars
    if len(ends) != 2:
        raise ValueError(
            "this mean needs sum_a (e_a^T A e_a)(e_a^T B e_a) over the law's own basis, which is not a trace "
            "polynomial; take A or B as a multiple of the identity, or a Gaussian law"
        )
    word, space = join_ends(tuple(tuple(w) for w in touching), ends[0], ends[1], d_to_p, "d")
    merged = normal_form(scalars, [(word, space)], ())
    return [*rest, *(list(w) for w in merged.traces)], merged.scalars
