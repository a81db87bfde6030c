"""`kd run`: one run here and now, with no server and no database."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.commands.submit import SetMode, Settings, SpecFile
from cli.errors import Misused, Trouble, extra
from cli.given import specs
from cli.shown import results
from cli.shown.console import console, print_json
from cli.shown.narration import Story
from cli.shown.progress import Display, display
from cli.shown.results import Outcome
from kd.events import Event, Finished, Saved, Step
from kd.labels.cache import DEFAULT_BYTES
from kd.spec import GuideSpec, TeacherOfJob, TrainSpec, parse

MODES: dict[str, type[TrainSpec] | type[GuideSpec]] = {"train": TrainSpec, "guide": GuideSpec}
# Two, so that one is left should the machine die while it writes the newer one's successor.
KEPT_RESUME_FILES = 2
STUDENT = "student.safetensors"
TEACHER = "teacher.safetensors"


def run(
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
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The weights of the teacher, if config.teacher names a job."),
    ] = None,
    label_cache_bytes: Annotated[
        int,
        typer.Option(
            envvar="STILLHOUSE_LABEL_CACHE_BYTES", min=0, help="What all label tables may take on disk; 0: no limit."
        ),
    ] = DEFAULT_BYTES,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Say nothing but the result, as JSON.")] = False,
) -> None:
    """Distil on this machine, without a server."""
    if resume and out is None:
        raise Misused("--resume needs --out, the folder of the run to go on with.")
    if resume and spec is None and mode is None:
        spec = str(out) + "/spec.json"
    asked = understood(specs.assemble(spec, mode, set_))
    folder = out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{asked.mode}"
    if resumables(folder) and not resume:
        raise Misused(f"{folder} holds a run already; --resume goes on with it, another --out starts afresh.")
    if not resumables(folder) and resume:
        raise Misused(f"{folder} holds nothing to resume.")
    teacher_file = brought_along(asked, teacher_file, folder if resume else None)
    with extra("kd", "run"):
        import torch  # noqa: F401  # takes seconds, so only once the rest is in order

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(asked.model_dump_json(indent=2) + "\n")
    story = Story()
    with display(quiet=as_json) as shown:
        try:
            finished = go(
                distil(asked, folder, data, resume, teacher_file, device, label_cache_bytes, shown),
                folder,
                story,
                shown,
            )
        except KeyboardInterrupt:
            goes_on = (
                f"`kd run --resume --out {folder}` goes on from there" if resumables(folder) else "nothing was saved"
            )
            shown.say(f"Stopped; {goes_on}.")
            raise typer.Exit(130) from None
    student = folder / STUDENT
    if as_json:
        print_json({**finished.model_dump(mode="json", exclude={"event"}), "student": str(student)})
        return
    show(asked, finished, folder, story)
    console().print(f"The student is {student}, the report {folder / 'report.json'}.", markup=False)


def show(asked: TrainSpec | GuideSpec, finished: Finished, folder: Path, story: Story) -> None:
    """The result of a run that is over."""
    from kd.models.weights import read_facts

    config, teacher = asked.config.model_dump(), folder / TEACHER
    outcome = Outcome(
        finished.metrics,
        finished.seconds,
        archs=results.archs(config, read_facts(teacher).arch),
        sizes={"student": (folder / STUDENT).stat().st_size, "teacher": teacher.stat().st_size},
        verdict=story.verdict,
        teacher_brought=results.is_brought(config),
    )
    results.show(outcome, console())


def brought_along(asked: TrainSpec | GuideSpec, given: Path | None, resumed: Path | None) -> Path | None:
    """The weights of a teacher that another job trained; a run that goes on has kept them in its folder."""
    teacher = asked.config.teacher
    if not isinstance(teacher, TeacherOfJob):
        if given is not None:
            raise Misused("--teacher-file needs a spec whose config.teacher names a job; this one trains its own.")
        return None
    if given is None and resumed is not None and (resumed / TEACHER).exists():
        return resumed / TEACHER
    if given is None:
        which = f"--artifact {TEACHER}" if teacher.role == "teacher" else "--checkpoint best"
        raise Misused(
            f"config.teacher names a job, so --teacher-file must name its weights: `kd download {teacher.job} {which}` "
            "fetches them."
        )
    return given


def understood(given: dict[str, Any]) -> TrainSpec | GuideSpec:
    """The spec, or every problem of it by its pointer, as the server would say it."""
    from kd.spec import faults

    given = {name: value for name, value in given.items() if name not in specs.ENVELOPE}
    if given.get("mode") not in MODES:
        raise Misused(f"There is no mode {given.get('mode')!r}; the modes are {', '.join(MODES)}.")
    try:
        return parse(json.dumps(given))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        found = faults.find(details, given, model=MODES[given["mode"]])
        lines = [f"  {fault.pointer or '(the whole)'}: {fault.message}" for fault in found]
        raise Trouble("\n".join(["The spec cannot be run:", *lines])) from error


def distil(
    asked: TrainSpec | GuideSpec,
    folder: Path,
    data: Path,
    resume: bool,
    teacher_file: Path | None,
    device: str,
    label_cache_bytes: int,
    shown: Display,
) -> Iterator[Event]:
    """The run's events. Should the newest resume file be damaged, the one before serves."""
    from kd.errors import BadResume
    from kd.run import run

    candidates: list[Path | None] = [*resumables(folder)] if resume else [None]
    for candidate in candidates:
        try:
            yield from run(
                asked,
                folder,
                candidate,
                data_folder=data / "datasets",
                label_folder=data / "labels",
                teacher_file=teacher_file,
                device=device,
                label_cache_bytes=label_cache_bytes,
            )
            return
        except BadResume as error:
            if candidate is candidates[-1]:
                raise
            shown.say(f"{error} Trying the one before.")


def go(events: Iterator[Event], folder: Path, story: Story, shown: Display) -> Finished:
    """Show and keep what the run says; answers with its last word."""
    try:
        for event in events:
            if isinstance(event, Step):
                shown.show(event.model_dump(), story.accuracy.get(event.phase))
            elif isinstance(event, Saved):
                keep(event, folder)
            for line in story.hear(event.event, event.model_dump()):
                shown.say(line)
            if isinstance(event, Finished):
                tidy(folder)
                return event
    except (MemoryError, RuntimeError, OSError) as error:
        if (trouble := expected(error)) is None:
            raise
        raise trouble from error
    raise AssertionError("a run's last word is Finished")


def keep(saved: Saved, folder: Path) -> None:
    """Put the best student where people find it."""
    if saved.student is not None and saved.best:
        part = folder / f".{STUDENT}.part"
        shutil.copyfile(folder / saved.student.path, part)
        os.replace(part, folder / STUDENT)
    tidy(folder)


def tidy(folder: Path) -> None:
    """Remove the checkpoints that newer ones replace."""
    for old in resumables(folder)[KEPT_RESUME_FILES:]:
        old.unlink()
        old.with_name(STUDENT).unlink(missing_ok=True)
        if not any(old.parent.iterdir()):
            old.parent.rmdir()


def resumables(folder: Path) -> list[Path]:
    """The resume files of a run, newest first: their folders' names hold the step."""
    return sorted(folder.glob("checkpoints/step-*/resume.pt"), reverse=True)


def expected(error: BaseException) -> Trouble | None:
    """What can happen to any run and is no bug: no memory, no disk, a failing GPU."""
    from jobs.endings import Code
    from worker.failures import explain

    ending = explain(error)
    if ending.code in (Code.OUT_OF_MEMORY, Code.DISK_FULL, Code.CUDA_ERROR):
        return Trouble(f"{ending.message}\n{ending.hint}")
    return None
