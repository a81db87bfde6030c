"""No page of another site may change anything here with the help of somebody's browser.

A browser sends a POST without a JSON body to any address, also to that of a server on its own machine, without asking
that server first. It says where the request comes from, and we believe it: in `Sec-Fetch-Site`, or, if it is an old
one, in `Origin`. Other clients say neither.
"""

from urllib.parse import urlsplit

from fastapi import Request

from api.http.problems import CrossSite

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
OURS = {"same-origin", "none"}  # none: typed by a person


async def refuse_other_sites(request: Request) -> None:
    """Raise `CrossSite` for a request that would change something and comes from a page of another origin."""
    if request.method in SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_of_this_host = origin is None or _host_of(origin) == request.headers.get("host")
    if not (is_of_this_host if site is None else site in OURS):
        raise CrossSite(origin)


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # no browser says such a thing
        return None
