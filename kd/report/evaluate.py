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
from kd.training.run import Workbench


def evaluate(bench: Workbench) -> Iterator[Event]:
    """Teacher, student and control side by side on the test split; the report; the last word."""
    if not bench.team.leads:
        return
    config, position = bench.config, bench.position
    bench.enter("evaluating")
    yield PhaseStarted(phase="evaluating", facts={"images": len(bench.dataset.test.labels)})
    test = bench.test()
    labels_N = bench.dataset.test.labels

    metrics: dict[str, float] = {}
    predictions: dict[str, Tensor] = {}
    archs = {"teacher": bench.teacher_arch, "student": config.student.arch, "control": config.student.arch}
    for role, arch in archs.items():
        if role not in position.finished:
            continue
        outcome = position.finished[role]
        for which, name in (("best", role), ("last", f"{role}.last")):
            model = bench.build(arch, role, outcome[which])
            logits_NC = predict(model, test.viewer, bench.autocast)
            scores = score(logits_NC, labels_N)
            metrics |= {f"{name}.test.{score}": value for score, value in scores.items()}
            if which == "best":
                predictions[role] = logits_NC
                metrics |= {f"{role}.validation.{score}": value for score, value in outcome["validation"].items()}
                metrics |= {f"{role}.best_epoch": outcome["best_epoch"], f"{role}.epochs": outcome["epochs"]}
                if role != "control":  # the control is the student's twin
                    metrics |= size_and_speed(bench, role, model)
        yield Evaluated(
            phase="evaluating",
            step=position.step,
            epoch=outcome["best_epoch"],
            split="test",
            metrics={f"{role}.{score}": metrics[f"{role}.test.{score}"] for score in ("top1", "nll", "ece")},
        )
        bench.progress.done("evaluating", len(predictions) / len(archs))

    metrics["student.test.agreement"] = agreement(predictions["student"], predictions["teacher"])
    if "control" in predictions:
        metrics["control.test.agreement"] = agreement(predictions["control"], predictions["teacher"])
        metrics["gain"] = metrics["student.test.top1"] - metrics["control.test.top1"]
    metrics["test.images"] = len(labels_N)
    metrics |= {f"peak_memory_bytes.{where}": peak for where, peak in memory.peak_bytes(bench.device).items()}

    yield from verdict.remarks(metrics, predictions, labels_N)
    yield from bench.finish({"metrics": metrics})
    content = document(config, bench.dataset, metrics, position.seconds, archs, predictions, labels_N)
    yield Wrote(file=disk.write_text(json.dumps(content, indent=2), bench.out, Path(outputs.REPORT)))
    yield Finished(step=position.step, metrics=metrics, seconds=position.seconds)


def size_and_speed(bench: Workbench, role: str, model: nn.Module) -> dict[str, float]:
    """Parameters, multiply-accumulates for one image, and seconds a batch on the run's device."""
    shape = bench.dataset.shape
    return {
        f"{role}.parameters": cost.parameters(model),
        f"{role}.macs": cost.macs(model, shape),
        f"{role}.latency_seconds.batch1": cost.latency(model, shape, bench.device, 1, seconds=0.2),
        f"{role}.latency_seconds.batch64": cost.latency(model, shape, bench.device, 64, seconds=0.2),
    }
