"""Which epoch a run has to keep, told from all that it said of the validation split."""

from collections.abc import Sequence

from kd.events import Evaluated
from kd.training.validation import standard_error


def latest_within_an_error(accuracies: Sequence[float], images: int) -> int:
    """The place of the one-standard-error rule's choice among the accuracies of all epochs."""
    highest = max(accuracies)
    enough = highest - standard_error(highest, images)
    return max(place for place, accuracy in enumerate(accuracies) if accuracy >= enough)


def evaluated(events: Sequence[object], phase: str, repetition: int = 1) -> list[Evaluated]:
    """What was found after each epoch of a phase."""
    return [
        event
        for event in events
        if isinstance(event, Evaluated) and event.phase == phase and (event.repetition or 1) == repetition
    ]


def to_be_kept(epochs: Sequence[Evaluated], images: int) -> Evaluated:
    return epochs[latest_within_an_error([epoch.metrics["top1"] for epoch in epochs], images)]


def of_the_highest(epochs: Sequence[Evaluated]) -> Evaluated:
    """The epoch of the highest accuracy, of equals that of the smallest loss."""
    return max(epochs, key=lambda epoch: (epoch.metrics["top1"], -epoch.metrics["nll"]))
