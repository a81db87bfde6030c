"""SVG as text: elements, text that users wrote, and the frame with a title and a description for who cannot see it."""

import html
import re
import unicodedata

from kd.printable import printed

# What XML has no place for although Unicode has: with one of them no reader takes the picture.
_NO_XML = re.compile("[\ufffe\uffff]")


def plain(text: object) -> str:
    """Text that somebody wrote, made harmless for readers (not yet for markup): nothing in it turns the line around."""
    return _NO_XML.sub("\ufffd", printed(str(text)))


def escaped(text: object) -> str:
    """The same for markup."""
    return html.escape(plain(text))


def shortened(text: object, characters: int) -> str:
    """At most so many characters of it; one of Chinese, Japanese or Korean is as wide as two."""
    shown, room = plain(text), characters
    for number, character in enumerate(shown):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return f"{shown[: max(number - 1, 1)]}…"
    return shown


def element(name: str, *content: str, **attributes: object) -> str:
    """An element; `content` is markup already. `class_` and `stroke_width` are `class` and `stroke-width`."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join([f"<{name}", *(f' {key}="{_written(value)}"' for key, value in given.items())])
    return f"{start}>{''.join(content)}</{name}>" if content else f"{start}/>"


def label(text: object, x: float, y: float, *, anchor: str | None = None, class_: str = "label") -> str:
    """A word or a few in the picture."""
    return element("text", escaped(text), x=x, y=y, text_anchor=anchor, class_=class_)


def picture(name: str, *body: str, title: str, says: str, width: float, height: float) -> str:
    """A whole picture. `name` is unique on its page; `says` tells in words what the picture shows."""
    return element(
        "svg",
        element("title", escaped(title), id=f"{name}-title"),
        element("desc", escaped(says), id=f"{name}-says"),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_written(width)} {_written(height)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-says",
        class_="picture",
    )


def _written(value: object) -> str:
    """Coordinates to a tenth of a pixel: what is finer nobody sees."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escaped(value)
