"""What a `Client` can ask of all that there is to choose from."""

from collections.abc import Iterator

from client.answers import Json, Part
from client.http import Http


class Preset(Part):
    name: str
    description: str
    is_auto: bool
    cost: float
    config: dict[str, object]


class Choices:
    """A part of `client.Client`, which has the connection."""

    _http: Http

    def presets(self, mode: str = "train", **job: str | None) -> Iterator[Json]:
        """The recipes, each with what it fills in for a job; `job` may name its `dataset`, `student` and `teacher`."""
        return self._http.pages("/presets", {"mode": mode, **job}, Preset)
