"""Which version of Stillhouse this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("stillhouse")
except PackageNotFoundError:  # run from a folder that was never installed
    VERSION = "0"
