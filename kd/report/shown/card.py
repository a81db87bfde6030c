"""The model card of the student: Markdown with the Hugging Face Hub's metadata, for whoever gets the weights alone.

What nobody told us it says to be unknown, rather than leave it out. A function of the report alone, without torch.
"""

import re
from typing import Any

import yaml

from kd import outputs
from kd.models.own.names import is_own
from kd.report.pictures import numbers
from kd.report.pictures.looks import in_words
from kd.report.pictures.svg import plain
from kd.report.shown import comparison, recipe
from kd.report.shown.classes import class_gaps, compared_with
from kd.report.shown.page import several, title

Report = dict[str, Any]

SHOWN = 5  # classes that are named as the weakest

# Emphasis, code, links (those that GitHub makes of bare addresses, too), tables, HTML, formulas.
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&:@$]|(?<=www)\.)")


def card(report: Report) -> str:
    """The card of a report as `kd.report.document` makes it."""
    sections = (
        ("", what_it_is(report)),
        ("Was distillation worth it?", verdict(report)),
        ("How good it is", scores(report)),
        ("How it was made", how_made(report)),
        ("Limits", limits(report)),
        ("How to load it", how_to_load(report)),
        ("Licence and data", licence(report)),
        ("How to get the numbers again", again(report)),
    )
    head = yaml.safe_dump(metadata(report), allow_unicode=False, sort_keys=False)
    body = "\n\n".join(f"## {name}\n\n{text}" if name else text for name, text in sections)
    return f"---\n{head}---\n\n# {written(title(report))}\n\n{body}\n"


def metadata(report: Report) -> dict[str, Any]:
    """What the Hub reads (its model card specification): the numbers as a model index."""
    named, name = one_line(report["dataset"]["name"]), one_line(title(report))
    values = (
        ("accuracy", "Accuracy", "top1"),
        ("nll", "Negative log-likelihood", "nll"),
        ("ece", "Calibration error", "ece"),
    )
    found = (
        (kind, said, numbers.finite(report["metrics"].get(f"student.test.{which}"))) for kind, said, which in values
    )
    return {
        "license": "unknown",
        "library_name": "stillhouse",
        "pipeline_tag": "image-classification",
        "tags": ["knowledge-distillation", "image-classification", one_line(comparison.arch(report, "student"))],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": named, "type": named, "split": "test"},
                        "metrics": [
                            {"type": kind, "name": said, "value": round(value, 6)}
                            for kind, said, value in found
                            if value is not None
                        ],
                    }
                ],
            }
        ],
    }


def what_it_is(report: Report) -> str:
    data, student = report["dataset"], written(comparison.arch(report, "student"))
    teacher = comparison.arch(report, "teacher")
    taught = (
        f"distilled from a teacher, {written(teacher)}"
        if teacher and not comparison.is_labels(report)
        else "distilled from labels that a teacher made elsewhere"
    )
    shape = data.get("shape")
    images = (
        f" of {shape[1]} × {shape[2]} pixels and {shape[0]} {'channel' if shape[0] == 1 else 'channels'}"
        if shape
        else ""
    )
    classes = f" into {numbers.count(data.get('classes'))} classes" if data.get("classes") else ""
    source = f", like those of {written(data['name'])},"
    sorts = f"An image classifier of the architecture {student}, {taught}. It sorts images{images}{source}{classes}."
    return sorts + (what_it_sees(data["seen"]) if data.get("seen") else "")


def what_it_sees(seen: dict[str, Any]) -> str:
    box, (height, width) = seen["box"], seen["size"]
    resized = f", resized to {height} × {width} (bilinear, antialiased)"
    middle = f" Of an image it sees the middle {box['height']} × {box['width']} pixels"
    return f"{middle}{resized if [box['height'], box['width']] != [height, width] else ''}."


def verdict(report: Report) -> str:
    remarks = [str(remark) for remark in report.get("remarks", [])]
    answer = str((report.get("verdict") or {}).get("message") or "")
    others = [remark for remark in remarks if remark != answer]
    return "\n\n".join(written(said) for said in [f"{answer}", *others] if said) or "Nothing was compared."


def scores(report: Report) -> str:
    roles = comparison.roles(report)
    table = [
        "| | " + " | ".join(written(in_words(role)) for role in roles) + " |",
        "|---" * (len(roles) + 1) + "|",
        *(
            f"| {row.name} | " + " | ".join(written(cell) for cell in row.cells) + " |"
            for row in comparison.rows(report)
        ),
    ]
    images = numbers.count(report["metrics"].get("test.images"))
    said = ["± is one standard error of an accuracy on so many images"]
    if several(report):
        said.append("of the mean over seeds, one standard deviation; all else is of the seed whose student this is")
    if "control" in roles:
        said.append("the control is the same student trained without a teacher")
    if "label_smoothing" in roles:
        said.append("label smoothing is the control with a share of each label spread over all classes")
    said.append("latencies are of the machine below")
    return f"On {images} test images that nobody has learnt from. {'; '.join(said)}.\n\n" + "\n".join(table)


def how_made(report: Report) -> str:
    return "\n".join(f"- {what}: {written(how)}" for what, how in recipe.facts(report))


def limits(report: Report) -> str:
    found = [
        "It knows the classes it was taught and no others: whatever it is shown, it names one of them.",
        "It was tested on images of the same source. Of others (another camera, another year) nothing is known.",
        "Whether it treats groups of people alike, and how it fares under attack, was not measured.",
    ]
    if (ece := numbers.finite(report["metrics"].get("student.test.ece"))) is not None:
        found.append(f"Its probabilities are off by {numbers.per_cent(ece)} on average (calibration error).")
    rival = compared_with(report)
    lost = [one for one in class_gaps(report)[:SHOWN] if one.gap < 0]
    if lost:
        named = ", ".join(f"{written(one.name)} ({numbers.points(one.gap, 1)} points)" for one in lost)
        found.append(f"Compared with its {rival} it lost most on {named}.")
    return "\n".join(f"- {one}" for one in found)


def how_to_load(report: Report) -> str:
    own = ""
    if is_own(arch := report["config"].get("student", {}).get("arch", "")):
        own = f"""

{written(arch)} is an architecture of somebody's own: `load_model` needs it registered as it was. Its module takes the
tensors by `load_state_dict`."""
    return f"""The weights are a [safetensors](https://github.com/huggingface/safetensors) file that says what it is:
architecture, classes, shape of the images, their mean and standard deviation.

```python
import torch
from kd.models.weights import load_model

model, facts = load_model("{outputs.STUDENT}")  # facts: arch, classes, shape, mean, std
model.eval()
mean, std = (torch.tensor(one)[:, None, None] for one in (facts.mean, facts.std))
images = torch.zeros(1, *facts.shape)  # yours: float32 [B, C, H, W] in 0..1
with torch.inference_mode():
    probabilities = model((images - mean) / std).softmax(dim=1)  # in the order of facts.classes
```

Without Stillhouse, `safetensors.torch.load_file` reads the tensors; the file's metadata has the facts as JSON, under
`stillhouse`.{own}"""


def licence(report: Report) -> str:
    return (
        "Unknown. Nobody told the program that wrote this card under which licence the images of "
        f"{written(report['dataset']['name'])} may be used, where they come from, who is on them, whether they agreed, "
        "nor under which licence this model is passed on. Whoever publishes it fills this in, and `license` above."
    )


def again(report: Report) -> str:
    made_with, spec = report.get("made_with") or {}, plain(recipe.spec(report))
    made = ", ".join(f"{name} {written(version)}" for name, version in made_with.get("versions", {}).items())
    device = written(made_with.get("device") or "an unknown device")
    # Longer than whatever is in the spec: nothing in it ends the block.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", spec)), default=0))
    return (
        f"Made with {made or 'unknown versions'}, on {device}. Save this as `spec.json`, and `kd run spec.json` runs "
        f"it; the data set's digest is above.\n\n{fence}json\n{spec}\n{fence}"
    )


def written(text: object) -> str:
    """Text that somebody wrote, on one line and with no power over the Markdown around it."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def one_line(text: object) -> str:
    """The same where nothing but the end of a line has power."""
    return " ".join(plain(text).split())
