"""What a run came to: teacher, student and control side by side, and whether distillation was worth it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from cli.shown.console import table
from cli.shown.numbers import Number, clock, count, finite_or_none, per_cent, points, size
from kd.events import is_of_teacher


@dataclass
class Outcome:
    """A finished run, from a job's result or from the last event of `kd.run`."""

    metrics: Mapping[str, Number]
    seconds: Mapping[str, Number]
    archs: Mapping[str, str]
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes of the weights file
    verdict: str | None = None
    brought: Collection[str] = ()
    """Who is not trained in the run."""


def teachers(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Whose models teach in a resolved config, by their roles: `teacher`, or `teacher.1` and so on of a committee; of
    labels that were brought nobody's."""
    if config["teacher"].get("labels"):
        return {}
    members = config["teacher"].get("committee") or ()
    return {f"teacher.{number}": member for number, member in enumerate(members, 1)} or {"teacher": config["teacher"]}


def archs(config: Mapping[str, Any], known: Mapping[str, str] = {}) -> dict[str, str]:
    """Who is who in a resolved config, which of a teacher that is brought along knows only whose it is; some may be
    `known` from elsewhere."""
    teaching = {role: known.get(role) or _arch(teacher) for role, teacher in teachers(config).items()}
    together = {"teacher": f"committee of {len(teaching)}"} if len(teaching) > 1 else {}
    if not teaching:
        together = {"teacher": f"labels {config['teacher']['labels'][:8]}"}
    student = config["student"]["arch"]
    return {**teaching, **together, "student": student, "control": student, "label_smoothing": student}


def brought(config: Mapping[str, Any]) -> set[str]:
    """Who is not trained in the run."""
    return {role for role, teacher in teachers(config).items() if is_brought(teacher)}


def is_brought(teacher: Mapping[str, Any]) -> bool:
    return bool(teacher.get("job") or teacher.get("upload") or teacher.get("as_built"))


def _arch(teacher: Mapping[str, Any]) -> str:
    if teacher.get("job"):
        return f"the {teacher['role']} of {teacher['job']}"
    if teacher.get("upload"):
        return f"upload {teacher['upload'][:12]}"
    return str(teacher.get("as_built") or teacher["arch"])


def show_dataset(job: Mapping[str, Any], to: Console) -> None:
    """What an ingest came to."""
    counts = {name: count(job["result"]["metrics"].get(name)) for name in ("train", "validation", "test", "classes")}
    to.print(
        f"{job['resolved_spec']['config']['name']} has {counts['train']} images to learn from, {counts['validation']} "
        f"for validation and {counts['test']} for the test, in {counts['classes']} classes.",
        markup=False,
    )


def show_evaluation(job: Mapping[str, Any], to: Console) -> None:
    """What an evaluation of a teacher came to."""
    metrics, columns = job["result"]["metrics"], ("images", "accuracy", "balanced", "calibration error")
    shown = table("split", *columns, right=columns)
    for split in ("train", "validation", "test"):
        if f"{split}.images" in metrics:
            of = f"teacher.{split}"
            shares = [per_cent(metrics.get(f"{of}.{which}")) for which in ("top1", "balanced_accuracy", "ece")]
            shown.add_row(split, count(metrics[f"{split}.images"]), *shares)
    to.print(shown)
    to.print(f"`kd report --html {job['id']}` shows it class by class, and which labels it doubts.", markup=False)


def show(outcome: Outcome, to: Console) -> None:
    metrics = outcome.metrics
    to.print(outcome.verdict or verdict(metrics), markup=False)
    numbers = ("test accuracy", "parameters", "size", "training")
    shown = table("", "model", *numbers, right=numbers)
    for role, arch in outcome.archs.items():
        if f"{role}.test.top1" not in metrics:
            continue
        twin = role if is_of_teacher(role) else "student"  # all others are the student without a teacher
        training = "brought along" if role in outcome.brought else clock(outcome.seconds.get(role))
        shown.add_row(
            role,
            arch,
            accuracy(metrics, role),
            count(metrics.get(f"{twin}.parameters")),
            size(outcome.sizes.get(twin)),
            training,
        )
    to.print(shown)
    in_all = sum(finite_or_none(seconds) or 0 for seconds in outcome.seconds.values())
    to.print(f"gain {points(metrics.get('gain'))}; {clock(in_all)} in all")
    if "student.test.top1.mean" in metrics:
        to.print(
            f"Accuracies are means of {count(metrics.get('seeds'))} seeds ± their standard deviation; the student to "
            f"download has {per_cent(metrics['student.test.top1'])}."
        )


def accuracy(metrics: Mapping[str, Number], role: str) -> str:
    """On the test split; of several seeds `97.10 ± 0.21 %`."""
    one, mean, std = (metrics.get(f"{role}.test.top1{of}") for of in ("", ".mean", ".std"))
    std = finite_or_none(std)
    return per_cent(one) if std is None else f"{per_cent(mean).removesuffix(' %')} ± {std * 100:.2f} %"


def verdict(metrics: Mapping[str, Number]) -> str:
    """Did the student beat the control? The run's own verdict also knows the error of the gain."""
    gain = finite_or_none(metrics.get("gain"))
    if gain is None:
        return "There was no control, so nobody can say what the teacher was worth."
    if gain > 0:
        return "The student is better than the control: the teacher helped."
    return "The student is no better than the control: the teacher did not help."
