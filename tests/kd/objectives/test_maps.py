"""What must be true of the objectives from the maps of stages, whatever the maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd import spec
from kd.models.features import Features, Measures, Points
from kd.objectives.maps import METHODS, Maps, compare_maps
from kd.objectives.objective import Answer, Objective

BATCH, LABELS = 4, torch.arange(4)
SIZES = ((3, 8, 8), (5, 4, 4), (6, 2, 2))
OWN = {"fitnet": {"stage": 2}, "at": {}}

every_loss = pytest.mark.parametrize("name", list(METHODS))


def maps(seed: int, *, scale: float = 1, sizes=SIZES) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return tuple(scale * torch.randn(BATCH, *size, generator=generator, dtype=torch.float64) for size in sizes)


def far(name: str, student: Maps, teacher: Maps) -> Tensor:
    return compare_maps(name, student, teacher, **OWN[name])


def measured(sizes=SIZES) -> Measures:
    return Measures(Points(), 6, stages=sizes)


def at_by_hand(student: Maps, teacher: Maps) -> float:
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        for i in range(BATCH):
            looks = [(each[i] ** 2).mean(0).flatten() for each in (one, other)]
            looks = [look / look.norm() for look in looks]
            total += (looks[0] - looks[1]).square().mean().item() / BATCH
    return 1_000 * total


def test_at_is_what_its_paper_defines():
    student, teacher = maps(0, sizes=((2, 8, 8), (7, 4, 4))), maps(1, scale=30, sizes=((3, 8, 8), (5, 4, 4)))

    assert far("at", student, teacher).item() == pytest.approx(at_by_hand(student, teacher))


def test_fitnet_is_the_mean_square_at_the_stage_that_is_meant():
    student, teacher = maps(0), maps(1)

    value = far("fitnet", student, teacher)

    assert value.item() == pytest.approx(100 * (student[1] - teacher[1]).square().mean().item())


@every_loss
def test_of_two_maps_the_larger_one_is_pooled(name):
    student = maps(0)
    twice = tuple(F.interpolate(map_BCHW, scale_factor=2) for map_BCHW in student)

    torch.testing.assert_close(far(name, twice, maps(1)), far(name, student, maps(1)))
    torch.testing.assert_close(far(name, maps(1), twice), far(name, maps(1), student))


@every_loss
@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(name, scale):
    assert far(name, maps(0, scale=scale), maps(0, scale=scale)) == 0


@every_loss
def test_the_gradient_is_that_of_finite_differences(name):
    student, teacher = maps(0), maps(1)

    def loss(map_BCHW: Tensor) -> Tensor:
        return far(name, (student[0], map_BCHW, student[2]), teacher)

    assert torch.autograd.gradcheck(loss, (student[1].clone().requires_grad_(),))


@every_loss
@pytest.mark.parametrize("scale", [0, 1e-4, 1, 1e4])
@pytest.mark.parametrize("autocast", [False, True])
def test_value_and_gradient_are_finite_however_large_the_maps_are(name, scale, autocast):
    student = tuple(map_BCHW.float().requires_grad_() for map_BCHW in maps(0, scale=scale))
    teacher = tuple(map_BCHW.float() for map_BCHW in maps(1))

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = far(name, student, teacher)
    value.backward()

    assert value.isfinite()
    assert value.dtype == torch.float32
    assert value > 0
    assert student[1].grad.isfinite().all()


@every_loss
def test_a_batch_may_be_ordered_and_split_in_any_way(name):
    student, teacher = maps(0), maps(1)
    value = far(name, student, teacher)

    def of(which) -> Tensor:
        return far(name, tuple(each[which] for each in student), tuple(each[which] for each in teacher))

    torch.testing.assert_close(of(torch.tensor([2, 0, 3, 1])), value)
    torch.testing.assert_close((of(slice(1)) + 3 * of(slice(1, 4))) / 4, value)


@pytest.mark.parametrize("side", [8, 4, 2])
def test_the_regressor_makes_the_teacher_s_width_of_the_student_s_map_and_learns(side):
    """Its output is never below 0, nor is what the teacher's stage ends with."""
    sizes = ((3, 8, 8), (5, side, side))
    student, teacher = (
        maps(0),
        tuple(map_BCHW.relu().requires_grad_() for map_BCHW in maps(1, sizes=((4, 8, 8), (9, 4, 4)))),
    )
    student = (
        student[0],
        student[1].new_ones(BATCH, 5, side, side) * teacher[1].detach().mean((1, 2, 3), keepdim=True),
    )
    wanted = spec.Objective(method="fitnet", hard_weight=0.0, soft_weight=1.0)
    objective = Objective(wanted, student=measured(sizes), teacher=measured(((4, 8, 8), (9, 4, 4)))).double()
    optimizer = torch.optim.SGD(objective.parameters(), lr=1e-3)
    logits_BC = torch.zeros(BATCH, 6, dtype=torch.float64)

    found = []
    for _ in range(30):
        parts = objective(logits_BC, LABELS, Answer(logits_BC, stages=teacher), features=Features(stages=student))
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        found.append(parts.soft.item())

    assert found[-1] < found[0] * 0.9
    assert all(map_BCHW.grad is None for map_BCHW in teacher)
