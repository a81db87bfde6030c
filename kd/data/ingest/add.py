"""A data set of somebody's own files: what they are is found out, told, and packed. Memory stays at a few images.

It looks at all of them twice. The first time only at how each begins, so that what is wrong is said in seconds and
before anything is written.
"""

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from kd import liveness
from kd.data import drafts, npz, numbering, packing
from kd.data.drafts import Draft
from kd.data.ingest import arrays, images, parquet
from kd.data.ingest.arrays import Arrays
from kd.data.ingest.containers import Container, open_container
from kd.data.ingest.images import Unreadable
from kd.data.ingest.layouts import Layout, understand
from kd.data.ingest.listing import BadSource, Limits
from kd.data.ingest.unreadable import UnreadableImages, count_of
from kd.data.ingest.zips import Zip
from kd.data.origin import Files
from kd.data.packed_facts import LARGEST_SIDE, PackedFacts, Resized
from kd.data.packing import CannotPack, Chunk
from kd.data.parts import TEST, TEST_FRACTION
from kd.version import VERSION

CHUNK_BYTES = 1 << 22
NPZ = {"images.npy", "labels.npy"}
SIDES = (32, 48, 64, 96, 128, 160, 224)

# How often it is said how far it is.
EVERY_IMAGES = 50
# Of all the time: to unpack images takes longer than to look at how they begin.
SHARE_OF_SURVEY = 0.2

Tell = Callable[[str], None]
Progress = Callable[[str, int, float], None]
Safe = Callable[[int, float], None]
Pack = Callable[..., PackedFacts]
"""`packing.pack` for one data set."""


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
    identity: Callable[[], str] | None = None,
    tell: Tell = lambda remark: None,
    progress: Progress = lambda phase, images, fraction: None,
    safe: Safe = lambda images, fraction: None,
) -> PackedFacts:
    """Write the data set `packed/<name>` into a data folder from a folder, an archive or an .npz: whole, or not at all.

    `size`: the side in pixels of the squares that all images become; without, they must be of one size. `classes`:
    their names in their order. `may_be_there`: this very data set, packed before. `identity`: what the content of
    `path` is known by; who was ended while he packed photos goes on under the same, and has the same data set in the
    end. `tell` hears what the files were understood as, and what looks strange; `progress` the phase, and how many
    images of it and which fraction of all are done; `safe` how many and which fraction need not be unpacked again.
    Raises `BadSource` or `CannotPack` for what is no data set, `OSError` for what is not there or cannot be written.
    """
    packing.check_name(folder, name, may_be_there=may_be_there)
    if size is not None and not 1 <= size <= LARGEST_SIDE:
        raise CannotPack(name, f"its images cannot be of {size:,} pixels a side; they may have up to {LARGEST_SIDE:,}")
    for_photos = size is not None or skip_unreadable
    pack = partial(packing.pack, folder, name, tell=tell, may_be_there=may_be_there)
    begin = partial(_begin, folder / name, identity, size, classes, skip_unreadable)
    if path.suffix.casefold() == ".npz":
        return _add_arrays(pack, name, npz.read(path), classes, for_photos=for_photos)
    tables = parquet.find(path, limits)
    container = tables or open_container(path, limits)
    if isinstance(container, Zip):
        tables = parquet.find_in(container, limits)
    if tables is not None:
        layout = parquet.understand(tables, classes)
        return _add_photos(begin, name, tables, layout, pack, size, skip_unreadable, tell, progress, safe)
    if isinstance(container, Zip) and NPZ.issubset(entry.name for entry in container.entries):
        return _add_arrays(pack, name, npz.read(path), classes, for_photos=for_photos)
    if (found := arrays.find(container)) is not None:
        tell(f"{container.source} is {found}.")
        return _add_arrays(pack, name, found, classes, for_photos=for_photos)
    layout = understand(container, classes)
    return _add_photos(begin, name, container, layout, pack, size, skip_unreadable, tell, progress, safe)


def _begin(place: Path, identity: Callable[[], str] | None, *wish: object) -> AbstractContextManager[Draft]:
    """Where photos are packed; known by all that decides which pixels come of them."""
    return drafts.begin(place, identity and json.dumps([identity(), *wish, PIL.__version__, VERSION]))


def _add_photos(
    begin: Callable[[], AbstractContextManager[Draft]],
    name: str,
    container: Container,
    layout: Layout,
    pack: Pack,
    size: int | None,
    skip_unreadable: bool,
    tell: Tell,
    progress: Progress,
    safe: Safe,
) -> PackedFacts:
    tell(f"{container.source} is {layout}.")
    for remark in layout.remarks:
        tell(remark)
    if all(item.part != TEST for item in layout.items):
        tell(f"Nothing says what is for the test: {TEST_FRACTION:.0%} of each class are, in all runs the same ones.")
    with begin() as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is odd in a file; what cannot be read is an error
        photos = _Photos(draft, name, container, layout, size, skip_unreadable, tell, progress, safe)
        return photos.pack_by(partial(pack, draft=draft))


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
        draft: Draft,
        name: str,
        container: Container,
        layout: Layout,
        size: int | None,
        skip: bool,
        tell: Tell,
        progress: Progress,
        safe: Safe,
    ):
        self._draft, self._name, self._container, self._layout, self._tell = draft, name, container, layout, tell
        self._size, self._progress, self._safe = size, progress, safe
        self._files = Files(container.source)
        self._unreadable = UnreadableImages(container.source, self._files.unreadable, may_skip=skip)
        self._place = {item.name: place for place, item in enumerate(layout.items)}
        self._split_N = np.array([item.part for item in layout.items], np.uint8)
        self._told = 0
        self._gray = True
        self._small: set[str] = set()

    def pack_by(self, pack: Pack) -> PackedFacts:
        share = (1 - SHARE_OF_SURVEY) / len(self._place)
        self._draft.tell_kept = lambda images: self._safe(images, SHARE_OF_SURVEY + share * images)
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
            self._tell(f"Of 16 bits for each pixel the upper 8 are kept: {count_of(deep)}.")

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
            self._tell(f"Smaller than {self._size}×{self._size} pixels, and enlarged: {count_of(len(self._small))}.")
        width, height = (self._size, self._size) if self._size is not None else next(iter(sizes))
        needed = sizes.total() * width * height * (1 if self._gray else 3)
        if needed > (free := shutil.disk_usage(self._draft.folder).free + self._draft.kept_bytes):
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
        for piece in self._draft.pieces():
            if not readable >= set(piece.names):
                break
            self._advance("packing", len(self._files.names), begin=SHARE_OF_SURVEY, share=1 - SHARE_OF_SURVEY)
            self._take_up(piece.names)
            yield self._chunk(piece.images, [self._place[name] for name in piece.names])
            readable -= set(piece.names)
        for done, (name, content) in enumerate(self._container.read(readable), start=len(self._files.names)):
            self._advance("packing", done, begin=SHARE_OF_SURVEY, share=1 - SHARE_OF_SURVEY)
            try:
                waiting.append(images.decode(name, content, gray=self._gray, side=self._size))
            except Unreadable as error:
                self._unreadable.add(name, error)
                continue
            places.append(self._place[name])
            self._take_up([name])
            if len(waiting) * waiting[0].nbytes >= CHUNK_BYTES:
                yield self._chunk(np.stack(waiting), places)
                waiting, places = [], []
        self._unreadable.refuse()
        if waiting:
            yield self._chunk(np.stack(waiting), places)

    def _take_up(self, names: list[str]) -> None:
        for name in names:
            if name in self._small:
                self._files.enlarged.append(len(self._files.names))
            self._files.names.append(name)

    def _advance(self, phase: str, done: int, *, begin: float, share: float) -> None:
        liveness.advance()
        if done % EVERY_IMAGES == 0:
            self._progress(phase, done, begin + share * done / len(self._place))

    def _chunk(self, images_BHWC: NDArray[np.uint8], places: list[int]) -> Chunk:
        return Chunk(images_BHWC, self._labels_N[places], self._split_N[places])
