"""Who works: `kd workers`, `drain`, `undrain`."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, table

Worker = Annotated[str, typer.Argument(help="The worker's name, as `kd workers` shows it.", show_default=False)]


def workers(json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List workers, and what they work on."""
    from client import Client

    with Client(url) as client:
        found = list(client.workers())
    if json:
        print_json(found)
        return
    if not found:
        console().print("No worker is there; `kd work` starts one.")
        return
    shown = table("name", "status", "job", "GPUs", "memory", "heartbeat", "trouble", right=("GPUs", "memory"))
    for worker in found:
        shown.add_row(
            escape(worker["name"]),
            worker["status"],
            worker["job_id"] or "",
            str(worker["gpus"]),
            numbers.size(worker["memory_bytes"]),
            f"{numbers.span(worker['heartbeat_age_seconds'])} ago",
            escape(worker["trouble"] or ""),
        )
    console().print(shown)


def drain(worker: Worker, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a worker give its job back to the queue and take no more."""
    from client import Client

    with Client(url) as client:
        found = client.drain(worker)
    if json:
        print_json(found)
        return
    job = f"; {found['job_id']} goes back to the queue with all that was done of it" if found["job_id"] else ""
    console().print(f"{worker} takes no more jobs{job}. `kd undrain {worker}` takes that back.", markup=False)


def undrain(worker: Worker, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a worker take jobs again."""
    from client import Client

    with Client(url) as client:
        found = client.undrain(worker)
    if json:
        print_json(found)
    else:
        console().print(f"{worker} takes jobs again.", markup=False)
