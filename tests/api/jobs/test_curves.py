"""GET /jobs/{id}/metrics: by column, in few points, page after page; as CSV; bounded whatever a job has measured."""

import asyncio
import csv
import math
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Integer, delete, insert, literal, literal_column, select
from starlette.testclient import TestClient

from api.jobs import curves as routes
from api.live.lanes import Lanes
from jobs.tables import Job, MetricPoint

UNKNOWN_ID = "job_01J00000000000000000000000"


def measure(app: FastAPI, job_id: str, name: str, points: int) -> None:
    """A curve of so many points, as the database counts them up: at every tenth step a value of 0.5."""
    numbers = select(literal(0).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < points - 1))
    columns = {
        "job_id": literal(job_id),
        "name": literal(name),
        "step": literal_column("numbers.number", Integer()) * 10,
        "value": literal(0.5),
        "at": literal(datetime.now(UTC), MetricPoint.at.type),
    }
    with app.state.database.begin() as session:
        session.execute(insert(MetricPoint).from_select(list(columns), select(*columns.values()).select_from(numbers)))


def rows(text: str) -> list[list[str]]:
    head, *points = csv.reader(text.splitlines())
    assert head == ["name", "step", "value"]
    return points


def test_curves_come_as_columns_and_what_diverged_reads_as_a_string(
    client: TestClient, submit: Any, worker: Any
) -> None:
    job = submit()
    values = [1.5, math.nan, math.inf, -math.inf]
    points = [("student.loss", step, value) for step, value in enumerate(values, 1)]
    worker.record(worker.claim(job), metrics=[*points, ("student/a,b", 7, 0.25)])
    url = job["urls"]["metrics"]

    everything = client.get(url).json()

    loss = everything["series"]["student.loss"]
    assert (loss["step"], loss["value"]) == ([1, 2, 3, 4], [1.5, "NaN", "Infinity", "-Infinity"])
    assert everything["series"]["student/a,b"]["value"] == [0.25]
    assert (everything["begins_anew"], everything["from_step"], everything["has_more"]) == (True, 0, False)
    assert set(client.get(url, params={"names": "student.loss,other"}).json()["series"]) == {"student.loss"}


def test_of_a_very_long_curve_few_points_are_in_memory_and_every_spike_is_seen(
    client: TestClient, app: FastAPI, submit: Any, worker: Any
) -> None:
    job = submit()
    claim = worker.claim(job)
    measure(app, job["id"], "student.loss", 200_000)
    odd = {123_450: 9.0, 1_234_560: -9.0, 777_770: math.nan}
    worker.record(claim, metrics=[("student.loss", step, value) for step, value in odd.items()])
    client.get(job["urls"]["metrics"], params={"names": "none"})  # what is made once is made

    tracemalloc.start()
    try:
        answer = client.get(job["urls"]["metrics"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8_000_000, "whatever the curve's length; its points alone would be ten times as much"
    assert len(answer.content) < 40_000
    curve = answer.json()["series"]["student.loss"]
    found = dict(zip(curve["step"], curve["value"], strict=True))
    assert len(found) <= 1_000
    assert list(found) == sorted(found)
    assert {step: found[step] for step in odd} == {123_450: 9.0, 1_234_560: -9.0, 777_770: "NaN"}
    assert (min(found), max(found)) == (0, 1_999_990)
    few = client.get(job["urls"]["metrics"], params={"max_points": 10}).json()["series"]["student.loss"]
    assert len(few["step"]) <= 10
    assert {0, 123_450, 1_234_560, 777_770, 1_999_990} <= set(few["step"])


def test_a_page_holds_as_many_curves_as_fit_and_the_next_ones_follow(
    client: TestClient, app: FastAPI, submit: Any
) -> None:
    job = submit()
    names = {f"curve.{number}" for number in range(30)}
    for name in names:
        measure(app, job["id"], name, 1_000)

    seen: dict[str, int] = {}
    page: dict[str, Any] = {"has_more": True, "next_cursor": None}
    pages = 0
    while page["has_more"]:
        answer = client.get(job["urls"]["metrics"], params={"after": page["next_cursor"]} if pages else {})
        assert len(answer.content) < 300_000
        page, pages = answer.json(), pages + 1
        assert page["begins_anew"] is (pages == 1)
        assert not seen.keys() & page["series"].keys()
        seen |= {name: len(curve["step"]) for name, curve in page["series"].items()}

    assert seen == dict.fromkeys(names, 1_000)
    assert pages > 1
    news = client.get(job["urls"]["metrics"], params={"after": page["next_cursor"]}).json()
    assert {tuple(curve["step"]) for curve in news["series"].values()} == {(9_990,)}


@pytest.mark.parametrize("query", ["", "?after=0.0"])
def test_a_job_that_has_measured_nothing_has_no_curves_yet(client: TestClient, submit: Any, query: str) -> None:
    answer = client.get(submit()["urls"]["metrics"] + query).json()

    assert (answer["series"], answer["has_more"], answer["next_cursor"]) == ({}, False, "0.0")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("max_points=9", "greater than or equal to 10"),
        ("max_points=10001", "less than or equal to 10000"),
        ("max_points=1e3", "whole number, in digits"),
        ("max_points=", "whole number, in digits"),
        ("after=", "take `next_cursor` from the answer before"),
        ("after=99999999999999999999", "take `next_cursor`"),
        ("after=1.1.1.%00", "take `next_cursor`"),
        ("format=xml", "'json' or 'csv'"),
        ("format=csv&after=1.1", "CSV has no place for the next cursor"),
        ("points=10", "there is no such parameter"),
    ],
)
def test_a_wrong_wish_is_refused_in_words(lone_client: TestClient, problem_in: Any, query: str, words: str) -> None:
    problem = problem_in(lone_client.get(f"/jobs/{UNKNOWN_ID}/metrics?{query}"), 422, "invalid")

    assert words in problem["detail"]


def test_a_cursor_of_what_never_happened_here_is_refused(client: TestClient, submit: Any, problem_in: Any) -> None:
    problem = problem_in(client.get(submit()["urls"]["metrics"], params={"after": "7.100"}), 422, "invalid")

    assert "is of attempt 7, and this job has had 0" in problem["detail"]


# -- as CSV -----------------------------------------------------------------------------------------------


def test_as_csv_come_all_points_of_all_curves(
    client: TestClient, app: FastAPI, submit: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "CSV_ROWS", 700)
    job = submit()
    points = [("student.loss", 1, 1.5), ("student.loss", 2, math.nan), ('a, "b"', 7, -math.inf)]
    worker.record(worker.claim(job), metrics=points)
    measure(app, job["id"], "long", 2_100)

    answer = client.get(job["urls"]["metrics"], params={"format": "csv"})

    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="{job["id"]}.csv"'
    found = rows(answer.text)
    assert sorted(row for row in found if row[0] != "long") == [
        ['a, "b"', "7", "-Infinity"],
        ["student.loss", "1", "1.5"],
        ["student.loss", "2", "NaN"],
    ]
    assert [row for row in found if row[0] == "long"] == [["long", str(step * 10), "0.5"] for step in range(2_100)]
    one = client.get(job["urls"]["metrics"], params={"names": "long,none"}, headers={"Accept": "text/csv"})
    assert len(rows(one.text)) == 2_100
    assert one.headers["vary"] == "Accept"


def test_a_csv_may_be_of_few_points_too(client: TestClient, app: FastAPI, submit: Any) -> None:
    job = submit()
    for number in range(30):
        measure(app, job["id"], f"curve.{number}", 1_500)

    found = rows(client.get(job["urls"]["metrics"], params={"format": "csv", "max_points": 1_000}).text)

    assert len({name for name, _, _ in found}) == 30
    assert max(int(step) for _, step, _ in found) == 14_990
    assert len(found) <= 30_000


def test_a_csv_of_a_job_that_is_not_there_is_an_error_in_words(client: TestClient, problem_in: Any) -> None:
    problem_in(client.get(f"/jobs/{UNKNOWN_ID}/metrics", params={"format": "csv"}), 404, "job_not_found")


def test_a_csv_that_breaks_off_is_never_ended(client: TestClient, app: FastAPI, submit: Any) -> None:
    """The server then cuts the connection: a client must not take a part for the whole."""
    job = submit()
    measure(app, job["id"], "long", 2 * routes.CSV_ROWS)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return await asyncio.Event().wait() or {}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            with app.state.database.begin() as session:
                session.execute(delete(Job))

    async def ask() -> None:
        answer = await routes.get_metrics(
            job["id"], routes.CurvesQuery(format="csv"), app.state.database, Lanes(), routes.Response()
        )
        await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)

    asyncio.run(ask())

    assert [message.get("more_body") for message in sent] == [None, True, True]
