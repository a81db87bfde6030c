"""What can go wrong in a run, in sentences that a user can act on."""

from pathlib import Path


class KdError(Exception):
    """A run cannot go on."""


class DataError(KdError):
    """A data set is not there, or is not what its name promises."""

    def __init__(self, name: str, why: str):
        super().__init__(f"The data set {name} cannot be read: {why}")
        self.name = name


class Diverged(KdError):
    """The loss is no longer a finite number."""

    def __init__(self, step: int, lr: float, parts: dict[str, float]):
        seen = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        super().__init__(f"The loss is not finite at step {step}: {seen}, at a learning rate of {lr:g}.")
        self.step, self.lr, self.parts = step, lr, parts


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

    def __init__(self, name: str, wanted: int = 1, there: int = 0):
        if wanted > 1:
            super().__init__(f"The run wants {wanted} GPUs, but torch sees {there} here.")
        else:
            super().__init__(f"There is no {name} device here: torch does not see such a GPU.")


class BadLabels(KdError):
    """The teacher's logits do not fit into a label table."""

    def __init__(self, arch: str):
        super().__init__(
            f"The teacher ({arch}) gives logits that are not finite in half precision: it has diverged, or nearly so. "
            "Train it with a smaller learning rate, or clip its gradients."
        )


class TeacherMissing(KdError):
    """The spec names another job's teacher, but nobody brought it."""

    def __init__(self) -> None:
        super().__init__("The teacher comes from another job: give run() its weights as teacher_file.")


class TeacherUnfit(KdError):
    """The teacher that was brought along learnt something else than the student is to learn."""

    def __init__(self, why: str):
        super().__init__(f"The teacher that was brought along does not fit: {why}.")


class TeamFailed(KdError):
    """One of a run's processes ended before the run did."""

    def __init__(self, exit_code: int):
        super().__init__(f"The run's processes ended with exit code {exit_code} before it had finished.")
