"""How fast is the embedded server under 8 clients, and how soon does a queued job's trainer speak?

    python benchmarks/service.py [--requests 300] [--clients 8] [--starts 7]

Starts `kd serve` on a fresh data folder. Latency: 8 client processes, each with one connection, send requests one
after another without a pause (so the server is saturated); first POST /jobs, then GET /jobs/{id}. The server has no
worker then, so nothing else runs. Start: from `created_at` to the `at` of the trainer's first event, both by the
database's clock; with a trainer kept warm, and without. Results with hardware: benchmarks/README.md.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

from client import Client

TINY = {"dataset": "digits", "teacher": {"arch": "mlp", "epochs": 1}, "epochs": 1, "control": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="of each kind, by each client")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--starts", type=int, default=7, help="jobs, warm and cold")
    options = parser.parse_args()

    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    with server("--no-worker") as url:
        for name, work in (("POST /jobs", post), ("GET /jobs/{id}", get)):
            latencies = in_parallel(work, url, options.clients, options.requests)
            cut = quantiles(latencies, n=100)
            print(
                f"{name:16} {options.clients} clients, {len(latencies)} requests: "
                f"p50 {cut[49] * 1e3:.1f} ms, p99 {cut[98] * 1e3:.1f} ms, max {max(latencies) * 1e3:.1f} ms"
            )
    for kind, standby in (("warm standby", "true"), ("no standby", "false")):
        with server(STILLHOUSE_STANDBY=standby) as url:
            waits = starts(url, options.starts, pause_seconds=6 if standby == "true" else 0.5)
        print(
            f"queued to first event, {kind}: median {median(waits):.2f} s "
            f"({min(waits):.2f} to {max(waits):.2f}, {len(waits)} jobs)"
        )


def post(client: Client, count: int) -> Iterator[None]:
    for _ in range(count):
        client.submit("train", TINY)
        yield


def get(client: Client, count: int) -> Iterator[None]:
    job_id = client.submit("train", TINY)["id"]
    for _ in range(count):
        client.get(job_id)
        yield


def in_parallel(work: object, url: str, clients: int, count: int) -> list[float]:
    """Every request's seconds, from all clients; they start together."""
    together = multiprocessing.get_context("spawn").Barrier(clients)
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[list[float]] = context.Queue()
    processes = [context.Process(target=measure, args=(work, url, count, together, results)) for _ in range(clients)]
    for process in processes:
        process.start()
    latencies = [seconds for _ in processes for seconds in results.get(timeout=600)]
    for process in processes:
        process.join()
    return latencies


def measure(work: object, url: str, count: int, together: object, results: object) -> None:
    with Client(url) as client:
        client.is_ready()  # the connection is open
        together.wait()  # type: ignore[attr-defined]
        seconds, last = [], time.perf_counter()
        for _ in work(client, count):  # type: ignore[operator]
            now = time.perf_counter()
            seconds.append(now - last)
            last = now
        results.put(seconds[1:])  # type: ignore[attr-defined]  # the first one of `get` also submitted


def starts(url: str, count: int, pause_seconds: float) -> list[float]:
    """Seconds from queued to the trainer's first event, one job after another."""
    waits = []
    with Client(url) as client:
        for _ in range(count):
            time.sleep(pause_seconds)  # long enough for a reserve to have loaded torch
            job = client.wait(client.submit("train", TINY)["id"], timeout=120)
            first = next(event for event in client.events(job["id"]) if event["type"] == "started")
            waits.append(
                (datetime.fromisoformat(first["at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()
            )
    return waits


@contextlib.contextmanager
def server(*flags: str, **environment: str) -> Iterator[str]:
    """`kd serve` on a free port and a fresh data folder."""
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+") as log:
        command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--data", folder, *flags]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
        try:
            while not (found := re.search(r"listens on (http://\S+)", Path(log.name).read_text())):
                assert process.poll() is None, Path(log.name).read_text()
                time.sleep(0.05)
            yield found[1]
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
