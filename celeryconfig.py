"""Celery's settings: data only, from Tenure's settings. `celery -A tasks ...` finds them by this name."""

from __future__ import annotations

from typing import Any

from tasks.door import settings
from tenure.iterations.queues import KEY_PREFIX

broker_url = settings.require_broker_url()
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # the default gives up after 100 tries and leaves
broker_transport_options: dict[str, Any] = {
    "global_keyprefix": KEY_PREFIX,
    "visibility_timeout": 3600,
    "socket_timeout": 15,  # must exceed the 1 s of BRPOP; a frozen broker is found by it
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

# The broker is a doorbell: durable work is rows. A message is acknowledged when it is received; what it
# would have started is published again from its slot.
task_acks_late = False
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
task_ignore_result = True
task_default_queue = "default"
task_create_missing_queues = True
task_serializer = "json"
accept_content = ["json"]
timezone = "UTC"

worker_pool = "prefork"  # the only pool with time limits
worker_max_tasks_per_child = 500
worker_max_memory_per_child = 400_000  # kB
worker_send_task_events = True
task_send_sent_event = True
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_cancel_long_running_tasks_on_connection_loss = False

beat_scheduler = "tasks.beat:PgScheduler"
beat_max_loop_interval = 5
