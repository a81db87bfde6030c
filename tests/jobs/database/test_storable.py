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

    text = json.dumps(back, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text


@given(st.text())
def test_text_that_can_be_stored_is_left_alone(text):
    assert (storable.clean(text) == text) == storable.is_storable(text) == ("\x00" not in text)
