"""Where async is allowed: every place is documented, and keeps to the rule."""

import ast

from tests.support.pages import ROOMS, ROOT, first_column, in_backticks

COROUTINES = {
    path.relative_to(ROOT).as_posix(): found
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if (found := [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.AsyncFunctionDef)])
}


def test_every_place_with_async_code_is_documented_and_no_other():
    page = (ROOT / "docs" / "async.md").read_text()

    assert {name for cell in first_column(page) for name in in_backticks(cell)} == set(COROUTINES)


def test_no_coroutine_opens_a_session_or_a_file():
    blocking = {"begin", "read", "open"}

    opened = [
        (module, coroutine.name)
        for module, coroutines in COROUTINES.items()
        for coroutine in coroutines
        for node in ast.walk(coroutine)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        and getattr(item.context_expr.func, "attr", getattr(item.context_expr.func, "id", "")) in blocking
    ]

    assert opened == []
