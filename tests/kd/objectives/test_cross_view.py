"""What must be true of the objective over a weak and a strong view of each image."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd import spec
from kd.objectives.cross_view import cross_view
from kd.objectives.logits import distance, standardize
from kd.objectives.objective import Answer, Objective
from kd.spec.terms.cross_view import Level

# The golden input of the design, B=4, C=6: the weak views are those of the other objectives.
ROW, COLUMN = torch.arange(4, dtype=torch.float64)[:, None], torch.arange(6, dtype=torch.float64)[None]
STUDENT_WEAK, TEACHER_WEAK = (
    2 * torch.sin(1.7 * ROW + 0.9 * COLUMN + 0.3),
    3 * torch.cos(0.8 * ROW - 1.1 * COLUMN + 0.5),
)
STUDENT_STRONG, TEACHER_STRONG = (
    2 * torch.sin(1.3 * ROW + 0.7 * COLUMN + 0.9),
    3 * torch.cos(0.5 * ROW - 0.9 * COLUMN + 1.1),
)
LABELS = torch.tensor([0, 3, 5, 2])

LEVELS = ("within", "cross", "batch", "classes")
every_level = pytest.mark.parametrize("name", LEVELS)


def in_turn(weak: Tensor, strong: Tensor) -> Tensor:
    """The rows of both, a weak and a strong one in turn."""
    return torch.stack([weak, strong], dim=1).flatten(0, 1)


STUDENT, TEACHER = in_turn(STUDENT_WEAK, STUDENT_STRONG), in_turn(TEACHER_WEAK, TEACHER_STRONG)


def far(student_RC: Tensor, teacher_RC: Tensor, *, temperatures=(4,), standardized=False, **levels: float) -> Tensor:
    """The levels that are named, each by its weight, or by its weight and confidence."""
    wanted = {name: Level(weight=0) for name in LEVELS}
    for name, level in levels.items():
        weight, confidence = level if isinstance(level, tuple) else (level, 0)
        wanted[name] = Level(weight=weight, confidence=confidence)
    return cross_view(student_RC, teacher_RC, temperatures=temperatures, standardized=standardized, **wanted)


def logits(seed: int, *, images: int = 8, classes: int = 10, scale: float = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(2 * images, classes, generator=generator, dtype=torch.float64)


def kd(student_BC: Tensor, teacher_BC: Tensor, temperature: float = 4) -> Tensor:
    return distance("kd", student_BC, teacher_BC, LABELS, temperatures=(temperature,))


@pytest.mark.parametrize(
    ("name", "confidence", "golden"),
    [
        ("within", 0, 4.378349256685),
        ("cross", 0, 4.397533171210),
        ("within", 0.5, 3.822914060799),
        ("within", 0.9, 0),
        ("cross", 0.2, 4.397533171210),
    ],
)
def test_views_are_compared_as_in_the_authors_code(name, confidence, golden):
    assert far(STUDENT, TEACHER, **{name: (1, confidence)}).item() == pytest.approx(golden, abs=2e-11)


@pytest.mark.parametrize(("name", "golden"), [("classes", 0.014431450552), ("batch", 0.002856138958)])
def test_relations_are_compared_as_in_the_authors_code(name, golden):
    # Theirs is of one view: with the strong view's student equal to its teacher, nothing else is left.
    student_RC = in_turn(STUDENT_WEAK, TEACHER_STRONG)

    assert far(student_RC, TEACHER, **{name: 1}).item() == pytest.approx(golden, abs=2e-11)


def test_the_preset_crld_is_the_loss_of_its_authors_code():
    wanted = spec.Objective(method="cross_view", preset="crld")
    weak_BC, strong_BC = 5 * TEACHER_WEAK, TEACHER_STRONG * torch.tensor([1, 1, 1, 0.02])[:, None]

    parts = Objective(wanted)(STUDENT, LABELS.repeat_interleave(2), Answer(in_turn(weak_BC, strong_BC)))

    def kl(student_BC: Tensor, teacher_BC: Tensor) -> Tensor:
        p_BC = (teacher_BC / 4).softmax(1)
        return 16 * (p_BC * (p_BC.log() - (student_BC / 4).log_softmax(1))).sum(1)

    within_B = torch.tensor([0, 1, 1, 1]) * (kl(STUDENT_WEAK, weak_BC) + kl(STUDENT_STRONG, strong_BC))
    cross_B = torch.tensor([1, 1, 1, 0]) * (kl(STUDENT_STRONG, weak_BC) + kl(STUDENT_WEAK, strong_BC))
    assert weak_BC.softmax(1).amax(1).ge(0.9).tolist() == [False, True, True, True]
    assert strong_BC.softmax(1).amax(1).ge(0.2).tolist() == [True, True, True, False]
    labels = F.cross_entropy(STUDENT_WEAK, LABELS) + F.cross_entropy(STUDENT_STRONG, LABELS)
    torch.testing.assert_close(parts.total, labels + 2 * within_B.mean() + 0.5 * cross_B.mean())


def test_the_preset_mlkd_sums_three_levels_over_both_views_and_five_temperatures():
    wanted = spec.Objective(method="cross_view", preset="mlkd")

    parts = Objective(wanted)(STUDENT, LABELS.repeat_interleave(2), Answer(TEACHER))

    total = 0.1 * (F.cross_entropy(STUDENT_WEAK, LABELS) + F.cross_entropy(STUDENT_STRONG, LABELS))
    for student_BC, teacher_BC in ((STUDENT_WEAK, TEACHER_WEAK), (STUDENT_STRONG, TEACHER_STRONG)):
        for T in (2, 3, 4, 5, 6):
            p_BC, q_BC = (teacher_BC / T).softmax(1), (student_BC / T).softmax(1)
            of_images = (p_BC @ p_BC.T - q_BC @ q_BC.T).square().sum() / 4
            of_classes = (p_BC.T @ p_BC - q_BC.T @ q_BC).square().sum() / 6
            total = total + 0.9 * (kd(student_BC, teacher_BC, T) + of_images + of_classes)
    torch.testing.assert_close(parts.total, total)


def test_a_preset_fills_in_the_fields_and_what_is_said_beside_it_counts():
    wanted = spec.Objective.model_validate({"method": "cross_view", "preset": "crld", "hard_weight": 1})

    assert (wanted.hard_weight, wanted.soft_weight, wanted.within) == (1, 1, Level(weight=2, confidence=0.9))
    assert spec.Objective.model_validate_json(wanted.model_dump_json()) == wanted


@pytest.mark.parametrize("name", ["batch", "classes"])
def test_an_image_that_its_teacher_is_not_sure_of_is_left_out_of_the_relations(name):
    teacher_RC = TEACHER.clone()
    teacher_RC[2:4] = 0.1 * TEACHER[2:4]  # of both views of image 1
    others = torch.tensor([0, 1, 4, 5, 6, 7])

    value = far(STUDENT, teacher_RC, **{name: (1, 0.3)})

    # The mean over the images is over all of them.
    share = 3 / 4 if name == "batch" else 1
    torch.testing.assert_close(value, share * far(STUDENT[others], TEACHER[others], **{name: 1}))


def test_the_gate_looks_at_the_teacher_as_it_is_and_not_at_what_is_standardized():
    gated, open_ = (far(STUDENT, 5 * TEACHER, within=(1, confidence), standardized=True) for confidence in (0.65, 0))

    assert (5 * TEACHER_WEAK).softmax(1).amax(1).min() > 0.65
    assert standardize(TEACHER_WEAK).softmax(1).amax(1).max() < 0.65
    assert torch.equal(gated, open_)


@every_level
@given(seed=st.integers(0, 1000), temperature=st.floats(0.1, 50))
@settings(max_examples=10)
def test_a_student_equal_to_its_teacher_in_both_views_has_nothing_to_learn(name, seed, temperature):
    same_RC = logits(seed)
    if name == "cross":
        same_RC = in_turn(same_RC[::2], same_RC[::2])  # else the teacher does not agree with itself

    assert far(same_RC, same_RC.clone(), temperatures=(temperature,), **{name: 1}).abs() <= 1e-9


@every_level
@pytest.mark.parametrize("standardized", [False, True])
def test_the_gradient_is_that_of_finite_differences(name, standardized):
    student_RC = STUDENT.clone().requires_grad_()

    def loss(student_RC: Tensor) -> Tensor:
        levels = {name: (1, 0.4)}
        return far(student_RC, TEACHER, temperatures=(2, 4), standardized=standardized, **levels)

    assert loss(student_RC) > 0
    assert torch.autograd.gradcheck(loss, (student_RC,))


@every_level
@pytest.mark.parametrize("gap", [0, 1, 10, 100, 1e3, 1e4])
@pytest.mark.parametrize("temperature", [0.5, 4, 20])
@pytest.mark.parametrize("autocast", [False, True])
def test_value_and_gradient_are_finite_however_far_apart_the_two_are(name, gap, temperature, autocast):
    student_RC, teacher_RC = torch.zeros(8, 10), torch.zeros(8, 10)
    student_RC[:, 0], teacher_RC[:, 1] = gap, gap
    student_RC.requires_grad_()
    levels = {level: {"weight": int(level == name)} for level in LEVELS}
    objective = Objective(spec.Objective(method="cross_view", temperature=temperature, **levels))

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        parts = objective(student_RC, torch.full((8,), 2), Answer(teacher_RC))
    parts.total.backward()

    assert all(part.isfinite() for part in parts)
    assert student_RC.grad.isfinite().all()
    assert parts.total.dtype == torch.float32
    # Images that are all alike, and all different from what they should be, are alike in the same way.
    assert parts.soft > 0 or gap < 10 * temperature or name == "batch"


@every_level
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_the_order_of_classes_or_images_does_not_matter(name, seed):
    student_RC, teacher_RC = logits(seed), logits(seed + 1)
    level = {name: (1, 0.5)}
    value = far(student_RC, teacher_RC, **level)

    generator = torch.Generator().manual_seed(seed)
    classes, image_B = torch.randperm(10, generator=generator), torch.randperm(8, generator=generator)
    row_R = in_turn(2 * image_B, 2 * image_B + 1)

    torch.testing.assert_close(far(student_RC[:, classes], teacher_RC[:, classes], **level), value)
    torch.testing.assert_close(far(student_RC[row_R], teacher_RC[row_R], **level), value)


@pytest.mark.parametrize("name", ["within", "cross"])
@given(cut=st.integers(1, 7))
@settings(max_examples=7)
def test_a_batch_may_be_split_between_any_images(name, cut):
    student_RC, teacher_RC, level = logits(0), logits(1), {name: (1, 0.9)}

    first = far(student_RC[: 2 * cut], teacher_RC[: 2 * cut], **level) * cut
    second = far(student_RC[2 * cut :], teacher_RC[2 * cut :], **level) * (8 - cut)

    torch.testing.assert_close((first + second) / 8, far(student_RC, teacher_RC, **level))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_taken_to_more_before_anything_is_computed(dtype):
    student_RC, teacher_RC, levels = STUDENT.to(dtype), TEACHER.to(dtype), dict.fromkeys(LEVELS, 1)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = far(student_RC, teacher_RC, **levels)

    assert value.dtype == torch.float32
    assert torch.equal(value, far(student_RC.float(), teacher_RC.float(), **levels))


def test_the_teacher_is_never_trained():
    student_RC, teacher_RC = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()

    far(student_RC, teacher_RC, **dict.fromkeys(LEVELS, 1)).backward()

    assert student_RC.grad is not None
    assert teacher_RC.grad is None


def test_beside_it_other_distances_take_both_views_as_images_like_any_other():
    wanted = spec.Objective(
        method="cross_view", hard_weight=0, soft_weight=0.5, also=({"method": "kd", "weight": 2.0},)
    )

    parts = Objective(wanted)(STUDENT, LABELS.repeat_interleave(2), Answer(TEACHER))

    both = (kd(STUDENT_WEAK, TEACHER_WEAK) + kd(STUDENT_STRONG, TEACHER_STRONG)) / 2
    torch.testing.assert_close(parts.total, 0.5 * far(STUDENT, TEACHER, within=0.25, cross=0.25) + 2 * both)
