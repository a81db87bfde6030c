"""A template as one file of HTML, which runs no script and asks the network for nothing."""

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from kd.report.pictures import numbers
from kd.report.pictures.looks import in_words
from kd.report.pictures.svg import plain


def render(template: str, **values: Any) -> str:
    """The template with these values, in the style of all pages."""
    style = _style()
    # Held to by the browser also when the page is opened from a disk, where no server sends a header.
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; base-uri 'none'; form-action 'none'"
    return _template(template).render(style=Markup(style), policy=policy, **values)


@functools.cache
def _template(name: str) -> Template:
    # Everything is escaped, and what would turn a line around is shown as an escape, whoever wrote it.
    environment = Environment(
        autoescape=True, finalize=_harmless, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"words": in_words, "nats": numbers.nats, "per_cent": numbers.per_cent}
    environment.filters |= {"points": numbers.points, "count": numbers.count, "duration": numbers.duration}
    return environment.from_string(resources.files("kd.report.shown").joinpath(name).read_text("utf-8"))


def _harmless(value: Any) -> Any:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _style() -> str:
    folder = resources.files("kd.report")
    files = (folder / "pictures" / "pictures.css", folder / "shown" / "page.css")
    return "\n" + "".join(file.read_text("utf-8") for file in files)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
