"""How many files, and sockets, this process may have open."""

import resource

# More than any process of ours needs; where there is no limit, tables of file descriptors would grow for nothing.
ENOUGH = 65_536


def raise_limit() -> int:
    """Take as many as the system grants, up to `ENOUGH`; answers with how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
