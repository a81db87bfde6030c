"""Bodies are read once, however large they are."""

import pytest

from api.http import body
from api.http.problems import NotJson


def test_a_body_of_a_million_keys_is_read_in_one_pass() -> None:
    keys = ",".join(f'"{number}":0' for number in range(1_000_000))

    # One that counts each key among all others would compute for hours.
    with pytest.raises(NotJson, match='"999999" occurs twice'):
        body.parse(f'{{{keys},"999999":0}}'.encode())
