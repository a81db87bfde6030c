"""The page: whole HTML that loads nothing, whoever took part, and whatever classes are called."""

import base64
import hashlib
import re

import pytest

from kd.report.shown.card import card
from kd.report.shown.page import page
from tests.kd.report.reading import HOSTILE, Reader, assert_it_loads_and_runs_nothing, pictures_in
from tests.kd.report.reports import a_report

ROLES = [
    ("teacher", "student", "control"),
    ("teacher", "student", "control", "label_smoothing", "another", "a_third", "a_fourth"),
    ("teacher", "student"),
    ("student", "control"),
    ("student",),
]
each_company = pytest.mark.parametrize("roles", ROLES, ids="+".join)


@each_company
def test_the_page_is_whole_html_with_whole_pictures(roles):
    text = page(a_report(roles))

    read = Reader(text)
    assert text.startswith("<!doctype html>")
    assert len(read.all("h1")) == len(read.all("main")) == 1
    names = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for picture in pictures_in(text):
        title, says, *_ = picture
        assert picture.attrib["aria-labelledby"] == f"{title.attrib['id']} {says.attrib['id']}"
        assert title.text
        assert says.text
    assert all(image["alt"] for image in read.all("img"))
    for role in roles:
        assert role.replace("_", " ") in text


def test_the_answer_comes_first_and_then_the_numbers():
    text = page(a_report())

    places = [text.index(words) for words in ("Better", "by 1.20 points", "96.00 %", "Side by side", "How they learnt")]
    assert places == sorted(places)


@each_company
def test_the_page_loads_nothing_and_runs_nothing(roles):
    text = page(a_report(roles))

    assert_it_loads_and_runs_nothing(text)


def test_the_page_holds_itself_to_its_own_style_and_to_pictures_within_it():
    text = page(a_report())

    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [one["content"] for one in Reader(text).all("meta") if one.get("http-equiv")]
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_what_users_wrote_is_shown_and_never_obeyed():
    report = a_report(classes=HOSTILE, name="<img src=x onerror=alert(1)>")
    report["remarks"].append("</section><script>alert(2)</script>\u202e")
    report["config"]["teacher"] = {"job": "<b>\u202ejob"}

    text = page(report)

    read = Reader(text)
    assert read.all("script") == []
    assert {image["src"] for image in read.all("img")} == {"data:image/png;base64,AAAA"}
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "\\u202egpj.exe" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7 * 7 }}" in text
    assert pictures_in(text)


def test_of_thousands_of_classes_the_page_shows_both_ends_and_counts_the_rest():
    text = page(a_report(classes=tuple(f"class {number}" for number in range(5_000)), disputed=24))

    Reader(text)
    assert len(text) < 150_000
    assert "4,976 classes between" in text
    assert "4,900 classes between" in text


def test_a_report_with_little_in_it_still_has_a_page():
    bare = a_report(("student",), disputed=0)
    for name in ("verdict", "curves", "reliability", "disputed", "made_with", "per_class", "confusion", "seconds"):
        bare[name] = None if name == "verdict" else {}
    bare["metrics"] = {"student.test.top1": 0.5}

    text = page(bare)

    Reader(text)
    assert "No verdict" in text
    assert "50.00 %" in text


def test_a_report_that_an_earlier_version_has_found_has_a_page():
    """A run whose test split was read before an update writes its files after it."""
    report = a_report()
    for name in ("verdict", "curves", "reliability", "disputed", "suspects", "made_with"):
        del report[name]
    for name in ("classes", "shape"):
        del report["dataset"][name]

    text = page(report)

    Reader(text)
    assert "by 1.20 points" in text
    assert "97.00 %" in card(report)


def test_the_verdict_says_its_word_once_and_other_remarks_follow():
    report = a_report()
    report["remarks"].append("The teacher is not better than the student trained without it.")

    text = page(report)

    assert "<strong>Better</strong>" in text
    assert '<p class="answer">The student beats the control by 1.20 points.</p>' in text
    assert text.count("beats the control") == 1
    assert '<p class="remark">The teacher is not better' in text


def test_label_smoothing_is_compared_in_all_but_its_cross_entropy():
    """Which is one with other labels."""
    report = a_report(("teacher", "student", "control", "label_smoothing"))
    report["metrics"] |= {"gain_over_label_smoothing": -0.004}

    text = page(report)

    Reader(text)
    assert "−0.40 points" in text
    by_title = dict(re.findall(r"<title id=.([a-z-]+)-title.*?<desc[^>]*>(.*?)</desc>", text))
    assert "label smoothing" in by_title["validation-accuracy"]
    assert "label smoothing" not in by_title["training-loss"]
    assert "control" in by_title["training-loss"]


def test_several_seeds_are_shown_with_their_mean_their_spread_and_the_interval_of_the_gain():
    report = a_report()
    report["metrics"] |= {"student.test.top1.mean": 0.9612, "student.test.top1.std": 0.0025}
    report["metrics"] |= {"gain.low": -0.001, "gain.high": 0.025}
    report["seeds"] = [
        {"seed": seed, "is_offered": seed == 8, "metrics": {"student.test.top1": 0.96, "gain": 0.01 * seed}}
        for seed in (7, 8)
    ]

    text = page(report)

    Reader(text)
    assert "96.12 % ± 0.25" in text
    assert "−0.10 to +2.50 with 95 % confidence" in text
    assert "8, offered" in text
    assert "seed 8, which is offered" in text
    assert "the curves of the seed whose student is offered" in text
    assert "+8.00" in text


def test_numbers_that_are_none_are_dashes_and_never_drawn():
    report = a_report()
    report["metrics"] |= {
        "student.test.nll": "NaN",
        "teacher.latency_seconds.batch1": "Infinity",
        "control.test.ece": None,
    }
    report["curves"]["student"]["train.hard_loss"][3] = "NaN"
    report["curves"]["student"]["validation.top1"] = ["NaN"] * 12
    report["per_class"]["cat"]["student"] = None

    text = page(report)

    Reader(text)
    assert re.findall(r"(?i)\b(?:nan|inf|infinity)\b", text.partition("<main>")[2]) == []
    assert "–" in text


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.2 defines it."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_and_pictures_stand_out_by_day_and_by_night(scheme):
    style = re.search(r"<style>(.*?)</style>", page(a_report()), re.DOTALL)[1]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))

    assert len(colours) == 14
    for name in colours.keys() - {"paper", "card", "rule"}:
        for ground in ("paper", "card"):
            bright, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
