"""Whatever a header holds, it is understood or refused: no client can make the server fail."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

JOB = "/jobs/job_01J00000000000000000000000"
ASKED: tuple[tuple[str, str], ...] = (
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("POST", "/jobs/cancel?all=true"),
    ("DELETE", "/jobs?status=failed"),
    ("GET", JOB),
    ("PATCH", JOB),
    ("POST", f"{JOB}/cancel"),
    ("GET", f"{JOB}/events"),
    ("GET", f"{JOB}/checkpoints/best/download"),
    ("GET", "/healthz"),
    ("POST", "/webhooks"),
)
READ = (
    "Accept",
    "Content-Length",
    "Content-Type",
    "Host",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Last-Event-ID",
    "Origin",
    "Prefer",
    "Range",
    "Sec-Fetch-Site",
    "X-Request-ID",
)
# What has a grammar of its own in one of them, and pieces of it.
WORDS = "text/event-stream application/json +json null localhost http:// ::1 bytes= 0- q= wait= 1e999 W/ é \x80"
PIECES = st.sampled_from([*WORDS.split(), "9" * 30, *'[]%*"-,;:@/='])
VALUES = st.lists(PIECES | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=8), max_size=6).map(
    "".join
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.sampled_from(ASKED), headers=st.dictionaries(st.sampled_from(READ), VALUES, min_size=1, max_size=4))
def test_no_header_makes_the_server_fail(
    lone_client: TestClient, asked: tuple[str, str], headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = lone_client.request(*asked, headers=raw, content=b"{}" if asked[0] in ("POST", "PATCH") else None)

    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//[", "http://]", "[", "http://a:b:c"])
def test_an_origin_that_is_none_is_another_site(lone_client: TestClient, problem_in: Any, origin: str) -> None:
    answer = lone_client.post("/jobs/cancel?all=true", headers={"Origin": origin})

    problem_in(answer, 403, "cross_site")
