"""Every route is documented, and none that there is not."""

import re

from tests.docs.test_spec import openapi
from tests.support.pages import API, first_column, in_backticks


def test_every_route_is_documented_and_none_that_there_is_not():
    routes = {
        f"{method.upper()} {re.sub('{.*?}', '{}', path)}"
        for path, operations in openapi()["paths"].items()
        for method in operations
    }

    documented = set()
    for cell in first_column(API):
        for name in in_backticks(cell):
            if route := re.fullmatch(r"([A-Z, ]+) (/\S+)", name):
                path = re.sub("{.*?}", "{}", route[2])
                documented |= {f"{method} {path}" for method in route[1].split(", ") if method != "HEAD"}

    assert documented == routes
