"""How every run ends: its models are measured on the test split, once each, and the report is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kd import disk, outputs
from kd.errors import ScoresDiverged
from kd.evaluation import cost, mean
from kd.evaluation.confusion import Confusion
from kd.evaluation.predict import predict
from kd.evaluation.scores import is_finite, score
from kd.events import Evaluated, Event, Finished, Noted, PhaseStarted, Wrote, is_of_teacher
from kd.machine import memory
from kd.report import summary, verdict
from kd.report.document import class_by_class, document
from kd.report.evidence import evidence
from kd.report.shown.card import card
from kd.report.shown.page import page
from kd.training.logbook import Logbook
from kd.training.resuming.position import Measured, Outcome
from kd.training.run import Run, Shown
from kd.views import boxes

LABELS = "labels"
"""The architecture of a teacher that is no model here."""


def measure(run: Run, log: Logbook, *, said: Tensor | None = None) -> Iterator[Event]:
    """The models of a seed on the test split, unless that is done; with the first one's also the teacher. `said` are
    the logits of a teacher that is no model here, if it knows the test split.

    Nothing is chosen by what is found. It is part of the position: a run that goes on from there measures nothing
    twice, and needs the models no longer.
    """
    position = log.position
    if not run.team.leads or "evaluating" in position.finished:
        return
    labels_N = run.dataset.test.labels
    log.enter("evaluating")
    yield PhaseStarted(phase="evaluating", facts={"images": len(labels_N)})
    test = run.test()

    metrics: dict[str, float] = {}
    predicted: dict[str, Tensor] = {}
    logits: dict[str, Tensor] = {}  # but a committee's members', of which there may be many
    is_first = not position.measured
    archs = {role: arch for role, arch in archs_of(run).items() if role in position.outcomes}
    archs = {role: arch for role, arch in archs.items() if is_first or not is_of_teacher(role)}
    if said is not None and is_first:
        archs = {"teacher": LABELS, **archs}
    members, together_NC = [member.teacher_role for member in run.members], None
    log.begin_counting()
    for number, (role, arch) in enumerate(archs.items(), 1):
        outcome = position.outcomes.get(role)
        if role == "teacher" and together_NC is not None:
            logits_NC = mean.divide(together_NC, len(members))
            found = judge_said(run, outcome, logits_NC) | add_up(metrics, members)
        elif outcome is None:
            assert said is not None, "all others have an outcome"
            logits_NC, found = said, judge_said(run, None, said)
        else:
            logits_NC, found = judge(run, role, arch, outcome, test, with_costs=is_first)
        predicted[role] = logits_NC.argmax(dim=1).int()
        if role in members:
            together_NC = mean.add(together_NC, logits_NC)
        else:
            logits[role] = logits_NC
        metrics |= found
        yield Evaluated(
            phase="evaluating",
            step=position.step,
            epoch=0 if outcome is None else outcome.best.epoch,
            split="test",
            metrics={f"{role}.{which}": metrics[f"{role}.test.{which}"] for which in ("top1", "nll", "ece")},
        )
        yield log.step("evaluating", number / len(archs), 2 * len(labels_N), {})

    teacher_N = (predicted if is_first else position.measured[0].predicted).get("teacher")
    if teacher_N is not None:
        for role in [role for role in archs if not is_of_teacher(role)]:
            metrics[f"{role}.test.agreement"] = predicted[role].eq(teacher_N).double().mean().item()
    if log.is_best_student(position.outcomes["student"].best.scores):
        # Of logits there are images times classes, so nobody has kept the teacher's of the first seed.
        if not is_first and (teacher_NC := ask_teacher(run, log, test, said)) is not None:
            logits = {"teacher": teacher_NC} | logits
        position.evidence = evidence(run, position.outcomes, logits)
    position.measured += (Measured(run.config.seed, metrics, predicted),)
    if len(position.measured) == run.config.seeds:
        position.report = summarise(run, log)
    yield from log.finish()


def conclude(run: Run, log: Logbook) -> Iterator[Event]:
    """The report, as a page and a model card too, and the last word."""
    if not run.team.leads:
        return
    position = log.position
    report = position.report
    assert report is not None, "the last evaluation has left it"
    for remark in report["remarks"]:
        yield Noted(**remark)
    content = document(run.config, report, position.seconds)
    yield Wrote(file=disk.write_json(content, run.out, Path(outputs.REPORT)))
    for name, text in ((outputs.PAGE, page(content)), (outputs.CARD, card(content))):
        yield Wrote(file=disk.write_text(text, run.out, Path(name)))
    yield Finished(
        step=position.step, metrics=report["metrics"], seconds=position.seconds, verdict=report.get("verdict")
    )


def summarise(run: Run, log: Logbook) -> dict[str, Any]:
    """What was found of all seeds, as plain values: it is written down with the position."""
    dataset, labels_N, measured = run.dataset, run.dataset.test.labels, log.position.measured
    best, gains = summary.best_of(measured), summary.gains_of(measured, labels_N)
    metrics = summary.metrics_of(measured, gains) | {"test.images": len(labels_N)}
    metrics |= {f"peak_memory_bytes.{where}": peak for where, peak in memory.peak_bytes(run.device).items()}
    answer, classes = verdict.decide(gains), len(dataset.classes)
    members = [member.teacher_role for member in run.members]
    remarks = verdict.remarks(
        metrics,
        answer,
        labels_N=labels_N,
        classes=classes,
        best_seed=best.seed,
        repetition=1 + best.seed - measured[0].seed,
        members=members,
    )
    # The teacher was asked once, with the first seed.
    predicted = {role: said_N for role, said_N in measured[0].predicted.items() if is_of_teacher(role)}
    predicted |= best.predicted
    confusions = {role: Confusion(classes_N.long(), labels_N, classes) for role, classes_N in predicted.items()}
    return {
        "verdict": None if answer is None else answer.model_dump(),
        "dataset": {
            "name": dataset.name,
            "classes": len(dataset.classes),
            "shape": list(dataset.shape),
            **what_is_seen(run),
            "digest": dataset.digest,
            "train": len(dataset.train.labels),
            "validation": len(dataset.validation.labels),
            "test": len(labels_N),
        },
        "archs": {role: arch for role, arch in archs_of(run).items() if role in predicted},
        "extensions": list(log.position.extensions),
        "comparisons": summary.comparisons(gains),
        "seeds": summary.seed_by_seed(measured),
        "metrics": metrics,
        "remarks": [remark._asdict() for remark in remarks],
        **class_by_class(dataset.classes, confusions),
        **({} if log.position.suspects is None else {"suspects": log.position.suspects}),
        **(log.position.evidence or {}),  # none where an earlier version has measured the seed that is offered
    }


def what_is_seen(run: Run) -> dict[str, Any]:
    """Which box of an image is shown at which size, where that is not the whole of it as it is."""
    if run.shape == run.dataset.shape:
        return {}
    box = dict(zip(boxes.COLUMNS, run.train.viewer.seen, strict=True))
    return {"seen": {"box": box, "size": list(run.shape[1:])}}


def archs_of(run: Run) -> dict[str, str]:
    """Who is measured, in this order, as far as there is such a model; of a committee first each member."""
    student, members = run.config.student.arch, {member.teacher_role: member.teacher_arch for member in run.members}
    return {
        **members,
        "teacher": run.teacher_arch or LABELS,
        "student": student,
        "control": student,
        "label_smoothing": student,
    }


def judge(
    run: Run, role: str, arch: str, outcome: Outcome, test: Shown, *, with_costs: bool
) -> tuple[Tensor, dict[str, float]]:
    """The best model of a role on the test split: its logits, float32 [N, C], and what is said of it in the
    report; of the last one the scores. Raises `ScoresDiverged`."""
    best, labels_N = outcome.best, run.dataset.test.labels
    metrics = {f"{role}.validation.{which}": value for which, value in best.scores.items()}
    metrics |= {f"{role}.best_epoch": best.epoch, f"{role}.epochs": outcome.epochs}
    if not is_of_teacher(role):  # whose training may have been elsewhere
        metrics[f"{role}.images_seen"] = outcome.epochs * len(run.train) * run.plan.at_once
    said = {}
    for name, weights, epoch in ((role, best.weights, best.epoch), (f"{role}.last", outcome.last, outcome.epochs)):
        model = run.build(arch, role, weights)
        said[name] = predict(model, test.viewer, run.autocast_dtype)
        scores = scores_of(said[name], labels_N)
        if not is_finite(scores):
            raise ScoresDiverged(role, "test", epoch, scores)
        metrics |= {f"{name}.test.{which}": value for which, value in scores.items()}
        # The others are the student's twins.
        if with_costs and name == role and (is_of_teacher(role) or role == "student"):
            metrics |= size_and_speed(run, role, model)
    return said[role], metrics


def ask_teacher(run: Run, log: Logbook, test: Shown, said: Tensor | None) -> Tensor | None:
    """What the teacher says of the test split: logits, float32 [N, C]; None where it does not know it."""
    if said is not None or "teacher" not in log.position.outcomes:
        return said

    def ask(one: Run) -> Tensor:
        model = run.build(one.teacher_arch, "teacher", log.outcome(one.teacher_role).best.weights)
        return predict(model, test.viewer, run.autocast_dtype)

    return mean.mean_logits([ask(member) for member in run.members]) if run.members else ask(run)


def judge_said(run: Run, outcome: Outcome | None, logits_NC: Tensor) -> dict[str, float]:
    """What is said of a teacher that is no single model here, of which these are the logits: a committee, which has an
    outcome, or labels."""
    validation = {} if outcome is None else outcome.best.scores
    metrics = {f"teacher.validation.{which}": value for which, value in validation.items()}
    scores = scores_of(logits_NC, run.dataset.test.labels)
    return metrics | {f"teacher.test.{which}": value for which, value in scores.items()}


def scores_of(logits_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """All that is measured on the test split."""
    confusion = Confusion.of(logits_NC, labels_N)
    by_class = {"balanced_accuracy": confusion.balanced_accuracy, "macro_f1": confusion.macro_f1}
    return score(logits_NC, labels_N) | by_class


def add_up(metrics: dict[str, float], members: list[str]) -> dict[str, float]:
    """What a committee costs: its members, one after the other."""
    costs = ("parameters", "bytes", "macs", "latency_seconds.batch1", "latency_seconds.batch64")
    return {f"teacher.{cost}": sum(metrics[f"{member}.{cost}"] for member in members) for cost in costs}


def size_and_speed(run: Run, role: str, model: nn.Module) -> dict[str, float]:
    """How large it is, and seconds a batch on the run's device."""
    return size(run, role, model) | {
        f"{role}.latency_seconds.batch1": cost.latency(model, run.shape, run.device, 1),
        f"{role}.latency_seconds.batch64": cost.latency(model, run.shape, run.device, 64),
    }


def size(run: Run, role: str, model: nn.Module) -> dict[str, float]:
    """Parameters, bytes of weights, multiply-accumulates for one image."""
    return {
        f"{role}.parameters": cost.parameters(model),
        f"{role}.bytes": cost.weight_bytes(model),
        f"{role}.macs": cost.macs(model, run.shape),
    }
