"""For tests that ask for a database: on which of the two kinds they run, where it is not on both each time."""

import pytest

DATABASES = ["sqlite", "postgresql"]

# For claims about trainers rather than rows.
ON_ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# For claims about rows that take many seconds of training each.
SLOW_ON_POSTGRESQL = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
