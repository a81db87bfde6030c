"""What clients are shown of the rows, one file for each kind of thing.

No field has a default: a view says all of it, or does not exist.
"""

from api.views.artifacts import Artifact, Checkpoint, artifact, checkpoint, student
from api.views.curves import Metrics, metrics
from api.views.events import Event, event
from api.views.jobs import Bulk, Job, bulk, job, job_url
from api.views.label_tables import LabelTable, label_table
from api.views.pages import Page, page
from api.views.system import Health, Model, model
from api.views.webhooks import (
    Delivery,
    NewWebhook,
    Webhook,
    delivery,
    new_webhook,
    webhook,
    webhook_message,
    webhook_url,
)
from api.views.workers import Worker, worker

__all__ = [
    "Artifact",
    "Bulk",
    "Checkpoint",
    "Delivery",
    "Event",
    "Health",
    "Job",
    "LabelTable",
    "Metrics",
    "Model",
    "NewWebhook",
    "Page",
    "Webhook",
    "Worker",
    "artifact",
    "bulk",
    "checkpoint",
    "delivery",
    "event",
    "job",
    "job_url",
    "label_table",
    "metrics",
    "model",
    "new_webhook",
    "page",
    "student",
    "webhook",
    "webhook_message",
    "webhook_url",
    "worker",
]
