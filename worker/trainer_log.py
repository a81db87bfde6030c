"""What a trainer prints, in a file that whatever it starts prints to as well, and that stays within bounds."""

import contextlib
from pathlib import Path

from jobs.files import layout

# Of more than that the middle is cut out: the beginning has the first warning, the end has the last words. What is
# printed between two looks may come on top.
MOST_BYTES = 8_000_000
BEGINNING_BYTES = 1_000_000
END_BYTES = 3_000_000

LAST_WORDS_BYTES = 4_096


class TrainerLog:
    """The log of one attempt."""

    def __init__(self, folder: Path):
        self.path = folder / layout.TRAINER_LOG

    @property
    def size(self) -> int:
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def bound(self) -> int:
        """Cut one that has become too long. Answers with the bytes that it takes."""
        if (size := self.size) <= MOST_BYTES:
            return size
        with contextlib.suppress(OSError):
            end = self._end(END_BYTES).partition(b"\n")[2]
            cut = size - BEGINNING_BYTES - len(end)
            # In place: whoever prints has it open, to append, and goes on at its new end.
            with open(self.path, "ab") as file:
                file.truncate(BEGINNING_BYTES)
                file.write(b"\n[ %d bytes were cut out here: a log keeps its beginning and its end ]\n" % cut + end)
        return self.size

    @property
    def last_words(self) -> str:
        """The end of what was printed."""
        with contextlib.suppress(OSError):
            return self._end(LAST_WORDS_BYTES).decode(errors="replace")
        return ""

    def _end(self, most_bytes: int) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(max(0, self.size - most_bytes))
            return file.read(most_bytes)
