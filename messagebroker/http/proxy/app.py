"""The proxy's Falcon application, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from messagebroker.actors import ingest
from messagebroker.http.access import Access
from messagebroker.http.application import App, make_app
from messagebroker.http.health import PATHS
from messagebroker.http.proxy import draw
from messagebroker.http.proxy.admission import Admission
from messagebroker.http.proxy.books import OwnHours, OwnMessages
from messagebroker.http.proxy.committer import AddCalls, Committer
from messagebroker.http.proxy.idempotency import Idempotency
from messagebroker.http.proxy.intake import Intake
from messagebroker.http.proxy.lookup import Lookup
from messagebroker.http.proxy.patience import Patience
from messagebroker.http.proxy.reads import Reads
from messagebroker.http.proxy.reception import Reception
from messagebroker.http.proxy.renewal import Renewal
from messagebroker.http.proxy.stored import StoredMessage
from messagebroker.http.proxy.submit import SubmitBatch
from messagebroker.http.proxy.values import Limits
from messagebroker.http.proxy.whoami import Who
from messagebroker.ops.limits import Shared
from messagebroker.ops.policy_watcher import PolicyWatcher
from messagebroker.ops.redis_client import connect
from messagebroker.ops.sealing import MasterKey, Sealer, sender_key
from messagebroker.settings import Settings


@dataclass(frozen=True)
class Parts:
    """What outlives a request; `serve` starts and stops it."""

    watcher: PolicyWatcher
    admission: Admission
    committer: Committer
    lookup: Lookup
    patience: Patience


def make(
    settings: Settings,
    *,
    watcher: PolicyWatcher | None = None,
    client: redis.Redis | None = None,
    add_calls: AddCalls = ingest.add_calls,
    prepare: Callable[[redis.Redis], Any] = ingest.prepare,
) -> tuple[App, Parts]:
    """The application, and the parts to start before it and to stop after it.

    Args:
        settings: as loaded.
        watcher: the policy; None follows Redis.
        client: of Redis; None connects as the settings say.
        add_calls: adds the enqueueing commands of records to a pipeline.
        prepare: loads what those need into Redis.
    """
    client = client or connect(settings)
    watcher = watcher or PolicyWatcher(settings, name="proxy")
    secret = sender_key(settings)
    idempotency = Idempotency(secret, settings.idempotency_seconds)
    committer = Committer(client, add_calls, prepare, idempotency)
    admission = Admission(client, settings.refuse_above_memory)
    lookup = Lookup(settings)
    patience = Patience(settings.proxy_threads)
    reads = Reads(patience, Shared(client), settings.api_rate_per_client)
    draw.prepare(settings.max_batch_items)
    reception = Reception(
        watcher=watcher,
        admission=admission,
        intake=Intake(Sealer(_master_key(watcher), settings.data_key_seconds), secret, Limits(settings)),
        idempotency=idempotency,
        committer=committer,
        client=client,
        is_closed=settings.maintenance_mode,
    )
    app = make_app(
        "proxy",
        settings=settings,
        middleware=[Access(watcher=watcher, open_paths=PATHS)],
        resources=[
            OwnMessages(reception, lookup, patience, reads, max_items=settings.max_batch_items),
            SubmitBatch(reception, max_items=settings.max_batch_items),
            StoredMessage(lookup, reads),
            Renewal(lookup, reads),
            OwnHours(lookup, reads),
            Who(settings, watcher),
        ],
        checks=[("policy", lambda: _policy_problem(watcher)), ("redis", admission.ready_problem)],
        warnings=admission.warnings,
    )
    return app, Parts(watcher, admission, committer, lookup, patience)


def _master_key(watcher: PolicyWatcher) -> Callable[[], MasterKey]:
    def master_key() -> MasterKey:
        policy = watcher.current
        assert policy is not None  # `Reception.client_of` refuses before
        return policy.master_key_id, policy.master_public_key

    return master_key


def _policy_problem(watcher: PolicyWatcher) -> str | None:
    if watcher.current is None:
        return "no policy has arrived yet"
    return None if watcher.is_fresh() else "the policy could not be checked on Redis for 5 seconds"
