"""How fast photos become a data set, beside Pillow alone in a loop, and in how much memory.

    python benchmarks/ingest.py --side 64 --count 100000
    python benchmarks/ingest.py --width 500 --height 375 --side 224 --count 20000

Pieces of the two photos that scikit-learn ships, each another one, as JPEGs of quality 90 in a zip. The loop reads
and decodes each and brings it to the same square; `kd data add` looks at each before, checks, packs, and compares them.
Both are processes of their own with one thread, and what counts is their CPU time. Memory is the most that `add` had,
with a tenth of the images and with all of them.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

LOOP = """
import io, sys, zipfile
from PIL import Image
import numpy as np
side = int(sys.argv[2])
with zipfile.ZipFile(sys.argv[1]) as archive:
    for name in archive.namelist():
        image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
        short = min(image.size)
        image = image.resize([round(each * side / short) for each in image.size], Image.Resampling.BICUBIC)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        np.asarray(image.crop((left, top, left + side, top + side)))
"""
ADD = """
import sys
from pathlib import Path
from kd.data.ingest.add import add
add(Path(sys.argv[3]), "packed/photos", Path(sys.argv[1]), size=int(sys.argv[2]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--side", type=int, default=64, help="of the squares that they become")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {options.width}x{options.height} to {options.side}x{options.side}")
    print(f"{'images':>8} {'loop':>10} {'add':>10} {'add/loop':>9} {'memory':>9}")
    for count in (options.count // 10, options.count):
        with tempfile.TemporaryDirectory() as folder:
            photos = Path(folder) / "photos.zip"
            write(photos, count, options.width, options.height)
            loop, _ = measured(LOOP, photos, options.side)
            add, memory = measured(ADD, photos, options.side, folder)
        print(
            f"{count:>8,} {count / loop:>8,.0f}/s {count / add:>8,.0f}/s {loop / add:>9.2f} {memory / 1e6:>6.0f} MB",
            flush=True,
        )


def write(path: Path, count: int, width: int, height: int) -> None:
    """A zip of so many photos of ten classes."""
    china, flower = (np.asarray(image) for image in load_sample_images().images)
    chance = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            photo = (china, flower)[number % 2]
            top, left = (
                chance.integers(0, size - wanted + 1)
                for size, wanted in zip(photo.shape, (height, width), strict=False)
            )
            piece = photo[top : top + height, left : left + width].copy()
            piece[0, 0] = number % 251, number // 251 % 251, number // 63_001  # no two alike
            file = io.BytesIO()
            Image.fromarray(piece).save(file, "JPEG", quality=90)
            archive.writestr(f"class {number % 10}/{number}.jpg", file.getvalue())


def measured(code: str, *arguments: object) -> tuple[float, int]:
    """Seconds of CPU, and bytes of memory at most."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, status
    return used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
