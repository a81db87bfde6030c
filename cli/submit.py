"""`kd submit`: a spec file to a queued job."""

from enum import StrEnum
from typing import Annotated

import typer

from cli import specs
from cli.console import console, print_json
from cli.url import DEFAULT_URL, Url


class Mode(StrEnum):
    TRAIN = "train"
    GUIDE = "guide"


SpecFile = Annotated[str | None, typer.Argument(help="A YAML or JSON file; - reads stdin.", show_default=False)]
SetMode = Annotated[Mode | None, typer.Option("--mode", help="The spec's mode; with it a file is optional.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change a field, as in config.student.arch=cnn_small.")
]


def submit(
    spec: SpecFile = None,
    mode: SetMode = None,
    set_: Settings = [],  # noqa: B006  # typer copies it
    name: Annotated[str | None, typer.Option(help="What to call the job.")] = None,
    label: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="To find jobs by; may be repeated.")] = [],  # noqa: B006
    priority: Annotated[int | None, typer.Option(help="Higher starts first; -100 to 100.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow the job to its end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the job as JSON.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Queue a run."""
    from cli.watch import follow
    from client import Client

    given = specs.assemble(spec, mode, set_)
    specs.put_labels(given, label)
    with Client(url) as client:
        job = client.submit(given, name=name, priority=priority)
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
