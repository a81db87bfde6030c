"""Which files a folder or an archive holds, and which names are refused before anything is opened."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kd.errors import KdError
from kd.printable import printed, unprintable

GIB = 1 << 30
MOST_NAME_CHARACTERS = 500
MOST_FOLDERS = 16  # one within the other
# What file managers and systems leave behind; whatever begins with a dot is hidden, and ignored as well.
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
_DRIVE = re.compile(r"[A-Za-z]:")
# But for the arrays of MNIST and its like, which are published as `….gz`.
_ARCHIVE = re.compile(r".*(?<!-ubyte)\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|7z|rar|npz)", re.IGNORECASE)


class BadSource(KdError):
    """Files that make no data set."""

    def __init__(self, source: str, why: str):
        super().__init__(f"{printed(source)} makes no data set: {why}.")
        self.source = source


@dataclass(frozen=True)
class Limits:
    """How much is taken from others. None of it is a matter of taste: each bounds what a hostile file can cost."""

    files: int = 300_000
    """Each takes about a kilobyte of memory."""
    file_bytes: int = GIB // 4
    """Of one image or table, which is in memory as a whole."""
    unpacked_bytes: int = 1024 * GIB
    ratio: int = 100
    """What an archive may unpack to, in multiples of its own size, where that is more than a gibibyte."""

    def most_from(self, archive_bytes: int) -> int:
        """What an archive of so many bytes may unpack to."""
        return min(self.unpacked_bytes, max(GIB, self.ratio * archive_bytes))


class Entry(NamedTuple):
    name: str  # its folders and itself, with `/` between them, in NFC
    size: int  # bytes


class Listing:
    """The files of one source as they are found. Raises `BadSource` at the first that has no business there."""

    def __init__(self, source: str, limits: Limits):
        self.source, self.limits = source, limits
        self.entries: list[Entry] = []  # as they are found
        self._found = 0
        # Each file and folder by the folder that it is in and its name without upper case: its number, and its name.
        self._known: dict[tuple[int, str], tuple[int, str]] = {}
        self._files: set[int] = set()

    def add(self, given: str, size: int) -> str | None:
        """Take up a file; its name as an entry has it, or None if it is litter."""
        self.count()
        parts = self.parts(given)
        if is_litter(parts):
            return None
        name = "/".join(parts)
        if len(name) > MOST_NAME_CHARACTERS:
            raise self.bad(f"the name {name[:60]!r}… has {len(name)} characters; shorten it")
        if _ARCHIVE.fullmatch(name):
            raise self.bad(f"{name!r} is an archive in it, which is not opened: unpack it, or leave it out")
        if len(parts) > MOST_FOLDERS + 1:
            raise self.bad(
                f"{name[:60]!r}… lies in {len(parts) - 1} folders, one within the other; leave some of them out"
            )
        self._refuse_twin(parts)
        self.entries.append(Entry(name, size))
        return name

    def finish(self) -> list[Entry]:
        """The files, sorted by name. What was kept to compare them is let go."""
        self._known.clear()
        self._files.clear()
        found, self.entries = sorted(self.entries), []
        return found

    def count(self) -> None:
        """Every member of an archive counts, whatever it is, and every folder."""
        self._found += 1
        if self._found > self.limits.files:
            raise self.bad(f"it holds more than {self.limits.files:,} files, which are the most that are taken")

    def parts(self, given: str) -> list[str]:
        """The folders and the file of a name. Raises `BadSource` when it leads elsewhere, or cannot be shown."""
        if character := unprintable(given) or ("U+005C" if "\\" in given else None):
            raise self.bad(f"the name {given[:100]!r} holds {character}; rename that file")
        if given.startswith("/") or _DRIVE.match(given):
            raise self.bad(f"the name {given[:100]!r} is absolute; only names within the archive are taken")
        parts = [part for part in unicodedata.normalize("NFC", given).split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.bad(f"the name {given[:100]!r} leads out of it; pack the files again, without `..`")
        return parts

    def refuse(self, given: str, what: str) -> BadSource:
        """The error for a member that is no ordinary file."""
        return self.bad(f"{given[:100]!r} is {what}; only ordinary files are taken: put the file itself there")

    def refuse_large(self, name: str, size: int) -> None:
        """For a file that is to be read: whatever is not wanted may be as large as it likes."""
        if size > self.limits.file_bytes:
            raise self.bad(
                f"{name[:100]!r} is larger than {self.limits.file_bytes:,} bytes; make it smaller, or leave it out"
            )

    def damaged(self, reason: object, at: str | None = None) -> BadSource:
        said = " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
        where = f" at {at!r}" if at is not None else ""
        return self.bad(f"it is damaged{where}, or was cut off on its way ({said}); bring it again, or pack it anew")

    def too_large(self, claims: str) -> BadSource:
        return self.bad(
            f"it unpacks to {claims}, more than {self.limits.ratio} times its own size; bring the folder itself, or "
            "images in a compressed format"
        )

    def bad(self, why: str) -> BadSource:
        return BadSource(self.source, why)

    def _refuse_twin(self, parts: list[str]) -> None:
        inside = 0
        for depth, part in enumerate(parts, 1):
            place = inside, part.casefold()
            if is_new := place not in self._known:
                self._known[place] = len(self._known) + 1, part
                if depth < len(parts):
                    self.count()  # a folder
            inside, spelling = self._known[place]
            if spelling != part:
                twin, name = "/".join([*parts[: depth - 1], spelling]), "/".join(parts[:depth])
                raise self.bad(f"{twin!r} and {name!r} differ in upper and lower case alone; rename one of them")
            if inside in self._files and depth < len(parts):
                raise self.bad(f"{'/'.join(parts[:depth])!r} is a file and a folder in it; rename one of them")
        if inside in self._files:
            raise self.bad(f"it holds {'/'.join(parts)!r} twice; leave one of them out")
        if not is_new:
            raise self.bad(f"{'/'.join(parts)!r} is a file and a folder in it; rename one of them")
        self._files.add(inside)


def is_litter(parts: list[str]) -> bool:
    """Whether a file manager left it there, or it is hidden."""
    return not parts or any(part.startswith(".") or part.casefold() in LITTER for part in parts)


def some(names: Iterable[str]) -> str:
    """A few of the names, for a sentence."""
    names = list(names)
    shown = ", ".join(printed(name[:60]) for name in names[:3])
    return f"{shown} and {len(names) - 3:,} more" if len(names) > 3 else shown
