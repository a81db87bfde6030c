"""`kd download` and `kd logs`: what a job has left on the server."""

from pathlib import Path
from typing import Annotated

import typer

from cli.given.options import AsJson, Job
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, print_log


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
