"""A job's curves, page after page, and what is new of them since."""

from bisect import bisect_left
from typing import Any

from client.answers import Curves, Json
from client.encoding import floats
from client.errors import NotAServer
from client.http import Http


def read(http: Http, path: str, names: str | None, max_points: int | None, known: Json | None) -> Json:
    """All curves; those that are `known`, an earlier answer, go on from there."""
    series = {name: {"step": [*curve["step"]], "value": [*curve["value"]]} for name, curve in _series(known).items()}
    after, seen = None if known is None else known["next_cursor"], set()
    while True:
        params = {"names": names, "max_points": max_points, "after": after}
        page = floats(http.request_json("GET", path, holds=Curves, params=params))
        _add(series, page)
        after = page.get("next_cursor")
        if not page.get("has_more"):
            return {"object": "metrics", "job_id": page["job_id"], "series": series, "next_cursor": after}
        if after is None or after in seen:
            raise NotAServer(http.url, "its curves have no end")
        seen.add(after)


def _add(series: dict[str, dict[str, list[Any]]], page: Json) -> None:
    if page.get("begins_anew", True):
        series.clear()
    for name, more in page["series"].items():
        curve = series.setdefault(name, {"step": [], "value": []})
        stays = bisect_left(curve["step"], page.get("from_step", 0))
        for column in ("step", "value"):
            curve[column][stays:] = more[column]


def _series(known: Json | None) -> Json:
    return {} if known is None else known["series"]
