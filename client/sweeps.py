"""Sweeps of a server, as `client.sweeps`: many runs from one request."""

from collections.abc import Iterator, Mapping
from typing import Any

from client import answers
from client.answers import Json
from client.encoding import sweep_path
from client.http import Http


class Sweeps:
    """Every method is one request unless it says otherwise; sweeps are the JSON objects of the HTTP API."""

    def __init__(self, http: Http):
        self._http = http

    def submit(self, plan: Mapping[str, Any], *, idempotency_key: str | None = None) -> Json:
        """Queue runs that differ in some fields: `mode`, `config`, `space`, and what POST /sweeps takes besides.

        Answers with the sweep and its first members. Makes exactly one, like `Client.submit`.
        """
        return self._http.post_once("/sweeps", dict(plan), idempotency_key, holds=answers.SweepTable)

    def get(self, sweep_id: str) -> Json:
        """A sweep and how its members stand."""
        return self._http.request_json("GET", sweep_path(sweep_id), holds=answers.SweepTable)

    def list(self, page_size: int = 100) -> Iterator[Json]:
        """All sweeps, newest first, without their members; asks for the next page when it is needed."""
        return self._http.pages("/sweeps", {"limit": page_size}, answers.Sweep)

    def cancel(self, sweep_id: str) -> Json:
        """Cancel all members that have not ended, and make no more."""
        return self._http.request_json("POST", f"{sweep_path(sweep_id)}/cancel", holds=answers.SweepTable)

    def pause(self, sweep_id: str) -> Json:
        """Put all members aside that have not ended, and make no more for now."""
        return self._http.request_json("POST", f"{sweep_path(sweep_id)}/pause", holds=answers.SweepTable)

    def resume(self, sweep_id: str) -> Json:
        """Go on with a sweep that is paused, and with all its members that are."""
        return self._http.request_json("POST", f"{sweep_path(sweep_id)}/resume", holds=answers.SweepTable)

    def delete(self, sweep_id: str) -> None:
        """Forget a sweep that is over, with its jobs and all their files."""
        self._http.request("DELETE", sweep_path(sweep_id))

    def pareto(self, sweep_id: str) -> bytes:
        """Accuracy against size and latency as a picture, SVG."""
        return self._http.request("GET", f"{sweep_path(sweep_id)}/pareto.svg").content
