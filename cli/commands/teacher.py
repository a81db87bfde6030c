"""`kd teacher`: models of any architecture as ONNX files, which teach."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from cli.errors import Misused, Trouble, extra
from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, table
from jobs.files import layout

if TYPE_CHECKING:
    from kd.models.onnx.said import Preprocess

app = typer.Typer(no_args_is_help=True, help="Teachers of any architecture, as ONNX files: bring one, list, delete.")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="One .onnx file with its weights inside; or FILE.py:FUNCTION, which builds a torch module."
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Of that module: a state dict of torch.save, or safetensors."),
]
Shape = Annotated[str | None, typer.Option(metavar="CxHxW", help="The images that module takes, as in 3x224x224.")]
Name = Annotated[str | None, typer.Option(help="What to call it; the file's name by default.")]
Pixels = Annotated[
    str | None,
    typer.Option(
        help="What it sees of pixels: imagenet, unit (0..1), symmetric (-1..1) or bytes (0..255); nothing for uint8."
    ),
]
Mean = Annotated[str | None, typer.Option(help="Instead: what it takes off pixels in 0..1, as in 0.485,0.456,0.406.")]
Std = Annotated[str | None, typer.Option(help="And what it divides them by.")]
Size = Annotated[str | None, typer.Option(metavar="HxW", help="The images it sees, where the file leaves it open.")]
Interpolated = Literal["nearest", "bilinear", "bicubic"]
Interpolation = Annotated[Interpolated, typer.Option(help="How images of another size are resized.")]
Classes = Annotated[
    str | None,
    typer.Option(help="The data set's classes in the order of its outputs, as in cat,dog; if it is another order."),
]


@app.command()
def add(
    file: File,
    weights: Weights = None,
    shape: Shape = None,
    name: Name = None,
    pixels: Pixels = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    interpolation: Interpolation = "bilinear",
    classes: Classes = None,
    data: Annotated[
        Path, typer.Option(envvar="STILLHOUSE_DATA_DIR", help="The data folder of the server or of `kd run`.")
    ] = Path("data"),
    json: AsJson = False,
) -> None:
    """Look an ONNX model through, try it, and keep it in the data folder, for `kd run` or a server beside it."""
    with extra("onnx", "teacher add"):
        import onnxruntime  # noqa: F401  # here, to say that it is missing; it runs in a process of its own

        from kd.models.onnx.session import Session
    from kd.teachers import uploads

    how = _seen(pixels, mean, std, size, interpolation)
    said = uploads.Said(name=name or _stem(file), preprocess=how, classes=_names(classes))
    with onnx_file(file, weights, shape) as path, path.open("rb") as content:
        uploads.refuse_other_kinds(content)
        session = Session(content.read(), memory_bytes=MEMORY_BYTES)
        try:
            graph = session.open()
        finally:
            session.close()
        if why := uploads.why_unclear(said, graph):
            raise Misused(f"{why}.")
        content.seek(0)
        try:
            found, _ = uploads.add(data / layout.TEACHERS, content, said, graph)
        except OSError as error:
            raise Trouble(f"{error.filename or data}: {error.strerror}") from error
    if json:
        print_json(found.model_dump(mode="json"))
        return
    seen = "any size" if graph.size is None else "×".join(map(str, graph.size))
    console().print(
        f"{found.id}: {numbers.count(graph.parameters)} parameters, images of {seen} in {graph.channels} "
        f"{'channel' if graph.channels == 1 else 'channels'}, {graph.classes or 'unknown'} classes. "
        f"`--set config.teacher.upload={found.id}` learns from it.",
        markup=False,
    )


# What a file that anybody may have made may take to be looked through: address space, of which much is never used.
MEMORY_BYTES = 16 << 30


@app.command()
def push(
    file: File,
    weights: Weights = None,
    shape: Shape = None,
    name: Name = None,
    pixels: Pixels = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    interpolation: Interpolation = "bilinear",
    classes: Classes = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Send an ONNX model to a server. The first job that names it looks it through and tries it."""
    from client import Client

    how = _seen(pixels, mean, std, size, interpolation)
    with onnx_file(file, weights, shape) as path, Client(url) as client:
        made = client.push_teacher(
            path,
            name=name or _stem(file),
            pixels=pixels,
            mean=None if mean is None or how is None else how.mean,
            std=None if std is None or how is None else how.std,
            image_size=None if how is None else how.size,
            interpolation=interpolation,
            classes=_names(classes),
        )
    if json:
        print_json(made)
        return
    console().print(f"{made['id']}: `--set config.teacher.upload={made['id']}` learns from it.", markup=False)


@app.command()
def ls(json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List a server's teachers that somebody has brought, the newest first."""
    from client import Client

    with Client(url) as client:
        found = list(client.teachers())
    if json:
        print_json(found)
        return
    shown = table("id", "name", "size", "brought", right=("size",))
    for each in found:
        row = (each["name"], numbers.size(each["size"]), f"{numbers.age(each['created_at'])} ago")
        shown.add_row(each["id"], *map(escape, row))
    console().print(shown)


@app.command()
def delete(
    teachers: Annotated[list[str], typer.Argument(metavar="TEACHER...", help="Ids of teachers.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Delete teachers from a server. Jobs that have ended keep what they wrote of them."""
    from client import Client

    with Client(url) as client:
        for each in teachers:
            client.delete_teacher(each)
            console().print(f"{each} is deleted.", markup=False)


def _seen(
    pixels: str | None, mean: str | None, std: str | None, size: str | None, interpolation: Interpolated
) -> "Preprocess | None":
    """What the options say that it sees of an image."""
    from kd.models.onnx.said import preprocess

    try:
        return preprocess(pixels, mean=mean, std=std, size=size, interpolation=interpolation)
    except ValueError as error:
        raise Misused(f"{error}.") from None


@contextmanager
def onnx_file(file: str, weights: Path | None, shape: str | None) -> Iterator[Path]:
    """The file as it is, or what a module in Python is converted to, here, where its code is trusted."""
    if not MODULE.fullmatch(file):
        if weights is not None or shape is not None:
            raise Misused("--weights and --shape go with a module, FILE.py:FUNCTION; an .onnx file has both inside.")
        if not Path(file).is_file():
            raise Misused(f"There is no file {file}.")
        yield Path(file)
        return
    if shape is None or (match := SHAPE.fullmatch(shape)) is None:
        raise Misused("--shape says what images the module takes, as in 3x224x224: channels, height, width.")
    with extra("onnx", "teacher"):
        import onnxscript  # noqa: F401  # torch's exporter stands on it
        import torch  # noqa: F401

        from kd.models.onnx import convert
    channels, height, width = (int(match[number]) for number in (1, 2, 3))
    content = convert.convert(convert.load(file, weights), (channels, height, width))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        yield path


MODULE = re.compile(r".+\.py:[A-Za-z_][A-Za-z0-9_]*", re.DOTALL)
SHAPE = re.compile(r"([134])x([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)


def _stem(file: str) -> str:
    return Path(file.rpartition(".py:")[0] or file).stem


def _names(classes: str | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    names = tuple(name.strip() for name in classes.split(","))
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise Misused("--classes are at least two names with commas between them, each once.")
    return names
