"""Whatever a server puts into its answers, a command says what it shows in plain characters, or one sentence."""

import copy
import itertools
import json
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from cli.commands import watch
from cli.main import app
from client import patience
from kd.printable import unprintable
from tests.support.faults.crooked import Crooked, json_http
from tests.support.faults.crooked import http as answered

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\U000e0041[bold]"
ODD = [None, 0, -1, True, 1e308, 10**400, "", HOSTILE, "NaN", [], {}, [[5]], {HOSTILE: HOSTILE}, "5"]

JOB: dict[str, Any] = {
    "id": "job_1",
    "status": "succeeded",
    "mode": "train",
    "is_terminal": True,
    "name": HOSTILE,
    "labels": {"team": HOSTILE},
    "priority": 3,
    "phase": "student",
    "progress": {
        "fraction": 0.5, "phase": "student", "epoch": 1, "epochs": 2, "images_per_second": 9.5, "eta_seconds": 60,
    },
    "attempt": 2,
    "worker": HOSTILE,
    "parent_job_id": None,
    "resolved_spec": {
        "config": {"dataset": HOSTILE, "student": {"arch": "mlp"}, "teacher": {"arch": "cnn", "job": "j", "role": "x"}}
    },
    "error": {"message": HOSTILE, "hint": HOSTILE, "retryable": True, "suggested_patch": {"config": {"ema": HOSTILE}}},
    "result": {
        "metrics": {"student.test.top1": 0.9, "teacher.test.top1": 0.95, "gain": 0.01, "student.parameters": 5},
        "seconds": {"student": 5.0},
    },
    "created_at": "2026-01-01T00:00:00Z",
    "started_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:00:00Z",
    "cancel_requested_at": None,
    "pause_requested_at": None,
    "waiting": {"position": 3, "reason": HOSTILE, "message": HOSTILE},
    "limits": {"max_run_seconds": 5.0, "max_queue_seconds": 60, "max_stall_seconds": None},
    "keep_last": 2,
    "run_seconds": 5.5,
}  # fmt: skip
EVENTS = [
    ("claimed", {"worker": HOSTILE}),
    ("started", {"device": HOSTILE, "precision": "fp32", "resumed_from_step": 5}),
    ("phase", {"phase": "teacher", "facts": {"arch": HOSTILE}}),
    ("phase", {"phase": "labelling", "facts": {"views": 2, "images": 5_000, "rounds": 3}}),
    ("evaluated", {"phase": "student", "split": "validation", "epoch": 1, "metrics": {"top1": 0.9}}),
    ("noted", {"code": "verdict", "message": HOSTILE}),
    ("noted", {"code": HOSTILE, "message": HOSTILE}),
    ("finished", {"metrics": {}, "seconds": {}}),
]
FILE = {"id": "ckpt_1", "file": "student.safetensors", "name": "report.json", "size": 5, "sha256": "0" * 64}
WORKER = {
    "name": HOSTILE, "status": HOSTILE, "job_id": HOSTILE, "gpus": 1, "memory_bytes": 5, "heartbeat_age_seconds": 1.5,
    "trouble": HOSTILE,
}  # fmt: skip
WORLD: dict[str, Any] = {
    "job": JOB,
    "events": [
        {"seq": seq, "type": kind, "attempt": 2, "data": data} for seq, (kind, data) in enumerate(EVENTS, start=1)
    ],
    "file": FILE,
    "worker": WORKER,
    "bulk": {"changed": 5},
}


def page(*content: Any) -> dict[str, Any]:
    return {"data": list(content), "has_more": False, "next_cursor": None}


class Server:
    """Answers from a world that a test may bend."""

    def __init__(self) -> None:
        self.world = copy.deepcopy(WORLD)

    def answer(self, path: str) -> bytes:
        *_, last = path.partition("?")[0].split("/")
        world = self.world
        if last == "logs":
            return answered(f"{HOSTILE}\r\n10 %\r20 %\n".encode(), Content_Type="text/plain")
        found = {
            "events": {"data": world["events"], "has_more": False},
            "artifacts": page(world["file"]),
            "best": world["file"],
            "workers": page(world["worker"]),
            "drain": world["worker"],
            "undrain": world["worker"],
            "jobs": page(world["job"]),
        }
        if path == "/jobs/cancel?all=true":
            return json_http(world["bulk"])
        return json_http(found.get(last, world["job"]))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # A client reads the certificates of this machine, which takes longer than all else here, and needs none of them.
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(httpx2, "Client", partial(httpx2.Client, verify=no_certificates))
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)
    bad = Server()
    with Crooked(bad.answer).listening() as listening:
        monkeypatch.setenv("STILLHOUSE_URL", listening.url)
        yield bad


def run(*command: str) -> tuple[int, str]:
    """What it came to. Nothing that it says may steer the terminal, and no error may be ours."""
    answer = CliRunner().invoke(app, list(command))
    assert answer.exception is None or isinstance(answer.exception, SystemExit), (command, answer.exception)
    said = [*answer.stdout.split("\n"), *answer.stderr.split("\n")]
    assert [line for line in said if unprintable(line)] == []
    return answer.exit_code, answer.output


COMMANDS = [
    *(["ls"], ["show", "job_1"], ["watch", "job_1"], ["cancel", "job_1"], ["cancel", "--all"], ["pause", "job_1"]),
    *(["resume", "job_1"], ["change", "job_1", "--name", "x"], ["delete", "job_1"], ["workers"], ["drain", "w"]),
    *(["undrain", "w"], ["submit", "--mode", "train"], ["submit", "--mode", "train", "--watch"], ["retry", "job_1"]),
]


@pytest.mark.parametrize("status", ["succeeded", "failed", "queued", "paused", "running"])
def test_what_others_wrote_is_shown_and_steers_nothing(server: Server, status: str) -> None:
    server.world["job"]["status"] = status
    shown = ""
    for command in COMMANDS:
        as_json = command[0] in ("ls", "show", "watch", "workers", "cancel", "submit")
        for given in [command, [*command, "--json"]] if as_json else [command]:
            shown += run(*given)[1]

    assert "\\x1b[2J" in shown
    assert "\\u202egpj.exe" in shown


def test_json_is_what_the_server_said(server: Server) -> None:
    code, said = run("show", "job_1", "--json")

    assert (code, json.loads(said)) == (0, JOB)


def test_a_log_is_shown_line_by_line(server: Server) -> None:
    code, said = run("logs", "job_1")

    assert code == 0
    assert said.splitlines()[1:] == ["10 %", "20 %"]
    assert said.startswith("\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202egpj.exe")


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything that an answer holds."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


LOOKING = {
    "job": [["show", "job_1"], ["ls"], ["watch", "job_1"], ["cancel", "job_1"]],
    "events": [["show", "job_1"], ["watch", "job_1"]],
    "file": [["show", "job_1"], ["download", "job_1"]],
    "worker": [["workers"], ["drain", "w"]],
    "bulk": [["cancel", "--all"]],
}


@pytest.mark.parametrize(("kind", "status"), [("job", "queued"), *((kind, "succeeded") for kind in WORLD)])
def test_whatever_is_missing_or_of_another_type_is_no_traceback(
    server: Server, kind: str, status: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place in turn is taken away or gets an odd value; which, and what looks at it, goes round."""
    monkeypatch.chdir(tmp_path)
    whole = copy.deepcopy(WORLD)
    whole["job"]["status"] = status
    changes, looking = itertools.cycle(["missing", *ODD]), itertools.cycle(LOOKING[kind])
    next(changes) if status == "queued" else None  # other values than the first time

    for *above, last in places(whole[kind]):
        server.world = copy.deepcopy(whole)
        part = server.world[kind]
        for key in above:
            part = part[key]
        if (value := next(changes)) == "missing":
            del part[last]
        else:
            part[last] = value
        command = next(looking)
        if command[0] != "watch" or server.world["job"].get("is_terminal"):  # else it is watched on
            assert run(*command)[0] in (0, 1)
