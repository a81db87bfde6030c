"""Client(url): submit a job, wait for it, see what it said, fetch its student.

    client = Client("http://127.0.0.1:8000")
    job = client.wait(client.submit("train", {"dataset": "mnist5k"})["id"])
    client.download(job["id"], to="student.safetensors")

Jobs, events, checkpoints and workers are the JSON objects of the HTTP API, as dictionaries.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from client.download import Offer, fetch
from client.errors import ClientError, NoSuchArtifact, Refused, StillRunning, Unreachable
from client.http import PATIENCE_SECONDS, Http, Json
from client.long_poll import look, look_again
from kd.spec import Config, GuideSpec, TrainSpec

T = TypeVar("T")

# Before a request that makes a job is sent again, with the same key, because its answer was lost.
RETRY_PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Unchanged(Enum):
    """What a call does not mention, where None says something."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


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
        limits: Mapping[str, float | None] | None = None,
        keep_last: int | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Queue a run: a mode and its config, or a whole spec (`{"mode", "config"}`). Answers with the job.

        The request carries an Idempotency-Key (by default a new one) and is sent again if its answer is lost, so that
        there is exactly one job, whatever the network does. `limits` are `max_run_seconds`, `max_queue_seconds` and
        `max_stall_seconds`; `keep_last` is how many of the newest checkpoints are kept beside the best one.
        """
        if isinstance(spec, str):
            body: Json = {"mode": spec, "config": _plain(config or {})}
        elif config is not None:
            raise ValueError("Give a mode and a config, or a whole spec, not both.")
        else:
            body = _plain(spec)
        body |= _envelope(name, labels, priority, limits, keep_last)
        return self._exactly_once("/jobs", body, idempotency_key)

    def retry(
        self,
        job_id: str,
        *,
        patch: Mapping[str, Any] | None = None,
        suggested: bool = False,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        limits: Mapping[str, float | None] | None = None,
        keep_last: int | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Queue a job that is over once more, from its start, as a new job; answers with that one.

        `patch` changes its `{"mode", "config"}` as a JSON merge patch does (None removes a field); `suggested` does
        first what the failed job's `error.suggested_patch` says. What is not given is as it was. Makes exactly one job,
        like `submit`.
        """
        body = _envelope(name, labels, priority, limits, keep_last)
        if suggested:
            body["use_suggested_patch"] = True
        if patch is not None:
            body["patch"] = dict(patch)
        return self._exactly_once(f"{_job(job_id)}/retry", body, idempotency_key)

    # -- asking for changes --------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> Json:
        """Ask for a job's end. Answers with the job; a running one ends a moment later."""
        return self._http.json("POST", f"{_job(job_id)}/cancel")

    def pause(self, job_id: str) -> Json:
        """Ask for a job to be put aside. A running one saves where it stands first, and is `paused` a moment later."""
        return self._http.json("POST", f"{_job(job_id)}/pause")

    def resume(self, job_id: str) -> Json:
        """Queue a paused job again, to go on from its last checkpoint."""
        return self._http.json("POST", f"{_job(job_id)}/resume")

    def change(
        self,
        job_id: str,
        *,
        name: str | Unchanged | None = UNCHANGED,
        labels: Mapping[str, str] | Unchanged = UNCHANGED,
        priority: int | Unchanged = UNCHANGED,
    ) -> Json:
        """Give a job another name (None: none), other labels (these and no more), or another priority."""
        given = {"name": name, "labels": labels, "priority": priority}
        changes = {field: value for field, value in given.items() if value is not UNCHANGED}
        return self._http.json("PATCH", _job(job_id), body=changes)

    def delete(self, job_id: str) -> None:
        """Forget a job that is over, with all its files."""
        self._http.answer("DELETE", _job(job_id))

    def cancel_all(
        self,
        *,
        status: str | None = None,
        mode: str | None = None,
        label: str | None = None,
        q: str | None = None,
        created_after: str | None = None,
        everything: bool = False,
    ) -> Json:
        """Ask for the end of all jobs that match, at once; `changed` says of how many.

        Without a filter only `everything=True` means every job.
        """
        return self._http.json(
            "POST", "/jobs/cancel", params=_meant(_matching(status, mode, label, q, created_after), everything)
        )

    def delete_all(
        self,
        *,
        status: str | None = None,
        mode: str | None = None,
        label: str | None = None,
        q: str | None = None,
        created_after: str | None = None,
        everything: bool = False,
    ) -> Json:
        """Forget all jobs that match and are over, with all their files; `changed` says how many.

        Without a filter only `everything=True` means every job.
        """
        return self._http.json(
            "DELETE", "/jobs", params=_meant(_matching(status, mode, label, q, created_after), everything)
        )

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
        return self._pages("/jobs", {**_matching(status, mode, label, q, created_after), "limit": page_size})

    def wait(self, job_id: str, timeout: float | None = None, poll: float = 0.5) -> Json:
        """The job once it is over, however it ended; a paused one is waited for until somebody resumes or cancels it.

        Raises `StillRunning` after `timeout` seconds. The server answers when the job changes, and is asked at most
        every `poll` seconds; it may be restarted meanwhile.
        """
        until = None if timeout is None else time.monotonic() + timeout
        last = self._patiently(partial(look, self._http, _job(job_id)))
        while not last.is_last:
            if until is not None and time.monotonic() >= until:
                raise StillRunning(last.job, timeout or 0)
            again = partial(look_again, self._http, _job(job_id), last, pause_seconds=poll, until=until)
            try:
                last = self._patiently(again, until=until)
            except ClientError as error:
                if not error.passing or until is None or time.monotonic() < until:
                    raise
        return last.job

    def events(self, job_id: str, after: int = 0, follow: bool = False, poll: float = 0.5) -> Iterator[Json]:
        """What happened after event number `after`, in order; with `follow`, on until the job is over.

        One that follows is told by the server as things happen, also over restarts of the server; where the server has
        no streams, it asks every `poll` seconds.
        """
        while True:
            asked_at = time.monotonic()
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
            for event in self._heard(job_id, after):
                after = event["seq"]
                yield event
            time.sleep(max(asked_at + poll - time.monotonic(), 0.0))

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

    # -- workers -------------------------------------------------------------------------------------------------

    def workers(self) -> Iterator[Json]:
        """Who is there to work, and on what; the one that started last first."""
        return self._pages("/workers", {})

    def worker(self, name: str) -> Json:
        return self._http.json("GET", _worker(name))

    def drain(self, name: str) -> Json:
        """Ask a worker to give its job back to the queue, with all that was done of it, and to take no more."""
        return self._http.json("POST", f"{_worker(name)}/drain")

    def undrain(self, name: str) -> Json:
        """Let a worker take jobs again."""
        return self._http.json("POST", f"{_worker(name)}/undrain")

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

    def _heard(self, job_id: str, after: int) -> Iterator[Json]:
        """Events as they happen, until the stream ends or breaks."""
        try:
            for event in self._http.listen(f"{_job(job_id)}/events", after):
                if event["seq"] > after:
                    yield event
        except ClientError as error:
            if not error.passing:
                raise

    def _exactly_once(self, path: str, body: Json, key: str | None) -> Json:
        """Make a job; where nobody knows whether the server has heard us, say the same again, with the same key."""
        headers = {"Idempotency-Key": str(uuid.uuid4()) if key is None else key}
        began, pauses, sent = time.monotonic(), iter(RETRY_PAUSES_SECONDS), False
        while True:
            try:
                return self._http.json("POST", path, body=body, headers=headers)
            except ClientError as error:
                sent = sent or not isinstance(error, Unreachable) or error.sent
                pause = next(pauses, None)
                in_vain = pause is None or time.monotonic() - began > PATIENCE_SECONDS
                # Nobody there at the first try is no lost answer: say so at once.
                if in_vain or not error.passing or not sent:
                    raise
                time.sleep(pause or 0)

    def _patiently(self, ask: Callable[[], T], patient: bool = True, until: float | None = None) -> T:
        """Ask until there is an answer, for as long as a restart may take, and not beyond `until`."""
        give_up: float | None = None
        while True:
            try:
                return ask()
            except ClientError as error:
                now = time.monotonic()
                if give_up is None:
                    give_up = now + PATIENCE_SECONDS if until is None else min(now + PATIENCE_SECONDS, until)
                if not (patient and error.passing) or now >= give_up:
                    raise
                time.sleep(min(0.5, give_up - now))


def _job(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _worker(name: str) -> str:
    return f"/workers/{quote(name, safe='')}"


def _table(table_id: str) -> str:
    return f"/label-tables/{quote(table_id, safe='')}"


def _plain(given: Mapping[str, Any] | TrainSpec | GuideSpec | Config) -> Json:
    # Only what was set: the server fills in the rest and shows it as the job's resolved_spec.
    return dict(given) if isinstance(given, Mapping) else given.model_dump(mode="json", exclude_unset=True)


def _envelope(
    name: str | None,
    labels: Mapping[str, str] | None,
    priority: int | None,
    limits: Mapping[str, float | None] | None,
    keep_last: int | None,
) -> Json:
    """What a job has around its spec, as far as it was given."""
    given = {
        "name": name,
        "labels": None if labels is None else dict(labels),
        "priority": priority,
        "limits": None if limits is None else dict(limits),
        "keep_last": keep_last,
    }
    return {field: value for field, value in given.items() if value is not None}


def _matching(
    status: str | None, mode: str | None, label: str | None, q: str | None, created_after: str | None
) -> Mapping[str, str | None]:
    return {"status": status, "mode": mode, "label": label, "q": q, "created_after": created_after}


def _meant(matching: Mapping[str, str | None], everything: bool) -> Mapping[str, str | None]:
    return {**matching, "all": "true" if everything else None}


def _target(to: str | PathLike[str] | None, name: str) -> Path:
    path = Path(to) if to is not None else Path()
    return path / name if path.is_dir() else path


def _numbers(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_numbers(value) for value in content]
    return float(content) if content in ("NaN", "Infinity", "-Infinity") else content
