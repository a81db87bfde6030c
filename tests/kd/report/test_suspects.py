"""Images to learn from whose label the teacher is sure is another: found in its table, the surest first."""

import numpy as np
import pytest
import torch

from kd.data.splits import Split
from kd.report import suspects
from kd.report.shown.page import page
from kd.report.suspects import most_suspect
from tests.kd.report.reports import a_report

CLASSES = ("cat", "dog", "fox")


def a_table(probabilities: list[list[list[float]]], pooled: int = 0) -> np.ndarray:
    """fp16 [N, V, C + pooled]"""
    logits = np.log(np.array(probabilities, np.float32)).astype(np.float16)
    return np.concatenate([logits, np.full((*logits.shape[:2], pooled), 60_000, np.float16)], axis=2)


def a_split(labels: list[int]) -> Split:
    """Of a packed data set: an image's rows and numbers are not its place in the split."""
    count = len(labels)
    source = torch.arange(2 * count, dtype=torch.uint8)[:, None, None, None].expand(2 * count, 3, 4, 4)
    rows = torch.arange(count) * 2
    return Split(source, torch.tensor(labels), rows, rows)


@pytest.mark.parametrize("at_once", [1, 1 << 20], ids=["an image at a time", "all at once"])
@pytest.mark.parametrize("pooled", [0, 5], ids=["logits", "and a feature behind them"])
def test_the_surest_come_first_and_what_is_not_sure_enough_is_not_suspect(
    monkeypatch: pytest.MonkeyPatch, at_once: int, pooled: int
) -> None:
    monkeypatch.setattr(suspects, "AT_ONCE", at_once)
    table = a_table(
        [
            [[0.02, 0.95, 0.03]] * 2,  # a cat, and it says dog
            [[0.01, 0.98, 0.01]] * 2,  # a dog, and it says so
            [[0.01, 0.01, 0.98]] * 2,  # a cat, and it says fox
            [[0.08, 0.91, 0.01]] * 2,  # its label is not ruled out
            [[0.04, 0.85, 0.11]] * 2,  # nor is it sure
            [[0.01, 0.98, 0.01], [0.30, 0.40, 0.30]],  # sure of one view alone
        ],
        pooled,
    )

    found = most_suspect(table, a_split([0, 1, 0, 0, 0, 0]), CLASSES)

    assert [(one["number"], one["label"], one["says"][0][0]) for one in found] == [(4, "cat", "fox"), (0, "cat", "dog")]
    assert found[0]["says"][0][1] == pytest.approx(0.98, abs=1e-3)
    assert [one["probability"] for one in found] == pytest.approx([0.01, 0.02], abs=1e-3)
    assert most_suspect(table, a_split([0, 1, 0, 0, 0, 0]), CLASSES, shown=1) == found[:1]


def test_of_equally_sure_ones_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    table = a_table([[[0.005, 0.99, 0.005]]] * 50)
    whole = most_suspect(table, a_split([0] * 50), CLASSES)
    monkeypatch.setattr(suspects, "AT_ONCE", 40)

    assert [one["number"] for one in whole] == list(range(0, 48, 2))
    assert most_suspect(table, a_split([0] * 50), CLASSES) == whole


def test_the_page_shows_them_and_nothing_where_there_are_none() -> None:
    assert "Labels that the teacher doubts" in page(a_report(suspects=3))
    assert "Labels that the teacher doubts" not in page(a_report(suspects=0))
