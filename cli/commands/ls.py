"""`kd ls`: the jobs of a server, one a line."""

import itertools
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.given.options import AsJson, Label, Mode, Query, Status
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers, status
from cli.shown.console import console, print_json, table

if TYPE_CHECKING:
    from client.answers import Json


def ls(
    status: Status = None,
    mode: Mode = None,
    label: Label = None,
    query: Query = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List jobs, newest first."""
    from client import Client

    with Client(url) as client:
        found = client.list(status=status, mode=mode, label=label, q=query, page_size=min(limit, 100))
        jobs = list(itertools.islice(found, limit))
    if json:
        print_json(jobs)
        return
    shown = table(
        "id", "status", "mode", "name", "progress", "student", "gain", "age", right=("student", "gain", "age")
    )
    for job in jobs:
        metrics = (job["result"] or {}).get("metrics", {})
        shown.add_row(
            job["id"],
            job["status"],
            job["mode"],
            escape(job["name"] or ""),
            progress(job),
            numbers.per_cent(metrics["student.test.top1"]) if "student.test.top1" in metrics else "",
            numbers.points(metrics["gain"]) if "gain" in metrics else "",
            numbers.age(job["created_at"]),
        )
    console().print(shown)
    if any(job["status"] == "paused" for job in jobs):
        console().print("`kd resume JOB` goes on with a paused job.")


def progress(job: "Json") -> str:
    """How far a job is, or at which place of the queue and why."""
    if job["status"] == "queued":
        return status.place(job)
    if job["status"] == "running":
        return f"{job['phase'] or 'starting'} {(job['progress']['fraction'] or 0) * 100:.0f} %"
    return f"{(job['progress']['fraction'] or 0) * 100:.0f} %" if job["status"] == "paused" else ""
