"""How every run ends: the test split is read, once, and the report written."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kd import disk, outputs
from kd.errors import ScoresDiverged
from kd.evaluation import cost
from kd.evaluation.confusion import Confusion
from kd.evaluation.predict import predict
from kd.evaluation.scores import agreement, is_finite, score
from kd.events import Evaluated, Event, Finished, Noted, PhaseStarted, Wrote
from kd.machine import memory
from kd.report import verdict
from kd.report.document import class_by_class, document
from kd.training.logbook import Logbook
from kd.training.position import Outcome
from kd.training.run import Run, Shown


def evaluate(run: Run, log: Logbook) -> Iterator[Event]:
    """Teacher, student and control side by side on the test split; the report; the last word.

    What was found is part of the position: a run that goes on from there does not read the test split again.
    """
    if not run.team.leads:
        return
    position = log.position
    if "evaluating" not in position.finished:
        position.report = yield from measure(run, log)
        yield from log.finish()
    report = position.report
    assert report is not None, "a finished evaluation has left it"
    for remark in report["remarks"]:
        yield Noted(**remark)
    content = document(run.config, report, position.seconds)
    yield Wrote(file=disk.write_json(content, run.out, Path(outputs.REPORT)))
    yield Finished(step=position.step, metrics=report["metrics"], seconds=position.seconds)


def measure(run: Run, log: Logbook) -> Generator[Event, None, dict[str, Any]]:
    """What is found on the test split, as plain values: it is written down with the position."""
    dataset, position = run.dataset, log.position
    labels_N = dataset.test.labels
    log.enter("evaluating")
    yield PhaseStarted(phase="evaluating", facts={"images": len(labels_N)})
    test = run.test()

    metrics: dict[str, float] = {}
    predictions: dict[str, Tensor] = {}
    confusions: dict[str, Confusion] = {}
    archs = {"teacher": run.teacher_arch, "student": run.config.student.arch, "control": run.config.student.arch}
    archs = {role: arch for role, arch in archs.items() if role in position.outcomes}
    log.begin_counting()
    for role, arch in archs.items():
        predictions[role], confusions[role], found = judge(run, role, arch, position.outcomes[role], test)
        metrics |= found
        yield Evaluated(
            phase="evaluating",
            step=position.step,
            epoch=position.outcomes[role].best.epoch,
            split="test",
            metrics={f"{role}.{which}": metrics[f"{role}.test.{which}"] for which in ("top1", "nll", "ece")},
        )
        yield log.step("evaluating", len(predictions) / len(archs), 2 * len(labels_N), {})

    metrics["student.test.agreement"] = agreement(predictions["student"], predictions["teacher"])
    if "control" in predictions:
        metrics["control.test.agreement"] = agreement(predictions["control"], predictions["teacher"])
        metrics["gain"] = metrics["student.test.top1"] - metrics["control.test.top1"]
    metrics["test.images"] = len(labels_N)
    metrics |= {f"peak_memory_bytes.{where}": peak for where, peak in memory.peak_bytes(run.device).items()}

    return {
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "train": len(dataset.train.labels),
            "validation": len(dataset.validation.labels),
            "test": len(labels_N),
        },
        "archs": archs,
        "extensions": list(position.extensions),
        "metrics": metrics,
        "remarks": [remark._asdict() for remark in verdict.remarks(metrics, predictions, labels_N)],
        **class_by_class(dataset.classes, confusions),
    }


def judge(run: Run, role: str, arch: str, outcome: Outcome, test: Shown) -> tuple[Tensor, Confusion, dict[str, float]]:
    """The best model of a role on the test split: its logits, its confusion, and what is said of it in the report; of
    the last one the scores. Raises `ScoresDiverged`."""
    best, labels_N = outcome.best, run.dataset.test.labels
    metrics = {f"{role}.validation.{which}": value for which, value in best.scores.items()}
    metrics |= {f"{role}.best_epoch": best.epoch, f"{role}.epochs": outcome.epochs}
    found = {}
    for name, weights, epoch in ((role, best.weights, best.epoch), (f"{role}.last", outcome.last, outcome.epochs)):
        model = run.build(arch, role, weights)
        logits_NC = predict(model, test.viewer, run.autocast_dtype)
        scores = score(logits_NC, labels_N)
        if not is_finite(scores):
            raise ScoresDiverged(role, "test", epoch, scores)
        confusion = Confusion.of(logits_NC, labels_N)
        scores |= {"balanced_accuracy": confusion.balanced_accuracy, "macro_f1": confusion.macro_f1}
        metrics |= {f"{name}.test.{which}": value for which, value in scores.items()}
        found[name] = (logits_NC, confusion)
        if name == role and role != "control":  # the control is the student's twin
            metrics |= size_and_speed(run, role, model)
    return *found[role], metrics


def size_and_speed(run: Run, role: str, model: nn.Module) -> dict[str, float]:
    """Parameters, multiply-accumulates for one image, and seconds a batch on the run's device."""
    shape = run.dataset.shape
    return {
        f"{role}.parameters": cost.parameters(model),
        f"{role}.macs": cost.macs(model, shape),
        f"{role}.latency_seconds.batch1": cost.latency(model, shape, run.device, 1, seconds=0.2),
        f"{role}.latency_seconds.batch64": cost.latency(model, shape, run.device, 64, seconds=0.2),
    }
