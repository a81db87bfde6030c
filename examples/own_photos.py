"""Your photos, your teacher: a zip of photos and a torch model become two jobs and two students.

The photos are pieces of the two that scikit-learn ships: from which part of which photo is it? The teacher is a
network of timm, trained below in plain PyTorch, as anybody's is; `kd teacher add` makes an ONNX file of it.

    python examples/own_photos.py

where Stillhouse is installed with `pip install "stillhouse[api,worker,demo,zoo,onnx]"`. Nothing is downloaded.
"""

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from demo import KD, DemoFailed, server, tail  # its neighbour in this folder
from PIL import Image
from sklearn.datasets import load_sample_images

from client import Client, ClientError
from kd.machine.torchvision_import import torchvision_models

SIDE = 48  # of a piece
PARTS = (2, 2)  # rows and columns that a photo is divided into: each is a class
PIECES = {"train": 80, "test": 40}  # of each class
EPOCHS = {"teacher": 12, "student": 15}
OUTPUT = Path("own-photos-output")
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
TEACHER = """
import timm

def build():
    return timm.create_model("test_resnet", num_classes={classes})
"""


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stillhouse-photos-") as name:
        folder = Path(name)
        try:
            accuracy = bring(folder)
            with server(folder / "data", folder / "serve.log") as url, Client(url) as client:
                distil(client, (folder / "teacher id").read_text(), accuracy)
        except (ClientError, DemoFailed, KeyboardInterrupt) as error:
            print(f"\nIt failed: {error or 'interrupted'}", file=sys.stderr)
            if (folder / "serve.log").exists():
                print("The server and its worker said last:", *tail(folder / "serve.log"), sep="\n  ", file=sys.stderr)
            return 1
    print(f"\nAll of it took {time.monotonic() - began:.0f} seconds. The students are in {OUTPUT}/.")
    return 0


def bring(folder: Path) -> float:
    """Photos and teacher come into the data folder; how many of the test photos the teacher knows by itself."""
    photos = cut_photos()
    write_zip(photos, folder / "photos.zip")
    print("== kd data add photos.zip")
    kd("data", "add", folder / "photos.zip", "--data", folder / "data")

    classes = sorted({label for _, label, _ in photos})
    model, accuracy = train_teacher(photos, classes)
    torch.save(model.state_dict(), folder / "teacher.pth")
    (folder / "teacher.py").write_text(TEACHER.format(classes=len(classes)))
    print(f"\n== kd teacher add: a network of timm, right on {accuracy:.2%} of the test photos in PyTorch")
    shape = f"3x{SIDE}x{SIDE}"
    options = ("--weights", folder / "teacher.pth", "--shape", shape, "--pixels", "imagenet")
    said = kd("teacher", "add", f"{folder / 'teacher.py'}:build", *options, "--data", folder / "data")
    (folder / "teacher id").write_text(said.partition(":")[0])
    return accuracy


def distil(client: Client, teacher_id: str, accuracy: float) -> None:
    """A job of each mode under that teacher."""
    config = {
        "dataset": "packed/photos",
        "teacher": {"upload": teacher_id},
        "student": {"arch": "cnn_small"},
        "augmentation": {"crop_padding": 4, "flip": False},
        "epochs": EPOCHS["student"],
    }
    OUTPUT.mkdir(exist_ok=True)
    for mode in ("train", "guide"):
        job = client.wait(client.submit(mode, config, name=f"photos, {mode}")["id"])
        if job["status"] != "succeeded":
            raise DemoFailed(f"job {job['id']} is {job['status']}: {(job['error'] or {}).get('message')}")
        metrics = job["result"]["metrics"]
        scores = ", ".join(f"{role} {metrics[f'{role}.test.top1']:.2%}" for role in ("teacher", "student", "control"))
        print(f"\n== {mode}: {scores}")
        if abs(metrics["teacher.test.top1"] - accuracy) > 0.001:
            raise DemoFailed(
                f"the teacher is right on {metrics['teacher.test.top1']:.2%} here, in PyTorch {accuracy:.2%}"
            )
        print(client.download(job["id"], to=OUTPUT / f"{mode}.safetensors"))


def cut_photos() -> list[tuple[str, str, Image.Image]]:
    """Pieces as (split, class, image): for the test of the middle of a part, to learn from of its left and right."""
    chance, found = np.random.default_rng(0), []
    for photo, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        height, width = pixels.shape[0] // PARTS[0], pixels.shape[1] // PARTS[1]
        for row, column in np.ndindex(*PARTS):
            middle = (width * 2 // 5, width * 3 // 5)
            for split, sides in {"train": ((0, middle[0]), (middle[1], width)), "test": (middle,)}.items():
                for number in range(PIECES[split]):
                    first, last = sides[number % len(sides)]
                    top = row * height + chance.integers(0, height - SIDE + 1)
                    left = column * width + chance.integers(first, last - SIDE + 1)
                    piece = Image.fromarray(pixels[top : top + SIDE, left : left + SIDE])
                    found.append((split, f"{photo} {row}{column}", piece))
    return found


def write_zip(photos: list[tuple[str, str, Image.Image]], path: Path) -> None:
    """As a camera's owner makes one: a folder around all, and what the computer left in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photos/.DS_Store", b"")
        archive.writestr("photos/notes.txt", "which part of which photo?")
        for number, (split, label, image) in enumerate(photos):
            content = io.BytesIO()
            image.save(content, "PNG")
            archive.writestr(f"photos/{split}/{label}/{number:05}.png", content.getvalue())


def train_teacher(photos: list[tuple[str, str, Image.Image]], classes: list[str]) -> tuple[torch.nn.Module, float]:
    """A teacher as anybody may have one, and its accuracy on the test photos."""
    torchvision_models()  # timm stands on it, and beside a torch for CPUs alone it needs this first
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=len(classes))
    images, labels = {}, {}
    for split in PIECES:
        of_it = [(np.asarray(image), classes.index(label)) for where, label, image in photos if where == split]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in of_it])).float() / 255
        images[split] = ((pixels - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
        labels[split] = torch.tensor([label for _, label in of_it])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(EPOCHS["teacher"]):
        model.train()
        for some in torch.randperm(len(labels["train"])).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images["train"][some]), labels["train"][some]).backward()
            optimizer.step()
    model.eval()
    with torch.inference_mode():
        right = model(images["test"]).argmax(1) == labels["test"]
    return model, right.double().mean().item()


def kd(*arguments: object) -> str:
    """What the `kd` command says, which is printed as well."""
    ran = subprocess.run([*KD, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    print(ran.stdout, end="")
    if ran.returncode:
        raise DemoFailed(f"kd {arguments[0]} {arguments[1]} ended with {ran.returncode}")
    return ran.stdout


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
