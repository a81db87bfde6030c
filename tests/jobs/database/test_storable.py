"""Whatever a program says becomes something that both databases and every client can hold."""

import json

from hypothesis import given
from hypothesis import strategies as st

from jobs.database import storable

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=10,
)


@given(ANY_JSON)
def test_json_for_a_column_is_strict_and_can_be_sent_on(value):
    def no_constants(word: str) -> None:
        raise AssertionError(word)

    back = json.loads(storable.to_json(value), parse_constant=no_constants)

    json.dumps(back, ensure_ascii=False).encode()
    assert not [text for text in strings_in(back) if "\x00" in text]


@given(st.text(st.sampled_from("\\u0dD8a")))
def test_what_only_looks_like_an_escape_is_left_alone(text):
    assert json.loads(storable.to_json({text: [text]})) == {text: [text]}


def strings_in(value):
    if isinstance(value, dict):
        yield from (*value, *strings_in(list(value.values())))
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


@given(st.text())
def test_text_that_can_be_stored_is_left_alone(text):
    assert (storable.clean(text) == text) == storable.is_storable(text) == ("\x00" not in text)
