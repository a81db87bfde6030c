"""`kd pack`: an .npz file of images and labels to a data set that jobs can name."""

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Trouble, extra
from cli.shown import numbers
from cli.shown.console import console
from jobs.files import layout


def pack(
    images: Annotated[
        Path, typer.Argument(help="An .npz with images (uint8 N×H×W or N×H×W×C) and labels; perhaps classes and split.")
    ],
    name: Annotated[str, typer.Argument(help="Specs name it packed/NAME.")],
    data: Annotated[
        Path, typer.Option(envvar="STILLHOUSE_DATA_DIR", help="The data folder of the server or of `kd run`.")
    ] = Path("data"),
) -> None:
    """Make a data set of your own images; they may be more than fit in memory."""
    with extra("kd", "pack"):
        from kd.data import npz, packing

    dataset = f"packed/{name.removeprefix('packed/')}"
    found = npz.read(images)
    try:
        facts = packing.pack(
            data / layout.DATASETS,
            dataset,
            found.chunks(),
            found.classes,
            tell=lambda remark: console().print(remark, markup=False),
        )
    except OSError as error:
        raise Trouble(f"{error.filename or data}: {error.strerror}") from error
    channels, height, width = facts.shape
    of_its_own = f", {numbers.count(facts.validation)} for validation" if facts.validation else ""
    console().print(
        f"{dataset} has {numbers.count(facts.train)} images to learn from{of_its_own} and {numbers.count(facts.test)} "
        f"for the test, {height}×{width}×{channels}, in {len(facts.classes)} classes; "
        f"{numbers.size(facts.count * channels * height * width)} under {data / layout.DATASETS / dataset}.",
        markup=False,
    )
