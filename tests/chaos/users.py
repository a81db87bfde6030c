"""Those who ask for jobs. Each submits one, does with it what they like, waits for its end, and submits the next.

They speak HTTP as a careful client would: they repeat what was not answered, with the same Idempotency-Key.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from kd.data import packing, published

# Some seconds each beside two others, mostly in the loops that faults shall hit.
SHARED = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 6},
    "student": {"arch": "mlp"},
    "epochs": 250,
    "batch_size": 64,
    "checkpoint_seconds": 0.2,
}
DIVERGING = "train diverging"
ROUNDS = {"epochs": 25, "views": 2}
SPECS: dict[str, dict[str, Any]] = {
    "train": {"mode": "train", "config": SHARED | {"seed": 1}},
    "train mixed": {"mode": "train", "config": SHARED | {"seed": 2, "ema": 0.9, "augmentation": {"mixup": 0.4}}},
    "guide": {"mode": "guide", "config": SHARED | {"seed": 3, "rounds": ROUNDS}},
    "guide cotrain": {"mode": "guide", "config": SHARED | {"seed": 4, "rounds": ROUNDS | {"teacher": "cotrain"}}},
    # 1,295 images are three such batches and two images: they must be cut evenly.
    "train uneven": {
        "mode": "train",
        "config": SHARED
        | {"seed": 5, "student": {"arch": "cnn_small"}, "batch_size": 431}
        | {"teacher": SHARED["teacher"] | {"batch_size": 431}},
    },
    # Its loss is no number after some dozens of steps: the job must fail, whatever is done to it before.
    DIVERGING: {
        "mode": "train",
        "config": SHARED | {"seed": 6, "optimizer": {"lr": 10.0, "weight_decay": 1.0, "momentum": 0.99}},
    },
}

BORROWED, PACKED = "train borrowed", "train packed"
SPECS[PACKED] = {"mode": "train", "config": SHARED | {"seed": 7, "dataset": "packed/chaos"}}


def borrowing(lender: str) -> dict[str, Any]:
    """The spec of a job whose teacher that one has trained."""
    return {"mode": "train", "config": SHARED | {"seed": 8, "teacher": {"job": lender}}}


def pack(folder: Path) -> str:
    """The digits as a packed data set; its name."""
    source = published.digits()
    chunk = packing.Chunk(source.images.transpose(0, 2, 3, 1), source.labels)
    name = str(SPECS[PACKED]["config"]["dataset"])
    packing.pack(folder, name, [chunk])
    return name


PATIENCE_SECONDS = 0.3
FATES = {"left alone": 10, "doubled": 4, "paused": 3, "cancelled": 2}


@dataclass
class Ticket:
    """What one user knows of one job."""

    key: str
    spec: str
    fate: str
    priority: int
    ids: set[str] = field(default_factory=set)
    asked_to_cancel: bool = False
    ended: dict[str, Any] | None = None
    trouble: str | None = None
    may_fail_of: set[str] = field(default_factory=set)
    """Codes that say what was done to the files that it was to read."""


class GivenUp(Exception):
    """The chaos is over and the user was told to go home."""


class Users:
    def __init__(self, url: str, seed: int, say: Callable[[str], None], specs: Mapping[str, dict[str, Any]]):
        self.tickets: list[Ticket] = []
        self.internal_errors: list[str] = []
        """Answers with status 500: whatever happens, the server knows what to call it."""
        self.refusable: set[str] = set()
        """Specs of which a job may be refused now, for what they are to read is damaged."""
        self._seed, self._say, self._specs = seed, say, specs
        # Longer than the server waits for its database.
        self._http = httpx2.Client(base_url=url, timeout=20, trust_env=False)
        self._closing, self._gone_home = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    def hire(self, count: int, *, for_one_job: bool = False, spec: str | None = None) -> None:
        for _ in range(count):
            dice = Random(f"{self._seed} user {len(self._threads)}")
            thread = threading.Thread(target=self._work, args=(dice, for_one_job, spec), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Nobody submits any more; for so long they wait for the jobs they have."""
        self._closing.set()
        give_up = time.monotonic() + seconds
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < give_up:
            meanwhile()
            time.sleep(0.1)
        self.go_home()

    def go_home(self) -> None:
        self._closing.set()
        self._gone_home.set()
        for thread in self._threads:
            thread.join(30)
        self._http.close()

    def some_ids(self, dice: Random, count: int) -> list[str]:
        """Of jobs in all states."""
        ids = [job_id for ticket in list(self.tickets) for job_id in list(ticket.ids)]
        return dice.sample(ids, min(count, len(ids)))

    # -- one user ------------------------------------------------------------------------------------------------

    def _work(self, dice: Random, for_one_job: bool, spec: str | None) -> None:
        while not self._closing.is_set():
            ticket = Ticket(
                key=f"chaos-{dice.getrandbits(64):016x}",
                spec=spec or dice.choice(list(self._specs)),
                fate=dice.choices(list(FATES), list(FATES.values()))[0],
                priority=dice.randint(-3, 3),
            )
            self.tickets.append(ticket)
            try:
                self._see_through(ticket, dice)
            except GivenUp:
                return
            except Exception as error:  # a user's thread has nobody above it: the verdict reads it
                ticket.trouble = f"{type(error).__name__}: {error}"
                self._say(f"! user in trouble: {ticket.trouble}")
            if for_one_job:
                return

    def _see_through(self, ticket: Ticket, dice: Random) -> None:
        job_id = self._submit(ticket)
        if ticket.fate == "cancelled":
            self._wait(dice.uniform(0, 8))
            ticket.asked_to_cancel = True
            self._act(job_id, "cancel")
        if ticket.fate == "paused":
            self._wait(dice.uniform(0, 8))
            self._act(job_id, "pause")
            self._wait(dice.uniform(0, 4))
            self._act(job_id, "resume")
        while not (job := self._job(job_id))["is_terminal"]:
            if job["status"] == "paused":  # a pause of ours that was long under way
                self._act(job_id, "resume")
            self._wait(0.5)
        ticket.ended = job

    def _submit(self, ticket: Ticket) -> str:
        body = self._specs[ticket.spec] | {"name": ticket.key, "priority": ticket.priority}

        def once(_: int) -> str:
            while True:
                refusable = ticket.spec in self.refusable
                answer = self._ask("POST", "/jobs", body=body, headers={"Idempotency-Key": ticket.key})
                if answer.status_code != 422 or not (refusable or ticket.spec in self.refusable):
                    break
                self._wait(PATIENCE_SECONDS)
            assert answer.status_code in (200, 201), f"a submission was answered with {_in_words(answer)}"
            ticket.ids.add(answer.json()["id"])
            return str(answer.json()["id"])

        times = 2 if ticket.fate == "doubled" else 1
        with ThreadPoolExecutor(times) as at_once:
            return next(iter(at_once.map(once, range(times))))

    def _act(self, job_id: str, action: str) -> None:
        answer = self._ask("POST", f"/jobs/{job_id}/{action}")
        # 409: it has ended meanwhile.
        assert answer.status_code in (200, 202, 409), f"{action} was answered with {_in_words(answer)}"

    def _job(self, job_id: str) -> dict[str, Any]:
        answer = self._ask("GET", f"/jobs/{job_id}")
        assert answer.status_code == 200, f"{job_id} is lost: {_in_words(answer)}"
        return dict(answer.json())

    def _ask(
        self, method: str, path: str, *, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        """Until there is an answer that says more than "not now"."""
        while True:
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
                if answer.status_code == 500:
                    self.internal_errors.append(f"{method} {path}: {_in_words(answer)}")
                if answer.status_code < 500:
                    return answer
            except httpx2.TransportError:
                pass
            self._wait(PATIENCE_SECONDS)

    def _wait(self, seconds: float) -> None:
        if self._gone_home.wait(seconds):
            raise GivenUp


def _in_words(answer: httpx2.Response) -> str:
    return f"{answer.status_code} {answer.text[:500]}"
