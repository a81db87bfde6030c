"""Was distillation worth it? The answer in words, how sure it is, and what would make it surer."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from kd.evaluation.chance import weakness
from kd.events import Verdict
from kd.report.gain import Gain, images_to_decide, seeds_to_decide
from kd.spec.config import MOST_SEEDS

Metrics = Mapping[str, Any]


class Remark(NamedTuple):
    code: str
    message: str


def decide(gains: Mapping[str, Gain]) -> Verdict | None:
    """Whether the student beat the control, by how much, and whether that is more than chance; then the same of other
    baselines. None without a control."""
    if "control" not in gains:
        return None
    found = gains["control"]
    said = [_against_the_control(found)]
    if "label_smoothing" in gains:
        said.append(_against_label_smoothing(gains["label_smoothing"]))
    wanted = {"seeds": seeds_to_decide(found), "test_images": images_to_decide(found)}
    undecided = found.code == "undecided"
    to_decide = {what: count for what, count in wanted.items() if undecided and count is not None}
    if undecided:
        said.append(_advice(found, to_decide))
    elif found.seeds == 1:
        said.append("That is one seed; config.seeds trains more, and says what others would have brought.")
    return Verdict(code=found.code, message=" ".join(said), to_decide=to_decide)


def _against_the_control(found: Gain) -> str:
    if found.code == "better":
        return f"BETTER: the student beats the control by {_points(found)}."
    if found.code == "not_better":
        return f"NOT BETTER: the student is worse than the control by {_points(found)}."
    return f"UNDECIDED: student and control differ by {_points(found)}."


def _against_label_smoothing(found: Gain) -> str:
    if found.code == "better":
        return f"It beats label smoothing by {_points(found)}."
    if found.code == "not_better":
        return f"It is worse than label smoothing, which needs no teacher, by {_points(found)}."
    return f"It and label smoothing, which needs no teacher, differ by {_points(found)}, which may be chance."


def _points(found: Gain) -> str:
    """`0.42 points (95 % interval +0.10 to +0.74; 5 seeds, 1,000 test images)`"""
    seeds = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
    interval = f"95 % interval {found.low * 100:+.2f} to {found.high * 100:+.2f}"
    return f"{abs(found.mean) * 100:.2f} points ({interval}; {seeds}, {found.images:,} test images)"


def _advice(found: Gain, to_decide: Mapping[str, int]) -> str:
    seeds, images = (to_decide.get(what) for what in ("seeds", "test_images"))
    enough = []
    if seeds is not None:
        enough.append(f"{seeds} seeds" + (f" (a run has {MOST_SEEDS} at most)" if seeds > MOST_SEEDS else ""))
    if images is not None:
        enough.append(f"{images:,} test images")
    if found.seeds == 1:
        more = f"; so would about {enough[0]}, if the gain stays what it is" if enough else ""
        return f"More seeds would say more (config.seeds){more}."
    if not enough:
        return "If the gain stays what it is, neither more seeds alone nor more test images alone would decide it."
    return f"If the gain stays what it is, about {' or '.join(enough)} in all would decide it."


def remarks(
    metrics: Metrics,
    verdict: Verdict | None,
    *,
    labels_N: Tensor,
    classes: int,
    best_seed: int,
    repetition: int,
    members: Sequence[str] = (),
) -> Iterator[Remark]:
    """The sentences a reader needs beside the numbers, the verdict first. `best_seed` is that of the student to
    download, which was trained in this `repetition`, counted from 1; `members` are the roles of a committee."""
    if verdict is not None:
        yield Remark("verdict", verdict.message)
    else:
        yield Remark("no_control", "There was no control, so nobody can say what the teacher was worth.")
    student = {which: metrics[f"student.test.{which}"] for which in ("top1", "nll")}
    if weak := weakness(student, labels_N, classes):
        yield Remark("weak_student", f"The student {weak}. Look at its learning rate, its epochs and the data first.")
    if metrics["seeds"] > 1:
        yield Remark(
            "offered",
            f"The student to download is that of seed {best_seed} (repetition {repetition} of {metrics['seeds']}), the "
            f"best on the validation split: right on {student['top1']:.1%} of the test images, all of them on "
            f"{metrics['student.test.top1.mean']:.1%} on average. The test split had no say in that.",
        )
    if members:
        yield from of_committee(metrics, members)
    if verdict is not None:
        control = metrics.get("control.test.top1.mean", metrics["control.test.top1"])
        if metrics.get("teacher.test.top1", math.inf) <= control:  # labels need not know the test split
            yield Remark(
                "teacher_not_better",
                f"The teacher ({metrics['teacher.test.top1']:.1%}) is not better than the student trained without "
                f"it ({control:.1%}): look for a better teacher first.",
            )


def of_committee(metrics: Metrics, members: Sequence[str]) -> Iterator[Remark]:
    """Whether several teachers say more together than the best of them alone."""
    alone = {role: metrics[f"{role}.test.top1"] for role in members}
    best = max(members, key=lambda role: alone[role])
    if (together := metrics["teacher.test.top1"]) <= alone[best]:
        yield Remark(
            "committee_not_better",
            f"The committee ({together:.1%}) is no better than its best member, {best} ({alone[best]:.1%}): that one "
            "alone would cost less.",
        )
