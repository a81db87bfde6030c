"""Client(url): submit a job, wait for it, see what it said, fetch its student.

    client = Client("http://127.0.0.1:8000")
    job = client.wait(client.submit("train", {"dataset": "mnist5k"})["id"])
    client.download(job["id"], to="student.safetensors")

Jobs, events and checkpoints are the JSON objects of the HTTP API, as dictionaries.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from client.download import Offer, fetch
from client.errors import ClientError, NoSuchArtifact, Refused, StillRunning
from client.http import PATIENCE_SECONDS, Http, Json
from kd.spec import Config, GuideSpec, TrainSpec

T = TypeVar("T")


class Client:
    """A Stillhouse server. Every method is one request unless it says otherwise; failures are `ClientError`s."""

    def __init__(self, url: str = "http://127.0.0.1:8000", timeout: float = 30.0):
        self._http = Http(url, timeout)
        self.url = self._http.url

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_ready(self) -> bool:
        """Whether the server is there and can take jobs."""
        try:
            self._http.answer("GET", "/readyz")
        except ClientError:
            return False
        return True

    # -- asking for work -----------------------------------------------------------------------------------------

    def submit(
        self,
        spec: str | Mapping[str, Any] | TrainSpec | GuideSpec,
        config: Mapping[str, Any] | Config | None = None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
    ) -> Json:
        """Queue a run: a mode and its config, or a whole spec (`{"mode", "config"}`). Answers with the job."""
        if isinstance(spec, str):
            body: Json = {"mode": spec, "config": _plain(config or {})}
        elif config is not None:
            raise ValueError("Give a mode and a config, or a whole spec, not both.")
        else:
            body = _plain(spec)
        envelope = {"name": name, "labels": None if labels is None else dict(labels), "priority": priority}
        body |= {key: value for key, value in envelope.items() if value is not None}
        return self._http.json("POST", "/jobs", body=body)

    def cancel(self, job_id: str) -> Json:
        """Ask for a job's end. Answers with the job; a running one ends a moment later."""
        return self._http.json("POST", f"{_job(job_id)}/cancel")

    # -- looking on ----------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Json:
        return self._http.json("GET", _job(job_id))

    def list(
        self,
        *,
        status: str | None = None,
        mode: str | None = None,
        label: str | None = None,
        q: str | None = None,
        created_after: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Json]:
        """All jobs that match, newest first; asks for the next page when it is needed."""
        match = {"status": status, "mode": mode, "label": label, "q": q, "created_after": created_after}
        return self._pages("/jobs", {**match, "limit": page_size})

    def wait(self, job_id: str, timeout: float | None = None, poll: float = 0.5) -> Json:
        """The job once it is over, however it ended. `StillRunning` after `timeout` seconds."""
        began = time.monotonic()
        while not (job := self._patiently(partial(self.get, job_id)))["is_terminal"]:
            left = None if timeout is None else began + timeout - time.monotonic()
            if left is not None and left <= 0:
                raise StillRunning(job, timeout or 0)
            time.sleep(poll if left is None else min(poll, left))
        return job

    def events(self, job_id: str, after: int = 0, follow: bool = False, poll: float = 0.5) -> Iterator[Json]:
        """What happened after event number `after`, in order; with `follow`, on until the job is over."""
        while True:
            # Asked before the events: a job that is over now says nothing after them.
            over = not follow or self._patiently(partial(self.get, job_id))["is_terminal"]
            more = True
            while more:
                page = self._patiently(partial(self._events_page, job_id, after), patient=follow)
                for event in page["data"]:
                    after = event["seq"]
                    yield event
                more = page["has_more"]
            if over:
                return
            time.sleep(poll)

    def metrics(self, job_id: str, names: str | None = None) -> Json:
        """The measured series, as columns. NaN and the infinities, which JSON lacks, are floats again."""
        return _numbers(self._http.json("GET", f"{_job(job_id)}/metrics", params={"names": names}))  # type: ignore[no-any-return]

    def logs(self, job_id: str, tail: int | None = None) -> str:
        """What the trainer printed; the last `tail` lines of it."""
        return self._http.answer("GET", f"{_job(job_id)}/logs", params={"tail": tail}).text

    # -- fetching what came of it --------------------------------------------------------------------------------

    def checkpoints(self, job_id: str) -> Iterator[Json]:
        return self._pages(f"{_job(job_id)}/checkpoints", {})

    def checkpoint(self, job_id: str, checkpoint: str = "best") -> Json:
        """One checkpoint, by its id or as `best` or `last`."""
        return self._http.json("GET", f"{_job(job_id)}/checkpoints/{quote(checkpoint, safe='')}")

    def artifacts(self, job_id: str) -> Iterator[Json]:
        """The files beside the checkpoints: the teacher's weights, the report."""
        return self._pages(f"{_job(job_id)}/artifacts", {})

    def download(self, job_id: str, checkpoint: str = "best", to: str | PathLike[str] | None = None) -> Path:
        """Fetch a checkpoint's student; answers with where it is.

        `to` is a file, or a folder in which the file is named after job and checkpoint (default: the current one).
        Goes on from a partial file, and puts nothing in place whose sha256 is not what the server promised.
        """
        for last_try in (False, True):
            # An alias may move on while we download; an id does not.
            offered = self.checkpoint(job_id, checkpoint)
            offer = Offer(
                path=f"{_job(job_id)}/checkpoints/{quote(offered['id'], safe='')}/download",
                name=offered["file"],
                size=offered["size"],
                sha256=offered["sha256"],
            )
            try:
                return fetch(self._http, offer, _target(to, f"{job_id}-{checkpoint}.safetensors"))
            except Refused as error:
                if error.code != "file_gone" or last_try:
                    raise  # a running job replaces its checkpoints: then there is a newer one
        raise AssertionError("the last try returns or raises")

    def download_artifact(self, job_id: str, name: str, to: str | PathLike[str] | None = None) -> Path:
        """Fetch a file that the job wrote beside its checkpoints, in the same way."""
        offered = next((file for file in self.artifacts(job_id) if file["name"] == name), None)
        if offered is None:
            raise NoSuchArtifact(job_id, name)
        path = f"{_job(job_id)}/artifacts/{quote(name, safe='')}"
        return fetch(self._http, Offer(path, name, offered["size"], offered["sha256"]), _target(to, f"{job_id}-{name}"))

    # -- label tables --------------------------------------------------------------------------------------------

    def label_tables(self) -> Iterator[Json]:
        """What teachers said of whole data sets, shared between jobs; the table used last first."""
        return self._pages("/label-tables", {"limit": 100})

    def label_table(self, table_id: str) -> Json:
        return self._http.json("GET", _table(table_id))

    def delete_label_table(self, table_id: str) -> None:
        """Make room for others. A job that needs the table again makes it again."""
        self._http.answer("DELETE", _table(table_id))

    # -- how -----------------------------------------------------------------------------------------------------

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Json]:
        cursor = None
        while True:
            page = self._http.json("GET", path, params={**params, "after": cursor})
            yield from page["data"]
            cursor = page.get("next_cursor")
            if not page.get("has_more"):
                return

    def _events_page(self, job_id: str, after: int) -> Json:
        return self._http.json("GET", f"{_job(job_id)}/events", params={"after": after, "limit": 1_000})

    def _patiently(self, ask: Callable[[], T], patient: bool = True) -> T:
        """Ask until there is an answer, for as long as a restart may take."""
        began = time.monotonic()
        while True:
            try:
                return ask()
            except ClientError as error:
                if not (patient and error.passing) or time.monotonic() - began > PATIENCE_SECONDS:
                    raise
                time.sleep(0.5)


def _job(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _table(table_id: str) -> str:
    return f"/label-tables/{quote(table_id, safe='')}"


def _plain(given: Mapping[str, Any] | TrainSpec | GuideSpec | Config) -> Json:
    # Only what was set: the server fills in the rest and shows it as the job's resolved_spec.
    return dict(given) if isinstance(given, Mapping) else given.model_dump(mode="json", exclude_unset=True)


def _target(to: str | PathLike[str] | None, name: str) -> Path:
    path = Path(to) if to is not None else Path()
    return path / name if path.is_dir() else path


def _numbers(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_numbers(value) for value in content]
    return float(content) if content in ("NaN", "Infinity", "-Infinity") else content
