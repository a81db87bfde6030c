"""`kd pack`: an .npz file of images and labels to a data set that jobs can name."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands import data as datasets


def pack(
    images: Annotated[
        Path, typer.Argument(help="An .npz with images (uint8 N×H×W or N×H×W×C) and labels; perhaps classes and split.")
    ],
    name: Annotated[str, typer.Argument(help="Specs name it packed/NAME.")],
    data: datasets.Folder = Path("data"),
) -> None:
    """Make a data set of your own images; they may be more than fit in memory. As `kd data add` does of photos."""
    datasets.make(images, name, data)
