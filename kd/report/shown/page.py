"""The report as a page: one file without scripts, which asks the network for nothing.

A function of the report alone, without torch: whoever has a `report.json` can have its page.
"""

from typing import Any

from kd.events import is_of_teacher
from kd.report.pictures import numbers
from kd.report.pictures.looks import in_order, in_words, looks
from kd.report.shown import comparison, drawn, recipe
from kd.report.shown.classes import LISTED, class_gaps, compared_with, ends
from kd.report.shown.html import render

Report = dict[str, Any]

ANSWERS = {"better": "Better", "not_better": "Not better", "undecided": "Undecided"}


def page(report: Report) -> str:
    """HTML of a report as `kd.report.document` makes it. Roles that are missing are not shown, and of thousands of
    classes the worst and the best."""
    worst, best, between = ends(class_gaps(report), LISTED)
    return render(
        "page.html",
        report=report,
        title=title(report),
        verdict=verdict(report),
        tiles=tiles(report),
        roles=comparison.roles(report),
        looks=looks(
            {**dict.fromkeys(comparison.roles(report)), **report.get("curves", {}), **report.get("reliability", {})}
        ),
        rows=comparison.rows(report),
        seeds=seeds(report),
        tradeoffs=drawn.tradeoffs(report),
        curves=drawn.learning_curves(report),
        learnt=learnt(report),
        reliabilities=drawn.reliabilities(report),
        bins=bins(report),
        class_gap=drawn.class_gap(report),
        compared_with=compared_with(report),
        classes=[*worst, *best],
        between=between,
        disputed=report.get("disputed", []),
        suspects=report.get("suspects", []),
        recipe=recipe.facts(report),
        spec=recipe.spec(report),
        machine=recipe.machine(report),
        seconds=report.get("seconds", {}),
    )


def title(report: Report) -> str:
    student, teacher = comparison.arch(report, "student"), comparison.arch(report, "teacher")
    pair = f"{teacher} → {student}" if teacher else str(student)
    return f"{pair} on {report['dataset']['name']}"


def verdict(report: Report) -> dict[str, Any]:
    """The answer in a word, in a sentence without that word, and what else there is to say."""
    given = report.get("verdict") or {}
    remarks = [str(remark) for remark in report.get("remarks", [])]
    code = str(given.get("code"))
    word = ANSWERS.get(code, "No verdict")
    # The first remark is the verdict's own sentence; without a verdict it says why there is none.
    message, *others = [str(given["message"]), *remarks] if given else remarks or ["Nothing was compared."]
    answer = message.removeprefix(f"{word.upper()}: ")
    return {
        "code": code if code in ANSWERS else "undecided",
        "word": word,
        "message": answer[:1].upper() + answer[1:],
        "others": [remark for remark in others if remark != message],
    }


def tiles(report: Report) -> list[tuple[str, str, str]]:
    """What everybody asks first: (what, how much, and beside it)."""
    metrics = report["metrics"]
    offered = next((f"seed {one['seed']}, which is offered" for one in several(report) if one.get("is_offered")), "")
    found = [("Accuracy of the student", numbers.per_cent(comparison.accuracy(report, "student")), offered)]
    for what, name in (("Gain over the control", "gain"), ("Over label smoothing", "gain_over_label_smoothing")):
        if name in metrics:
            found.append((what, f"{numbers.points(metrics[name])} points", interval(metrics, name)))
    teacher = comparison.accuracy(report, "teacher")
    if teacher is not None:
        behind = (comparison.accuracy(report, "student") or 0.0) - teacher
        found.append(("Compared with the teacher", f"{numbers.points(behind)} points", ""))
    for which, better, worse, unit in (
        ("parameters", "Smaller than the teacher", "Larger than the teacher", numbers.short),
        ("latency_seconds.batch1", "Faster, one image", "Slower, one image", numbers.duration),
    ):
        if ratio := comparison.times(report, which):
            what, ratio = (better, ratio) if ratio >= 1 else (worse, 1 / ratio)
            beside = (
                f"{unit(comparison.cost(report, 'teacher', which))} → {unit(comparison.cost(report, 'student', which))}"
            )
            found.append((what, numbers.ratio(ratio), beside))
    return found


def interval(metrics: dict[str, Any], name: str) -> str:
    """Where a gain may well be, where that was reckoned."""
    low, high = metrics.get(f"{name}.low"), metrics.get(f"{name}.high")
    if numbers.finite(low) is None or numbers.finite(high) is None:
        return ""
    return f"{numbers.points(low)} to {numbers.points(high)} with 95 % confidence"


def seeds(report: Report) -> list[tuple[str, ...]]:
    """Several seeds one by one: the seed, the accuracy of each role that has one, the gain."""
    told = several(report)
    if not told:
        return []
    learners = [role for role in comparison.roles(report) if not is_of_teacher(role)]
    return [
        ("seed", *map(in_words, learners), "gain, points"),
        *(
            (
                f"{one['seed']}, offered" if one.get("is_offered") else str(one["seed"]),
                *(numbers.per_cent(one["metrics"].get(f"{role}.test.top1")) for role in learners),
                numbers.points(one["metrics"].get("gain")),
            )
            for one in told
        ),
    ]


def several(report: Report) -> list[dict[str, Any]]:
    """The seeds, where there are several."""
    told: list[dict[str, Any]] = report.get("seeds") or []
    return told if len(told) > 1 else []


def learnt(report: Report) -> list[tuple[str, tuple[str, ...]]]:
    """The learning curves in numbers: of each role epochs, best epoch, its accuracy, the last one, the last loss."""
    told, metrics = report.get("curves", {}), report["metrics"]
    return [
        (
            role,
            (
                numbers.count(metrics.get(f"{role}.epochs", told[role]["epoch"][-1])),
                numbers.count(metrics.get(f"{role}.best_epoch")),
                numbers.per_cent(metrics.get(f"{role}.validation.top1")),
                numbers.per_cent(told[role]["validation.top1"][-1]),
                numbers.nats(told[role]["train.hard_loss"][-1]) if drawn.has_hard_loss(role) else numbers.UNKNOWN,
            ),
        )
        for role in in_order(told)
        if told[role].get("epoch")
    ]


def bins(report: Report) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The reliability diagrams in numbers: by bin, for each role (images, confidence, accuracy)."""
    told = report.get("reliability", {})
    roles = in_order(told)
    if not roles:
        return []
    count = len(told[roles[0]]["images"])
    return [
        (
            f"{number / count:.0%} to {(number + 1) / count:.0%}",
            [
                (
                    numbers.count(told[role]["images"][number]),
                    numbers.per_cent(told[role]["confidence"][number], 1),
                    numbers.per_cent(told[role]["accuracy"][number], 1),
                )
                for role in roles
            ],
        )
        for number in range(count)
        if any(told[role]["images"][number] for role in roles)
    ]
