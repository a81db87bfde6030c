"""The examination of a data set as a page: a function of it alone."""

from markupsafe import Markup

from kd.report.data_set.examination import ClassCounts, Examination
from kd.report.pictures.bars import Bar, bars
from kd.report.shown.html import render

DRAWN = 24  # classes with a bar: of more the largest and the smallest
LISTED = 100  # rows of the table
TITLES = {
    "contrary_duplicates": "The same image, and two labels",
    "shared_duplicates": "The same image in two splits",
    "contrary_near_duplicates": "Nearly the same, and two labels",
    "shared_near_duplicates": "Nearly the same in two splits",
    "near_duplicates": "Nearly the same",
    "duplicates": "The same image again",
    "classes_without_test": "Classes without test images",
    "classes_without_validation": "Classes without validation images",
    "unreadable": "Left out",
    "blank": "Blank images",
    "enlarged": "Enlarged images",
    "imbalance": "Classes of very different sizes",
}
WORDS = {"fault": "Mend this", "warning": "Look at this", "note": "Know this"}


def page(examination: Examination) -> str:
    """HTML: what is wrong first, then the images of each class, then what they look like."""
    by_size = sorted(examination.classes, key=lambda one: -_bar(one).total)
    return render(
        "data_set.html",
        found=examination,
        images=sum(examination.images(split) for split in ("train", "validation", "test")),
        titles=TITLES,
        words=WORDS,
        picture=_picture(by_size),
        listed=examination.classes[:LISTED],
    )


def _picture(by_size: list[ClassCounts]) -> Markup:
    drawn = [_bar(one) for one in by_size]
    few = len(drawn) <= DRAWN
    return Markup(
        bars(
            "class-counts",
            drawn if few else drawn[: DRAWN // 2],
            [] if few else drawn[-DRAWN // 2 :],
            between=0 if few else len(drawn) - DRAWN,
            title="Images of each class, the largest first",
        )
    )


def _bar(counts: ClassCounts) -> Bar:
    return Bar(counts.name, (counts.train, counts.validation, counts.test))
