"""How a training went, epoch by epoch: what learning curves are drawn of."""

from collections.abc import Mapping, Sequence

Point = dict[str, float]
"""An epoch: its number as `epoch`, the means over it as `train.…`, what was found after it as `validation.…`."""

LIMIT = 256
LEARNT = ("loss", "hard_loss", "top1")
FOUND = ("top1", "nll")


class Curve:
    """A point for every epoch; of a long training for every second, every fourth, … so that the position of one of
    10,000 epochs stays small. The newest is always there.

    `sums` are those of the epoch under way: images, and what was measured times as many.
    """

    def __init__(self, points: Sequence[Point] = (), sums: Mapping[str, float] | None = None):
        self.points, self.sums = tuple(points), dict(sums or {})

    def add(self, images: int, means: Mapping[str, float]) -> None:
        """A part of the epoch is over: its images, and the means over them."""
        for name, value in {"images": 1.0, **{name: means[name] for name in LEARNT}}.items():
            self.sums[name] = self.sums.get(name, 0.0) + images * value

    def close(self, epoch: int, scores: Mapping[str, float]) -> None:
        """The epoch of this number is over, after which the validation split was read."""
        images = self.sums.pop("images")
        point = {"epoch": epoch} | {f"train.{name}": total / images for name, total in self.sums.items()}
        point |= {f"validation.{name}": scores[name] for name in FOUND}
        self.sums = {}
        stride = 1
        while epoch // stride > LIMIT:
            stride *= 2
        self.points = (*(earlier for earlier in self.points if earlier["epoch"] % stride == 0), point)


def columns(points: Sequence[Point]) -> dict[str, list[float]]:
    """The points of a curve by column, to six digits, which no picture shows."""
    return {name: [float(f"{point[name]:.6g}") for point in points] for name in (points[0] if points else ())}
