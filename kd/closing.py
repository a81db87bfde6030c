"""How every run ends: the control is trained, then the test split is read, once."""

import json
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from kd import checkpoint, evaluate, memory, report, training
from kd.events import Evaluated, Event, Finished, PhaseStarted, Wrote
from kd.workbench import Workbench


def control(bench: Workbench) -> Iterator[Event]:
    """The same student from the same first weights with the same recipe, trained as one would without a teacher.

    It sees a fresh view every epoch, since without labels to share nothing would hold it to a few.
    """
    config = bench.config
    if not config.control or "control" in bench.position.finished:
        return
    model = bench.build(config.student.arch, "student")
    yield from training.fit(bench, "control", model, config)


def evaluation(bench: Workbench) -> Iterator[Event]:
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
            logits_NC = evaluate.predict(model, test.viewer, bench.autocast)
            scores = evaluate.score(logits_NC, labels_N)
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

    metrics["student.test.agreement"] = evaluate.agreement(predictions["student"], predictions["teacher"])
    if "control" in predictions:
        metrics["control.test.agreement"] = evaluate.agreement(predictions["control"], predictions["teacher"])
        metrics["gain"] = metrics["student.test.top1"] - metrics["control.test.top1"]
    metrics["test.images"] = len(labels_N)
    metrics |= {f"peak_memory_bytes.{where}": peak for where, peak in memory.peak_bytes(bench.device).items()}

    yield from report.remarks(metrics, predictions, labels_N)
    yield from bench.finish({"metrics": metrics})
    content = report.report(config, bench.dataset, metrics, position.seconds, archs, predictions, labels_N)
    yield Wrote(file=checkpoint.write_text(json.dumps(content, indent=2), bench.out, Path("report.json")))
    yield Finished(step=position.step, metrics=metrics, seconds=position.seconds)


def size_and_speed(bench: Workbench, role: str, model: nn.Module) -> dict[str, float]:
    """Parameters, multiply-accumulates for one image, and seconds a batch on the run's device."""
    shape = bench.dataset.shape
    return {
        f"{role}.parameters": evaluate.parameters(model),
        f"{role}.macs": evaluate.macs(model, shape),
        f"{role}.latency_seconds.batch1": evaluate.latency(model, shape, bench.device, 1, seconds=0.2),
        f"{role}.latency_seconds.batch64": evaluate.latency(model, shape, bench.device, 64, seconds=0.2),
    }
