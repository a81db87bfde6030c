"""Which objective makes a better student, and with which recipe? An ablation over seeds, each against its control.

    python benchmarks/objectives.py run --out results.jsonl --dataset mnist5k --teacher cnn --student mlp
                                    [--seeds 5] [--epochs 30] [--rates 0.01,0.02,0.05] [--settings kd,dkd,…]
                                    [--images FILE.npz --train 6000] [--first 0 --step 1]
    python benchmarks/objectives.py show results.jsonl

One teacher and one label table a seed; every setting trains the same student from it, from the same first weights, over
as many images, at every rate. A setting's rate is the one with the best mean accuracy on the validation split, and so
is the control's: the gain is over the control at the control's own best. Read on the test split, after the last epoch.
Where views come in pairs, two views are two images: half the epochs, in batches of half as many images, are as many
images in as many steps. They have a table of their own, with a fresh pair for each epoch (of `--views n`: n / 2 pairs),
and beside them a control that sees the same pairs.
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
from objective_settings import CONTROL, CONTROL_OF_PAIRS, are_pairs, settings
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
from kd.training.resuming.position import Position
from kd.training.run import Run, Shown, prepare


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
    elif options.epochs % 2:
        parser.error("--epochs must be even, so that half of them shows as many images in pairs")
    else:
        ablate(options)


# -- trainings ---------------------------------------------------------------------------------------------


def ablate(options: argparse.Namespace) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    begun = tuple(options.settings.split(",")) if options.settings else ("",)
    wanted: dict[str, dict[str, Any] | None] = {CONTROL: None}
    wanted |= {name: own for name, own in settings().items() if name.startswith(begun)}
    if any(map(are_pairs, wanted)):
        wanted[CONTROL_OF_PAIRS] = None
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
                scores = bench.train(own, what["rate"], in_pairs=are_pairs(what["setting"]))
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
        self.options, self.dataset, self.seed, self.folder = options, dataset, seed, folder
        self._labelled: dict[bool, tuple[Run, torch.Tensor]] = {}
        folder.mkdir()
        config = self._config(in_pairs=False)
        run = self._prepare(config)
        log = self._log(run)
        assert not isinstance(config.teacher, str)
        model = run.build(options.teacher, "teacher")
        for _ in loop.fit(run, log, "teacher", model, config.teacher, Objective(), patience=config.teacher.patience):
            pass
        self.weights = log.outcome("teacher").best.weights
        self.test = run.test()
        teacher = freeze(run, self.weights)
        self.validation_NC = validation_logits(run, teacher)
        print(f"teacher, seed {seed}: {self._score(teacher, self.test, run.dataset.test.labels):.2%}", flush=True)

    def labelled(self, *, in_pairs: bool) -> tuple[Run, torch.Tensor]:
        """A run whose students are shown single views, or pairs, and what the teacher says of these."""
        if in_pairs not in self._labelled:
            run = self._prepare(self._config(in_pairs=in_pairs))
            teacher = freeze(run, self.weights)
            steps = labelling.obtain_table(run, self._log(run), teacher, self.weights, run.views_to_label)
            self._labelled[in_pairs] = run, labelling.place(yield_from(steps), run.device)
        return self._labelled[in_pairs]

    def train(self, objective: dict[str, Any] | None, rate: float, *, in_pairs: bool) -> dict[str, float]:
        """A student, or a control: its accuracy after the last epoch."""
        labelled, table_NVC = self.labelled(in_pairs=in_pairs)
        optimizer = {"name": self.options.optimizer, "lr": rate}
        config = self._config(in_pairs=in_pairs, objective=objective, optimizer=optimizer)
        run = dataclasses.replace(labelled, config=config)
        log, model = self._log(run), run.build(config.student.arch, "student")
        if objective is None:
            events = loop.fit(run, log, "control", model, config, Objective())
        else:
            wanted = Objective(config.objective, epochs=config.epochs)
            guidance = TableLabels(
                table_NVC,
                self.validation_NC,
                run.device,
                classes=len(self.dataset.classes),
                at_once=run.plan.at_once,
            )
            events = loop.fit(run, log, "student", model, config, wanted, guidance=guidance)
        try:
            for _ in events:
                pass
        except Exception as error:
            print(f"  {error}", file=sys.stderr)
            return {"validation": 0.0, "test": 0.0}
        return {
            "validation": self._score(model, run.validation, self.dataset.validation.labels),
            "test": self._score(model, self.test, self.dataset.test.labels),
        }

    def _config(self, *, in_pairs: bool, objective: dict[str, Any] | None = None, **more: Any) -> TrainConfig:
        options, views = self.options, self.options.views
        epochs, batch_size = options.epochs, TrainConfig.model_fields["batch_size"].get_default()
        if in_pairs:
            epochs, batch_size = epochs // 2, batch_size // 2
            views = epochs if views == "all" else max(1, int(views) // 2)
        given = {
            "dataset": self.dataset.name,
            "teacher": {"arch": options.teacher, "epochs": options.teacher_epochs},
            "student": {"arch": options.student},
            "objective": objective or ({"method": "cross_view"} if in_pairs else {}),
            "views": views if views == "all" else int(views),
            "epochs": epochs,
            "batch_size": batch_size,
            "seed": self.seed,
        }
        return TrainConfig.model_validate(given | more)

    def _prepare(self, config: TrainConfig) -> Run:
        return prepare(
            config,
            self.dataset,
            torch.device("cpu"),
            autocast_dtype=None,
            out=self.folder,
            labels=self.folder / "labels",
            teacher_arch=self.options.teacher,
        )

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
