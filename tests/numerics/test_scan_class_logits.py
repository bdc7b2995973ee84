"""Flows of a class's logits, of the decoder of classes without overlap, and its single steps, at known answers."""

import math

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_decoder.class_logits import (
    decoder_leads,
    descent_leads,
    distinct_classes,
    leads_of,
    logit_flows,
    loss_slopes,
    vectors_of,
)


def test_slopes_and_force_are_those_of_softmax() -> None:
    w = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    slope, force = loss_slopes(w)
    wrong = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) - torch.softmax(w, 0)
    assert torch.allclose(slope, -wrong, rtol=0, atol=1e-15)
    assert force == pytest.approx(float(w @ wrong), abs=1e-15)


def test_two_logits_follow_the_flow_that_can_be_solved_by_hand() -> None:
    # M = 2: u' = 2/(e^u + 1) in tau, so e^u + u - 1 = 2 tau; the force is u/(e^u + 1), its integral (K/eta) u^2/4
    times = [0.6, 12.0, 600.0]
    found = logit_flows([{"vocabulary": 2, "classes": 3, "learning_rate": 0.5, "times": times}], "cpu")
    for t, numbers, error in zip(times, found["numbers"][0], found["error"][0], strict=True):
        u, wrong, force, integral, uneven, total = numbers
        assert error < 1e-10
        assert math.exp(u) + u - 1 == pytest.approx(2 * t * 0.5 / 3, rel=1e-10)
        assert wrong == pytest.approx(1 / (math.exp(u) + 1), rel=1e-12)
        assert force == pytest.approx(u / (math.exp(u) + 1), rel=1e-12)
        assert integral == pytest.approx(3 / 0.5 * u**2 / 4, rel=1e-10)
        assert max(uneven, total) < 1e-12


def test_classes_with_distinct_tokens_have_orthonormal_vectors() -> None:
    f = vectors_of(distinct_classes(3, 8, 2, "known"))
    assert torch.allclose(f @ f.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-15)
    assert not torch.allclose(f[0, :2], f[1, 2:4])  # of their own probabilities


def test_leads_are_differences_from_the_right_column() -> None:
    logits = np.array([[3.0, 1.0, 0.5], [0.0, 2.0, -1.0]])
    assert leads_of(logits).tolist() == [[2.0, 2.5], [2.0, 3.0]]


def test_one_step_from_zero_leads_by_the_rate() -> None:
    # the gradient at w = 0 is 1/M - e_n: the lead is eta, for the class that was drawn
    case = {"classes": 2, "vocabulary": 6, "tokens": 3, "learning_rate": 0.25, "steps": 1}
    found = descent_leads([case], "one step", "cpu")
    for visits, leads in zip(found["visits"][0], found["lead"][0], strict=True):
        assert leads == pytest.approx([0.25 * visits] * 5, abs=1e-15)


def test_the_whole_decoder_treats_every_class_and_column_alike() -> None:
    case = {"classes": 3, "vocabulary": 9, "tokens": 2, "learning_rate": 1.0, "times": [2.0, 9.0]}
    found = decoder_leads([case], "alike", "cpu")
    leads = np.array(found["lead"][0])
    assert leads.shape == (2, 3, 3)
    assert np.allclose(leads, leads[:, :1, :1], rtol=1e-9)
