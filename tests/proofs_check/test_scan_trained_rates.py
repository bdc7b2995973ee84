import numpy as np

from iclcheck.proofs_check.claims.claim import Budget, Values
from iclcheck.proofs_check.records.tasks import Task
from iclcheck.proofs_check.scan_and_snap.trained_rates import RATES, RatesOfTraining, less_gathered


def test_a_replica_hits_only_if_both_comparisons_do() -> None:
    start = [3.0] * 3
    ends = {"both": [2.5, 2.9, 2.8], "one": [2.5, 2.4, 2.8], "other": [2.5, 2.9, 2.4]}
    found = less_gathered(np.array([start * 3, [*ends["both"], *ends["one"], *ends["other"]]]))
    assert found[0] < 0 < min(found[1], found[2])
    assert abs(found[0] + 0.6) < 1e-12  # (2.5 - 2.8)/0.5


def test_a_base_that_has_not_fallen_or_is_no_number_misses() -> None:
    found = less_gathered(np.array([[3.0] * 6, [3.0, 3.1, 3.1, np.nan, 2.9, 2.9]]))
    assert (found == 1).all()
    not_a_number = less_gathered(np.array([[3.0] * 3, [2.5, np.nan, 2.9]]))
    assert not (not_a_number <= 0).any()


def entropies(tasks: list[Task], order: tuple[float, float, float]) -> list[Values]:
    """What trainings would give whose entropies fall from 3 to these, triple by triple."""
    found: list[Values] = []
    for task in tasks:
        count = len(task.parameters["runs"])
        ends = [order[k % 3] for k in range(count)]
        found.append({"entropy": [[[3.0, 3.0]] * count, [[end, end] for end in ends]]})
    return found


def test_layers_that_gather_more_at_a_faster_decoder_contradict() -> None:
    check, budget = RatesOfTraining(), Budget()
    right = check.judge(lambda tasks: entropies(list(tasks), (2.5, 2.9, 2.8)), budget)
    wrong = check.judge(lambda tasks: entropies(list(tasks), (2.5, 2.4, 2.8)), budget)
    assert right.outcome == "agrees"
    assert wrong.outcome == "contradicts"


def test_each_replica_is_the_same_task_at_three_pairs_of_rates() -> None:
    for triple in RatesOfTraining().triples(Budget(replicas=24)):
        assert tuple((run["decoder_rate"], run["attention_rate"]) for run in triple) == RATES
        assert len({str(run["classes"]) for run in triple}) == len({run["replica"] for run in triple}) == 1
