"""A data set of somebody's own files: what they are is found out, told, and packed. Memory stays at a few images.

It looks at all of them twice. The first time only at how each begins, so that what is wrong is said in seconds and
before anything is written.
"""

import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd import liveness
from kd.data import npz, numbering, packing
from kd.data.ingest import arrays, images, parquet
from kd.data.ingest.arrays import Arrays
from kd.data.ingest.containers import Container, open_container
from kd.data.ingest.images import Unreadable
from kd.data.ingest.layouts import Layout, understand
from kd.data.ingest.listing import BadSource, Limits
from kd.data.ingest.zips import Zip
from kd.data.origin import Files
from kd.data.packed_facts import LARGEST_SIDE, PackedFacts, Resized
from kd.data.packing import CannotPack, Chunk
from kd.data.parts import TEST, TEST_FRACTION

CHUNK_BYTES = 1 << 22
# After so many unreadable images nobody reads on.
MOST_UNREADABLE = 100
NPZ = {"images.npy", "labels.npy"}
SIDES = (32, 48, 64, 96, 128, 160, 224)

# How often it is said how far it is.
EVERY_IMAGES = 50
# Of all the time: to unpack images takes longer than to look at how they begin.
SHARE_OF_SURVEY = 0.2

Tell = Callable[[str], None]
Progress = Callable[[str, int, float], None]
Pack = Callable[..., PackedFacts]
"""`packing.pack` for one data set."""


class _Unreadable:
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
                f"{_images(len(self.why))} cannot be read: {self}. Mend them, or leave them out (skip-unreadable)",
            )

    def __str__(self) -> str:
        shown = "; ".join(f"{name}: {why}" for name, why in list(self.why.items())[:5])
        return shown + (f"; and {len(self.why) - 5:,} more" if len(self.why) > 5 else "")


def add(
    folder: Path,
    name: str,
    path: Path,
    *,
    size: int | None = None,
    classes: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    limits: Limits | None = None,
    may_be_there: bool = False,
    tell: Tell = lambda remark: None,
    progress: Progress = lambda phase, images, fraction: None,
) -> PackedFacts:
    """Write the data set `packed/<name>` into a data folder from a folder, an archive or an .npz: whole, or not at all.

    `size`: the side in pixels of the squares that all images become; without, they must be of one size. `classes`:
    their names in their order. `may_be_there`: this very data set, packed before. `tell` hears what the files were
    understood as, and what looks strange; `progress` the phase, and how many images of it and which fraction of all are
    done.
    Raises `BadSource` or `CannotPack` for what is no data set, `OSError` for what is not there or cannot be written.
    """
    packing.check_name(folder, name, may_be_there=may_be_there)
    if size is not None and not 1 <= size <= LARGEST_SIDE:
        raise CannotPack(name, f"its images cannot be of {size:,} pixels a side; they may have up to {LARGEST_SIDE:,}")
    for_photos = size is not None or skip_unreadable
    pack = partial(packing.pack, folder, name, tell=tell, may_be_there=may_be_there)
    if path.suffix.casefold() == ".npz":
        return _add_arrays(pack, name, npz.read(path), classes, for_photos=for_photos)
    if (tables := parquet.find(path, limits)) is not None:
        layout = parquet.understand(tables, classes)
        return _add_photos(folder, name, tables, layout, pack, size, skip_unreadable, tell, progress)
    container = open_container(path, limits)
    if isinstance(container, Zip) and NPZ.issubset(entry.name for entry in container.entries):
        return _add_arrays(pack, name, npz.read(path), classes, for_photos=for_photos)
    if (found := arrays.find(container)) is not None:
        tell(f"{container.source} is {found}.")
        return _add_arrays(pack, name, found, classes, for_photos=for_photos)
    layout = understand(container, classes)
    return _add_photos(folder, name, container, layout, pack, size, skip_unreadable, tell, progress)


def _add_photos(
    folder: Path,
    name: str,
    container: Container,
    layout: Layout,
    pack: Pack,
    size: int | None,
    skip_unreadable: bool,
    tell: Tell,
    progress: Progress,
) -> PackedFacts:
    tell(f"{container.source} is {layout}.")
    for remark in layout.remarks:
        tell(remark)
    if all(item.part != TEST for item in layout.items):
        tell(f"Nothing says what is for the test: {TEST_FRACTION:.0%} of each class are, in all runs the same ones.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is odd in a file; what cannot be read is an error
        return _Photos(folder, name, container, layout, size, skip_unreadable, tell, progress).pack_by(pack)


def _add_arrays(
    pack: Pack,
    name: str,
    found: npz.Labelled | Arrays,
    classes: Sequence[str] | None,
    *,
    for_photos: bool,
) -> PackedFacts:
    if for_photos:
        raise CannotPack(name, "these are pixels, not photos in files: size and skip-unreadable change nothing there")
    if classes is not None and found.classes is not None:
        raise CannotPack(name, "its classes have names; change their order there, and the labels with it")
    return pack(found.chunks(), found.classes or classes)


class _Photos:
    """Files that are labelled, on their way to pixels."""

    def __init__(
        self,
        folder: Path,
        name: str,
        container: Container,
        layout: Layout,
        size: int | None,
        skip: bool,
        tell: Tell,
        progress: Progress,
    ):
        self._folder, self._name, self._container, self._layout, self._tell = folder, name, container, layout, tell
        self._size, self._progress = size, progress
        self._files = Files(container.source)
        self._unreadable = _Unreadable(container.source, self._files.unreadable, may_skip=skip)
        self._place = {item.name: place for place, item in enumerate(layout.items)}
        self._split_N = np.array([item.part for item in layout.items], np.uint8)
        self._told = 0
        self._gray = True
        self._small: set[str] = set()

    def pack_by(self, pack: Pack) -> PackedFacts:
        self._number()
        self._survey()
        self._tell_unreadable()
        self._check_enough()
        facts = pack(
            self._chunks(),
            self._classes,
            files=self._files,
            resized=None if self._size is None else Resized(side=self._size),
        )
        self._tell_unreadable()
        return facts

    def _tell_unreadable(self) -> None:
        if len(self._unreadable.why) > self._told:
            self._tell(f"Left out, for they cannot be read: {self._unreadable}.")
        self._told = len(self._unreadable.why)

    def _number(self) -> None:
        try:
            self._labels_N, self._classes, remark = numbering.number(self._layout.labels_N, self._layout.classes)
        except ValueError as error:
            raise CannotPack(self._name, str(error)) from error
        if remark:
            self._tell(remark)
        self._check_enough()

    def _survey(self) -> None:
        """Look at how each file begins: which cannot be images, and what the others have in common."""
        sizes: Counter[tuple[int, int]] = Counter()
        deep = 0
        for done, (name, content) in enumerate(self._container.read(self._place)):
            self._advance("looking", done, begin=0.0, share=SHARE_OF_SURVEY)
            try:
                header = images.read_header(name, content)
            except Unreadable as error:
                self._unreadable.add(name, error)
                continue
            sizes[header.width, header.height] += 1
            if self._size is not None and min(header.width, header.height) < self._size:
                self._small.add(name)
            self._gray &= header.gray
            deep += header.deep
        self._unreadable.refuse()
        if not sizes:
            raise BadSource(self._container.source, f"no image of it can be read: {self._unreadable}")
        self._check_sizes(sizes)
        if deep:
            self._tell(f"Of 16 bits for each pixel the upper 8 are kept: {_images(deep)}.")

    def _check_sizes(self, sizes: Counter[tuple[int, int]]) -> None:
        if self._size is None and len(sizes) > 1:
            (usual, count), *_ = sizes.most_common(1)
            shorts = sorted(min(each) for each in sizes.elements())
            suggested = max((side for side in SIDES if side <= shorts[len(shorts) // 2]), default=SIDES[0])
            raise BadSource(
                self._container.source,
                f"its images are of {len(sizes):,} sizes, {count:,} of them {usual[0]}×{usual[1]}: give a size to make "
                f"them squares of one, such as {suggested}",
            )
        if self._small:
            self._tell(f"Smaller than {self._size}×{self._size} pixels, and enlarged: {_images(len(self._small))}.")
        width, height = (self._size, self._size) if self._size is not None else next(iter(sizes))
        needed = sizes.total() * width * height * (1 if self._gray else 3)
        there = next(each for each in (self._folder, *self._folder.absolute().parents) if each.exists())
        if needed > (free := shutil.disk_usage(there).free):
            raise CannotPack(
                self._name, f"it takes {needed:,} bytes, and {free:,} are free on the disk: give a smaller size"
            )

    def _check_enough(self) -> None:
        """Refuse classes with too few images before hours are spent on the others."""
        readable_N = np.array([item.name not in self._unreadable.why for item in self._layout.items], bool)
        if why := numbering.shortage(self._classes, self._labels_N[readable_N], self._split_N[readable_N]):
            raise CannotPack(self._name, why)

    def _chunks(self) -> Iterator[Chunk]:
        waiting: list[NDArray[np.uint8]] = []
        places: list[int] = []
        readable = self._place.keys() - self._unreadable.why.keys()
        for done, (name, content) in enumerate(self._container.read(readable)):
            self._advance("packing", done, begin=SHARE_OF_SURVEY, share=1 - SHARE_OF_SURVEY)
            try:
                waiting.append(images.decode(name, content, gray=self._gray, side=self._size))
            except Unreadable as error:
                self._unreadable.add(name, error)
                continue
            places.append(self._place[name])
            if name in self._small:
                self._files.enlarged.append(len(self._files.names))
            self._files.names.append(name)
            if len(waiting) * waiting[0].nbytes >= CHUNK_BYTES:
                yield self._chunk(waiting, places)
                waiting, places = [], []
        self._unreadable.refuse()
        if waiting:
            yield self._chunk(waiting, places)

    def _advance(self, phase: str, done: int, *, begin: float, share: float) -> None:
        liveness.advance()
        if done % EVERY_IMAGES == 0:
            self._progress(phase, done, begin + share * done / len(self._place))

    def _chunk(self, waiting: list[NDArray[np.uint8]], places: list[int]) -> Chunk:
        return Chunk(np.stack(waiting), self._labels_N[places], self._split_N[places])


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
