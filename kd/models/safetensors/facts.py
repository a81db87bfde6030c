"""What a weights file of Stillhouse's says of itself, in its header. No torch."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kd.models.preprocess.said import Preprocess

KEY = "stillhouse"
"""Of the one entry in a file's metadata."""

Side = Annotated[int, Field(ge=1, le=9_999)]


class Facts(BaseModel):
    """What a weights file says of itself, so that nobody has to remember it."""

    model_config = ConfigDict(frozen=True)

    arch: str
    classes: tuple[str, ...]
    shape: tuple[Side, Side, Side] = Field(description="channels, height, width")
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def preprocess(self) -> Preprocess:
        """What the model sees of an image, as whoever brings one says it. Raises ValueError for what makes no sense."""
        return Preprocess(mean=self.mean, std=self.std, size=self.shape[1:])


def facts_in(metadata: Mapping[str, str]) -> Facts | None:
    """The facts in a file's metadata; None: Stillhouse has not written it. Raises ValueError for what is none."""
    if (said := metadata.get(KEY)) is None:
        return None
    return Facts.model_validate_json(said)
