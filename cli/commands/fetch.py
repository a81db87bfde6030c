"""`kd download`, `kd report` and `kd logs`: what a job has left on the server."""

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Misused
from cli.given.options import AsJson, Job
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, print_log
from kd.outputs import CARD, PAGE, REPORT


def logs(
    job: Job,
    tail: Annotated[int | None, typer.Option(min=1, help="Only the last lines.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Print what a job's trainer printed."""
    from client import Client

    with Client(url) as client:
        print_log(client.logs(job, tail))


def download(
    job: Job,
    checkpoint: Annotated[str, typer.Option(help="best, last, or a checkpoint's id.")] = "best",
    artifact: Annotated[
        str | None, typer.Option(help="Instead: a file beside the checkpoints, as in teacher.safetensors.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="A file or a folder.", show_default=False)] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Fetch a job's student. Goes on from a partial file, and checks its sha256."""
    from client import Client

    with Client(url) as client:
        path = client.download(job, checkpoint, to) if artifact is None else client.download_artifact(job, artifact, to)
    if json:
        print_json({"path": str(path), "size": path.stat().st_size})
    else:
        console().print(f"{path} ({numbers.size(path.stat().st_size)}; sha256 as the server promised)", markup=False)


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
