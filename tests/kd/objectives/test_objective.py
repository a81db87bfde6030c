"""What an objective is made of: labels, smoothed, weighed and mixed, and distances, each with its weight."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd import spec
from kd.models.features import Features, Measures, Points
from kd.objectives.objective import Answer, Objective, cross_entropy
from kd.spec.objective import WITHOUT_TEMPERATURE
from kd.views.mixup import Mix
from tests.kd.objectives.golden import LABELS, STUDENT, TEACHER, every_loss, far, kd


def objective_of(name: str, **settings) -> Objective:
    """The objective of a method from logits; of a student without stages, so that nothing else counts."""
    return Objective(spec.Objective(method=name, **settings), student=Measures(Points(), 10))


def apart(gap: float, *, batch: int = 4, classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """A student and a teacher that are sure of different classes by `gap`, and the labels."""
    student_BC, teacher_BC = torch.zeros(batch, classes), torch.zeros(batch, classes)
    student_BC[:, 0], teacher_BC[:, 1] = gap, gap
    return student_BC.requires_grad_(), teacher_BC, torch.full((batch,), 2)


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
