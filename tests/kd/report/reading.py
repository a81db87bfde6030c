"""A page as a strict reader takes it: its structure whole, nothing loaded, nothing run."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta", "img", "br", "link"}
HOSTILE = ("<script>alert(1)</script>", "\u202egpj.exe", "\x1b[31mred\x07", '"onload="x', "a\ufffe&lt;", "{{ 7 * 7 }}")


class Reader(HTMLParser):
    """Holds a page to the structure that a browser will not have to mend."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), "an attribute is given twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert "svg" in self.open, f"<{tag}/> closes itself in SVG only"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def pictures_in(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def assert_it_loads_and_runs_nothing(text: str) -> None:
    read = Reader(text)
    tags = {tag for tag, _ in read.elements}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base", "a"})
    for _, attributes in read.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("style", "href", "srcset", "action", "xlink:href")
            assert name != "src" or value.startswith("data:image/png;base64,")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert set(re.findall(r"https?://[^\s\"<]+", text)) <= {"http://www.w3.org/2000/svg"}
