"""`kd data`: photos become a data set, of a data folder or of a server; which ones there are."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.commands.watch import follow
from cli.errors import Trouble, extra
from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, table
from cli.shown.progress import progress_display
from jobs.files import layout
from kd import outputs

if TYPE_CHECKING:
    from kd.data.packed_facts import PackedFacts

app = typer.Typer(no_args_is_help=True, help="Data sets of your own: make one of photos, list them, delete one.")

Folder = Annotated[
    Path, typer.Option(envvar="STILLHOUSE_DATA_DIR", help="The data folder of the server or of `kd run`.")
]

DatasetName = Annotated[
    str | None, typer.Option("--name", help="Specs name it packed/NAME.", show_default="as the path is named")
]
Side = Annotated[
    int | None, typer.Option("--size", help="Pixels: the short side becomes so long, then the middle is cut square.")
]
Classes = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Their order, such as a teacher's.", show_default="alphabetical")
]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out images that are damaged.")]


@app.command()
def add(
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder, a zip or a tar of images, in folders named by class or with a table of labels; Parquet; "
            "or an .npz."
        ),
    ],
    name: DatasetName = None,
    size: Side = None,
    classes: Classes = None,
    skip_unreadable: SkipUnreadable = False,
    max_files: Annotated[int | None, typer.Option(help="Of all kinds.", min=1, show_default="300000")] = None,
    data: Folder = Path("data"),
) -> None:
    """Make a data set of your own photos; they may be more than fit in memory."""
    with extra("kd", "data add"):
        from kd.data.ingest.listing import Limits

    make(
        path,
        name_of(path) if name is None else name,
        data,
        size=size,
        classes=names(classes),
        skip_unreadable=skip_unreadable,
        limits=None if max_files is None else Limits(files=max_files),
    )


@app.command()
def push(
    path: Annotated[Path, typer.Argument(exists=True, help="A folder, a zip or a tar of images; or an .npz.")],
    name: DatasetName = None,
    size: Side = None,
    classes: Classes = None,
    skip_unreadable: SkipUnreadable = False,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Bring photos to a server, and have a data set made of them there. Goes on where it was interrupted."""
    from client import Client

    with Client(url) as client:
        with progress_display(quiet=json) as display:
            job = client.push_dataset(
                path,
                packed(name_of(path) if name is None else name),
                size=size,
                classes=names(classes),
                skip_unreadable=skip_unreadable,
                progress=lambda sent, total: display.show({"phase": "sending", "fraction": sent / total}, None),
            )
        raise typer.Exit(follow(client, job["id"], json=json))


@app.command()
def doctor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As specs name it, packed/NAME.")],
    data: Folder = Path("data"),
) -> None:
    """Look through a data set of your own, as is done with each new one: what is wrong, and a page that shows it."""
    look_through(packed(name), data)


@app.command()
def delete(
    datasets: Annotated[list[str], typer.Argument(metavar="NAME...", help="As specs name them, packed/NAME.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Delete data sets of your own from a server."""
    from client import Client

    with Client(url) as client:
        for each in datasets:
            client.delete_dataset(packed(each))
            console().print(f"{packed(each)} is deleted.", markup=False)


def packed(name: str) -> str:
    return f"packed/{name.removeprefix('packed/')}"


def names(classes: str | None) -> list[str] | None:
    return None if classes is None else [each.strip() for each in classes.split(",")]


def make(path: Path, name: str, data: Path, **options: object) -> None:
    """Write the data set into the data folder, say what it is, and look through it."""
    with extra("kd", "data add"):
        from kd.data.ingest.add import add
        from kd.data.ingest.identity import identity_of

    dataset = packed(name)
    with _on_the_disk(data), progress_display() as display:
        facts = add(
            data / layout.DATASETS,
            dataset,
            path,
            identity=lambda: identity_of(path),
            tell=display.say,
            progress=lambda phase, images, fraction: display.show({"phase": phase, "fraction": fraction}, None),
            **options,  # type: ignore[arg-type]
        )
    of_its_own = f", {numbers.count(facts.validation)} for validation" if facts.validation else ""
    console().print(
        f"{dataset} has {numbers.count(facts.train)} images to learn from{of_its_own} and {numbers.count(facts.test)} "
        f"for the test, {shape(facts)}, in {len(facts.classes)} classes; "
        f"{numbers.size(size_of(facts))} under {data / layout.DATASETS / dataset}.",
        markup=False,
    )
    look_through(dataset, data, after_packing=True)


def look_through(dataset: str, data: Path, *, after_packing: bool = False) -> None:
    """Write the report of a data set, and say what was found."""
    with extra("kd", "data doctor"):
        from kd.report.data_set.examine import examine

    with _on_the_disk(data), progress_display() as display:
        examination = examine(
            data / layout.DATASETS,
            dataset,
            progress=lambda images, fraction: display.show({"phase": "examining", "fraction": fraction}, None),
        )
    for remark in examination.remarks(after_packing=after_packing):
        console().print(remark, markup=False)
    console().print(f"To look at it: {data / layout.DATASETS / dataset / outputs.PAGE}", markup=False)


@contextmanager
def _on_the_disk(data: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Trouble(f"{error.filename or data}: {error.strerror}") from error


def name_of(path: Path) -> str:
    """What a data set is called where nobody said it: as its path is, in the letters that names have."""
    stem = re.sub(r"(\.tar)?\.\w+$", "", path.name) if path.is_file() else path.resolve().name
    return re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-_")[:64]


@app.command()
def ls(json: AsJson = False, data: Folder = Path("data")) -> None:
    """List the data sets of your own."""
    from kd.data import packed_facts
    from kd.errors import DataError

    found: dict[str, PackedFacts] = {}
    for name in packed_facts.names(data / layout.DATASETS):
        try:
            found[name] = packed_facts.read(data / layout.DATASETS, name)
        except DataError as error:
            console(stderr=True).print(str(error), markup=False)
    if json:
        print_json([{"name": name, **facts.model_dump(), "digest": facts.digest} for name, facts in found.items()])
        return
    shown = table(
        *("name", "images", "train", "validation", "test", "shape", "classes", "size"),
        right=("train", "validation", "test", "images", "size"),
    )
    for name, facts in found.items():
        counts = (facts.count, facts.train, facts.validation, facts.test)
        classes = f"{len(facts.classes)}: {', '.join(facts.classes[:3])}{', …' if len(facts.classes) > 3 else ''}"
        row = (*map(numbers.count, counts), shape(facts), classes, numbers.size(size_of(facts)))
        shown.add_row(name, *map(escape, row))
    console().print(shown)


def shape(facts: "PackedFacts") -> str:
    channels, height, width = facts.shape
    return f"{height}×{width}×{channels}"


def size_of(facts: "PackedFacts") -> int:
    channels, height, width = facts.shape
    return facts.count * channels * height * width
