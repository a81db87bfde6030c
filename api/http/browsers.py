"""What browsers are told with every answer: frame it nowhere, guess no type, tell nobody where one came from."""

from starlette.datastructures import MutableHeaders

NOTHING = "default-src 'none'; frame-ancestors 'none'"
# The page at /docs writes its script and its styles into itself, and asks this server. No user's words are in it.
PAGE = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": NOTHING,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def instruct(headers: MutableHeaders) -> None:
    """Add them to the headers of an answer."""
    for name, value in HEADERS.items():
        headers[name] = value
    if headers.get("content-type", "").startswith("text/html"):
        headers["Content-Security-Policy"] = PAGE
