import numpy as np
import pytest

from iclcheck.numerics.scan_and_snap.sequence_classes import (
    SequenceClasses,
    one_common_token,
    random_classes,
    syn_medium,
    syn_small,
)


def test_syn_small_has_ten_common_tokens_and_ten_of_each_class() -> None:
    task = syn_small()
    assert (task.classes, task.vocabulary) == (2, 30)
    assert task.common_tokens() == list(range(10))
    assert [task.distinct_tokens(n) for n in (0, 1)] == [list(range(10, 20)), list(range(20, 30))]
    for n in (0, 1):
        own = task.contexts[n, task.distinct_tokens(n)]
        assert (np.diff(own) > 0).all()


@pytest.mark.parametrize(
    "task",
    [
        syn_medium(3, 40, 4, 5, "a"),
        random_classes(4, 20, 2, 3, 4, "b"),
        one_common_token(3, 20, 0.4, [1, 2, 3]),
    ],
)
def test_tasks_are_laws_and_come_back_from_plain_data(task: SequenceClasses) -> None:
    # __post_init__ has checked signs and sums
    again = SequenceClasses.from_plain(task.plain())
    assert (again.contexts == task.contexts).all()
    assert (again.queries == task.queries).all()
    counted = [n for n in range(task.classes) for _ in task.distinct_tokens(n)]
    assert len(counted) + len(task.common_tokens()) == int((task.occurrences > 0).sum())


def test_a_key_names_a_table() -> None:
    first, again, other = (random_classes(3, 12, 1, 2, 3, key) for key in ("one", "one", "two"))
    assert (first.contexts == again.contexts).all()
    assert (first.contexts != other.contexts).any()


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ({"contexts": [[0.5, 0.4], [0.5, 0.5]]}, "sum 1 in each row"),
        ({"contexts": [[1.5, -0.5], [0.5, 0.5]]}, "nonnegative"),
        ({"contexts": [[1.0], [1.0]]}, "1 <= K <= M"),
        ({"contexts": [[1.0, 0.0]], "queries": [2]}, "queries are tokens 0..1"),
        ({"contexts": [[1.0, 0.0]], "queries": [0, 1]}, "a query and a probability for each"),
        ({"contexts": [[0.5, 0.5], [1, 0]], "probabilities": [0.5, 0.6]}, "P"),
        ({"contexts": [[float("nan"), 1.0]]}, "nonnegative"),
    ],
)
def test_what_is_no_law_is_refused(plain: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SequenceClasses.from_plain(plain)


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="need 13 tokens"):
        one_common_token(3, 12, 0.4, [1, 2, 3])
    with pytest.raises(ValueError, match="need 14 tokens"):
        random_classes(3, 13, 1, 2, 4, "key")
    with pytest.raises(ValueError, match="need 34 tokens"):
        syn_medium(3, 33, 4, 5, "key")
