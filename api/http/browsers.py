"""What browsers are told with every answer: frame it nowhere, guess no type, tell nobody where one came from."""

from starlette.datastructures import MutableHeaders

NOTHING = "default-src 'none'; frame-ancestors 'none'"
# A report, or a picture opened by itself: it loads nothing, and whatever users have written into it can run nothing,
# ask nothing and go nowhere. Its style is within it, and a report says itself which one, by its digest.
SHOWN = ("text/html", "image/svg+xml")
REPORT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
DOCUMENTATION = "/docs"
# The page there writes its script and its styles into itself, and asks this server. No user's words are in it.
OF_DOCUMENTATION = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": NOTHING,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def instruct(headers: MutableHeaders, path: str) -> None:
    """Add them to the headers of the answer for this path."""
    for name, value in HEADERS.items():
        headers[name] = value
    if headers.get("content-type", "").startswith(SHOWN):
        headers["Content-Security-Policy"] = OF_DOCUMENTATION if path.startswith(DOCUMENTATION) else REPORT
