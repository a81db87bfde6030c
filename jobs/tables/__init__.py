"""The tables. Only rows are described here.

What may happen to them: to jobs in `jobs.queue`, to what they have said in `jobs.log`, to files in `jobs.files`,
to workers in `jobs.workers`, to webhooks and deliveries in `jobs.webhooks`, to sweeps in `jobs.sweeps`.
"""

# All of them, so that whoever knows one knows the whole schema.
from jobs.tables.base import Base as Base
from jobs.tables.base import Measured as Measured
from jobs.tables.file import Checkpoint as Checkpoint
from jobs.tables.file import File as File
from jobs.tables.file import FileKind as FileKind
from jobs.tables.job import Job as Job
from jobs.tables.loan import Loan as Loan
from jobs.tables.log import Event as Event
from jobs.tables.log import Leftover as Leftover
from jobs.tables.log import MetricPoint as MetricPoint
from jobs.tables.sweep import Member as Member
from jobs.tables.sweep import Sweep as Sweep
from jobs.tables.sweep import SweepState as SweepState
from jobs.tables.webhook import Delivery as Delivery
from jobs.tables.webhook import DeliveryState as DeliveryState
from jobs.tables.webhook import OutboxEntry as OutboxEntry
from jobs.tables.webhook import Webhook as Webhook
from jobs.tables.worker import Worker as Worker
