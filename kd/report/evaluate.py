"""How every run ends: the test split is read, once, and the report written."""

import json
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from kd import disk, outputs
from kd.evaluation import cost
from kd.evaluation.predict import predict
from kd.evaluation.scores import agreement, score
from kd.events import Evaluated, Event, Finished, PhaseStarted, Wrote
from kd.machine import memory
from kd.report import verdict
from kd.report.document import document
from kd.training.logbook import Logbook
from kd.training.run import Run


def evaluate(run: Run, log: Logbook) -> Iterator[Event]:
    """Teacher, student and control side by side on the test split; the report; the last word."""
    if not run.team.leads:
        return
    config, position = run.config, log.position
    log.enter("evaluating")
    yield PhaseStarted(phase="evaluating", facts={"images": len(run.dataset.test.labels)})
    test = run.test()
    labels_N = run.dataset.test.labels

    metrics: dict[str, float] = {}
    predictions: dict[str, Tensor] = {}
    archs = {"teacher": run.teacher_arch, "student": config.student.arch, "control": config.student.arch}
    for role, arch in archs.items():
        if role not in position.outcomes:
            continue
        outcome = position.outcomes[role]
        best = outcome.best
        for name, weights in ((role, best.weights), (f"{role}.last", outcome.last)):
            model = run.build(arch, role, weights)
            logits_NC = predict(model, test.viewer, run.autocast_dtype)
            metrics |= {f"{name}.test.{which}": value for which, value in score(logits_NC, labels_N).items()}
            if name == role:
                predictions[role] = logits_NC
                metrics |= {f"{role}.validation.{which}": value for which, value in best.scores.items()}
                metrics |= {f"{role}.best_epoch": best.epoch, f"{role}.epochs": outcome.epochs}
                if role != "control":  # the control is the student's twin
                    metrics |= size_and_speed(run, role, model)
        yield Evaluated(
            phase="evaluating",
            step=position.step,
            epoch=best.epoch,
            split="test",
            metrics={f"{role}.{which}": metrics[f"{role}.test.{which}"] for which in ("top1", "nll", "ece")},
        )
        log.progress.done("evaluating", len(predictions) / len(archs))

    metrics["student.test.agreement"] = agreement(predictions["student"], predictions["teacher"])
    if "control" in predictions:
        metrics["control.test.agreement"] = agreement(predictions["control"], predictions["teacher"])
        metrics["gain"] = metrics["student.test.top1"] - metrics["control.test.top1"]
    metrics["test.images"] = len(labels_N)
    metrics |= {f"peak_memory_bytes.{where}": peak for where, peak in memory.peak_bytes(run.device).items()}

    yield from verdict.remarks(metrics, predictions, labels_N)
    yield from log.finish()
    content = document(config, run.dataset, metrics, position.seconds, archs, predictions, labels_N)
    yield Wrote(file=disk.write_text(json.dumps(content, indent=2), run.out, Path(outputs.REPORT)))
    yield Finished(step=position.step, metrics=metrics, seconds=position.seconds)


def size_and_speed(run: Run, role: str, model: nn.Module) -> dict[str, float]:
    """Parameters, multiply-accumulates for one image, and seconds a batch on the run's device."""
    shape = run.dataset.shape
    return {
        f"{role}.parameters": cost.parameters(model),
        f"{role}.macs": cost.macs(model, shape),
        f"{role}.latency_seconds.batch1": cost.latency(model, shape, run.device, 1, seconds=0.2),
        f"{role}.latency_seconds.batch64": cost.latency(model, shape, run.device, 64, seconds=0.2),
    }
