"""Those who only listen: some follow jobs by their streams of events, one is told of every change by a webhook."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from random import Random

import httpx2
from standardwebhooks.webhooks import WebhookVerificationError

from client import Client
from client.errors import Unreachable
from tests.chaos.users import Users
from tests.support.receiving import Receiver

FOLLOWERS = 3
LOOK_SECONDS = 0.1


class Audience:
    """What it has heard is for the verdict to compare with the logs."""

    def __init__(self, url: str, seed: int, users: Users, receiver: Receiver, clocks_were_stepped: Callable[[], bool]):
        self.followed: dict[str, list[int]] = {}
        """The numbers of the events of each job whose stream was followed to its end, as they came."""
        self.told: dict[str, list[int]] = defaultdict(list)
        """Those of each job's changes of state, as the webhook brought them first."""
        self.told_again = 0
        """A message may come twice, if nobody knows whether it has come."""
        self.problems: list[str] = []
        self._url, self._users, self._receiver = url, users, receiver
        self._clocks_were_stepped = clocks_were_stepped
        self._secret = _webhook(url, receiver.url())
        self._leaving, self._gone = threading.Event(), threading.Event()
        self._taken: set[str] = set()
        self._threads = [
            threading.Thread(target=self._follow_jobs, args=(Random(f"{seed} follower {number}"),), daemon=True)
            for number in range(FOLLOWERS)
        ]
        self._reader = threading.Thread(target=self._read_what_came, daemon=True)

    def come(self) -> None:
        for thread in (*self._threads, self._reader):
            thread.start()

    def close(self, seconds: float, all_told: Callable[["Audience"], bool], meanwhile: Callable[[], None]) -> None:
        """They hear the jobs out that they follow, and wait for so long for what the webhook still has to bring."""
        self._leaving.set()
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if not any(thread.is_alive() for thread in self._threads) and all_told(self):
                break
            meanwhile()
            time.sleep(0.5)
        self.go_home()

    def go_home(self) -> None:
        self._leaving.set()
        self._gone.set()
        if self._reader.is_alive():
            self._reader.join()

    # -- by streams ----------------------------------------------------------------------------------------------

    def _follow_jobs(self, dice: Random) -> None:
        with Client(self._url, timeout=20) as client:
            while not self._leaving.wait(LOOK_SECONDS):
                fresh = [job_id for job_id in self._users.some_ids(dice, 1_000) if job_id not in self._taken]
                if fresh:
                    self._taken.add(fresh[0])
                    self._follow(client, fresh[0])

    def _follow(self, client: Client, job_id: str) -> None:
        heard: list[int] = []
        try:
            while not self._heard_to_the_end(client, job_id, heard):
                if self._gone.is_set():
                    return
        except Exception as error:  # a thread has nobody above it: the verdict reads it
            self.problems.append(f"who followed {job_id} had trouble: {type(error).__name__}: {error}")
        else:
            self.followed[job_id] = heard

    def _heard_to_the_end(self, client: Client, job_id: str, heard: list[int]) -> bool:
        """From the last event that was heard on. A server may be away for longer than any client waits, where the
        machine is slow."""
        with suppress(Unreachable):
            for event in client.events(job_id, after=heard[-1] if heard else 0, follow=True):
                heard.append(event["seq"])
                if self._gone.is_set():
                    return False
            return True
        return False

    # -- by a webhook --------------------------------------------------------------------------------------------

    def _read_what_came(self) -> None:
        """At once: a signature is good for some minutes."""
        read, seen = 0, Counter[str]()
        while True:
            last = self._gone.is_set()
            for received in self._receiver.got[read:]:
                read += 1
                try:
                    subject = received.verified(self._secret, at_any_time=self._clocks_were_stepped())["data"]
                except WebhookVerificationError as error:
                    self.problems.append(f"a message to the webhook was not ours: {error}")
                    continue
                seen[received.id] += 1
                if seen[received.id] == 1:
                    self.told[subject["id"]].append(subject["event"]["seq"])
                else:
                    self.told_again += 1
            if last:
                return
            time.sleep(LOOK_SECONDS)


def _webhook(url: str, to: str) -> str:
    """The secret of a new one."""
    answer = httpx2.post(f"{url}/webhooks", json={"url": to, "events": ["state"]}, timeout=20, trust_env=False)
    answer.raise_for_status()
    return str(answer.json()["secret"])
