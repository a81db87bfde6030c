"""The model card: metadata that the Hub reads, the numbers with their errors, and what nobody knows."""

import pytest
import yaml

from kd.report.shown.card import card
from kd.spec import parse
from tests.kd.report.reports import a_report


def parts(text: str) -> tuple[dict, str]:
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_metadata_has_the_numbers_of_the_student():
    head, _ = parts(card(a_report()))

    (model,) = head["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"name": "packed/pets", "type": "packed/pets", "split": "test"}
    assert {one["type"]: one["value"] for one in result["metrics"]} == {"accuracy": 0.96, "nll": 0.2, "ece": 0.03}
    assert head["pipeline_tag"] == "image-classification"
    assert head["license"] == "unknown"


def test_the_card_says_what_it_is_how_good_and_what_nobody_knows():
    _, body = parts(card(a_report()))

    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert headings == [
        "# cnn → mlp on packed/pets",
        "## Was distillation worth it?",
        "## How good it is",
        "## How it was made",
        "## Limits",
        "## How to load it",
        "## Licence and data",
        "## How to get the numbers again",
    ]
    assert "| Accuracy, test split | 97.00 % ± 0.54 | 96.00 % ± 0.62 | 95.00 % ± 0.69 |" in body
    assert "Unknown. Nobody told" in body
    assert "d" * 64 in body


def test_names_have_no_power_over_the_card():
    report = a_report(
        classes=("<script>", "[a](https://evil.example)", "a|b\n# heading", "\u202ex", "www.evil.example")
    )
    report["per_class"] = {name: {"teacher": 0.9, "student": 0.5} for name in report["per_class"]}
    report["config"]["teacher"] = {"job": "```\n# heading\n"}
    report["dataset"]["name"] = "---\nlicense: mit\n"

    head, body = parts(card(report))

    assert head["license"] == "unknown"
    limits = body.partition("## Limits")[2].partition("## How")[0]
    assert r"\<script\>" in limits
    assert r"\[a\](https\://evil.example)" in limits
    assert r"a\|b # heading" in limits
    assert r"www\.evil" in limits
    assert "\u202e" not in body
    assert body.count("\n# ") == 1


@pytest.mark.parametrize("roles", [("student",), ("student", "control"), ("teacher", "student", "label_smoothing")])
def test_whoever_is_missing_is_not_in_the_card(roles):
    _, body = parts(card(a_report(roles)))

    assert f"| | {' | '.join(roles)} |".replace("_", " ") in body


def test_every_distance_of_an_objective_is_named():
    objective = {"method": "cross_view", "preset": "crld", "also": [{"method": "rkd", "weight": 0.5}, {"method": "sp"}]}
    config = parse({"mode": "train", "config": {"dataset": "digits", "objective": objective}}).config

    _, body = parts(card(a_report(config=config.model_dump(mode="json"))))

    asked = (
        "cross_view, preset crld, temperature 4, soft weight 1, hard weight 2; also rkd, weight 0.5; also sp, weight 1"
    )
    assert asked in body.replace("\\", "")
