"""`kd sweep`: many runs from one file, their table, and their picture."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cli.commands.submit import Labels, Name, Priority, Settings, SpecFile
from cli.given import specs
from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, table

if TYPE_CHECKING:
    from client.answers import Json

app = typer.Typer(no_args_is_help=True, help="Many runs at once, which differ in a few fields.")

Sweep = Annotated[str, typer.Argument(help="The sweep's id.", show_default=False)]


@app.command()
def submit(
    plan: SpecFile,
    set_: Settings = [],  # noqa: B006  # typer copies it
    name: Name = None,
    label: Labels = [],  # noqa: B006
    priority: Priority = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Queue a sweep: a spec with a `space`, as in {config.optimizer.lr: {grid: [0.01, 0.1]}}."""
    from client import Client

    given = specs.assemble(plan, None, set_)
    specs.put_over(given, "labels", specs.pairs(label))
    given |= {field: value for field, value in (("name", name), ("priority", priority)) if value is not None}
    with Client(url) as client:
        made = client.sweeps.submit(given)
    if json:
        print_json(made)
    elif console().is_terminal:
        console().print(f"{made['id']} has {made['planned']} jobs at most; `kd sweep show {made['id']}` shows them.")
    else:
        console().print(made["id"])


@app.command()
def ls(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List sweeps, newest first."""
    from client import Client

    with Client(url) as client:
        sweeps = list(itertools.islice(client.sweeps.list(page_size=min(limit, 100)), limit))
    if json:
        print_json(sweeps)
        return
    shown = table("id", "status", "mode", "sampler", "jobs", "name", "age", right=("jobs", "age"))
    for sweep in sweeps:
        shown.add_row(
            sweep["id"],
            sweep["status"],
            sweep["mode"],
            sweep["sampler"],
            str(sweep["planned"]),
            escape(sweep["name"] or ""),
            numbers.age(sweep["created_at"]),
        )
    console().print(shown)


@app.command()
def show(sweep: Sweep, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show a sweep's members, the best by validation first."""
    from client import Client

    with Client(url) as client:
        found = client.sweeps.get(sweep)
    if json:
        print_json(found)
        return
    counts = ", ".join(f"{count} {status}" for status, count in found["counts"].items())
    console().print(f"{sweep} is {found['status']}: {counts}, of {found['planned']} jobs at most.", markup=False)
    fields = list(found["members"][0]["point"]) if found["members"] else []
    measured = ("validation", "gain on test", "parameters", "latency")
    shown = table("", "job", "status", *(name.removeprefix("config.") for name in fields), *measured, right=measured)
    for member in sorted(found["members"], key=_rank):
        shown.add_row(
            f"{member['number']}{'*' if member['on_front'] else ''}",
            member["job_id"] or "",
            escape(_status(member)),
            *(escape(_short(member["point"].get(name))) for name in fields),
            *_measured(member),
        )
    console().print(shown)
    if any(member["on_front"] for member in found["members"]):
        console().print("* no other is at least as accurate, small and fast, and better in one.")


@app.command()
def pause(sweep: Sweep, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Put a sweep aside, with all its jobs."""
    _ask(url, sweep, json, "pause")


@app.command()
def resume(sweep: Sweep, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused sweep go on."""
    _ask(url, sweep, json, "resume")


@app.command()
def cancel(sweep: Sweep, json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Ask for the end of a sweep and of all its jobs. What they have saved stays."""
    _ask(url, sweep, json, "cancel")


@app.command()
def delete(
    sweep: Sweep,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Forget a sweep that is over, its jobs, and their files."""
    from client import Client

    with Client(url) as client:
        if not yes:
            found = client.sweeps.get(sweep)
            typer.confirm(f"Delete {sweep} and its {len(found['members'])} jobs, with all files?", abort=True)
        client.sweeps.delete(sweep)
    console().print(f"{sweep} is deleted.", markup=False)


@app.command()
def pareto(
    sweep: Sweep,
    to: Annotated[Path, typer.Option(help="The file to write, SVG.")] = Path("pareto.svg"),
    url: Url = DEFAULT_URL,
) -> None:
    """Draw accuracy against size and latency."""
    from client import Client

    with Client(url) as client:
        to.write_bytes(client.sweeps.pareto(sweep))
    console().print(f"{to} is written.", markup=False)


def _ask(url: str, sweep: str, json: bool, what: str) -> None:
    from client import Client

    with Client(url) as client:
        ask: Callable[[str], Json] = getattr(client.sweeps, what)
        found = ask(sweep)
    if json:
        print_json(found)
    else:
        counts = ", ".join(f"{count} {status}" for status, count in found["counts"].items())
        console().print(f"{sweep} is {found['status']}: {counts}.", markup=False)


def _rank(member: "Json") -> tuple[bool, float, int]:
    validation = numbers.finite_or_none(member["validation_top1"])
    done = member["status"] == "succeeded" and validation is not None
    return not done, -(validation or 0.0), member["number"]


def _status(member: "Json") -> str:
    known = member["status"] or ("refused" if member["job_id"] is None else "deleted")
    return f"{known}: {member['error']}" if member["error"] else known


def _measured(member: "Json") -> tuple[str, ...]:
    latency = numbers.finite_or_none(member["latency_seconds"])
    return (
        numbers.per_cent(member["validation_top1"]),
        numbers.points(member["test_gain"]),
        numbers.count(member["parameters"]),
        numbers.UNKNOWN if latency is None else f"{latency * 1_000:.2f} ms",
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
