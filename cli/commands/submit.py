"""`kd submit` and `kd retry`: a queued job, from a spec file or from a job that is over."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.given import durations, specs
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json

if TYPE_CHECKING:
    from client import Client
    from client.answers import Json


class Mode(StrEnum):
    TRAIN = "train"
    GUIDE = "guide"


SpecFile = Annotated[str | None, typer.Argument(help="A YAML or JSON file; - reads stdin.", show_default=False)]
SetMode = Annotated[Mode | None, typer.Option("--mode", help="The spec's mode; with it a file is optional.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change a field, as in config.student.arch=cnn_small.")
]
Name = Annotated[str | None, typer.Option(help="What to call the job.")]
Labels = Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="To find jobs by; may be repeated.")]
Priority = Annotated[int | None, typer.Option(help="Higher starts first; -100 to 100.")]
MaxRun = Annotated[
    float | None,
    typer.Option(parser=durations.seconds, metavar="DURATION", help="The longest it may train, as in 90s, 30m, 12h."),
]
MaxQueue = Annotated[
    float | None,
    typer.Option(parser=durations.seconds, metavar="DURATION", help="The longest it may wait for its first start."),
]
MaxStall = Annotated[
    float | None,
    typer.Option(parser=durations.seconds, metavar="DURATION", help="The longest its trainer may say nothing."),
]
KeepLast = Annotated[int | None, typer.Option(help="How many of the newest checkpoints to keep, beside the best.")]
Watch = Annotated[bool, typer.Option("--watch", help="Then follow the job to its end.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the job as JSON.")]


def submit(
    spec: SpecFile = None,
    mode: SetMode = None,
    set_: Settings = [],  # noqa: B006  # typer copies it
    name: Name = None,
    label: Labels = [],  # noqa: B006
    priority: Priority = None,
    max_run: MaxRun = None,
    max_queue: MaxQueue = None,
    max_stall: MaxStall = None,
    keep_last: KeepLast = None,
    watch: Watch = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only ask whether it would be taken, and what would come of it.")
    ] = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Queue a run."""
    from client import Client

    given = specs.assemble(spec, mode, set_)
    specs.put_over(given, "labels", specs.pairs(label))
    specs.put_over(given, "limits", limits(max_run, max_queue, max_stall))
    with Client(url) as client:
        if dry_run:
            foresee(client.validate(given), json)
            return
        present(client, client.submit(given, name=name, priority=priority, keep_last=keep_last), watch, json)


def foresee(found: "Json", json: bool) -> None:
    """What a run would read and write."""
    if json:
        print_json(found)
        return
    to = console()
    shown = "; ".join(f"{role} {numbers.count(images)}" for role, images in found["images_shown"].items())
    to.print(f"It would be taken. {numbers.count(found['images'])} images to learn from.", markup=False)
    to.print(f"Shown: {shown}.", markup=False)
    table = found["label_table_bytes"]
    kept = "" if table is None else f", a table of {numbers.size(table)}"
    to.print(f"Labelled: {numbers.count(found['images_labelled'])}{kept}.", markup=False)
    to.print(how_long(found["estimate"]), markup=False)
    if found["waits_for"] is not None:
        to.print(f"It would wait for the teacher of {found['waits_for']}.", markup=False)


def how_long(estimate: "Json") -> str:
    """By what jobs before it took."""
    if not estimate["jobs"]:
        return "How long it takes will be known when a job has run here."
    if estimate["total_seconds"] is None:
        unknown = ", ".join(phase for phase, seconds in estimate["seconds"].items() if seconds is None)
        return f"How long it takes is not known: nothing like its {unknown} has run here."
    phases = ", ".join(f"{phase} {numbers.clock(seconds)}" for phase, seconds in estimate["seconds"].items())
    off = f", give or take {estimate['error']:.0%}" if estimate.get("error") is not None else ""
    memory = (
        f" The same models took {numbers.size(estimate['memory_bytes'])} of memory."
        if estimate.get("memory_bytes")
        else ""
    )
    return f"It takes about {numbers.clock(estimate['total_seconds'])}{off}, as jobs before it did: {phases}.{memory}"


def retry(
    job: Annotated[str, typer.Argument(help="The id of a job that is over.", show_default=False)],
    suggested: Annotated[
        bool, typer.Option("--suggested", help="With the change that the failed job suggests; `kd show` says which.")
    ] = False,
    set_: Settings = [],  # noqa: B006  # typer copies it
    name: Name = None,
    label: Labels = [],  # noqa: B006
    priority: Priority = None,
    max_run: MaxRun = None,
    max_queue: MaxQueue = None,
    max_stall: MaxStall = None,
    keep_last: KeepLast = None,
    watch: Watch = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Queue a job that is over once more, as a new one. `--set config.ema=null` takes a field back to its default."""
    from client import Client

    patch: dict[str, Any] = {}
    for setting in set_:
        specs.put(patch, setting)
    with Client(url) as client:
        again = client.retry(
            job,
            patch=patch or None,
            suggested=suggested,
            name=name,
            labels=specs.pairs(label) or None,
            priority=priority,
            limits=limits(max_run, max_queue, max_stall) or None,
            keep_last=keep_last,
        )
        present(client, again, watch, json)


def limits(max_run: float | None, max_queue: float | None, max_stall: float | None) -> dict[str, float]:
    """Those that were given."""
    given = {"max_run_seconds": max_run, "max_queue_seconds": max_queue, "max_stall_seconds": max_stall}
    return {name: seconds for name, seconds in given.items() if seconds is not None}


def present(client: "Client", job: "Json", watch: bool, json: bool) -> None:
    """Say what the new job is called, or follow it."""
    from cli.commands.watch import follow

    if watch:
        if not json:
            console().print(f"{job['id']} is {job['status']}.")
        raise typer.Exit(follow(client, job["id"], json=json))
    if json:
        print_json(job)
    elif console().is_terminal:
        console().print(f"{job['id']} is {job['status']}; `kd watch {job['id']}` follows it.")
    else:
        console().print(job["id"])  # for JOB=$(kd submit …)
