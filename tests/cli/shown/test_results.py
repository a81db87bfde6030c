"""The result of a run: who did how well, and the answer first."""

from io import StringIO

from rich.console import Console

from cli.shown.narration import Narration
from cli.shown.results import Outcome, archs, brought, show

CONFIG = {"student": {"arch": "mlp"}, "teacher": {"arch": "cnn"}}
SCORES = {"teacher": 0.95, "student": 0.93, "control": 0.91, "label_smoothing": 0.92}


def shown(metrics: dict[str, float]) -> list[str]:
    said = StringIO()
    show(Outcome(metrics, {"student": 5.0}, archs(CONFIG), verdict="BETTER: by far."), Console(file=said, width=200))
    return said.getvalue().splitlines()


def test_the_verdict_comes_before_the_table_and_every_role_that_was_measured_has_a_row():
    lines = shown({f"{role}.test.top1": top1 for role, top1 in SCORES.items()} | {"gain": 0.02})

    assert lines[0] == "BETTER: by far."
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["teacher", "cnn", "95.00"], ["student", "mlp", "93.00"], ["control", "mlp", "91.00"],
        ["label_smoothing", "mlp", "92.00"],
    ]  # fmt: skip
    assert not any("±" in line for line in lines)


def test_a_teacher_that_came_with_its_weights_is_named_and_was_brought_along():
    config = {"student": {"arch": "mlp"}, "teacher": {"as_built": "own/mine"}}

    assert archs(config)["teacher"] == "own/mine"
    assert brought(config) == {"teacher"}


def test_of_several_seeds_accuracies_are_means_with_their_spread():
    metrics = {
        "teacher.test.top1": 0.95,
        "student.test.top1": 0.94,
        "control.test.top1": 0.90,
        "seeds": 5,
        "gain": 0.02,
    }
    metrics |= {"student.test.top1.mean": 0.93, "student.test.top1.std": 0.0042}
    metrics |= {"control.test.top1.mean": 0.91, "control.test.top1.std": 0.0051}

    said = "\n".join(shown(metrics))

    assert "93.00 ± 0.42 %" in said
    assert "91.00 ± 0.51 %" in said
    assert "means of 5 seeds" in said
    assert "the student to download has 94.00 %" in said


def test_each_seed_is_narrated_and_the_next_one_begins_anew():
    narration, said = Narration(), []

    def hear(kind: str, **data: object) -> None:
        said.extend(narration.narrate(kind, data))

    hear("phase", phase="teacher", facts={})
    for number in (1, 2):
        for phase, top1 in (("student", 0.9 + number / 100), ("control", 0.8)):
            hear("phase", phase=phase, facts={}, repetition=number, repetitions=2)
            assert phase not in narration.accuracy, "none of the seed before"
            hear("evaluated", phase=phase, split="validation", epoch=3, metrics={"top1": top1}, repetition=number)
    hear("finished")

    assert said == [
        "student    91.00 % on validation, the highest of 3 epochs, repetition 1 of 2",
        "control    80.00 % on validation, the highest of 3 epochs, repetition 1 of 2",
        "student    92.00 % on validation, the highest of 3 epochs, repetition 2 of 2",
        "control    80.00 % on validation, the highest of 3 epochs, repetition 2 of 2",
    ]
