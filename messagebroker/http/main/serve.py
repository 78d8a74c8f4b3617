"""`messagebroker run main`."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from messagebroker import __version__
from messagebroker.actors.broker import broker
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.http.certificate_keeper import CertificateKeeper, from_own_ca
from messagebroker.http.main import app, duties
from messagebroker.http.main.pull_watch import PullWatch
from messagebroker.http.main.waiting import Waiting
from messagebroker.http.server import Server
from messagebroker.ops import subscription_failures
from messagebroker.ops.audit_chain import Chainer
from messagebroker.ops.heartbeats import Heart
from messagebroker.ops.metrics import BUILD
from messagebroker.ops.policy_watcher import PolicyWatcher
from messagebroker.ops.redis_client import connect
from messagebroker.settings import Settings


def serve(settings: Settings, stop: threading.Event) -> None:
    """Serves until `stop` is set. Parts end in the reverse order of their start, also when one fails to start.

    Raises:
        ConfigurationError: schema, keys, certificates or secrets are not as they must be.
    """
    open_database(settings)
    subscription_failures.setup(settings)
    schema.require_current()
    BUILD.info({"version": __version__, "role": "main"})
    redis = connect(settings)
    with ExitStack() as running:
        running.callback(redis.close)
        keeper = duties.PolicyKeeper(settings, redis)
        keeper.start()
        running.callback(keeper.stop)
        watcher = PolicyWatcher(settings, redis, name="main")
        watcher.start()
        running.callback(watcher.stop)
        chainer = Chainer(settings)
        chainer.start()
        running.callback(chainer.stop)
        waiting = Waiting(settings.pull_waiters)
        application = app.make(settings, watcher=watcher, redis=redis, waiting=waiting)
        server = Server(
            application,
            host=settings.main_server_host,
            port=settings.main_server_port,
            role="main",
            settings=settings,
            threads=settings.main_threads,
        )
        waiting.leave_room(server.limits.max_connections)
        pull_watch = PullWatch(waiting, settings.main_threads, stop)
        pull_watch.start()
        running.callback(pull_watch.stop)
        jobs = duties.Jobs(settings, stop)
        running.callback(broker.close)
        jobs.start()
        running.callback(jobs.close)
        certificate = CertificateKeeper("main", from_own_ca(settings))
        certificate.start()
        running.callback(certificate.stop)
        watch = duties.CertificateWatch(settings)
        watch.start()
        running.callback(watch.stop)
        subscriptions = duties.SubscriptionWatch(settings)
        subscriptions.start()
        running.callback(subscriptions.stop)
        heart = Heart("main")
        heart.start()
        running.callback(heart.stop)
        server.run(stop)
