"""How far a run is: the share of its arithmetic that is done, and when the rest will be."""

import time
from dataclasses import dataclass, field

# Showing a view to a small model costs more than the model: in multiply-accumulates per pixel, measured on a CPU.
VIEW_COST_PER_PIXEL = 300
TRAINING_COST = 3  # forward, and a backward of about twice that


@dataclass
class Progress:
    """The planned cost of each phase in multiply-accumulates, and how much of each is done, in 0..1."""

    plan: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)  # how often a phase is gone through
    _began: tuple[float, float] | None = None

    def expect(self, phase: str, images: int, macs: int, pixels: int, *, training: bool, times: int = 1) -> None:
        """Plan a phase that shows `images` images to a model of `macs`, so many times over."""
        once = images * (macs * (TRAINING_COST if training else 1) + VIEW_COST_PER_PIXEL * pixels)
        self.plan[phase], self.times[phase] = times * once, times

    def done(self, phase: str, share: float, *, repetition: int = 0) -> None:
        """Note that this share of the phase is done; of a phase that is repeated, in this repetition. What was done
        stays done, even if a resumed run has to do it again."""
        times = self.times.get(phase, 1)
        of_all = min(share, 1.0) if times == 1 else (repetition + min(share, 1.0)) / times
        self.shares[phase] = max(of_all, self.shares.get(phase, 0.0))

    @property
    def fraction(self) -> float:
        total = sum(self.plan.values())
        return sum(cost * self.shares.get(phase, 0) for phase, cost in self.plan.items()) / total if total else 0.0

    def start_clock(self) -> None:
        """Time and work count from here: a resumed run did the earlier share at another time."""
        self._began = time.monotonic(), self.fraction

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the end at the pace so far; None while there is no pace to speak of."""
        if self.fraction >= 1:
            return 0.0
        if self._began is None:
            return None
        seconds, gained = time.monotonic() - self._began[0], self.fraction - self._began[1]
        return seconds * (1 - self.fraction) / gained if gained > 0.005 else None
