"""Write `catalog.tsv`: which of the installed timm's architectures sort small images, and what they cost.

`python -m kd.models.timm.survey`, for an hour, after an update of timm. Nothing is computed: every network is built and
run in shapes alone.
"""

import logging
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from importlib.metadata import version
from multiprocessing import Pool
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kd.errors import first_line
from kd.models.fitted import Fitted
from kd.models.timm.catalog import COLUMNS, FILE, Norm, Sizing, TimmFacts, write
from kd.models.timm.networks import create, size_for, timm_of

CLASSES, SHAPE = 10, (3, 32, 32)
# More than this teaches small images nothing that fewer do not, and no test of ours could carry it.
MOST_PARAMETERS = 100_000_000
# Names that say so themselves: these are not built to be counted.
LARGE = re.compile(
    r"(^|_)(huge|giant|gigantic|enormous|so400m|so150m2?|[1-9]b|xx?large|efficientnetv2_xl)(_|$)"
    r"|^(aimv2|beit3|beitv?2?|caformer|coatnet|convnextv?2?|davit|deit3|eva|eva02|focalnet|hiera|maxvit|mvitv2|swinv?2?(_cr)?"
    r"|vit|vitamin|xcit)_large2?(_|$)"
)
LARGEST_FIXED = 256  # pixels; to enlarge 32 of them further costs more than it could bring


class LeftOut(Exception):
    """An architecture that is not for the catalogue; the message says why."""


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    timm = timm_of("timm/*")
    lines = [f"# timm {version('timm')}: what `python -m kd.models.timm.survey` found", "# " + "\t".join(COLUMNS)]
    with Pool() as pool:
        for line in pool.imap(line_of, timm.list_models(), chunksize=4):
            print(line, file=sys.stderr, flush=True)
            lines.append(line)
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def line_of(name: str) -> str:
    """What the file says of an architecture: its facts, or in a comment why it has none."""
    try:
        return write(name, survey(timm_of("timm/*"), name))
    except LeftOut as why:
        return f"# {name}\t{why}"


def survey(timm: ModuleType, name: str) -> TimmFacts:
    """The facts of an architecture. Raises `LeftOut`."""
    if (smaller := for_smaller_images(name, timm.list_models())) is not None:
        raise LeftOut(f"{smaller}, for larger images")
    if LARGE.search(name):
        raise LeftOut(f"more than {MOST_PARAMETERS // 1_000_000} million parameters")
    with torch.device("meta"):
        model: Any = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if parameters > MOST_PARAMETERS:
        raise LeftOut(f"{parameters / 1e6:.0f} million parameters")
    published = model.pretrained_cfg
    features = list(feature_points(model))
    if not features or "input_size" not in published:
        raise LeftOut("it names no features, so nobody knows its stride")
    troubles = []
    order: tuple[Sizing, ...] = ("told", "fixed") if published.get("fixed_input_size") else ("any", "told", "fixed")
    for sizing in order:
        if sizing == "fixed" and published["input_size"][-1] > LARGEST_FIXED:
            troubles.append(f"it wants images of {published['input_size'][-1]}×{published['input_size'][-1]}")
            continue
        facts = TimmFacts(
            sizing=sizing,
            norm=norm_in(model),
            stride=max(stride for _, stride in features),
            parameters=parameters,
            macs=0,
            side=published["input_size"][-1],
            mean=tuple(published["mean"]),
            std=tuple(published["std"]),
            features=tuple(features),
            licence=published.get("license"),
        )
        try:
            return count(model if sizing == "any" else None, timm, name, facts)
        except Exception as error:  # of any kind: another's code, asked for what it may not know
            troubles.append(f"{sizing}: {first_line(error)[:80]}")
    raise LeftOut("; ".join(troubles))


def for_smaller_images(name: str, names: Collection[str]) -> str | None:
    """Of architectures that differ in nothing but the size of their images, `vit_…_224` and `vit_…_384`, the first."""
    stem, _, side = name.rpartition("_")
    if not side.isdigit() or int(side) < 160:
        return None
    return next(
        (other for less in (160, 224, 256, 288, 336) if less < int(side) and (other := f"{stem}_{less}") in names), None
    )


def feature_points(model: Any) -> Iterator[tuple[str, int]]:
    """The last module at each stride, from the first stage to the last."""
    info = getattr(model, "feature_info", None) or ()
    points = {point["reduction"]: point["module"] for point in getattr(info, "info", info)}
    for stride in sorted(points):
        yield points[stride], int(stride)


def norm_in(model: nn.Module) -> Norm:
    """What a network normalises over."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return "batch"
    return "layer" if any("norm" in type(module).__name__.lower() for module in model.modules()) else "none"


def count(network: nn.Module | None, timm: ModuleType, name: str, facts: TimmFacts) -> TimmFacts:
    """The facts with the cost of one image of 32×32; raises what the network has against such images.

    In training, where some networks answer otherwise than when they are asked.
    """
    size = size_for(facts, SHAPE)
    with torch.device("meta"):
        model = Fitted(network or create(timm, name, CLASSES, facts, size), size).train()
    with FlopCounterMode(display=False) as counter:
        logits_BC = model(torch.empty(2, *SHAPE, device="meta"))
    if not isinstance(logits_BC, torch.Tensor) or logits_BC.shape != (2, CLASSES):
        raise ValueError("it does not answer with logits")
    macs = int(counter.get_total_flops()) // 2 // 2
    return TimmFacts(**{**vars(facts), "macs": macs})


if __name__ == "__main__":
    main()
