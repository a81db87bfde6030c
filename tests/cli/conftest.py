"""The server of `served.py`, as fixtures."""

from served import client as client
from served import own_server as own_server
from served import server as server
from served import server_with_worker as server_with_worker
from served import worker as worker
