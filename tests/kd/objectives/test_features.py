"""What must be true of the objectives from features, whatever the features."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd import spec
from kd.models.features import Features, Measures, Points, measure
from kd.objectives.features import METHODS, compare
from kd.objectives.logits import METHODS as OF_LOGITS
from kd.objectives.logits import distance
from kd.objectives.maps import METHODS as OF_MAPS
from kd.objectives.objective import Answer, Objective
from kd.spec.objective import IN_PAIRS, WITHOUT_LOGITS, Method

BATCH, LABELS = 6, torch.arange(6)

every_loss = pytest.mark.parametrize("name", list(METHODS))


def feature(seed: int, *, width: int = 8, scale: float = 1) -> Tensor:
    return scale * torch.randn(BATCH, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rkd_by_hand(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """As the paper defines it, pair by pair and triple by triple."""

    def pairs(feature_BD: Tensor) -> Tensor:
        far = torch.stack([(one - other).norm() for one in feature_BD for other in feature_BD])
        return far / far[far > 0].mean()

    def triples(feature_BD: Tensor) -> Tensor:
        units = [[F.normalize(other - one, dim=0) for other in feature_BD] for one in feature_BD]
        return torch.stack([j @ k for row in units for j in row for k in row])

    far = F.smooth_l1_loss(pairs(student_BD), pairs(teacher_BD))
    return 25 * far + 50 * F.smooth_l1_loss(triples(student_BD), triples(teacher_BD))


def sp_by_hand(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    def rows(feature_BD: Tensor) -> Tensor:
        like = torch.stack([torch.stack([one @ other for other in feature_BD]) for one in feature_BD])
        return like / like.norm(dim=1, keepdim=True)

    return 3_000 * (rows(student_BD) - rows(teacher_BD)).norm() ** 2 / len(student_BD) ** 2


def srd_by_hand(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    def normalised(feature_BD: Tensor) -> Tensor:
        return F.batch_norm(feature_BD, None, None, training=True, eps=1e-4)

    return torch.log(1 + ((normalised(student_BD) - normalised(teacher_BD)) ** 4).sum())


BY_HAND = {"rkd": rkd_by_hand, "sp": sp_by_hand, "srd": srd_by_hand}
RELATIONS = ("rkd", "sp")
"""They compare images with images, so the two features need not have the same width."""


@every_loss
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_a_loss_is_what_its_paper_defines_also_for_features_of_two_widths(name, seed):
    student_BD = feature(seed, width=5 if name in RELATIONS else 8)
    teacher_BD = feature(seed + 1, width=8, scale=20)

    torch.testing.assert_close(compare(name, student_BD, teacher_BD), BY_HAND[name](student_BD, teacher_BD))


@every_loss
@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(name, scale):
    same_BD = feature(0, scale=scale)

    assert compare(name, same_BD, same_BD.clone()).abs() <= 1e-9


@pytest.mark.parametrize("name", RELATIONS)
def test_neither_the_length_of_a_feature_nor_how_it_is_turned_matters(name):
    student_BD, teacher_BD = feature(0), feature(1)
    turn_DD = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]

    value = compare(name, student_BD, teacher_BD)

    torch.testing.assert_close(compare(name, 7 * student_BD @ turn_DD, teacher_BD), value)


@every_loss
def test_the_gradient_is_that_of_finite_differences(name):
    teacher_BD = feature(1)

    assert torch.autograd.gradcheck(
        lambda student_BD: compare(name, student_BD, teacher_BD), feature(0).requires_grad_()
    )


def alike(scale: float) -> Tensor:
    """Features of which two are the same, and one is nothing."""
    feature_BD = feature(0, scale=scale).float()
    feature_BD[1], feature_BD[2] = feature_BD[0], 0
    return feature_BD


@every_loss
@pytest.mark.parametrize("scale", [0, 1e-4, 1, 1e4])
@pytest.mark.parametrize("autocast", [False, True])
def test_value_and_gradient_are_finite_also_for_images_that_look_the_same(name, scale, autocast):
    student_BD, teacher_BD = alike(scale).requires_grad_(), alike(1).flip(0)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = compare(name, student_BD, teacher_BD)
    value.backward()

    assert value.isfinite()
    assert value > 0
    assert student_BD.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_taken_to_more_before_anything_is_computed(name, dtype):
    student_BD, teacher_BD = feature(0).to(dtype), feature(1).to(dtype)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = compare(name, student_BD, teacher_BD)

    assert value.dtype == torch.float32
    assert torch.equal(value, compare(name, student_BD.float(), teacher_BD.float()))


@every_loss
def test_the_order_of_the_images_does_not_matter(name):
    student_BD, teacher_BD = feature(0), feature(1)
    order = torch.randperm(BATCH)

    value = compare(name, student_BD, teacher_BD)

    torch.testing.assert_close(compare(name, student_BD[order], teacher_BD[order]), value)


@every_loss
def test_the_teacher_is_never_trained(name):
    student_BD, teacher_BD = feature(0).requires_grad_(), feature(1).requires_grad_()
    logits_BC = feature(2)

    objective = of(name)
    parts = objective(logits_BC, LABELS, Answer(logits_BC, teacher_BD), features=Features(student_BD))
    parts.total.backward()

    assert student_BD.grad is not None
    assert teacher_BD.grad is None


def of(name: str, student: int = 8, teacher: int = 8) -> Objective:
    """The objective of one method for pooled features of these widths."""
    torch.manual_seed(0)
    points = Points(pooled=True)
    return Objective(
        spec.Objective(method=name), student=Measures(points, 8, student), teacher=Measures(points, 8, teacher)
    ).double()


def test_a_student_s_feature_is_projected_to_the_teacher_s_width_and_the_projector_learns():
    """Until the student's feature, of a third of the numbers, says as much of the teacher's as it can."""
    latent_BD = feature(0, width=3)
    teacher_BD = latent_BD @ feature(1, width=9)[:3]
    objective = of("srd", 3, 9)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.05)
    assert list(objective.state_dict()) == ["parts.0.weight", "parts.0.bias"]

    found = []
    for _ in range(200):
        parts = objective(feature(2), LABELS, Answer(feature(2), teacher_BD), features=Features(latent_BD))
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        found.append(parts.soft.item())

    assert found[-1] < found[0] - 3


def test_a_term_from_features_stands_beside_one_from_logits():
    student_BC, teacher_BC, student_BD, teacher_BD = (feature(seed) for seed in range(4))
    objective = Objective(spec.Objective(hard_weight=1.0, soft_weight=0.5, also=({"method": "rkd", "weight": 0.1},)))

    parts = objective(student_BC, LABELS, Answer(teacher_BC, teacher_BD), features=Features(student_BD))

    kd = Objective(spec.Objective())(student_BC, LABELS, Answer(teacher_BC)).soft
    far = compare("rkd", student_BD, teacher_BD)
    torch.testing.assert_close(parts.soft, kd + far)
    torch.testing.assert_close(parts.total, F.cross_entropy(student_BC, LABELS) + 0.5 * kd + 0.1 * far)


def test_ofa_counts_the_student_s_logits_and_those_of_a_head_on_each_stage():
    student = measure("resnet8", 8, (3, 32, 32), stages=True)
    objective = Objective(spec.Objective(method="ofa", hard_weight=0.0, soft_weight=1.0), student=student)
    maps = tuple(torch.randn(BATCH, *size, requires_grad=True) for size in student.stages)
    student_BC, teacher_BC = feature(0).float(), feature(1).float()

    parts = objective(student_BC, LABELS, Answer(teacher_BC), features=Features(stages=maps))
    parts.total.backward()

    (heads,) = objective.parts
    said = [student_BC, *heads(maps)]
    assert [logits_BC.shape for logits_BC in said] == [(BATCH, 8)] * 4
    each = [distance("ofa", logits_BC, teacher_BC, LABELS, temperatures=(1,)) for logits_BC in said]
    torch.testing.assert_close(parts.soft, sum(each).detach(), rtol=1e-3, atol=1e-3)
    assert all(map_BCHW.grad.abs().sum() > 0 for map_BCHW in maps)
    assert all(parameter.grad is not None for parameter in objective.parameters())


@pytest.mark.parametrize("arch", ["cnn", "cnn_small", "wrn_16_2"])
def test_heads_suit_the_stages_of_every_student(arch):
    student = measure(arch, 8, (1, 8, 8), stages=True)
    objective = Objective(spec.Objective(method="ofa"), student=student)
    maps = tuple(torch.randn(2, *size) for size in student.stages)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = objective(feature(0)[:2], LABELS[:2], Answer(feature(1)[:2]), features=Features(stages=maps))

    assert parts.total.isfinite()


def test_every_method_that_a_spec_may_name_has_its_loss():
    assert {*OF_LOGITS, *IN_PAIRS, *METHODS, *OF_MAPS} == set(get_args(Method))
    assert set(WITHOUT_LOGITS) == {*METHODS, *OF_MAPS}
