"""A worker of several processes: this one watches its children and shows the sum of their metrics."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import redis
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from pydantic import SecretStr

from messagebroker.actors.status_page import StatusPage
from messagebroker.actors.worker_checks import database_answers, observe_queues
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import Heartbeat
from messagebroker.errors import BrokerError
from messagebroker.ops import interpreter, metrics
from messagebroker.ops.redis_client import connect, redis_answers
from messagebroker.ops.supervisor import Child, Supervisor
from messagebroker.roles import BY_NAME
from messagebroker.settings import Settings

_STOP_SECONDS = BY_NAME["worker"].stop_seconds - 5.0

_log = structlog.get_logger("messagebroker.worker")


def serve(settings: Settings, stop: threading.Event) -> None:
    """Keeps WORKER_COUNT children running until `stop` is set."""
    open_database(settings)
    shared = Path(tempfile.mkdtemp(prefix="messagebroker-metrics-"))
    children = [_child(settings, number, shared) for number in range(1, settings.worker_count + 1)]
    supervisor = Supervisor(children, stop)
    with ExitStack() as running:
        running.callback(shutil.rmtree, shared, ignore_errors=True)
        client = connect(settings)
        running.callback(client.close)
        page = StatusPage(
            settings.metrics_host,
            settings.metrics_port,
            alive={"children": lambda: _missing(children)},
            ready={
                "database": database_answers,
                "storing": lambda: _waits(shared, children),
                "redis": lambda: redis_answers(client),
                "started": lambda: _unready(children),
            },
            metrics=(lambda: _metrics_text(shared, children, client)) if settings.metrics_enabled else None,
        )
        page.start()
        running.callback(page.stop)
        running.callback(_close, supervisor)
        supervisor.start()
        supervisor.watch()


def _close(supervisor: Supervisor) -> None:
    killed = supervisor.close_together(_STOP_SECONDS)
    if killed:
        _log.error("did not stop in time; their calls run again", killed=killed)


def _child(settings: Settings, number: int, shared: Path) -> Child:
    return Child(
        name=f"worker-{number}",
        command=interpreter.command("-m", "messagebroker.actors.worker_child", str(number)),
        environment={
            **os.environ,
            **interpreter.variables(),
            **_as_environment(settings),
            "WORKER_COUNT": "1",
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": "0",
            "PROMETHEUS_MULTIPROC_DIR": str(shared),
        },
        output=settings.path(settings.log_file_path or Path("logs")) / f"worker-{number}.out",
        stop_seconds=_STOP_SECONDS,
        is_ready=_is_ready,
    )


def _as_environment(settings: Settings) -> Mapping[str, str]:
    """What differs from the defaults, wherever this process had it from."""
    values = {}
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        if value != info.default:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            values[field.upper()] = "" if plain is None else str(plain)
    values["DATA_DIR"] = str(settings.data_dir.absolute())
    return values


def _is_ready(pid: int) -> str | None:
    try:
        with connected():
            beats = Heartbeat.select().where((Heartbeat.role == "worker") & (Heartbeat.pid == pid)).exists()
    except BrokerError as error:
        return str(error)
    return None if beats else "no heartbeat yet"


def _missing(children: list[Child]) -> str | None:
    missing = [child.name for child in children if child.started_at and not child.runs]
    return f"not running: {', '.join(missing)}" if missing else None


def _unready(children: list[Child]) -> str | None:
    unready = [child.name for child in children if not child.ready]
    return f"not ready: {', '.join(unready)}" if unready else None


def _waits(shared: Path, children: list[Child]) -> str | None:
    waiting = _registry(shared, children).get_sample_value("messagebroker_database_down")
    return "the database takes no rows; the children's logs say why" if waiting else None


def _metrics_text(shared: Path, children: list[Child], client: redis.Redis) -> bytes:
    """The children's sums, and the queues, which are the same for all."""
    observe_queues(client)
    own = CollectorRegistry()
    own.register(metrics.QUEUE_MESSAGES)
    own.register(metrics.QUEUE_OLDEST)
    return generate_latest(_registry(shared, children)) + generate_latest(own)


def _registry(shared: Path, children: list[Child]) -> CollectorRegistry:
    """The children's metrics."""
    for file in shared.glob("gauge_live*.db"):  # what a dead child last said is no longer so
        pid = int(file.stem.rpartition("_")[2])
        if not any(child.process is not None and child.process.pid == pid and child.runs for child in children):
            mark_process_dead(pid, path=str(shared))  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(shared))  # type: ignore[no-untyped-call]
    return registry
