"""Which recipes there are, and what each fills in: `kd presets`."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.commands.submit import Mode
from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown.console import console, print_json, table


def presets(
    mode: Annotated[Mode, typer.Option(help="For a job of this mode.")] = Mode.TRAIN,
    dataset: Annotated[str | None, typer.Option(help="On this data set.", show_default="mnist5k")] = None,
    student: Annotated[str | None, typer.Option(help="For this student.", show_default="mlp")] = None,
    teacher: Annotated[str | None, typer.Option(help="Under this teacher.", show_default="cnn")] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the recipes, and what each fills in where a spec leaves it open (config.recipe)."""
    from client import Client

    with Client(url) as client:
        found = list(client.presets(mode.value, dataset=dataset, student=student, teacher=teacher))
    if json:
        print_json(found)
        return
    shown = table(
        "name", "epochs", "teacher's", "views", "cost", "what it is", right=("epochs", "teacher's", "views", "cost")
    )
    for preset in found:
        config = preset["config"]
        shown.add_row(
            escape(preset["name"]),
            str(config.get("epochs", "")),
            str(config.get("teacher", {}).get("epochs", "")),
            str(config.get("views", "")),
            f"× {preset['cost']:.2g}",
            escape(preset["description"]),
        )
    console().print(shown)
