"""`kd run`: one run here and now, with no server and no database."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.commands.submit import SetMode, Settings, SpecFile
from cli.errors import Misused, Trouble, extra
from cli.given import specs
from cli.given.teacher_files import find_teacher_files
from cli.shown import results
from cli.shown.console import console, print_json
from cli.shown.narration import Narration
from cli.shown.progress import ProgressDisplay, progress_display
from cli.shown.results import Outcome
from jobs.envelope import Envelope
from jobs.files import layout
from kd import disk
from kd.events import Event, Finished, Saved, Step
from kd.labels.cache import DEFAULT_BYTES
from kd.outputs import PAGE, STUDENT, weights_of
from kd.run_folder import keep_best, prune_checkpoints, resume_files
from kd.spec import GuideSpec, TrainSpec, parse

MODES: dict[str, type[TrainSpec] | type[GuideSpec]] = {"train": TrainSpec, "guide": GuideSpec}
SPEC = "spec.json"


def run(
    context: typer.Context,
    spec: SpecFile = None,
    mode: SetMode = None,
    set_: Settings = [],  # noqa: B006  # typer copies it
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where everything goes. Default: a new folder in ./runs.")
    ] = None,
    data: Annotated[
        Path, typer.Option(envvar="STILLHOUSE_DATA_DIR", help="Data sets and label tables, shared between runs.")
    ] = Path("data"),
    teacher_file: Annotated[
        list[Path],
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The weights of each model of a job that the spec names: of teachers, and of what models begin from.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    models: Annotated[
        list[Path],
        typer.Option(
            help="A Python file with architectures of your own, MODELS = {name: factory}; specs name them own/NAME."
        ),
    ] = [],  # noqa: B006  # typer copies it
    label_cache_bytes: Annotated[
        int,
        typer.Option(
            envvar="STILLHOUSE_LABEL_CACHE_BYTES", min=0, help="What all label tables may take on disk; 0: no limit."
        ),
    ] = DEFAULT_BYTES,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    extend_to: Annotated[
        int | None,
        typer.Option(
            "--extend-to",
            metavar="EPOCHS",
            help="With --resume: go on for so many student epochs in all, whatever the run was asked for.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Say nothing but the result, as JSON.")] = False,
) -> None:
    """Distil on this machine, without a server."""
    if resume and out is None:
        raise Misused("--resume needs --out, the folder of the run to go on with.")
    if extend_to is not None:
        if not resume:
            raise Misused("--extend-to goes with --resume; a new run is asked for its epochs with --set config.epochs.")
        set_ = [*set_, f"config.epochs={extend_to}"]
    if resume and spec is None and mode is None:
        spec = str(out) + f"/{SPEC}"
    register(models, context)
    run_spec = parse_spec(specs.assemble(spec, mode, set_), data)
    folder = out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{run_spec.mode}"
    if resume_files(folder) and not resume:
        raise Misused(f"{folder} holds a run already; --resume goes on with it, another --out starts afresh.")
    if not resume_files(folder) and resume:
        raise Misused(f"{folder} holds nothing to resume.")
    teacher_files = find_teacher_files(run_spec, teacher_file, data, folder if resume else None)
    with extra("kd", "run"):
        import torch  # noqa: F401  # takes seconds, so only once the rest is in order

    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        write_spec(run_spec, folder)
    narration = Narration()
    with progress_display(quiet=as_json) as progress:
        if run_spec.config.resources.memory_gb is not None:
            progress.say("config.resources.memory_gb holds the jobs of a server to it; this run takes what it needs.")
        try:
            finished = follow(
                distil(
                    run_spec,
                    folder,
                    data,
                    resume,
                    teacher_files,
                    device,
                    label_cache_bytes,
                    progress,
                    extends=extend_to is not None,
                ),
                run_spec,
                folder,
                narration,
                progress,
            )
        except KeyboardInterrupt:
            goes_on = (
                f"`kd run --resume --out {folder}` goes on from there" if resume_files(folder) else "nothing was saved"
            )
            progress.say(f"Stopped; {goes_on}.")
            raise typer.Exit(130) from None
    student = folder / STUDENT
    if as_json:
        print_json({**finished.model_dump(mode="json", exclude={"event"}), "student": str(student)})
        return
    show(run_spec, finished, folder, narration)
    console().print(f"The student is {student}, the report {folder / PAGE}.", markup=False)


def register(models: list[Path], context: typer.Context) -> None:
    """Have the models of these files until the command ends."""
    if models:
        with extra("kd", "run"):
            from kd.models.own import files
        context.with_resource(files.registered(models))


def write_spec(run_spec: TrainSpec | GuideSpec, folder: Path) -> None:
    """Put the spec where `--resume` finds it."""
    disk.write(folder, Path(SPEC), lambda file: file.write(run_spec.model_dump_json(indent=2).encode() + b"\n"))


def show(run_spec: TrainSpec | GuideSpec, finished: Finished, folder: Path, narration: Narration) -> None:
    """The result of a run that is over."""
    from kd.models.weights import read_facts

    config = run_spec.config.model_dump(mode="json")
    files = {role: folder / weights_of(role) for role in (*results.teachers(config), "student")}
    outcome = Outcome(
        finished.metrics,
        finished.seconds,
        archs=results.archs(config, {role: read_facts(file).arch for role, file in files.items()}),
        sizes={role: file.stat().st_size for role, file in files.items()},
        verdict=narration.verdict,
        brought=results.brought(config),
    )
    results.show(outcome, console())


def parse_spec(given: dict[str, Any], data: Path) -> TrainSpec | GuideSpec:
    """The spec, or every problem of it by its pointer, as the server would say it."""
    from kd.spec import faults

    given = {name: value for name, value in given.items() if name not in Envelope.model_fields}
    if given.get("mode") not in MODES:
        raise Misused(f"There is no mode {given.get('mode')!r}; the modes are {', '.join(MODES)}.")
    try:
        return parse(json.dumps(given), data_folder=data / layout.DATASETS)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        found = faults.find(details, given, model=MODES[given["mode"]])
        lines = [f"  {fault.pointer or '(the whole)'}: {fault.message}" for fault in found]
        raise Trouble("\n".join(["The spec cannot be run:", *lines])) from error


def distil(
    run_spec: TrainSpec | GuideSpec,
    folder: Path,
    data: Path,
    resume: bool,
    teacher_files: list[Path],
    device: str,
    label_cache_bytes: int,
    progress: ProgressDisplay,
    *,
    extends: bool = False,
) -> Iterator[Event]:
    """The run's events. Should the newest resume file be damaged, the one before serves."""
    from kd.errors import DamagedResume
    from kd.run import run

    candidates: list[Path | None] = [*resume_files(folder)] if resume else [None]
    for candidate in candidates:
        try:
            yield from run(
                run_spec,
                folder,
                candidate,
                data_folder=data / layout.DATASETS,
                label_folder=data / layout.LABELS,
                teacher_files=[(file, None) for file in teacher_files],
                extends=extends,
                device=device,
                label_cache_bytes=label_cache_bytes,
            )
            return
        except DamagedResume as error:
            if candidate is candidates[-1]:
                raise
            progress.say(f"{error} Trying the one before.")


def follow(
    events: Iterator[Event],
    run_spec: TrainSpec | GuideSpec,
    folder: Path,
    narration: Narration,
    progress: ProgressDisplay,
) -> Finished:
    """Show and keep what the run says; answers with its last word."""
    is_kept = False
    try:
        for event in events:
            if isinstance(event, Step):
                progress.show(event.model_dump(), narration.accuracy.get(event.phase))
            elif isinstance(event, Saved):
                # Of a run that goes on only now: until there is a resume state for it the old spec is what fits.
                if not is_kept:
                    write_spec(run_spec, folder)
                    is_kept = True
                keep_best(event, folder)
            for line in narration.narrate(event.event, event.model_dump()):
                progress.say(line)
            if isinstance(event, Finished):
                prune_checkpoints(folder)
                return event
    except (MemoryError, RuntimeError, OSError) as error:
        if (trouble := known_failure(error)) is None:
            raise
        raise trouble from error
    raise AssertionError("a run's last word is Finished")


def known_failure(error: BaseException) -> Trouble | None:
    """What can happen to any run and is no bug: no memory, no disk, a failing GPU."""
    from jobs.endings import Code
    from worker.children.failures import explain

    ending = explain(error)
    if ending.code in (Code.OUT_OF_MEMORY, Code.DISK_FULL, Code.DISK_ERROR, Code.CUDA_ERROR):
        return Trouble(f"{ending.message}\n{ending.hint}")
    return None
