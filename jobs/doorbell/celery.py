"""The Celery application that rings and that is rung: one configuration for notifier and workers.

The database is the queue, Celery is the doorbell: messages may be lost, doubled or wiped without harm.
"""

from celery import Celery

TASK = "stillhouse.run_job"


def make_celery(broker_url: str) -> Celery:
    app = Celery("stillhouse", broker=broker_url, set_as_current=False)
    app.conf.update(
        result_backend=None,
        task_ignore_result=True,
        # Acknowledged on arrival: the lease brings back what a dead worker dropped.
        task_acks_late=False,
        task_serializer="json",
        accept_content=["json"],
        # The training itself runs in a child process, so one thread is enough to watch it.
        worker_pool="threads",
        worker_concurrency=1,
        # Without it a short job would wait behind a long one while another worker is idle.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # Becomes True in Celery 6: a restarted Redis is no reason to stop training.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A broker that answers with errors (a replica after a failover, a full disk) is as good as a lost one: the
        # worker goes on polling, and asks again. Otherwise the first such answer would end it.
        broker_channel_error_retry=True,
        broker_connection_timeout=2,
        broker_pool_acquire_timeout=5,
        task_publish_retry=False,
        broker_transport_options={
            # A ring that was taken may be lost: no list is kept of those to bring back. (The list is looked through
            # as soon as there is a connection, and one to a broker that answers with an error would never be closed.)
            "ack_emulation": False,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "stillhouse:",
        },
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app
