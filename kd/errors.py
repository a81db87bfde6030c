"""What can go wrong in a run, in sentences that a user can act on."""

import errno
from pathlib import Path


class KdError(Exception):
    """A run cannot go on."""


class DataError(KdError):
    """A data set is not there, or is not what its name promises."""

    def __init__(self, name: str, why: str):
        super().__init__(f"The data set {name} cannot be used: {why}")
        self.name = name


class ModelUnfit(KdError):
    """A model cannot be built for the images of the data set."""

    def __init__(self, arch: str, shape: tuple[int, int, int], why: str):
        channels, height, width = shape
        super().__init__(f"{arch} takes no images of {height}×{width} pixels with {channels} channel(s): {why}.")


class ModelMissing(KdError):
    """A model that there is cannot be built here: the package that has it is not installed, or is another version."""

    def __init__(self, arch: str, why: str):
        super().__init__(f"{arch} cannot be built here: {why}.")


class BadModel(KdError):
    """What a user's own factory builds is no network that sorts images."""

    def __init__(self, arch: str, why: str):
        super().__init__(f"{arch} cannot be used: {why}.")


class ModelChanged(BadModel):
    """The weights that a model has had are not those of the network that its name stands for now."""

    def __init__(self, kind: str, why: str):
        super().__init__(f"A {kind}", f"the weights it is to have are of another network, or of earlier code ({why})")


class SpecUnfit(KdError):
    """The spec asks for something that its data set does not allow."""

    def __init__(self, field: str, why: str):
        super().__init__(f"config.{field} {why}.")


class Diverged(KdError):
    """A model answers with numbers that are not finite, or its loss is such a number."""


class LossDiverged(Diverged):
    """The loss is no longer a finite number."""

    def __init__(self, step: int, lr: float, parts: dict[str, float]):
        super().__init__(f"The loss is not finite at step {step}: {_seen(parts)}, at a learning rate of {lr:g}.")
        self.step, self.lr, self.parts = step, lr, parts


class GradientDiverged(Diverged):
    """In fp16 no step can be taken: its gradients are too large, however small the loss is made."""

    def __init__(self, step: int, lr: float):
        super().__init__(
            f"The gradients do not fit into fp16 at step {step}, at a learning rate of {lr:g}, and no step is taken "
            "any more. config.precision bf16 and fp32 have a wider range."
        )


class ScoresDiverged(Diverged):
    """A model's scores are no finite numbers, so nothing can be chosen or reported by them."""

    def __init__(self, role: str, split: str, epoch: int, scores: dict[str, float]):
        super().__init__(
            f"The {role} answers the {split} images with numbers that are not finite after epoch {epoch}: "
            f"{_seen(scores)}."
        )


class BadResume(KdError):
    """A resume state cannot be gone on from."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"Cannot resume from {path.name}: {why}.")
        self.path = path


class DamagedResume(BadResume):
    """The file itself is no resume state any more: an older one serves instead."""


class BadWeights(KdError):
    """A weights file does not hold a model that can be built."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"{path.name} does not hold the weights of a model: {why}.")
        self.path = path


class DeviceMissing(KdError):
    """The run asks for a device that this machine does not have."""

    def __init__(self, name: str, wanted: int = 1, there: int = 0, why: str | None = None):
        if wanted > 1:
            message = f"The run wants {wanted} GPUs, but torch sees {there} here."
        else:
            seen = "torch does not see such a GPU" if name.startswith("cuda") else "it may be auto, cpu, cuda or cuda:1"
            message = f"There is no {name} device here: {seen}."
        super().__init__(message if why is None else f"{message} {why}")


class BadLabels(Diverged):
    """The teacher's logits do not fit into a label table."""

    def __init__(self, arch: str):
        super().__init__(
            f"The teacher ({arch}) gives logits that are not finite in half precision: it has diverged, or nearly so. "
            "Train it with a smaller learning rate, or clip its gradients."
        )


class FeatureTooLarge(KdError):
    """What the teacher's classifier reads does not fit into a label table."""

    def __init__(self, arch: str):
        super().__init__(
            f"What the classifier of the teacher ({arch}) reads is not finite in half precision, in which label tables "
            "are kept: some of it is beyond 65,504. Mode 'guide' keeps none; objectives from logits do not need it."
        )


class LabelsHeld(KdError):
    """Another run holds the labels that this one waits for, and does not write them."""

    def __init__(self, table: str, seconds: float):
        super().__init__(f"Another run holds the label table {table}, and has written nothing for {seconds:g} seconds.")


class TeacherMissing(KdError):
    """The spec names models of other jobs, or such as somebody has brought, and other files came than theirs."""

    def __init__(self, wanted: int, given: int):
        named = {0: "no model", 1: "a model"}.get(wanted, f"{wanted} models")
        files = "one file" if given == 1 else f"{given or 'no'} files"
        super().__init__(f"The spec names {named} from elsewhere, and {files} came: teacher_files are their weights.")


class TeacherUnfit(KdError):
    """The teacher that was brought along learnt something else than the student is to learn."""

    def __init__(self, why: str, role: str = "teacher"):
        which = "" if role == "teacher" else f" as {role}"
        super().__init__(f"The teacher that was brought along{which} does not fit: {why}.")


class StartUnfit(KdError):
    """The weights that a model is to begin from are none of its own; `why` is a clause."""

    def __init__(self, why: str, role: str = "model"):
        super().__init__(f"The weights that the {role} is to begin from cannot be used: {why}.")
        self.why = why


class NotPublished(KdError):
    """Weights that nobody publishes, or that are not at hand; `why` is a clause."""

    def __init__(self, why: str):
        super().__init__(f"There are no published weights: {why}.")
        self.why = why


class GraphUnfit(KdError):
    """An ONNX model that cannot be used here; `why` is a clause."""

    def __init__(self, why: str):
        super().__init__(f"The ONNX model cannot be used: {why}.")
        self.why = why


class GraphLost(GraphUnfit):
    """The process in which an ONNX model runs died, or gave no answer in time: that says little of the file."""


class NotConverted(KdError):
    """A model, or weights, of which no file can be made that may be brought; `why` is a clause."""

    def __init__(self, why: str):
        super().__init__(f"The model is not converted: {why}.")
        self.why = why


class ExportUnfit(KdError):
    """A file that was made of a student and does not say what that says; `why` is a clause."""

    def __init__(self, why: str):
        super().__init__(f"The file is not offered: {why}.")
        self.why = why


class LabelsUnfit(KdError):
    """The labels that were to teach are gone, or are of something else."""

    def __init__(self, table: str, why: str):
        super().__init__(f"The label table {table} cannot teach here: {why}.")


class TeamFailed(KdError):
    """One of a run's processes ended before the run did."""

    def __init__(self, exit_code: int):
        super().__init__(f"The run's processes ended with exit code {exit_code} before it had finished.")


def is_passing(error: OSError) -> bool:
    """Whether a file cannot be had for the machine's sake and for now, whatever is in it."""
    passing = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT)
    return error.errno in passing


def first_line(error: BaseException) -> str:
    """What another library's error says, for a sentence of ours."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _seen(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
