"""What must be true of the objectives from the maps of stages, whatever the maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd import spec
from kd.models.features import Features, Measures, Points, measure
from kd.objectives.maps import METHODS, Maps, compare_maps
from kd.objectives.objective import Answer, Objective, Parts
from kd.objectives.trained import Fusion

BATCH, LABELS = 4, torch.arange(4)
SIZES = ((3, 8, 8), (5, 4, 4), (6, 2, 2))
OWN = {"fitnet": {"stage": 2}, "at": {}, "reviewkd": {}}

Sizes = tuple[tuple[int, int, int], ...]

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


@pytest.mark.parametrize(
    ("size", "value"),
    [
        # One pixel of 16 is one of 4 in a map of half the side: its square weighs a quarter of what it did.
        ((8, 8), (4 + 1 / 2 + 1 / 16 + 1 / 128) / (1 + 1 / 2 + 1 / 4 + 1 / 8)),
        ((4, 4), (16 + 4 / 2 + 1 / 4) / (1 + 1 / 2 + 1 / 4)),
        ((2, 2), (64 + 16 / 2) / (1 + 1 / 2)),
        ((1, 1), 256),
        # To 4×2, and 2×2, and 1×1: a side that is short already stays.
        ((8, 2), (16 + 8 / 2 + 4 / 4 + 1 / 8) / (1 + 1 / 2 + 1 / 4 + 1 / 8)),
    ],
)
def test_reviewkd_counts_half_as_much_in_each_larger_context(size, value):
    teacher_BCHW = torch.ones(1, 1, *size)
    student_BCHW = teacher_BCHW.clone()
    student_BCHW[0, 0, -1, 0] += 16

    assert far("reviewkd", (student_BCHW,), (teacher_BCHW,)).item() == pytest.approx(value)
    assert far("reviewkd", (student_BCHW,) * 3, (teacher_BCHW,) * 3).item() == pytest.approx(3 * value)


@pytest.mark.parametrize("name", ["fitnet", "at"])
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


def review(student: Sizes, teacher: Sizes) -> Objective:
    torch.manual_seed(0)
    wanted = spec.Objective(method="reviewkd", hard_weight=0.0, soft_weight=1.0)
    return Objective(wanted, student=measured(student), teacher=measured(teacher))


def said(objective: Objective, student: Maps, teacher: Maps) -> Parts:
    logits_BC = torch.zeros(BATCH, 6)
    return objective(logits_BC, LABELS, Answer(logits_BC, stages=teacher), features=Features(stages=student))


@pytest.mark.parametrize(
    "teacher",
    [
        ((4, 8, 8), (9, 4, 4), (12, 2, 2)),
        ((4, 16, 16), (9, 7, 7), (12, 4, 4)),
        ((4, 4, 2), (9, 3, 3), (12, 1, 1)),
    ],
    ids=["as large", "larger", "smaller"],
)
def test_a_review_makes_maps_of_the_teacher_s_widths_and_sizes_each_of_its_own_stage_and_all_deeper_ones(teacher):
    (module,) = review(SIZES, teacher).double().parts
    student = tuple(map_BCHW.requires_grad_() for map_BCHW in maps(0))

    made = module(student)

    assert [map_BCHW.shape for map_BCHW in made] == [(BATCH, *size) for size in teacher]
    for stage, map_BCHW in enumerate(made):
        reads = torch.autograd.grad(map_BCHW.square().sum(), student, retain_graph=True, allow_unused=True)
        assert [grad is not None and grad.any().item() for grad in reads] == [other >= stage for other in range(3)]


def test_a_fused_map_weighs_its_own_stage_and_the_deeper_one_at_each_place():
    torch.manual_seed(0)
    fusion = Fusion(3, 5, (7, 8, 8), deepest=False).double()
    map_BCHW, deeper_BMHW = maps(0)[0], maps(1, sizes=((5, 4, 4),))[0]

    _, fused_BMHW = fusion(map_BCHW, deeper_BMHW)

    own_BMHW, above_BMHW = fusion.narrow(map_BCHW), F.interpolate(deeper_BMHW, scale_factor=2)
    attention = fusion.attention[0]
    for i, y, x in ((0, 0, 0), (1, 3, 6), (3, 7, 7)):
        own_M, above_M = own_BMHW[i, :, y, x], above_BMHW[i, :, y, x]
        score_2 = attention.weight[:, :, 0, 0] @ torch.cat([own_M, above_M]) + attention.bias
        share_2 = 1 / (1 + (-score_2).exp())
        torch.testing.assert_close(fused_BMHW[i, :, y, x], share_2[0] * own_M + share_2[1] * above_M)


def test_a_review_learns_and_its_teacher_does_not():
    sizes = ((4, 8, 8), (9, 2, 2), (12, 2, 2))
    objective = review(SIZES, sizes).double()
    student, teacher = maps(0), tuple(map_BCHW.requires_grad_() for map_BCHW in maps(1, sizes=sizes))
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)

    found = []
    for _ in range(30):
        parts = said(objective, student, teacher)
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        found.append(parts.soft.item())

    assert found[-1] < found[0] * 0.9
    assert all(parameter.grad.any() for parameter in objective.parameters())
    assert all(map_BCHW.grad is None for map_BCHW in teacher)


def test_a_review_does_not_depend_on_the_order_of_images():
    objective, order = review(SIZES, SIZES).double(), torch.tensor([2, 0, 3, 1])

    ordered = said(objective, tuple(each[order] for each in maps(0)), tuple(each[order] for each in maps(1)))

    torch.testing.assert_close(ordered.total, said(objective, maps(0), maps(1)).total)


@pytest.mark.parametrize(("student", "teacher"), [("shufflenet_v1", "wrn_16_1"), ("mobilenet_v2_x0_5", "vgg8")])
@pytest.mark.parametrize("scale", [0, 1e-4, 1e4])
def test_a_review_is_finite_under_bf16_however_large_the_maps_are(student, teacher, scale):
    sizes, to = (measure(arch, 6, (3, 32, 32), stages=True).stages for arch in (student, teacher))
    of_student = tuple(map_BCHW.bfloat16().requires_grad_() for map_BCHW in maps(0, scale=scale, sizes=sizes))
    of_teacher = tuple(map_BCHW.bfloat16() for map_BCHW in maps(1, scale=scale, sizes=to))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = said(review(sizes, to), of_student, of_teacher)
    parts.total.backward()

    assert parts.total.isfinite()
    assert parts.total.dtype == torch.float32
    assert all(map_BCHW.grad.isfinite().all() for map_BCHW in of_student)
