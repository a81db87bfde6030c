"""What a `Client` can ask of all that there is to choose from."""

from collections.abc import Iterator, Mapping

from client.answers import Estimate, Json, Part, Size
from client.encoding import plain
from client.http import Http
from kd.spec import GuideSpec, TrainSpec


class Preset(Part):
    name: str
    description: str
    is_auto: bool
    cost: float
    config: dict[str, object]


class Preflight(Part):
    resolved_spec: dict[str, object]
    waits_for: str | None
    images: Size
    images_shown: dict[str, Size]
    images_labelled: Size
    label_table_bytes: Size | None
    estimate: Estimate


class Choices:
    """A part of `client.Client`, which has the connection."""

    _http: Http

    def presets(self, mode: str = "train", **job: str | None) -> Iterator[Json]:
        """The recipes, each with what it fills in for a job; `job` may name its `dataset`, `student` and `teacher`."""
        return self._http.pages("/presets", {"mode": mode, **job}, Preset)

    def validate(self, spec: Mapping[str, object] | TrainSpec | GuideSpec) -> Json:
        """What would come of a spec, `{"mode", "config"}`, and no job. Fails as `submit` would."""
        return self._http.request_json("POST", "/jobs/validate", body=plain(spec), holds=Preflight)
