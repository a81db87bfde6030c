"""How each role looks in all pictures: told apart by colour, and by dashes and shapes where there is none."""

from collections.abc import Iterable
from typing import NamedTuple

from kd.report.pictures.svg import element


class Look(NamedTuple):
    css: str  # the class that gives the colour
    dash: str | None
    corners: int  # of the mark: 0 is a circle
    turned: float = 0.0


KNOWN = {
    "teacher": Look("role-teacher", "6 3", 4, 45.0),
    "student": Look("role-student", None, 0),
    "control": Look("role-control", "2 2.5", 4),
    "label_smoothing": Look("role-other-1", "8 3 2 3", 3),
}
OTHERS = (
    Look("role-other-2", "10 4", 3, 180.0),
    Look("role-other-3", "1 4", 4, 45.0),
)


def in_order(roles: Iterable[str]) -> list[str]:
    """Teacher, student and those it is compared with first, then whoever else there is, in the order given."""
    given = list(dict.fromkeys(roles))
    return [role for role in KNOWN if role in given] + [role for role in given if role not in KNOWN]


def looks(roles: Iterable[str]) -> dict[str, Look]:
    """The look of each; of others in turn."""
    others = (role for role in in_order(roles) if role not in KNOWN)
    return KNOWN | {role: OTHERS[number % len(OTHERS)] for number, role in enumerate(others)}


def in_words(role: str) -> str:
    """`label_smoothing` as a reader says it."""
    return role.replace("_", " ")


def mark(look: Look, x: float, y: float, radius: float = 4.5) -> str:
    """The role's mark at a place."""
    if not look.corners:
        return element("circle", cx=x, cy=y, r=radius, class_=f"mark {look.css}")
    if look.corners == 3:
        path = f"M{x:.1f} {y - radius:.1f}l{radius:.1f} {1.8 * radius:.1f}h{-2 * radius:.1f}z"
    else:
        path = f"M{x - radius:.1f} {y - radius:.1f}h{2 * radius:.1f}v{2 * radius:.1f}h{-2 * radius:.1f}z"
    turn = f"rotate({look.turned:g} {x:.1f} {y:.1f})" if look.turned else None
    return element("path", d=path, transform=turn, class_=f"mark {look.css}")
