"""What a name must not hold is what steers or hides text, by Unicode's own table; shown, it steers nothing."""

import json
import re
import sys
import unicodedata

import pytest

from kd.printable import PATTERN, printed, printed_json, unprintable

ALL = [chr(code) for code in range(sys.maxunicode + 1)]
# Format characters that a script needs: joiners, signs around numbers, Mongolian, hieroglyphs.
NEEDED = {
    *map(chr, (0x200C, 0x200D, 0x180E, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)),
    *map(chr, range(0x600, 0x606)),
    *map(chr, range(0x13430, 0x13440)),
}


def test_refused_is_what_controls_or_formats_or_ends_a_line_and_half_of_a_pair() -> None:
    refused = {character for character in ALL if unprintable(character)}

    by_the_table = {character for character in ALL if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert by_the_table - NEEDED <= refused
    # Reserved for more of the same: an older table does not know them yet.
    assert {unicodedata.category(character) for character in refused - by_the_table} <= {"Cn"}
    assert refused & NEEDED == set()


@pytest.mark.parametrize("name", ["первый", "می‌خواهم", "👩‍🔬 run", "क्‍ष", "café", "\ue000", "شغل ١"])
def test_what_people_write_is_no_such_thing(name: str) -> None:
    assert unprintable(name) is None
    assert printed(name) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("exe.\u202egpj", "exe.\\u202egpj"),
        ("a\U000e0041b", "a\\U000e0041b"),
        ("half \ud83d", "half \\ud83d"),
        ("two\nlines\tand\r", "two\nlines\tand\\r"),
    ],
)
def test_shown_it_is_an_escape(text: str, shown: str) -> None:
    assert printed(text) == shown
    shown.encode()


def test_json_with_escapes_is_the_same_json() -> None:
    content = {"\x9b\U000e0041": ALL}
    text = json.dumps(content, ensure_ascii=False, indent=1)

    shown = printed_json(text)

    assert json.loads(shown) == content
    assert all(unprintable(line) is None for line in shown.split("\n"))


def test_the_pattern_of_the_schema_says_the_same_up_to_u_ffff() -> None:
    said = {character for character in ALL[:0x10000] if not re.fullmatch(PATTERN, character)}

    assert said == {character for character in ALL[:0x10000] if unprintable(character)} - set(ALL[0xD800:0xE000])
