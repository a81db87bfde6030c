"""The images of a source that cannot be read: collected, and refused together."""

from kd.data.ingest.images import Unreadable
from kd.data.ingest.listing import BadSource

# After so many nobody reads on.
MOST_UNREADABLE = 100


class UnreadableImages:
    """The images that cannot be read, by name, with the reason."""

    def __init__(self, source: str, why: dict[str, str], *, may_skip: bool):
        self.source, self.why, self.may_skip = source, why, may_skip

    def add(self, name: str, error: Unreadable) -> None:
        self.why[name] = str(error)
        if len(self.why) == MOST_UNREADABLE and not self.may_skip:
            self.refuse()

    def refuse(self) -> None:
        """Raise `BadSource` if there are any that nobody wants to do without."""
        if self.why and not self.may_skip:
            raise BadSource(
                self.source,
                f"{count_of(len(self.why))} cannot be read: {self}. Mend them, or leave them out (skip-unreadable)",
            )

    def __str__(self) -> str:
        shown = "; ".join(f"{name}: {why}" for name, why in list(self.why.items())[:5])
        return shown + (f"; and {len(self.why) - 5:,} more" if len(self.why) > 5 else "")


def count_of(images: int) -> str:
    return "1 image" if images == 1 else f"{images:,} images"
