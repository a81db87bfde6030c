"""The server of `tests.support.served`, as fixtures."""

from tests.support.served import client as client
from tests.support.served import own_server as own_server
from tests.support.served import server as server
from tests.support.served import server_with_worker as server_with_worker
from tests.support.served import worker as worker
