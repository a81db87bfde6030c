"""`kd download`, `kd report` and `kd logs`: what a job has left on the server."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.watch import follow
from cli.errors import Misused, Trouble
from cli.given.options import AsJson, Job
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, print_log
from kd.outputs import CARD, ONNX_ARCHIVE, PAGE, REPORT


def logs(
    job: Job,
    tail: Annotated[int | None, typer.Option(min=1, help="Only the last lines.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Print what a job's trainer printed."""
    from client import Client

    with Client(url) as client:
        print_log(client.logs(job, tail))


if TYPE_CHECKING:
    from client import Client


class Export(StrEnum):
    ONNX = "onnx"


def download(
    job: Job,
    checkpoint: Annotated[str, typer.Option(help="best, last, or a checkpoint's id.")] = "best",
    artifact: Annotated[
        str | None, typer.Option(help="Instead: a file beside the checkpoints, as in teacher.safetensors.")
    ] = None,
    export: Annotated[
        Export | None,
        typer.Option(
            "--as",
            help="Instead: a file of the best student that runs elsewhere, in an archive with all that it needs; made "
            "and compared with the student first, unless it was.",
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="A file or a folder.", show_default=False)] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's student. Goes on from a partial file, and checks its sha256."""
    from client import Client

    if export is not None and (artifact is not None or checkpoint != "best"):
        raise Misused("--as is of the best student: leave --checkpoint and --artifact out.")
    with Client(url) as client:
        if export is not None:
            # Named after the job whose student it is, and not after the one that has made the file.
            named = f"{job}-{ONNX_ARCHIVE}"
            place = Path(named) if to is None else to / named if to.is_dir() else to
            path = client.download_artifact(_exported(client, job, export, quiet=json), ONNX_ARCHIVE, place)
        elif artifact is not None:
            path = client.download_artifact(job, artifact, to)
        else:
            path = client.download(job, checkpoint, to)
    if json:
        print_json({"path": str(path), "size": path.stat().st_size})
    else:
        console().print(f"{path} ({numbers.size(path.stat().st_size)}; sha256 as the server promised)", markup=False)


def _exported(client: "Client", job: str, export: Export, *, quiet: bool) -> str:
    """The job that has made the file. Raises `Trouble`, or ends the command, where it makes none."""
    made = client.export_student(job, export.value)
    if made["status"] != "succeeded" and not quiet and (code := follow(client, made["id"])):
        raise typer.Exit(code)
    if quiet and (ended := client.wait(made["id"]))["status"] != "succeeded":
        raise Trouble((ended["error"] or {}).get("message", f"{made['id']} was {ended['status']}."))
    return str(made["id"])


def report(
    job: Job,
    html: Annotated[
        bool, typer.Option("--html", help="As a page, in a file: without scripts, loading nothing.")
    ] = False,
    card: Annotated[bool, typer.Option("--card", help="As the model card of the student, in a file.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "--to", "-o", help="A file or a folder. Default: one named after the job.", show_default=False
        ),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Print a job's report as JSON, or fetch it as a page or a model card."""
    from client import Client

    if html and card:
        raise Misused("--html and --card are two files: ask for one after the other.")
    with Client(url) as client:
        if not (html or card or output):
            print_json(client.report(job))
            return
        path = client.download_artifact(job, PAGE if html else CARD if card else REPORT, output)
    console().print(f"{path} ({numbers.size(path.stat().st_size)})", markup=False)
