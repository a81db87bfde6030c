"""Text that a terminal, a log and a reader can take as it stands; and all other text, so that they can.

What is refused in a name, and shown as an escape where others' text is shown:

- control characters (Unicode's Cc) and the ends of lines and paragraphs (Zl, Zp): a terminal obeys them, and one line
  becomes two, the second of the writer's choice;
- format characters (Cf): they change the order in which text is shown (CVE-2021-42574, "Trojan Source": what is read is
  not what is there) or are invisible, tags among them, which carry a second text inside the first;
- halves of surrogate pairs (Cs), which are no text and which UTF-8 cannot hold.

Not refused are the format characters without which a script cannot be written: the joiners (ZWNJ, ZWJ: Persian, the
scripts of India, emoji), Mongolian's vowel separator, the signs of Arabic, Syriac and Kaithi that are drawn around
numbers, the joining signs of hieroglyphs. Nor private use (Co) and what is not assigned yet (Cn): at worst they are
drawn as a box, and what is assigned depends on the version of Unicode, so that two servers would not agree on a name.
"""

import re

# In the dialect that Python and JSON Schema share, which ends at U+FFFF.
_STEERING = r"\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_STEERING_BEYOND = "\\ud800-\\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"

PATTERN = rf"^[^{_STEERING}]*$"
_UNPRINTABLE = re.compile(f"[{_STEERING}{_STEERING_BEYOND}]")
# The ends of lines make no harm where text may have lines.
_UNPRINTABLE_IN_LINES = re.compile(rf"(?![\n\t])[{_STEERING}{_STEERING_BEYOND}]")


def unprintable(text: str) -> str | None:
    """The first character of the text that a name must not hold, as `U+202E`; None if there is none."""
    found = _UNPRINTABLE.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def printed(text: str) -> str:
    r"""The text with an escape (`\x1b`, `\u202e`) for each such character. Line ends and tabs stay."""
    if text.isascii() and text.isprintable():  # nearly all of it
        return text
    return _UNPRINTABLE_IN_LINES.sub(_escape, text)


def printed_json(text: str) -> str:
    """The same for JSON, which is the same JSON afterwards."""
    return _UNPRINTABLE_IN_LINES.sub(_json_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
