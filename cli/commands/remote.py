"""What one asks of a server about its jobs: `kd ls`, `show`, `logs`, `download`."""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.commands.watch import conclude
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers, results, status
from cli.shown.console import console, print_json, table
from cli.shown.narration import heard
from cli.shown.progress import described

if TYPE_CHECKING:
    from client.http import Json

Job = Annotated[str, typer.Argument(help="The job's id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Status = Annotated[str | None, typer.Option(help="queued, running, paused, succeeded, failed or cancelled.")]
Mode = Annotated[str | None, typer.Option(help="train or guide.")]
Label = Annotated[str | None, typer.Option(metavar="KEY=VALUE", help="Jobs with this label.")]
Query = Annotated[str | None, typer.Option("--query", "-q", help="Part of an id or a name.")]


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


def show(job: Job, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show a job: its state, what it was asked for, and what came of it."""
    from client import Client

    with Client(url) as client:
        found = client.get(job)
        if json:
            print_json(found)
            return
        to = console()
        grid = Table.grid(padding=(0, 2))
        for name, value in facts(found).items():
            grid.add_row(name, escape(value))
        to.print(grid)
        if found["is_terminal"]:
            conclude(client, found, heard(client.events(job)))


def facts(job: "Json") -> dict[str, str]:
    """What there is to say of a job, in words."""
    config, so_far = job["resolved_spec"]["config"], job["progress"]
    who = results.archs(config)
    said = {
        "job": job["id"],
        "name": job["name"],
        "status": f"{job['status']}{status.ending(job)}",
        "waiting": status.waiting(job) if job["status"] == "queued" else None,
        "to go on": f"`kd resume {job['id']}`" if job["status"] == "paused" else None,
        "run": f"{job['mode']} on {config['dataset']}: {who['teacher']} teaches {who['student']}",
        "labels": ", ".join(f"{key}={value}" for key, value in job["labels"].items()),
        "priority": str(job["priority"]) if job["priority"] else None,
        "limits": status.limits(job),
        "keeps": f"the best checkpoint and the last {job['keep_last']}" if job.get("keep_last", 1) != 1 else None,
        "retry of": job["parent_job_id"],
        "progress": f"{(so_far['fraction'] or 0) * 100:.0f} %, {described(so_far, None)}" if job["phase"] else None,
        "trained": numbers.clock(job["run_seconds"]) if job.get("run_seconds") else None,
        "attempt": str(job["attempt"]) if job["attempt"] > 1 else None,
        "worker": job["worker"],
    }
    for moment in ("created", "started", "finished"):
        said[moment] = job[f"{moment}_at"] and f"{numbers.age(job[f'{moment}_at'])} ago"
    return {name: value for name, value in said.items() if value}


def logs(
    job: Job,
    tail: Annotated[int | None, typer.Option(min=1, help="Only the last lines.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Print what a job's trainer printed."""
    from client import Client

    with Client(url) as client:
        sys.stdout.write(client.logs(job, tail))


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
