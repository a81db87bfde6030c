"""The way to a Stillhouse server from Python: `Client(url)`. Needs neither torch nor a database."""

from client.client import Client as Client
from client.errors import ClientError as ClientError
