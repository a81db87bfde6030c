"""What must be true of the objectives, whatever the logits."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd import spec
from kd.models.features import Features, Measures, Points
from kd.objectives.logits import METHODS, distance
from kd.objectives.objective import Answer, Objective, cross_entropy
from kd.spec.objective import WITHOUT_TEMPERATURE
from kd.views.mixup import Mix

# The golden input of the design: B=4, C=6.
ROW, COLUMN = torch.arange(4, dtype=torch.float64)[:, None], torch.arange(6, dtype=torch.float64)[None]
STUDENT = 2 * torch.sin(1.7 * ROW + 0.9 * COLUMN + 0.3)
TEACHER = 3 * torch.cos(0.8 * ROW - 1.1 * COLUMN + 0.5)
LABELS = torch.tensor([0, 3, 5, 2])

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

every_loss = pytest.mark.parametrize("name", list(METHODS))


def far(name: str, student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, temperature: float = 4, **own) -> Tensor:
    return distance(name, student_BC, teacher_BC, labels_B, temperatures=(temperature,), **own)


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    return far("kd", student_BC, teacher_BC, labels_B, temperature)


def objective_of(name: str, **settings) -> Objective:
    """The objective of a method from logits; of a student without stages, so that nothing else counts."""
    return Objective(spec.Objective(method=name, **settings), student=Measures(Points(), 10))


def logits(seed: int, *, batch: int = 8, classes: int = 10, scale: float = 3) -> Tensor:
    return scale * torch.randn(batch, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apart(gap: float, *, batch: int = 4, classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """A student and a teacher that are sure of different classes by `gap`, and the labels."""
    student_BC, teacher_BC = torch.zeros(batch, classes), torch.zeros(batch, classes)
    student_BC[:, 0], teacher_BC[:, 1] = gap, gap
    return student_BC.requires_grad_(), teacher_BC, torch.full((batch,), 2)


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_a_loss_has_the_value_of_its_authors_code(case):
    name, temperature, *own = case

    value = far(name, STUDENT, TEACHER, LABELS, temperature, **dict(zip(own[::2], own[1::2], strict=True)))

    assert value.item() == pytest.approx(GOLDEN[case], abs=2e-11)


@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 20))
@settings(deadline=None, max_examples=20)
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
@settings(deadline=None, max_examples=30)
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
@settings(deadline=None, max_examples=30)
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


@pytest.mark.parametrize("mixed", [False, True])
def test_class_weights_weigh_each_image_by_its_class(mixed):
    weights_C = torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0, 3.0])
    student_BC, labels_B = STUDENT.float(), LABELS
    mix = Mix(labels_B.flip(0), torch.tensor([0.5, 0.25, 1.0, 0.0])) if mixed else None
    share_B = mix.share_B if mix else torch.ones(4)

    value = cross_entropy(student_BC, labels_B, mix, weights_C)

    own_B = weights_C[labels_B] * F.cross_entropy(student_BC, labels_B, reduction="none")
    other_B = weights_C[labels_B.flip(0)] * F.cross_entropy(student_BC, labels_B.flip(0), reduction="none")
    assert value.item() == pytest.approx((share_B * own_B + (1 - share_B) * other_B).mean().item(), rel=1e-6)
    halves = [cross_entropy(student_BC[part], labels_B[part], None, weights_C) for part in (slice(2), slice(2, 4))]
    assert sum(halves).item() / 2 == pytest.approx(cross_entropy(student_BC, labels_B, None, weights_C).item())


# -- label smoothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_smoothed_labels_are_torch_s_and_class_weights_and_mixing_hold_for_them_too(smoothing, mixed, weighed):
    weights_C = torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0, 3.0], dtype=torch.float64)
    share_B = torch.tensor([0.5, 0.25, 1.0, 0.0] if mixed else [1.0] * 4, dtype=torch.float64)
    mix = Mix(LABELS.flip(0), share_B) if mixed else None

    value = cross_entropy(STUDENT, LABELS, mix, weights_C if weighed else None, label_smoothing=smoothing)

    own_B, other_B = (
        F.cross_entropy(STUDENT, labels_B, label_smoothing=smoothing, reduction="none")
        * (weights_C[labels_B] if weighed else 1)
        for labels_B in (LABELS, LABELS.flip(0))
    )
    assert value.item() == pytest.approx((share_B * own_B + (1 - share_B) * other_B).mean().item(), rel=1e-12)
    if mixed and not weighed:  # the same as one soft label, of both images' and all classes' shares
        soft_BC = share_B[:, None] * F.one_hot(LABELS, 6) + (1 - share_B)[:, None] * F.one_hot(LABELS.flip(0), 6)
        soft_BC = (1 - smoothing) * soft_BC + smoothing / 6
        assert value.item() == pytest.approx(F.cross_entropy(STUDENT, soft_BC.double()).item(), rel=1e-12)
    halves = [
        cross_entropy(STUDENT[part], LABELS[part], None, weights_C, label_smoothing=smoothing)
        for part in (slice(2), slice(2, 4))
    ]
    whole = cross_entropy(STUDENT, LABELS, None, weights_C, label_smoothing=smoothing)
    assert sum(halves).item() / 2 == pytest.approx(whole.item(), rel=1e-12)


def test_a_smoothed_objective_never_asks_for_all_of_a_label():
    """Its gradient is zero at the smoothed label itself, and the loss there is its entropy."""
    smoothed_C = torch.full((6,), 0.1 / 6, dtype=torch.float64)
    smoothed_C[LABELS[0]] += 0.9
    student_BC = smoothed_C.log()[None].requires_grad_()

    loss = Objective(None, label_smoothing=0.1)(student_BC, LABELS[:1], None).total
    loss.backward()

    torch.testing.assert_close(student_BC.grad, torch.zeros(1, 6, dtype=torch.float64), atol=1e-15, rtol=0)
    assert loss.item() == pytest.approx(-(smoothed_C * smoothed_C.log()).sum().item())


def test_class_weights_are_the_data_set_s_and_no_state():
    objective = Objective(None, torch.tensor([1.0, 2.0]))

    assert objective.state_dict() == {}
    assert objective.to(torch.float64).class_weights_C.dtype == torch.float64


@given(seed=st.integers(0, 1000), temperature=st.floats(0.1, 50))
@settings(deadline=None, max_examples=30)
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
@settings(deadline=None, max_examples=30)
def test_the_gradient_of_kd_is_temperature_over_batch_times_the_difference(seed, batch, temperature):
    student_BC, teacher_BC = logits(seed, batch=batch).requires_grad_(), logits(seed + 1, batch=batch)

    kd(student_BC, teacher_BC, LABELS, temperature=temperature).backward()

    difference_BC = (student_BC.detach() / temperature).softmax(1) - (teacher_BC / temperature).softmax(1)
    torch.testing.assert_close(student_BC.grad, temperature / batch * difference_BC)


@every_loss
@pytest.mark.parametrize("gap", [0, 1, 10, 100, 1e3, 1e4])
@pytest.mark.parametrize("temperature", [0.5, 1, 4, 20])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_value_and_gradient_are_finite_however_far_apart_the_two_are(name, gap, temperature, autocast, standardize):
    student_BC, teacher_BC, labels_B = apart(gap)
    acts = {} if name in WITHOUT_TEMPERATURE else {"temperature": temperature}
    objective = objective_of(name, standardize=standardize, **acts)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        parts = objective(student_BC, labels_B, Answer(teacher_BC), features=Features())
    parts.total.backward()

    assert all(part.isfinite() for part in parts)
    assert student_BC.grad.isfinite().all()
    if gap >= 10 * temperature:
        assert parts.soft > 0
        # The softmax that dist compares, and standardized logits, do not move where the student is so sure.
        assert name == "dist" or standardize or student_BC.grad.abs().sum() > 0


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_taken_to_fp32_before_anything_is_computed(name, dtype):
    student_BC, teacher_BC = STUDENT.to(dtype), TEACHER.to(dtype)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = far(name, student_BC, teacher_BC, LABELS)
        hard = cross_entropy(student_BC, LABELS)

    assert value.dtype == hard.dtype == torch.float32
    assert torch.equal(value, far(name, student_BC.float(), teacher_BC.float(), LABELS))
    assert torch.equal(hard, F.cross_entropy(student_BC.float(), LABELS))


@every_loss
@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
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
@settings(deadline=None, max_examples=7)
def test_a_batch_may_be_split_in_any_way(name, cut):
    student_BC, teacher_BC, labels_B = logits(0), logits(1), torch.arange(8)

    first = far(name, student_BC[:cut], teacher_BC[:cut], labels_B[:cut]) * cut
    second = far(name, student_BC[cut:], teacher_BC[cut:], labels_B[cut:]) * (8 - cut)

    torch.testing.assert_close((first + second) / 8, far(name, student_BC, teacher_BC, labels_B))


@every_loss
def test_the_teacher_is_never_trained(name):
    student_BC, teacher_BC = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()

    objective_of(name)(student_BC, LABELS, Answer(teacher_BC), features=Features()).total.backward()

    assert student_BC.grad is not None
    assert teacher_BC.grad is None


def test_the_total_is_the_weighted_sum_of_both_parts():
    objective = Objective(spec.Objective(temperature=4, hard_weight=0.25, soft_weight=2))

    parts = objective(STUDENT, LABELS, Answer(TEACHER))

    assert parts.hard == F.cross_entropy(STUDENT, LABELS)
    assert parts.soft == kd(STUDENT, TEACHER, LABELS, temperature=4)
    torch.testing.assert_close(parts.total, 0.25 * parts.hard + 2 * parts.soft)


def test_terms_are_summed_with_their_weights():
    also = ({"method": "dist", "temperature": 1.0, "weight": 2.0}, {"method": "wttm", "weight": 0.5})
    objective = Objective(spec.Objective(hard_weight=1.0, soft_weight=0.25, also=also))

    parts = objective(STUDENT, LABELS, Answer(TEACHER))

    terms = [
        kd(STUDENT, TEACHER, LABELS, temperature=4),
        far("dist", STUDENT, TEACHER, LABELS, 1),
        far("wttm", STUDENT, TEACHER, LABELS),
    ]
    weighted = 0.25 * terms[0] + 2 * terms[1] + 0.5 * terms[2]
    torch.testing.assert_close(parts.total, F.cross_entropy(STUDENT, LABELS) + weighted)
    torch.testing.assert_close(parts.soft, sum(terms))


def test_weights_and_temperature_follow_their_ramps():
    wanted = spec.Objective(
        hard_weight={"start": 1.0, "end": 0.0},
        soft_weight={"start": 0.0, "end": 2.0, "epochs": 4.0},
        temperature={"start": 8.0, "end": 2.0, "epochs": 3.0},
    )
    objective = Objective(wanted, epochs=10)

    for epoch, hard, soft, temperature in ((0, 1, 0, 8), (1.5, 0.85, 0.75, 5), (5, 0.5, 2, 2), (10, 0, 2, 2)):
        parts = objective(STUDENT, LABELS, Answer(TEACHER), None, epoch)
        there = kd(STUDENT, TEACHER, LABELS, temperature=temperature)
        torch.testing.assert_close(parts.total, hard * F.cross_entropy(STUDENT, LABELS) + soft * there)


def test_without_a_teacher_the_labels_are_all_there_is():
    assert Objective()(STUDENT, LABELS, None).total == F.cross_entropy(STUDENT, LABELS)
