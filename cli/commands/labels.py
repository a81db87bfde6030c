"""`kd labels`: tables of soft labels, those that teachers made here and those that somebody brings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cli.errors import Misused
from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, table

app = typer.Typer(no_args_is_help=True, help="Tables of soft labels: list them, bring some, delete them.")


@app.command()
def push(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="An .npy [images, classes], or an .npz that also has `image`.",
        ),
    ],
    dataset: Annotated[str, typer.Option(help="Whose images these are labels of.")],
    logits: Annotated[bool, typer.Option("--logits", help="The numbers are logits.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="The numbers are probabilities.")] = False,
    digest: Annotated[
        str | None, typer.Option(help="The data set's digest, which a packed one needs: GET /datasets shows it.")
    ] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Bring labels that were made elsewhere: a teacher that nobody has to upload."""
    from client import Client

    if logits == probabilities:
        raise Misused("Say what the numbers are: --logits or --probabilities.")
    with Client(url) as client:
        made = client.push_labels(file, dataset, content="logits" if logits else "probabilities", dataset_digest=digest)
    if json:
        print_json(made)
        return
    for remark in made["remarks"]:
        console(stderr=True).print(remark, markup=False)
    console().print(f"{made['id']}: `--set config.teacher.labels={made['id']}` learns from them.", markup=False)


@app.command()
def ls(json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List label tables, the one used last first."""
    from client import Client

    with Client(url) as client:
        found = list(client.label_tables())
    if json:
        print_json(found)
        return
    shown = table("id", "labels of", "by", "size", "status", "used", right=("size",))
    for each in found:
        by = "pushed" if each.get("origin") == "pushed" else each.get("teacher_arch") or ""
        row = (
            each["dataset"] or "",
            by,
            numbers.size(each["size"]),
            each["status"],
            f"{numbers.age(each['used_at'])} ago",
        )
        shown.add_row(each["id"], *map(escape, row))
    console().print(shown)


@app.command()
def delete(
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help="Ids of label tables.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Delete label tables. What teachers made here they make again when it is wanted; what was pushed is gone."""
    from client import Client

    with Client(url) as client:
        for each in tables:
            client.delete_label_table(each)
            console().print(f"{each} is deleted.", markup=False)
