"""Is what `POST /jobs/validate` says of a job's time what it takes? One job runs first, then twenty others.

    python benchmarks/estimates.py

Each is asked for and run to its end on an embedded server; error = |estimate - run_seconds| / run_seconds.
"""

import itertools
import statistics
from typing import Any

from servers import server, site, worker

from client import Client

FIRST: dict[str, Any] = {
    "dataset": "digits",
    "teacher": {"arch": "cnn", "epochs": 6},
    "student": {"arch": "cnn_small"},
    "epochs": 10,
    "views": 4,
}


def jobs() -> list[tuple[str, dict[str, Any]]]:
    """Twenty that differ in what a user changes: mode, epochs, views, seeds, batches, objective, images."""
    epochs = [
        ("train", FIRST | {"epochs": epochs, "views": views})
        for epochs, views in itertools.product((5, 20, 40), (1, 16))
    ]
    guided = [
        ("guide", {name: value for name, value in FIRST.items() if name != "views"} | {"epochs": epochs})
        for epochs in (10, 30)
    ]
    others: list[dict[str, Any]] = [
        {"seeds": 3},
        {"seeds": 2, "epochs": 20},
        {"batch_size": 32},
        {"batch_size": 256, "epochs": 30},
        {"objective": {"method": "dkd"}},
        {"objective": {"method": "dist"}, "epochs": 15},
        {"control": False, "epochs": 25},
        {"baselines": {"label_smoothing": 0.1}},
        {"teacher": {"arch": "cnn", "epochs": 20}},
        {"augmentation": {"strong": 1}, "epochs": 15},
        {"ema": 0.99, "epochs": 20},
        {"dataset": "mnist5k", "epochs": 5},
    ]
    return [*epochs, *guided, *(("train", FIRST | change) for change in others)]


def main() -> None:
    with site("embedded") as here, server(settings := here.add("data")) as url, worker("embedded", settings):
        measure(Client(url))


def measure(client: Client) -> None:
    with client:
        run(client, "train", FIRST)
        print(f"{'job':>4} {'mode':<6} {'told':>8} {'took':>8} {'error':>7}")
        errors = []
        for number, (mode, config) in enumerate(jobs(), 1):
            told = client.validate({"mode": mode, "config": config})["estimate"]["total_seconds"]
            took = run(client, mode, config)
            if told is None:
                print(f"{number:>4} {mode:<6} {'unknown':>8} {took:>7.1f}s")
                continue
            errors.append(abs(told - took) / took)
            print(f"{number:>4} {mode:<6} {told:>7.1f}s {took:>7.1f}s {errors[-1]:>7.0%}", flush=True)
        print(f"\nmedian error {statistics.median(errors):.0%}, largest {max(errors):.0%}, of {len(errors)} jobs")


def run(client: Client, mode: str, config: dict[str, Any]) -> float:
    job = client.wait(client.submit(mode, config)["id"])
    assert job["status"] == "succeeded", job["error"]
    return float(job["run_seconds"])


if __name__ == "__main__":
    main()
