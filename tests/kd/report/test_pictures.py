"""Pictures: what is more is further up or to the right, and nothing lies outside or upon another."""

import io
import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kd.report.pictures import numbers, png
from kd.report.pictures.curves import Line, curves
from kd.report.pictures.gaps import gaps
from kd.report.pictures.looks import in_order, looks
from kd.report.pictures.reliability import reliability
from kd.report.pictures.scales import Scale, around, around_ratios
from kd.report.pictures.tradeoff import APART, Model, spread, tradeoff

STUDENT = looks(["student"])["student"]
SVG = "{http://www.w3.org/2000/svg}"


def read(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [one.text for one in read(svg).iter(f"{SVG}text")]


def bars(svg: str, css: str) -> list[dict[str, float]]:
    found = [one for one in read(svg).iter(f"{SVG}rect") if css in one.attrib["class"].split()]
    return [{name: float(one.attrib[name]) for name in ("x", "y", "width", "height")} for one in found]


@settings(max_examples=50)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_an_axis_names_a_few_round_values_between_its_ends(low, span, wanted):
    scale = Scale(low, low + span, 0.0, 100.0)

    ticks = scale.ticks(wanted)

    assert 1 <= len(ticks) <= 2 * wanted + 1
    assert ticks == sorted(set(ticks))
    assert all(-1e-3 <= scale(value) <= 100.001 for value in ticks)


@settings(max_examples=50)
@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e8))
def test_an_axis_of_ratios_does_the_same(low, factor):
    scale = Scale(*around_ratios([low, low * factor]), 0.0, 100.0, log=True)

    ticks = scale.ticks()

    assert 1 <= len(ticks) <= 12
    assert all(-1e-3 <= scale(value) <= 100.001 for value in ticks)


def test_equal_values_have_an_axis_too():
    low, high = around([0.5, 0.5], least=0.02)

    assert (low, high) == pytest.approx((0.49, 0.51))


@pytest.mark.parametrize("value", [2.3, -2.3, 0.0])
def test_a_single_value_has_one_without_being_told_how_long(value):
    low, high = around([value])

    assert low < value < high
    assert Scale(low, high, 0.0, 100.0).ticks()


def test_a_learning_curve_rises_where_the_values_rise_and_marks_the_best_epoch():
    svg = curves(
        "c",
        [Line("student", [1, 2, 3], [0.5, 0.9, 0.8], best=2), Line("teacher", [1], [0.7])],
        title="Accuracy",
        y_says="accuracy",
        y_format=numbers.per_cent,
    )

    line = next(
        one
        for one in read(svg).iter(f"{SVG}path")
        if one.attrib["class"] == "line role-student" and "L" in one.attrib["d"]
    )
    points = [tuple(map(float, pair.split())) for pair in line.attrib["d"].removeprefix("M").split("L")]
    (circle,) = read(svg).iter(f"{SVG}circle")
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[1][1] < points[2][1] < points[0][1], "up is less in SVG"
    assert (float(circle.attrib["cx"]), float(circle.attrib["cy"])) == pytest.approx(points[1], abs=0.1)
    assert "student: 50.00 % after epoch 1, 80.00 % after epoch 3" in svg


def test_what_cannot_be_drawn_is_no_picture():
    assert curves("c", [Line("student", [1], [None])], title="", y_says="", y_format=str) == ""
    assert tradeoff("t", [], title="", x_says="", x_format=str) == ""
    assert gaps("g", [], title="") == ""
    assert reliability("r", "student", STUDENT, [0, 0], [None, None], [None, None], title="") == ""


def test_models_that_cost_the_same_stand_side_by_side_and_their_labels_apart():
    models = [Model("teacher", 1e6, 0.98), Model("student", 1e4, 0.95, 0.01), Model("control", 1e4, 0.95, 0.01)]

    svg = tradeoff("t", models, title="Size", x_says="parameters", x_format=numbers.short)

    labels = {one.text.split()[0]: one.attrib for one in read(svg).iter(f"{SVG}text") if one.text.endswith("00 %")}
    assert set(labels) == {"teacher", "student", "control"}
    assert abs(float(labels["student"]["y"]) - float(labels["control"]["y"])) >= APART - 0.1
    assert float(labels["student"]["x"]) != float(labels["control"]["x"])


@settings(max_examples=50)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=8).map(sorted))
def test_labels_that_are_spread_stay_in_order_and_within(places):
    found = spread(places, 0.0, 200.0)

    assert all(after - before >= APART - 1e-6 for before, after in itertools.pairwise(found))
    assert found[-1] <= 200


def test_a_reliability_bar_is_as_high_as_the_model_is_right():
    svg = reliability("r", "student", STUDENT, [0, 10, 30], [None, 0.5, 0.9], [None, 0.25, 1.0], title="Student")

    low, high = bars(svg, "bar")
    modest, boast = sorted(bars(svg, "gap"), key=lambda bar: -bar["x"])
    assert high["height"] == pytest.approx(4 * low["height"], abs=0.5)
    assert boast["height"] == pytest.approx(low["height"], abs=0.2), "it was 50 % sure, and 25 % right"
    assert modest["height"] == pytest.approx(high["height"] / 10, abs=0.2)
    shares = bars(svg, "share")
    assert shares[1]["height"] == pytest.approx(3 * shares[0]["height"], abs=0.2)


def test_gaps_go_to_their_side_and_say_what_is_left_out():
    svg = gaps("g", [("cat", -0.2), ("dog", -0.05)], [("fox", 0.1)], between=7, title="Gaps")

    (worst, bad), (good,) = bars(svg, "behind"), bars(svg, "ahead")
    assert worst["width"] == pytest.approx(2 * good["width"], abs=0.3)
    assert worst["x"] + worst["width"] == pytest.approx(bad["x"] + bad["width"], abs=0.2)
    assert good["x"] == pytest.approx(bad["x"] + bad["width"], abs=0.2)
    assert "… 7 classes between …" in texts(svg)
    assert "−20.0" in texts(svg)


def test_what_users_wrote_is_text_in_a_picture():
    svg = gaps("g", [('<b>"&\u202e\uffff', 0.1)], title="<i>")

    assert texts(svg)[0] == '<b>"&\\u202e\ufffd'
    assert read(svg)[0].text == "<i>"


def test_each_role_looks_like_itself_whoever_else_is_there():
    many = looks(["student", "x", "y", "z", "control", "teacher"])

    assert in_order(["x", "student", "teacher"]) == ["teacher", "student", "x"]
    shown = [many[role] for role in ("teacher", "student", "control", "label_smoothing", "x", "y")]
    assert len({look.css for look in shown}) == len({look.dash for look in shown}) == 6
    assert looks(["student"])["student"] == many["student"]


@pytest.mark.parametrize(
    ("name", "shown"), [("a" * 15, "a" * 15), ("a" * 16, "a" * 14 + "…"), ("猫" * 8, "猫" * 6 + "…")]
)
def test_a_long_name_of_a_class_is_cut(name, shown):
    assert texts(gaps("g", [(name, 0.1)], title="Gaps"))[0] == shown


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_has_the_pixels_that_were_given(channels):
    pixels = bytes(range(5 * 4 * channels))

    image = Image.open(io.BytesIO(png.encode(pixels, width=5, height=4, channels=channels)))

    assert image.size == (5, 4)
    assert image.tobytes() == pixels


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (numbers.per_cent(0.98765), "98.77 %"),
        (numbers.points(-0.0123), "−1.23"),
        (numbers.short(1_234_567), "1.23 M"),
        (numbers.short(999_600), "1 M"),
        (numbers.size(4_000), "4 kB"),
        (numbers.duration(0.000_808), "808 µs"),
        (numbers.duration(61.4), "61.4 s"),
        (numbers.duration(600), "10 min"),
        (numbers.duration(36_000), "10 h"),
        (numbers.ratio(15.92), "15.9 ×"),
        (numbers.per_cent("NaN"), "–"),
        (numbers.count(None), "–"),
        (numbers.nats(math.inf), "–"),
    ],
)
def test_numbers_are_said_briefly(said, words):
    assert said == words


def test_no_number_of_a_picture_is_longer_than_a_tenth_of_a_pixel():
    svg = reliability("r", "student", STUDENT, [1, 2], [1 / 3, 2 / 3], [0.1234567, 0.7654321], title="Student")

    assert re.findall(r"\d\.\d{2,}(?! %)", svg.partition("</desc>")[2]) == []
