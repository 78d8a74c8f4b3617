"""Every metric of every role, named after Prometheus' conventions (base units, `_total`)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

REGISTRY = CollectorRegistry()
_P = "messagebroker"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ATTEMPT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
"""Up to the longest time-out of a destination."""

_WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

BUILD = Info(f"{_P}_build", "Version and role of this process.", registry=REGISTRY)
HTTP_REQUESTS = Counter(f"{_P}_http_requests_total", "Answered requests.", ["method", "route", "status"], registry=REGISTRY)
HTTP_SECONDS = Histogram(f"{_P}_http_request_seconds", "Time to answer.", ["route"], buckets=_FAST, registry=REGISTRY)
CONNECTIONS = Gauge(f"{_P}_connections", "Open connections.", registry=REGISTRY)
TLS_REFUSED = Counter(
    f"{_P}_tls_refused_total", "Connections that ended in or before the handshake.", ["reason"], registry=REGISTRY
)
AUTH_REFUSED = Counter(
    f"{_P}_auth_refused_total", "Requests refused for who sent them, by problem type.", ["reason"], registry=REGISTRY
)

ACCEPTED = Counter(f"{_P}_messages_accepted_total", "Messages answered with 202.", ["format", "priority"], registry=REGISTRY)
REFUSED = Counter(f"{_P}_messages_refused_total", "Messages refused, by problem type.", ["reason"], registry=REGISTRY)
COMMIT_SIZE = Histogram(f"{_P}_commit_messages", "Messages in one write to Redis.", buckets=_SIZES, registry=REGISTRY)
COMMIT_SECONDS = Histogram(f"{_P}_commit_seconds", "Time of one write to Redis.", buckets=_FAST, registry=REGISTRY)
POLICY_NUMBER = Gauge(f"{_P}_policy_number", "Number of the policy snapshot in force.", registry=REGISTRY)
POLICY_REFUSED = Counter(f"{_P}_policy_refused_total", "Policy snapshots not taken over.", registry=REGISTRY)
POLICY_AGE = Gauge(f"{_P}_policy_unchecked_seconds", "Since the policy's number was last compared.", registry=REGISTRY)

STORED = Counter(f"{_P}_messages_stored_total", "Rows committed.", ["priority"], registry=REGISTRY)
DUPLICATES = Counter(f"{_P}_messages_duplicate_total", "Records not stored again.", ["kind"], registry=REGISTRY)
INGEST_SECONDS = Histogram(f"{_P}_ingest_seconds", "Time of one ingest transaction.", buckets=_FAST, registry=REGISTRY)
INGEST_SIZE = Histogram(f"{_P}_ingest_messages", "Messages in one ingest transaction.", buckets=_SIZES, registry=REGISTRY)
INGEST_FAILURES = Counter(f"{_P}_ingest_failures_total", "Records set aside.", ["reason"], registry=REGISTRY)
STATUS_CHANGES = Counter(f"{_P}_messages_status_total", "Messages that reached a status.", ["status"], registry=REGISTRY)
DELIVERY_ATTEMPTS = Counter(
    f"{_P}_delivery_attempts_total", "Attempts to deliver that ended.", ["channel", "outcome"], registry=REGISTRY
)
DELIVERY_SECONDS = Histogram(f"{_P}_delivery_seconds", "Time of one attempt.", ["channel"], buckets=_ATTEMPT, registry=REGISTRY)
DELIVERED_AFTER = Histogram(
    f"{_P}_delivered_after_seconds",
    "Time from the acceptance of a message until it was delivered.",
    ["channel"],
    buckets=_WAITS,
    registry=REGISTRY,
)
DELIVERIES_IN_FLIGHT = Gauge(
    f"{_P}_deliveries_in_flight", "Attempts under way.", registry=REGISTRY, multiprocess_mode="livesum"
)
DELIVERIES_RESCUED = Counter(f"{_P}_deliveries_rescued_total", "Deliveries taken back from dead workers.", registry=REGISTRY)
RECLAIMED = Counter(f"{_P}_calls_reclaimed_total", "Calls taken back from dead workers.", ["queue"], registry=REGISTRY)
DATABASE_DOWN = Gauge(
    f"{_P}_database_down", "1 while the database takes no rows.", registry=REGISTRY, multiprocess_mode="livemax"
)

BREAKERS_OPEN = Gauge(
    f"{_P}_breakers_open", "Destinations whose breaker is open or half-open.", registry=REGISTRY, multiprocess_mode="livemax"
)
BREAKER_CHANGES = Counter(f"{_P}_breaker_changes_total", "Breakers that came to a state.", ["state"], registry=REGISTRY)
SUBSCRIPTION_WARNINGS = Counter(
    f"{_P}_subscription_warnings_total", "Warnings of subscriptions that fail, by percent.", ["stage"], registry=REGISTRY
)
SUBSCRIPTIONS_DISABLED = Counter(
    f"{_P}_subscriptions_disabled_total", "Subscriptions that were disabled for what their destination does.", ["why"],
    registry=REGISTRY,
)  # fmt: skip

QUEUE_MESSAGES = Gauge(f"{_P}_queue_messages", "Messages waiting or running.", ["queue"], registry=REGISTRY)
QUEUE_OLDEST = Gauge(
    f"{_P}_queue_oldest_seconds", "Age of the oldest message that waits in Redis to be stored.", ["queue"], registry=REGISTRY
)
QUEUE_STATE = Gauge(
    f"{_P}_queue_state_messages",
    "Messages and deliveries of a queue that are waiting, running, delayed, failed or stuck; main counts.",
    ["queue", "state"],
    registry=REGISTRY,
)
CHANNEL_STATE = Gauge(
    f"{_P}_channel_deliveries",
    "Deliveries of a channel that are waiting, running, delayed, failed or stuck; main counts.",
    ["channel", "state"],
    registry=REGISTRY,
)
QUEUE_STATE_OLDEST = Gauge(
    f"{_P}_queue_state_oldest_seconds",
    "Since the message or delivery of a queue that waits longest could have begun; main counts.",
    ["queue"],
    registry=REGISTRY,
)
QUEUE_READY = Gauge(
    f"{_P}_queue_ready_seconds",
    "Since workers could have begun a delivery: not one that a client pulls, behind a breaker or paused; main counts.",
    ["queue"],
    registry=REGISTRY,
)
QUEUE_RATE = Gauge(
    f"{_P}_queue_messages_per_second",
    "Messages accepted (in), stored and delivered, over the last minute; main counts.",
    ["queue", "direction"],
    registry=REGISTRY,
)
QUEUE_PAUSED = Gauge(f"{_P}_queue_paused", "1 while an operator has the queue rest; main says.", ["queue"], registry=REGISTRY)
REDIS_OPERATIONS = Gauge(f"{_P}_redis_operations_per_second", "As Redis itself counts; main asks.", registry=REGISTRY)

LOGINS = Counter(f"{_P}_logins_total", "Logins of people.", ["outcome"], registry=REGISTRY)
JOBS = Counter(f"{_P}_periodic_jobs_total", "Periodic jobs that ended.", ["job", "outcome"], registry=REGISTRY)
PROCESSES = Gauge(f"{_P}_role_processes", "Processes with a fresh heartbeat; main counts.", ["role"], registry=REGISTRY)
LEADERS = Gauge(f"{_P}_role_leaders", "Those of them that lead; main counts.", ["role"], registry=REGISTRY)
BACKUP_SUCCESS = Gauge(f"{_P}_backup_last_success_timestamp_seconds", "End of the last good backup.", registry=REGISTRY)
CLEANED = Counter(f"{_P}_messages_cleaned_total", "Messages removed after their retention.", registry=REGISTRY)
CERTIFICATE_ENDS = Gauge(
    f"{_P}_certificate_expiry_timestamp_seconds", "End of a certificate in use.", ["name"], registry=REGISTRY
)
FAILED_LOGINS = Counter(f"{_P}_failed_logins_total", "Logins that were refused.", ["reason"], registry=REGISTRY)
PASSWORD_CHANGES = Counter(f"{_P}_password_changes_total", "New passwords of people.", ["how"], registry=REGISTRY)
SESSIONS_ACTIVE = Gauge(f"{_P}_sessions_active", "People's sessions that have not ended; main counts.", registry=REGISTRY)
AUDIT_SEALED = Counter(f"{_P}_audit_sealed_total", "Rows of the audit log that this main sealed.", registry=REGISTRY)
AUDIT_CHAIN_BROKEN = Gauge(
    f"{_P}_audit_chain_broken", "1 when main found that somebody changed the audit chain in the database.", registry=REGISTRY
)

CERTIFICATE_EXPIRES = Gauge(
    f"{_P}_certificate_expires_seconds",
    "Until the newest certificate of a client, a component or the CA ends; those that end within 30 days.",
    ["kind", "name"],
    registry=REGISTRY,
)
