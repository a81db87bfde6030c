"""What must be true of the distances between logits, whatever the logits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.objectives.logits import distance
from tests.kd.objectives.golden import LABELS, STUDENT, TEACHER, every_loss, far, kd

SAMPLE_WISE = {"kd", "dkd", "wttm", "ofa"}

GOLDEN = {
    ("kd", 4): 2.439976679787,
    ("dkd", 4): 17.624650801428,
    ("dkd", 4, "alpha", 1, "beta", 0): 0.604814157792,
    ("dkd", 4, "alpha", 0, "beta", 1): 2.127479580454,
    ("dist", 1): 1.735809084471,
    ("dist", 4): 25.915852218325,
    ("wttm", 1, "exponent", 0.25): 2.310125629836,
    ("wttm", 1, "exponent", 0.1): 3.321331644340,
    ("ofa", 1, "epsilon", 1): 2.241702744244,
    ("ofa", 1, "epsilon", 1.5): 1.855943118167,
    ("kd", 2, "standardized", True): 0.608575679117,
}
"""From the authors' own code, on the golden input: (method, T, …)."""


def logits(seed: int, *, batch: int = 8, classes: int = 10, scale: float = 3) -> Tensor:
    return scale * torch.randn(batch, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_a_loss_has_the_value_of_its_authors_code(case):
    name, temperature, *own = case

    value = far(name, STUDENT, TEACHER, LABELS, temperature, **dict(zip(own[::2], own[1::2], strict=True)))

    assert value.item() == pytest.approx(GOLDEN[case], abs=2e-11)


@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 20))
@settings(max_examples=20)
def test_dkd_with_the_weights_that_kd_has_is_kd(seed, temperature):
    """kd = mean[KL of two + (1 - p of the label) · KL of the others], image by image."""
    student_BC, teacher_BC, labels_B = logits(seed, batch=1), logits(seed + 1, batch=1), torch.tensor([3])
    unsure = 1 - (teacher_BC / temperature).softmax(1)[0, 3].item()

    value = far("dkd", student_BC, teacher_BC, labels_B, temperature, alpha=1, beta=unsure)

    torch.testing.assert_close(value, kd(student_BC, teacher_BC, labels_B, temperature=temperature))


def test_several_temperatures_count_as_their_mean():
    several = distance("kd", STUDENT, TEACHER, LABELS, temperatures=(1, 2, 4))

    torch.testing.assert_close(several, sum(kd(STUDENT, TEACHER, LABELS, temperature=T) for T in (1, 2, 4)) / 3)


@every_loss
def test_standardized_logits_do_not_show_how_far_a_student_spreads_them(name):
    value = far(name, STUDENT, TEACHER, LABELS, standardized=True)

    stretched = far(name, 5 * STUDENT + 3, TEACHER, LABELS, standardized=True)
    torch.testing.assert_close(stretched, value, rtol=1e-5, atol=1e-8)


def test_kd_is_the_sum_that_defines_it():
    temperature = 2.5
    p_BC, q_BC = (TEACHER / temperature).softmax(1), (STUDENT / temperature).softmax(1)

    by_hand = sum(
        p_BC[i, c].item() * math.log(p_BC[i, c] / q_BC[i, c]) for i in range(len(p_BC)) for c in range(p_BC.shape[1])
    )

    value = kd(STUDENT, TEACHER, LABELS, temperature=temperature)
    assert value.item() == pytest.approx(temperature**2 * by_hand / len(p_BC), rel=1e-12)


@every_loss
@given(seed=st.integers(0, 1000), temperature=st.floats(0.1, 50))
@settings(max_examples=30)
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(name, seed, temperature):
    same_BC, own = logits(seed).requires_grad_(), {}
    if name == "wttm":
        own = {"exponent": 1}  # another power is another target
    if name == "dist":
        # Its authors add 1e-8 to what they divide by, which shows where a class is next to impossible, and times T².
        same_BC, temperature = logits(seed, scale=1).requires_grad_(), 1

    value = far(name, same_BC, same_BC.detach().clone(), torch.arange(8), temperature, **own)
    value.backward()

    # ofa is a cross-entropy, whose smallest value is the teacher's entropy.
    log_BC = same_BC.detach().log_softmax(1)
    entropy = -(log_BC.exp() * log_BC).sum(1).mean() if name == "ofa" else 0
    assert (value - entropy).abs() <= 1e-5
    assert same_BC.grad.abs().max() <= 1e-4


@given(seed=st.integers(0, 1000), temperature=st.sampled_from([1, 20, 1000]), classes=st.sampled_from([2, 10, 1000]))
@settings(max_examples=30)
def test_in_single_precision_kd_is_as_exact_at_a_high_temperature(seed, temperature, classes):
    """There both are all but uniform, and T² makes a millionfold of what rounding leaves of their difference."""
    student_BC, teacher_BC = (logits(number, classes=classes, scale=0.1) for number in (seed, seed + 1))
    single_BC = student_BC.float().requires_grad_()

    value = kd(single_BC, teacher_BC.float(), None, temperature=temperature)
    value.backward()

    exact = kd(student_BC.requires_grad_(), teacher_BC, None, temperature=temperature)
    exact.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-3)
    torch.testing.assert_close(single_BC.grad.double(), student_BC.grad, rtol=1e-3, atol=1e-6)


@given(seed=st.integers(0, 1000), temperature=st.floats(0.1, 50))
@settings(max_examples=30)
def test_kd_is_never_negative_and_does_not_see_a_shift_of_all_logits(seed, temperature):
    student_BC, teacher_BC = logits(seed), logits(seed + 1)

    value = kd(student_BC, teacher_BC, LABELS, temperature=temperature)
    shifted = kd(student_BC + 5, teacher_BC - 7, LABELS, temperature=temperature)

    assert value >= 0
    torch.testing.assert_close(shifted, value)


@every_loss
@pytest.mark.parametrize("standardized", [False, True])
def test_the_gradient_is_that_of_finite_differences(name, standardized):
    student_BC = STUDENT.clone().requires_grad_()

    def loss(student_BC: Tensor) -> Tensor:
        return far(name, student_BC, TEACHER, LABELS, standardized=standardized)

    assert torch.autograd.gradcheck(loss, (student_BC,))


@given(seed=st.integers(0, 1000), batch=st.integers(1, 16), temperature=st.floats(0.2, 50))
@settings(max_examples=30)
def test_the_gradient_of_kd_is_temperature_over_batch_times_the_difference(seed, batch, temperature):
    student_BC, teacher_BC = logits(seed, batch=batch).requires_grad_(), logits(seed + 1, batch=batch)

    kd(student_BC, teacher_BC, LABELS, temperature=temperature).backward()

    difference_BC = (student_BC.detach() / temperature).softmax(1) - (teacher_BC / temperature).softmax(1)
    torch.testing.assert_close(student_BC.grad, temperature / batch * difference_BC)


@every_loss
@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_the_order_of_classes_or_images_does_not_matter(name, seed):
    student_BC, teacher_BC = logits(seed), logits(seed + 1)
    labels_B = torch.arange(8)
    value = far(name, student_BC, teacher_BC, labels_B)

    generator = torch.Generator().manual_seed(seed)
    classes, batch = torch.randperm(10, generator=generator), torch.randperm(8, generator=generator)
    of_classes = far(name, student_BC[:, classes], teacher_BC[:, classes], classes.argsort()[labels_B])
    of_batch = far(name, student_BC[batch], teacher_BC[batch], labels_B[batch])

    torch.testing.assert_close(of_classes, value)
    torch.testing.assert_close(of_batch, value)


@pytest.mark.parametrize("name", sorted(SAMPLE_WISE))
@given(cut=st.integers(1, 7))
@settings(max_examples=7)
def test_a_batch_may_be_split_in_any_way(name, cut):
    student_BC, teacher_BC, labels_B = logits(0), logits(1), torch.arange(8)

    first = far(name, student_BC[:cut], teacher_BC[:cut], labels_B[:cut]) * cut
    second = far(name, student_BC[cut:], teacher_BC[cut:], labels_B[cut:]) * (8 - cut)

    torch.testing.assert_close((first + second) / 8, far(name, student_BC, teacher_BC, labels_B))
