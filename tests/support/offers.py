"""What a worker of the tests offers, where it does not matter: enough for any job."""

from jobs.workers.needs import Offer

ENOUGH = Offer(gpus=8, memory_bytes=10**15)
