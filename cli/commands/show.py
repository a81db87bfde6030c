"""`kd show`: all there is to know of one job."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from cli.commands.watch import show_outcome
from cli.given.options import AsJson, Job
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers, results, status
from cli.shown.console import console, print_json
from cli.shown.narration import narration_of
from cli.shown.progress import description

if TYPE_CHECKING:
    from client.answers import Json


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
            show_outcome(client, found, narration_of(client.events(job)))


def run(job: "Json") -> str:
    """What it does, in a line."""
    config = job["resolved_spec"]["config"]
    if job["mode"] == "ingest":
        return f"ingest of {config['name']}"
    if job["mode"] == "evaluate":
        return f"evaluation of {config['teacher'].get('upload')} on {config['dataset']}"
    if job["mode"] == "export":
        return f"export of the student of {config['model']['job']} as {config['format']}"
    who = results.archs(config)
    return f"{job['mode']} on {config['dataset']}: {who['teacher']} teaches {who['student']}"


def expected(job: "Json") -> str | None:
    """What it was thought to take when it began."""
    estimate = job.get("estimate") or {}
    total = estimate.get("total_seconds")
    return None if total is None else f"{numbers.clock(total)}, by what {estimate['jobs']} before it took"


def facts(job: "Json") -> dict[str, str]:
    """What there is to say of a job, in words."""
    so_far = job["progress"]
    said = {
        "job": job["id"],
        "name": job["name"],
        "status": f"{job['status']}{status.pending_request(job)}",
        "waiting": status.queue_reason(job) if job["status"] == "queued" else None,
        "to go on": f"`kd resume {job['id']}`" if job["status"] == "paused" else None,
        "run": run(job),
        "labels": ", ".join(f"{key}={value}" for key, value in job["labels"].items()),
        "priority": str(job["priority"]) if job["priority"] else None,
        "limits": status.limits(job),
        "keeps": f"the best checkpoint and the last {job['keep_last']}" if job.get("keep_last", 1) != 1 else None,
        "retry of": job["parent_job_id"],
        "progress": f"{(so_far['fraction'] or 0) * 100:.0f} %, {description(so_far, None)}" if job["phase"] else None,
        "expected": expected(job),
        "trained": numbers.clock(job["run_seconds"]) if job.get("run_seconds") else None,
        "attempt": str(job["attempt"]) if job["attempt"] > 1 else None,
        "worker": job["worker"],
    }
    for moment in ("created", "started", "finished"):
        said[moment] = job[f"{moment}_at"] and f"{numbers.age(job[f'{moment}_at'])} ago"
    return {name: value for name, value in said.items() if value}
