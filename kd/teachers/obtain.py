"""Get a teacher: train it to its best on the validation split, or take another job's; measure it before it teaches.

The members of a committee are got one after the other, each as if it were the only teacher.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from kd import outputs
from kd.errors import TeacherUnfit
from kd.evaluation.chance import weakness
from kd.evaluation.scores import is_finite, score
from kd.events import Evaluated, Event, Noted, PhaseStarted, Wrote
from kd.models.weights import State, copy_of, digest_of, load_model, save_weights
from kd.objectives.objective import Objective
from kd.spec import GuideConfig, Teacher, TeacherAsBuilt, TeacherOfJob, TeacherUploaded, TrainConfig
from kd.spec.teacher import Ready
from kd.teachers import onnx, safetensors, uploads
from kd.teachers.fitness import misfit
from kd.teachers.frozen import freeze, mean_validation_logits
from kd.teachers.kinds import Kind
from kd.teachers.uploads import Uploaded
from kd.training import loop
from kd.training.logbook import Logbook
from kd.training.resuming.position import Moment, Outcome
from kd.training.run import Run
from kd.training.start import begin, named, shown
from kd.training.validation import validate

LOOK_AGAIN = "look whether it was said rightly what it sees of pixels, how large, and how its classes are ordered"
"""What may be wrong with a teacher that somebody has brought, and knows little."""


def obtain_teacher(run: Run, log: Logbook) -> Iterator[Event]:
    """Train the teacher the spec describes or take the one it names, unless that is done.

    What came of it ends up in the logbook.
    """
    if run.members:
        yield from gather(run, log)
        return
    wanted, role = run.config.teacher, run.teacher_role
    if role not in log.position.finished:
        if isinstance(wanted, Teacher):
            model, anchors = (yield from begin(run, log, role)), anchors_wanted(run.config)
            objective = Objective(None, run.class_weights_C)
            yield from loop.fit(run, log, role, model, wanted, objective, patience=wanted.patience, anchors=anchors)
        else:
            assert isinstance(wanted, Ready), "a committee has members"
            yield from bring(run, log, wanted)

    # Also after a resume: the run may have been stopped before it came to this.
    best = log.outcome(role).best
    if weak := weakness(best.scores, run.dataset.validation.labels, len(run.dataset.classes)):
        remedy = "try a smaller learning rate or more epochs"
        if isinstance(wanted, TeacherAsBuilt):
            data = run.dataset
            remedy = (
                "look whether its classes are in this order, and whether it wants its pixels, in 0..1, less "
                f"{shown(data.mean)} and divided by {shown(data.std)}"
            )
        elif isinstance(wanted, TeacherUploaded):
            remedy = LOOK_AGAIN
        yield Noted(
            code="weak_teacher",
            message=f"On the validation split {named(role)} {weak}. Its labels will teach little: {remedy}.",
        )
    if run.team.leads:
        yield Wrote(
            file=save_weights(best.weights, run.facts(run.teacher_arch), run.out, Path(outputs.weights_of(role)))
        )


def gather(run: Run, log: Logbook) -> Iterator[Event]:
    """The members of a committee, and what they are worth together.

    The committee's own outcome has no weights: those are its members'.
    """
    seen: dict[str, str] = {}
    for member in run.members:
        yield from obtain_teacher(member, log)
        weights, role = log.outcome(member.teacher_role).best.weights, member.teacher_role
        if (twin := seen.setdefault(digest_of(member.teacher_arch, weights), role)) != role:
            raise TeacherUnfit(
                f"it is {twin} once more, weight for weight, and a committee's members must differ", role
            )
    if "teacher" in log.position.finished:
        return
    log.enter("teacher")
    logits_NC = mean_validation_logits(members_of(run, log))
    scores = score(logits_NC, run.dataset.validation.labels)
    yield Evaluated(phase="teacher", step=log.position.step, epoch=0, split="validation", metrics=scores)
    yield from log.finish(Outcome(best=Moment(0, {}, scores), last={}, epochs=0))


def members_of(run: Run, log: Logbook) -> list[tuple[Run, State]]:
    """A committee's members, each with its best weights."""
    return [(member, log.outcome(member.teacher_role).best.weights) for member in run.members]


def bring(run: Run, log: Logbook, wanted: Ready) -> Iterator[Event]:
    """Take the teacher in `run.teacher_file`, or that which its factory builds, as if it had been trained here, for no
    epoch. Raises `TeacherUnfit`."""
    log.enter(run.teacher_role)
    yield PhaseStarted(phase=run.teacher_role, facts={"arch": run.teacher_arch, "images": len(run.validation)})
    if isinstance(wanted, TeacherAsBuilt):
        weights = copy_of(run.build(wanted.as_built, "teacher"))
        what = f"{wanted.as_built}, as its factory builds it"
    elif isinstance(wanted, TeacherOfJob):
        weights, what = weights_of_job(run), f"the {wanted.role} of {wanted.job}, a {run.teacher_arch}"
    else:
        weights, what = weights_of_upload(run, uploaded(run))
    whose = named(run.teacher_role).capitalize()
    yield Noted(code="teacher_brought", message=f"{whose} is {what}: none is trained here.")

    # Its job may have cut off a smaller validation split: then it has learnt some of these images, and this flatters
    # it. The test split is the same at every fraction, so the final scores never do. (Of a file nobody knows what it
    # has learnt.)
    scores = validate(run, freeze(run, weights))
    if not is_finite(scores):
        raise TeacherUnfit("what it says of the validation images are no finite numbers", run.teacher_role)
    yield Evaluated(phase=run.teacher_role, step=log.position.step, epoch=0, split="validation", metrics=scores)
    yield from log.finish(Outcome(best=Moment(0, weights, scores), last=weights, epochs=0))


def weights_of_job(run: Run) -> State:
    """Those of another job's model. Raises `TeacherUnfit`."""
    assert run.teacher_file is not None, "run() asks for it"
    model, facts = load_model(run.teacher_file)
    if why := misfit(facts, run):
        raise TeacherUnfit(why, run.teacher_role)
    return copy_of(model)


def uploaded(run: Run) -> Uploaded:
    """The teacher that somebody has brought. Raises `TeacherUnfit`."""
    assert run.teacher_file is not None, "run() asks for it"
    try:
        return uploads.read_manifest(run.teacher_file)
    except uploads.NoSuchTeacher as error:
        raise TeacherUnfit(error.why, run.teacher_role) from error


def weights_of_upload(run: Run, found: Uploaded) -> tuple[State, str]:
    """Its weights, and in a clause whose they are. Raises `TeacherUnfit`."""
    weights, described = TAKE[found.kind](run, found)
    return weights, f"{found.said.name} ({found.id}), {described}"


TAKE: dict[Kind, Callable[[Run, Uploaded], tuple[State, str]]] = {"onnx": onnx.take, "safetensors": safetensors.take}


def anchors_wanted(config: TrainConfig | GuideConfig) -> int:
    """How many moments of the teacher's training will be asked for."""
    if isinstance(config, GuideConfig) and config.rounds.teacher == "route":
        return config.rounds.route.anchors
    return 0
