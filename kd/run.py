"""Start a run: from a spec to the pipeline of its mode."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from kd.data import packed_facts, packed_images
from kd.data.dataset import load_dataset
from kd.errors import BadResume, ModelUnfit, SpecUnfit, first_line
from kd.evaluation import cost
from kd.events import Event, Noted, Started
from kd.guide import guide
from kd.machine import memory
from kd.machine.device import find_device, look_for_gpus
from kd.machine.precision import FORMATS, find_precision
from kd.models.build import Seen, outline
from kd.models.catalog import ONNX
from kd.models.own import networks
from kd.models.own.names import is_own
from kd.objectives.trained import make_part
from kd.parallel import launch
from kd.parallel.team import join
from kd.spec import (
    Committee,
    GuideConfig,
    GuideSpec,
    Teacher,
    TeacherUploaded,
    TrainSpec,
    teachers_in,
)
from kd.spec.brought import START, start_of
from kd.spec.objective import READS
from kd.spec.terms.features import misses
from kd.teachers import uploads
from kd.teachers.files import arch_of_teacher, check_file, match_files, seen_by
from kd.teachers.start import starts_in
from kd.train import train
from kd.training.batches import count_batches
from kd.training.logbook import Logbook
from kd.training.recipe import Recipe
from kd.training.resuming.position import Position
from kd.training.resuming.request import request_of
from kd.training.resuming.resume import load_position
from kd.training.run import Run, prepare, shape_of
from kd.training.start import check_starts
from kd.views import pixels

PIPELINES: dict[str, Callable[[Run, Logbook], Iterator[Event]]] = {"train": train, "guide": guide}


def run(
    spec: TrainSpec | GuideSpec,
    out: Path | str,
    resume: Path | str | None = None,
    *,
    resume_sha256: str | None = None,
    data_folder: Path | str = "data",
    label_folder: Path | str | None = None,
    teacher_files: Sequence[tuple[Path | str, str | None]] = (),
    extends: bool = False,
    device: str = "auto",
    label_cache_bytes: int | None = None,
    resident_bytes: int | None = None,
    save_now: threading.Event | None = None,
) -> Iterator[Event]:
    """Distil as `spec` says, into the folder `out`, saying what happens. To stop, stop iterating.

    `resume` is a `resume.pt` that an earlier run of the same spec saved, or, if this one `extends` it, one of fewer
    epochs. Data sets are looked for in `data_folder`; label tables are kept in `label_folder` (default: `labels` beside
    the data), those used least lately are evicted beyond `label_cache_bytes`. `teacher_files` are those of
    the teachers that come from elsewhere, in the order of the spec, each with its sha256 or None: of another job's the
    weights, of one that was brought what `kd.teachers.uploads` has written. Files whose sha256 is given must have it.
    Images that would take more than `resident_bytes` (default: half of what is free) stay on disk. With
    `resources.gpus` above 1 the run goes on in as many processes. Once `save_now` is set, the run saves after every
    step: set it, and stop iterating at the next `Saved`, to lose nothing.
    Raises a `KdError` for what a user can mend: missing data, a loss that diverged, a damaged resume state.
    """
    config, out, data_folder = spec.config, Path(out), Path(data_folder)
    label_folder = Path(label_folder) if label_folder is not None else data_folder / "labels"
    brought = match_files(config, teacher_files)
    out.mkdir(parents=True, exist_ok=True)
    device = config.resources.device if device == "auto" else device
    where = find_device(device, config.resources.gpus)
    team = join(where)
    if config.resources.gpus > team.size:
        yield from launch.launch(
            spec,
            processes=config.resources.gpus,
            out=str(out),
            resume=str(resume) if resume is not None else None,
            resume_sha256=resume_sha256,
            data_folder=str(data_folder),
            label_folder=str(label_folder),
            teacher_files=[(str(file), sha256) for file, sha256 in teacher_files],
            extends=extends,
            device=device,
            label_cache_bytes=label_cache_bytes,
            resident_bytes=resident_bytes,
            save_now=save_now,
        )
        return
    precision = find_precision(config.precision, where)
    if where.type == "cpu":
        memory.keep_what_is_freed()
    position = Position()
    request = request_of(spec)
    if resume is not None:
        position = load_position(Path(resume), request, sha256=resume_sha256, extends=extends)
    yield Started(
        mode=spec.mode,
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        precision=precision,
        torch=torch.__version__,
        resumed_from_step=position.step,
    )
    if device == "auto" and where.type == "cpu" and (trouble := look_for_gpus().trouble) is not None:
        yield Noted(code="gpus_unusable", message=f"The run is on the CPU, although there are GPUs. {trouble}")
    for extension in position.extensions:
        message = "The run was to end after {epochs} epochs; at step {step} it was extended to {to}."
        yield Noted(code="extended", message=message.format(**extension))

    dataset = load_dataset(config.dataset, data_folder, config.validation_fraction)
    if resume is not None and position.dataset != dataset.digest:
        raise BadResume(Path(resume), f"the data set {config.dataset} has changed since")
    position.dataset = dataset.digest
    if dataset.train.source.nbytes <= pixels.budget(where, resident_bytes):
        check_pixels(config.dataset, data_folder)
    for field, why in config.misfits(
        len(dataset.classes), dataset.shape, images=len(dataset.train), own_validation=dataset.own_validation
    ):
        raise SpecUnfit(field, why)
    for role, (file, sha256) in brought.items():
        if role.removesuffix(START) not in position.finished or role == start_of("student"):
            check_file(role, file, sha256)
    files = {role: file for role, (file, _) in brought.items()}
    if not position.teacher_arch:
        archs = [arch_of_teacher(one, files.get(role)) for role, one in teachers_in(config.teacher).items()]
        position.teacher_arch = " + ".join(archs)
        position.member_archs = tuple(archs) if isinstance(config.teacher, Committee) else ()
    for arch in position.member_archs or (position.teacher_arch,):
        for field, why in misses(config.objective, config.student.arch, arch):
            raise SpecUnfit(field, why)
    shape = shape_of(config, dataset)
    seen = {role: seen_by(one, files.get(role), shape) for role, one in teachers_in(config.teacher).items()}
    at_hand = prepare(
        config,
        dataset,
        where,
        autocast_dtype=FORMATS[precision],
        out=out,
        labels=label_folder,
        teacher_arch=position.teacher_arch,
        teacher_file=files.get("teacher"),
        teacher_sees=seen.get("teacher"),
        members=[
            (arch, files.get(role), seen[role])
            for role, arch in zip(teachers_in(config.teacher), position.member_archs, strict=False)
        ],
        starts=starts_in(config, files, position.finished, classes=len(dataset.classes), shape=shape),
        label_cache_bytes=label_cache_bytes,
        resident_bytes=resident_bytes,
        team=team,
    )
    log = Logbook(
        position,
        request=request,
        out=out,
        student=at_hand.facts(config.student.arch),
        save_seconds=config.checkpoint_seconds,
        save_now=save_now,
        repetitions=config.seeds,
        team=team,
    )
    check_own(at_hand)
    check_starts(at_hand, position)
    plan_work(at_hand, log)
    yield from PIPELINES[spec.mode](at_hand, log)


def check_own(run: Run) -> None:
    """Raise what there is to say of architectures of the user's own: before hours of training."""
    config = run.config
    learning = {config.student.arch, *(teacher.arch for teacher in teachers_trained(run).values())}
    shapes = dict.fromkeys(learning, run.shape)
    for one in run.members or (run,):
        shapes.setdefault(one.teacher_arch, one.teacher_sees.shape if one.teacher_sees else run.shape)
    for arch in filter(is_own, sorted(shapes)):
        networks.check(arch, len(run.dataset.classes), shapes[arch], learns=arch in learning)


def check_pixels(name: str, folder: Path) -> None:
    """Raise `DataError` when a packed data set shows other images than its digest says: a flipped bit would be learnt
    from. For images that are about to be read into memory, all of them; to read those that stay on disk takes hours.
    (Of every other data set the digest is of what was read.)"""
    if packed_facts.is_packed(name):
        packed_images.verify(folder, name)


def plan_work(run: Run, log: Logbook) -> None:
    """Tell the progress what each phase will cost, and what is behind us."""
    config, dataset = run.config, run.dataset
    channels, height, width = run.shape
    pixels, images = channels * height * width, len(dataset.train.labels)
    teachers = {one.teacher_role: one for one in run.members or (run,)}
    macs = {role: macs_of_teacher(one) for role, one in teachers.items() if one.teacher_arch}
    of_teachers, of_student = sum(macs.values()), count_macs(config.student.arch, run)
    expect = log.progress.expect
    for role, recipe in teachers_trained(run).items():
        expect(role, images * recipe.epochs, macs[role], pixels, training=True)
    labelled_anew = isinstance(config, GuideConfig) and not run.shares_rounds
    times = config.seeds if labelled_anew else 1
    expect("labelling", images * run.views_to_label, of_teachers, pixels, training=False, times=times)
    trained = ["student"] + ["control"] * bool(config.control)
    trained += ["label_smoothing"] * (config.baselines.label_smoothing is not None)
    # A teacher at the student's side costs a forward, the third of what a training step does.
    beside = count_macs_trained(run) + (of_teachers // 3 if "stages" in config.objective.reads else 0)
    shown = images * config.epochs * run.plan.at_once
    for phase in trained:
        each = of_student + (beside if phase == "student" else 0)
        expect(phase, shown, each, pixels, training=True, times=config.seeds)
    # Teacher, student and control, and of each but the teacher the last epoch too: it is little, whatever they cost.
    expect("evaluating", 3 * len(dataset.test.labels), of_teachers, pixels, training=False, times=config.seeds)
    note_what_is_done(run, log)
    log.progress.start_clock()


def teachers_trained(run: Run) -> dict[str, Teacher]:
    """The teachers that are trained here, by their roles."""
    teachers = teachers_in(run.config.teacher).items()
    return {role: teacher for role, teacher in teachers if isinstance(teacher, Teacher)}


def note_what_is_done(run: Run, log: Logbook) -> None:
    """Tell the progress how far the position is in each phase."""
    config, position = run.config, log.position

    def done(phase: str, share: float) -> None:
        log.progress.done(phase, share, repetition=position.repetition)

    for phase in log.progress.plan:
        done(phase, 1 if phase in position.finished else 0)
    if "student" in position.finished or (position.repetition > 0 and log.progress.times["labelling"] == 1):
        done("labelling", 1)
    for phase, outcome in position.reopened.items():
        done(phase, outcome.epochs / config.epochs)
    if position.current is not None:
        recipe: Recipe = config.of_control() if position.phase in ("control", "label_smoothing") else config
        recipe = teachers_trained(run).get(position.phase, recipe)
        batches = count_batches(len(run.train), recipe.batch_size, run.team, recipe.gradient_accumulation)
        epochs = position.current.epoch + position.current.batch / batches
        done(position.phase, epochs / recipe.epochs)


def macs_of_teacher(run: Run) -> int:
    """What a teacher costs for one image; of a file that somebody has brought, as far as anybody can tell."""
    if run.teacher_arch == ONNX and isinstance(run.config.teacher, TeacherUploaded):
        assert run.teacher_file is not None, "run() asks for it"
        graph = uploads.read_manifest(run.teacher_file).graph
        return 0 if graph is None else graph.macs
    return count_macs(run.teacher_arch, run, run.teacher_sees)


def count_macs(arch: str, run: Run, seen: Seen | None = None) -> int:
    """What the model costs for one image as models see it here, or as it sees it. Whatever it has against such
    images, it says here: before hours of training.

    Raises `ModelUnfit`.
    """
    shape, bare = seen or Seen(run.shape)
    try:
        return cost.macs(outline(arch, len(run.dataset.classes), shape, bare=bare), shape)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ModelUnfit(arch, shape, first_line(error)) from error


def count_macs_trained(run: Run) -> int:
    """What the objective trains beside the student costs for one image: it may be many times what the student does."""
    student, teacher = run.measures()
    if student is None:
        return 0
    total = 0
    with torch.device("meta"):
        stages, pooled_1D = tuple(torch.empty(1, *size) for size in student.stages), torch.empty(1, student.pooled)
        for term, _ in run.config.objective.terms:
            reads_pooled = READS.get(term.method) == "pooled"
            total += cost.macs_given(make_part(term, student, teacher), pooled_1D if reads_pooled else stages)
    return total
