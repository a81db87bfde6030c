"""`kd teacher`: models of any architecture as ONNX files, and weights of known ones, which teach."""

from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from cli.commands.watch import follow
from cli.errors import Misused, Trouble, extra
from cli.given.model_file import model_file, stem
from cli.given.options import AsJson
from cli.given.url import DEFAULT_URL, Url
from cli.shown import numbers
from cli.shown.console import console, print_json, table
from jobs.files import layout
from kd.models.catalog import ONNX

if TYPE_CHECKING:
    from kd.models.onnx.said import Graph
    from kd.models.preprocess.said import Preprocess
    from kd.teachers.uploads import Said, Uploaded

app = typer.Typer(no_args_is_help=True, help="Teachers that were trained elsewhere: bring one, list, delete.")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="One .onnx file with its weights inside; .safetensors, or what torch.save wrote, of an --architecture; or "
        "FILE.py:FUNCTION, which builds a torch module.",
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of which architecture a file has the weights, as in timm/resnet18."),
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
        help="What it sees of pixels: imagenet, unit (0..1), symmetric (-1..1) or bytes (0..255); nothing for uint8, "
        "or if it is usual with its architecture."
    ),
]
Mean = Annotated[str | None, typer.Option(help="Instead: what it takes off pixels in 0..1, as in 0.485,0.456,0.406.")]
Std = Annotated[str | None, typer.Option(help="And what it divides them by.")]
Size = Annotated[
    str | None, typer.Option(metavar="HxW", help="The images it sees, where the file or architecture leaves it open.")
]
Interpolated = Literal["nearest", "bilinear", "bicubic"]
Interpolation = Annotated[Interpolated, typer.Option(help="How images of another size are resized.")]
Classes = Annotated[
    str | None,
    typer.Option(help="The data set's classes in the order of its outputs, as in cat,dog; if it is another order."),
]


@app.command()
def add(
    file: File,
    architecture: Architecture = None,
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
    """Look a model through, try one in ONNX, and keep it in the data folder, for `kd run` or a server beside it."""
    from kd.teachers import kinds, uploads

    how = _seen(pixels, mean, std, size, interpolation, architecture)
    said = uploads.Said(name=name or stem(file), architecture=architecture, preprocess=how, classes=_names(classes))
    with model_file(file, architecture, weights, shape) as path, path.open("rb") as content:
        graph = _look_through(content, said) if kinds.kind_of(content) == "onnx" else None
        try:
            found, _ = uploads.add(data / layout.TEACHERS, content, said, graph)
        except OSError as error:
            raise Trouble(f"{error.filename or data}: {error.strerror}") from error
    if json:
        print_json(found.model_dump(mode="json"))
        return
    console().print(
        f"{found.id}: {_described(found)}. `--set config.teacher.upload={found.id}` learns from it.", markup=False
    )


def _look_through(file: IO[bytes], said: "Said") -> "Graph":
    """What an ONNX model says of itself. Raises `GraphUnfit`, or `Misused` for what was said wrong."""
    with extra("onnx", "teacher add"):
        import onnxruntime  # noqa: F401  # here, to say that it is missing; it runs in a process of its own

        from kd.models.onnx.session import Session
    from kd.teachers import uploads

    session = Session(file.read(), memory_bytes=MEMORY_BYTES)
    try:
        graph = session.open()
    finally:
        session.close()
    if why := uploads.why_unclear(said, graph):
        raise Misused(f"{why}.")
    return graph


def _described(found: "Uploaded") -> str:
    if found.weights is not None:
        known = found.weights
        return f"{numbers.count(known.numbers)} numbers of {found.arch} in {known.tensors} tensors"
    assert found.graph is not None
    graph, seen = found.graph, "any size"
    if graph.size is not None:
        seen = "×".join(map(str, graph.size))
    return (
        f"{numbers.count(graph.parameters)} parameters, images of {seen} in {graph.channels} "
        f"{'channel' if graph.channels == 1 else 'channels'}, {graph.classes or 'unknown'} classes"
    )


# What a file that anybody may have made may take to be looked through: address space, of which much is never used.
MEMORY_BYTES = 16 << 30


@app.command()
def push(
    file: File,
    architecture: Architecture = None,
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
    """Send an ONNX model, or weights, to a server. The first job that names it looks it through and tries it."""
    from client import Client

    how = _seen(pixels, mean, std, size, interpolation, architecture)
    with model_file(file, architecture, weights, shape) as path, Client(url) as client:
        made = client.push_teacher(
            path,
            name=name or stem(file),
            architecture=architecture,
            pixels=pixels,
            mean=None if mean is None or how is None else how.mean,
            std=None if std is None or how is None else how.std,
            image_size=None if size is None or how is None else how.size,
            interpolation=interpolation,
            classes=_names(classes),
        )
    if json:
        print_json(made)
        return
    console().print(f"{made['id']}: `--set config.teacher.upload={made['id']}` learns from it.", markup=False)


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@app.command()
def evaluate(
    teacher: Annotated[str, typer.Argument(metavar="TEACHER", help="The id of a teacher.")],
    dataset: Annotated[str, typer.Option(help="The data set whose images it is shown, as specs name it.")],
    split: Annotated[
        list[Split] | None,
        typer.Option(help="Which images; may be said again.", show_default="validation and test"),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Of each split at most so many.", show_default="2000")] = None,
    input_size: Annotated[
        int | None, typer.Option(help="The side of what models see, where it is not that of the images.")
    ] = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option(help="Of the images to learn from, where none are for validation.", show_default="0.1"),
    ] = None,
    json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """See how good a server's teacher is on a data set, and which labels it doubts, before it teaches."""
    from client import Client

    with Client(url) as client:
        job = client.evaluate_teacher(
            teacher,
            dataset,
            splits=[each.value for each in split or ()] or None,
            images=images,
            input_size=input_size,
            validation_fraction=validation_fraction,
        )
        raise typer.Exit(follow(client, job["id"], json=json))


@app.command()
def ls(json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List a server's teachers that somebody has brought, the newest first."""
    from client import Client

    with Client(url) as client:
        found = list(client.teachers())
    if json:
        print_json(found)
        return
    shown = table("id", "name", "of", "size", "brought", right=("size",))
    for each in found:
        of = each.get("architecture") or ONNX
        row = (each["name"], of, numbers.size(each["size"]), f"{numbers.age(each['created_at'])} ago")
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
    pixels: str | None,
    mean: str | None,
    std: str | None,
    size: str | None,
    interpolation: Interpolated,
    architecture: str | None,
) -> "Preprocess | None":
    """What the options say that it sees of an image, or else what is usual. An architecture that nobody knows is
    refused here: before gigabytes are sent."""
    from kd.models.own.names import is_own
    from kd.models.preprocess.said import preprocess
    from kd.models.preprocess.usual import usual
    from kd.spec.names import why_no_model

    # One of a server's own may not be installed here.
    if architecture is not None and not is_own(architecture) and (why := why_no_model(architecture)):
        raise Misused(f"--architecture: {why}.")
    wanted = None if architecture is None else usual(architecture)
    try:
        return preprocess(pixels, mean=mean, std=std, size=size, interpolation=interpolation, usual=wanted)
    except ValueError as error:
        raise Misused(f"{error}.") from None


def _names(classes: str | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    names = tuple(name.strip() for name in classes.split(","))
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise Misused("--classes are at least two names with commas between them, each once.")
    return names
