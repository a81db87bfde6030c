"""Which objective makes a better student, and with which recipe? An ablation over seeds, each against its control.

    python benchmarks/objectives.py run --out results.jsonl --dataset mnist5k --teacher cnn --student mlp
                                    [--seeds 5] [--epochs 30] [--rates 0.01,0.02,0.05] [--settings kd,dkd,…]
                                    [--images FILE.npz --train 6000] [--first 0 --step 1]
    python benchmarks/objectives.py show results.jsonl

One teacher and one label table a seed; every setting trains the same student from it, from the same first weights, over
as many images, at every rate. A setting's rate is the one with the best mean accuracy on the validation split, and so
is the control's: the gain is over the control at the control's own best. Read on the test split, after the last epoch.
A line a training is appended to --out as it ends, and what is there already is not trained again: kill it and start it
again at will. `--first i --step n` takes every n-th training, for n processes beside one another.

With --images, FILE.npz holds `images` (uint8 [N, H, W] or [N, H, W, C]), `labels` and `split` (2 for test images), of
which the first --train and all test images are packed. Results go into docs/objectives.md.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import nn

from kd.data.dataset import Dataset, load_dataset
from kd.data.packing import Chunk, pack
from kd.data.parts import TEST, TRAIN
from kd.evaluation.predict import predict
from kd.evaluation.scores import score
from kd.labels import labelling
from kd.models.folding import for_inference
from kd.objectives.objective import Objective
from kd.spec import TrainConfig
from kd.teachers.frozen import freeze, validation_logits
from kd.train import TableLabels
from kd.training import loop
from kd.training.logbook import Logbook
from kd.training.position import Position
from kd.training.run import Run, Shown, prepare

CONTROL = "control"


def settings() -> dict[str, dict[str, Any]]:
    """The objectives that are compared, by a name that says what is in them."""
    found: dict[str, dict[str, Any]] = {}
    for weight in (0.9, 1.9, 4.0):
        for temperature in (1, 2, 4):
            found[f"kd {weight:g} T{temperature}"] = {"temperature": temperature, "soft_weight": weight}
    # The usual pair sums to one; these keep the labels in full beside it.
    found |= {f"kd {name} whole labels": kd | {"hard_weight": 1.0} for name, kd in _short(found).items()}
    for weight in (0.9, 9.0):
        found[f"kd {weight:g} T2 standardized"] = {"temperature": 2, "soft_weight": weight, "standardize": True}
    for beta in (2, 8):
        found[f"dkd β{beta} T4"] = {"method": "dkd", "beta": beta, "hard_weight": 1.0, "soft_weight": 1.0}
        found[f"dkd β{beta} T2"] = found[f"dkd β{beta} T4"] | {"temperature": 2}
    for weight, temperature in ((1.0, 1), (2.0, 1), (2.0, 4)):
        own = {"method": "dist", "hard_weight": 1.0, "soft_weight": weight, "temperature": temperature}
        found[f"dist {weight:g} T{temperature}"] = own
    for weight in (0.1, 0.3, 1.0):
        found[f"wttm {weight:g}"] = {"method": "wttm", "hard_weight": 1.0, "soft_weight": weight}
    return found


def _short(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name.removeprefix("kd "): kd for name, kd in found.items() if kd["soft_weight"] in (0.9, 1.9)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--out", type=Path, required=True)
    runs.add_argument("--dataset", default="mnist5k")
    runs.add_argument("--images", type=Path)
    runs.add_argument("--train", type=int, default=6_000)
    runs.add_argument("--teacher", default="cnn")
    runs.add_argument("--teacher-epochs", type=int, default=12)
    runs.add_argument("--student", default="mlp")
    runs.add_argument("--seeds", type=int, default=5)
    runs.add_argument("--epochs", type=int, default=30)
    runs.add_argument("--views", default="all")
    runs.add_argument("--optimizer", default="sgd")
    runs.add_argument("--rates", default="0.01,0.02,0.05")
    runs.add_argument("--settings", help="those whose names begin with one of these, with commas between")
    runs.add_argument("--first", type=int, default=0)
    runs.add_argument("--step", type=int, default=1)
    commands.add_parser("show").add_argument("results", type=Path)
    options = parser.parse_args()
    if options.command == "show":
        show(options.results)
    else:
        ablate(options)


# -- trainings ---------------------------------------------------------------------------------------------


def ablate(options: argparse.Namespace) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    begun = tuple(options.settings.split(",")) if options.settings else ("",)
    wanted = {CONTROL: {}} | {name: own for name, own in settings().items() if name.startswith(begun)}
    done = {_key(line) for line in _lines(options.out)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        name = put(options.images, options.train, folder) if options.images else options.dataset
        data = folder / "data" if options.images else Path("data")
        for seed in range(options.seeds):
            todo = []
            for setting, own in wanted.items():
                for rate in map(float, options.rates.split(",")):
                    what = _what(options, setting, rate, seed)
                    todo.append((what, own))
            todo = [(what, own) for what, own in todo[options.first :: options.step] if _key(what) not in done]
            if not todo:
                continue
            bench = Bench(options, load_dataset(name, data, 0.1), seed, folder / str(seed))
            for what, own in todo:
                scores = bench.train(own if what["setting"] != CONTROL else None, what["rate"])
                with options.out.open("a") as out:
                    out.write(json.dumps(what | scores) + "\n")
                print(f"{what['setting']:28} {what['rate']:<6} seed {seed}: {scores['test']:.2%}", flush=True)


def _what(options: argparse.Namespace, setting: str, rate: float, seed: int) -> dict[str, Any]:
    data = f"{options.images.stem} {options.train}" if options.images else options.dataset
    return {
        "data": data,
        "pair": f"{options.teacher} → {options.student}",
        "epochs": options.epochs,
        "views": options.views,
        "optimizer": options.optimizer,
        "setting": setting,
        "rate": rate,
        "seed": seed,
    }


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("data", "pair", "epochs", "views", "optimizer", "setting", "rate", "seed"))


def _lines(results: Path) -> Iterator[dict[str, Any]]:
    if results.exists():
        for line in results.read_text().splitlines():
            yield json.loads(line)


class Bench:
    """One seed's teacher, its labels, and the data, from which any number of students learn."""

    def __init__(self, options: argparse.Namespace, dataset: Dataset, seed: int, folder: Path):
        self.options, self.seed, self.folder = options, seed, folder
        self.base = {
            "dataset": dataset.name,
            "teacher": {"arch": options.teacher, "epochs": options.teacher_epochs},
            "student": {"arch": options.student},
            "views": options.views if options.views == "all" else int(options.views),
            "epochs": options.epochs,
            "seed": seed,
        }
        folder.mkdir()
        config = TrainConfig.model_validate(self.base)
        self.run = prepare(
            config,
            dataset,
            torch.device("cpu"),
            autocast_dtype=None,
            out=folder,
            labels=folder / "labels",
            teacher_arch=options.teacher,
        )
        run, log = self.run, self._log(self.run)
        assert not isinstance(config.teacher, str)
        model = run.build(options.teacher, "teacher")
        for _ in loop.fit(run, log, "teacher", model, config.teacher, Objective(), patience=config.teacher.patience):
            pass
        weights = log.outcome("teacher").best.weights
        teacher = freeze(run, weights)
        self.table_NVC = yield_from(labelling.obtain_table(run, log, teacher, weights, run.views_to_label))
        self.validation_NC = validation_logits(run, teacher)
        self.test = run.test()
        print(f"teacher, seed {seed}: {self._score(teacher, self.test, run.dataset.test.labels):.2%}", flush=True)

    def train(self, objective: dict[str, Any] | None, rate: float) -> dict[str, float]:
        """A student, or a control: its accuracy after the last epoch."""
        optimizer = {"name": self.options.optimizer, "lr": rate}
        config = TrainConfig.model_validate(self.base | {"objective": objective or {}, "optimizer": optimizer})
        run = dataclasses.replace(self.run, config=config)
        log, model = self._log(run), run.build(config.student.arch, "student")
        if objective is None:
            events = loop.fit(run, log, "control", model, config, Objective())
        else:
            wanted = Objective(config.objective, epochs=config.epochs)
            guidance = TableLabels(self.table_NVC, self.validation_NC, run.device)
            events = loop.fit(run, log, "student", model, config, wanted, guidance=guidance)
        try:
            for _ in events:
                pass
        except Exception as error:
            print(f"  {error}", file=sys.stderr)
            return {"validation": 0.0, "test": 0.0}
        return {
            "validation": self._score(model, run.validation, run.dataset.validation.labels),
            "test": self._score(model, self.test, run.dataset.test.labels),
        }

    def _score(self, model: nn.Module, split: Shown, labels_N: torch.Tensor) -> float:
        return score(predict(for_inference(model), split.viewer, None), labels_N)["top1"]

    def _log(self, run: Run) -> Logbook:
        facts = run.facts(self.options.student)
        return Logbook(Position(), request={}, out=self.folder, student=facts, save_seconds=1e9)


def yield_from(steps: Any) -> Any:
    """What a generator returns, without what it says."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def put(images: Path, train: int, folder: Path) -> str:
    with np.load(images) as file:
        pixels, labels, split = file["images"], file["labels"].astype(np.int64), file["split"]
    pixels = pixels.reshape(len(pixels), *pixels.shape[1:3], -1)
    for_training, for_test = np.flatnonzero(split == 0)[:train], np.flatnonzero(split == 2)
    chunks = [Chunk(pixels[rows], labels[rows], split) for rows, split in ((for_training, TRAIN), (for_test, TEST))]
    pack(folder / "data", "packed/ablation", chunks)
    return "packed/ablation"


# -- results -----------------------------------------------------------------------------------------------


def show(results: Path) -> None:
    """A table for each data set and pair: each setting at its own best rate, by validation."""
    tables: dict[tuple[Any, ...], dict[str, dict[float, dict[int, dict[str, Any]]]]] = {}
    for line in _lines(results):
        table = tables.setdefault(_key(line)[:5], defaultdict(lambda: defaultdict(dict)))
        table[line["setting"]][line["rate"]][line["seed"]] = line
    for (data, pair, epochs, views, optimizer), table in tables.items():
        control = _at_best_rate(table[CONTROL])
        print(f"\n{data}, {pair}, {epochs} epochs, {views} views, {optimizer}")
        print("| objective | rate | test accuracy | gain over the control, points | seeds |\n|---|---|---|---|---|")
        rows = []
        for setting, rates in table.items():
            best = _at_best_rate(rates)
            gains = [100 * (best[seed]["test"] - control[seed]["test"]) for seed in best if seed in control]
            accuracy = mean(line["test"] for line in best.values())
            rows.append((mean(gains), setting, next(iter(best.values()))["rate"], accuracy, gains))
        for gain, setting, rate, accuracy, gains in sorted(rows, reverse=True):
            error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
            told = "" if setting == CONTROL else f"{gain:+.2f} ± {error:.2f}"
            print(f"| {setting} | {rate:g} | {accuracy:.2%} | {told} | {len(gains)} |")


def _at_best_rate(rates: dict[float, dict[int, dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """By seed, the trainings at the rate with the best mean on the validation split."""
    most = max(map(len, rates.values()))
    whole = [seeds for seeds in rates.values() if len(seeds) == most]
    return max(whole, key=lambda seeds: mean(line["validation"] for line in seeds.values()))


if __name__ == "__main__":
    main()
