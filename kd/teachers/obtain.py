"""Get a teacher: train it to its best on the validation split, or take another job's; measure it before it teaches."""

from collections.abc import Iterator
from pathlib import Path

from kd import outputs
from kd.errors import TeacherUnfit
from kd.events import Evaluated, Event, Noted, PhaseStarted, Wrote
from kd.models.weights import copy_of, load_model, save_weights
from kd.spec import GuideConfig, Teacher, TeacherOfJob, TrainConfig
from kd.teachers.fitness import misfit
from kd.teachers.frozen import with_weights
from kd.training import loop
from kd.training.run import Workbench
from kd.training.validation import validate


def obtain_teacher(bench: Workbench) -> Iterator[Event]:
    """Train the teacher the spec describes or take the one it names, unless that is done.

    Its best weights end up in the position.
    """
    wanted = bench.config.teacher
    if "teacher" not in bench.position.finished:
        if isinstance(wanted, Teacher):
            model = bench.build(wanted.arch, "teacher")
            yield from loop.fit(
                bench, "teacher", model, wanted, patience=wanted.patience, anchors=anchors_wanted(bench.config)
            )
        else:
            yield from bring(bench, wanted)

    # Also after a resume: the run may have been stopped before it came to this.
    outcome = bench.position.finished["teacher"]
    top1, chance = outcome["validation"]["top1"], 1 / len(bench.dataset.classes)
    if top1 < 2 * chance:
        yield Noted(
            code="weak_teacher",
            message=f"The teacher is right on {top1:.1%} of the validation images, hardly better than guessing "
            f"({chance:.1%}). Its labels will teach little: try a smaller learning rate or more epochs.",
        )
    if bench.team.leads:
        facts = bench.facts(bench.teacher_arch)
        yield Wrote(file=save_weights(outcome["best"], facts, bench.out, Path(outputs.TEACHER)))


def bring(bench: Workbench, wanted: TeacherOfJob) -> Iterator[Event]:
    """Take the teacher in `bench.teacher_file` as if it had been trained here, for no epoch. Raises `TeacherUnfit`."""
    assert bench.teacher_file is not None, "run() asks for it"
    model, facts = load_model(bench.teacher_file)
    if why := misfit(facts, bench):
        raise TeacherUnfit(why)
    bench.enter("teacher")
    yield PhaseStarted(phase="teacher", facts={"arch": facts.arch, "images": len(bench.validation)})
    yield Noted(
        code="teacher_brought",
        message=f"The teacher is the {wanted.role} of {wanted.job}, a {facts.arch}: none is trained here.",
    )

    # Its job may have cut off a smaller validation split: then it has learnt some of these images, and this flatters
    # it. The test split is the same at every fraction, so the final scores never do.
    weights = copy_of(model)
    scores = validate(bench, with_weights(bench, weights), None)
    yield Evaluated(phase="teacher", step=bench.position.step, epoch=0, split="validation", metrics=scores)
    outcome = {"best": weights, "last": weights, "best_epoch": 0, "epochs": 0, "validation": scores, "anchors": []}
    yield from bench.finish(outcome)


def anchors_wanted(config: TrainConfig | GuideConfig) -> int:
    """How many moments of the teacher's training will be asked for."""
    if isinstance(config, GuideConfig) and config.rounds.teacher == "route":
        return config.rounds.route.anchors
    return 0
