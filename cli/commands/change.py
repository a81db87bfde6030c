"""What one asks of jobs that are there: `kd cancel`, `pause`, `resume`, `change`, `delete`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cli.errors import Misused, Trouble
from cli.given.options import AsJson, Job, Jobs, Label, Mode, Query, Status
from cli.given.specs import pairs
from cli.given.url import DEFAULT_URL, Url
from cli.shown.console import console, print_json, table

if TYPE_CHECKING:
    from client.answers import Json


def cancel(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB...]", help="Ids of jobs; or filters.", show_default=False)
    ] = None,
    status: Status = None,
    mode: Mode = None,
    label: Label = None,
    query: Query = None,
    every: Annotated[bool, typer.Option("--all", help="All jobs, or all that match the filters.")] = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Ask for the end of jobs. What they have saved stays."""
    from client import Client

    filters = {"status": status, "mode": mode, "label": label, "q": query}
    filtered = any(value is not None for value in filters.values())
    if jobs and (filtered or every):
        raise Misused("Give ids of jobs, or filters, not both.")
    if not jobs and not every:
        how = "--all beside the filters cancels all that match" if filtered else "--all cancels every job"
        raise Misused(f"Which jobs? Give their ids; {how}.")
    with Client(url) as client:
        if jobs:
            act(jobs, client.cancel, json, will_be="cancelled")
            return
        done = client.cancel_all(**filters, everything=not filtered)
    if json:
        print_json(done)
    else:
        console().print(f"{jobs_are(done['changed'])} cancelled, or will be in a moment.")


def pause(jobs: Jobs, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Put jobs aside, for as long as you like. A running one saves where it stands first."""
    from client import Client

    with Client(url) as client:
        act(jobs, client.pause, json, will_be="paused")


def resume(jobs: Jobs, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let paused jobs go on from their last checkpoints."""
    from client import Client

    with Client(url) as client:
        act(jobs, client.resume, json, will_be="resumed")


def change(
    job: Job,
    name: Annotated[str | None, typer.Option(help="What to call it; nothing ('') takes its name away.")] = None,
    label: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Its labels from now on; may be repeated; '' is none.")
    ] = [],  # noqa: B006  # typer copies it
    priority: Annotated[int | None, typer.Option(help="Higher starts first; -100 to 100.")] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Give a job another name, other labels, or another priority."""
    from client import Client

    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name or None
    if label:
        changes["labels"] = pairs([given for given in label if given])
    if priority is not None:
        changes["priority"] = priority
    if not changes:
        raise Misused("Nothing to change: give --name, --label or --priority.")
    with Client(url) as client:
        found = client.change(job, **changes)
    if json:
        print_json(found)
    else:
        console().print(f"{job} has another {' and '.join(changes)}.")


def delete(
    jobs: Jobs,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Forget jobs that are over, with their checkpoints, reports and logs."""
    from client import Client

    with Client(url) as client:
        found = [client.get(job) for job in dict.fromkeys(jobs)]
        if going := [job for job in found if not job["is_terminal"]]:
            said = ", ".join(f"{job['id']} is {job['status']}" for job in going)
            raise Trouble(
                f"{said}; nothing was deleted. `kd cancel {' '.join(job['id'] for job in going)}` comes first."
            )
        if not yes:
            shown = table("id", "status", "mode", "name")
            for job in found:
                shown.add_row(job["id"], job["status"], job["mode"], escape(job["name"] or ""))
            console().print(shown)
            typer.confirm("Delete this, with all files?", abort=True)
        ask_each([job["id"] for job in found], client.delete)
    console().print(f"{jobs_are(len(found))} deleted.")


def act(jobs: Sequence[str], ask: Callable[[str], "Json"], json: bool, *, will_be: str) -> None:
    """Ask it of every job, and say what came of it."""

    def say(job: "Json") -> None:
        if not json:
            console().print(outcome(job, will_be), markup=False)

    found = ask_each(jobs, ask, say)
    if json:
        print_json(found[0] if len(jobs) == 1 else found)


def outcome(job: "Json", will_be: str) -> str:
    if job["status"] == "paused":
        return f"{job['id']} is paused; `kd resume {job['id']}` goes on with it."
    if will_be == "resumed":
        return f"{job['id']} {'is queued again' if job['status'] == 'queued' else 'goes on'}."
    if job["is_terminal"]:
        return f"{job['id']} is {job['status']}."
    return f"{job['id']} will be {will_be} in a moment."


def ask_each(jobs: Sequence[str], ask: Callable[[str], Any], say: Callable[[Any], None] = lambda _: None) -> list[Any]:
    """The answers. What is refused for one job is said, and asked of the others all the same."""
    from client.errors import Refused

    answers, refused = [], 0
    for job in dict.fromkeys(jobs):
        try:
            answers.append(ask(job))
            say(answers[-1])
        except Refused as error:
            if len(jobs) == 1 or error.passing:
                raise
            refused += 1
            console(stderr=True).print(str(error), markup=False)
    if refused:
        raise Trouble(f"{refused} of {len(answers) + refused} jobs were left as they are.")
    return answers


def jobs_are(jobs: int) -> str:
    return "1 job is" if jobs == 1 else f"{jobs:,} jobs are"
