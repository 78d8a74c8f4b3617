# `just` lists what there is. The recipes use .venv; `python3 bootstrap.py install-dev` makes it.

bin := if os_family() == "windows" { justfile_directory() / ".venv/Scripts" } else { justfile_directory() / ".venv/bin" }
python := bin / "python"

[private]
default:
    @"{{bin}}/just" --list --unsorted

# start the whole system on its embedded defaults
[group('run')]
up *arguments:
    "{{bin}}/messagebroker" up {{arguments}}

# the services of this machine (systemd units, containers, Windows services): `just services status`
[group('services')]
services *arguments:
    "{{bin}}/messagebroker" services {{arguments}}

# change the services to this version (systemd) or image (Compose), role after role; goes back by itself when it fails
[group('services')]
upgrade *arguments:
    "{{bin}}/messagebroker" services upgrade {{arguments}}

# go back to the release before
[group('services')]
rollback *arguments:
    "{{bin}}/messagebroker" services rollback {{arguments}}

# what CI runs first: format, lint, types, layers, dead code
[group('test')]
check:
    "{{bin}}/ruff" format --check .
    "{{bin}}/ruff" check .
    "{{bin}}/mypy"
    "{{bin}}/lint-imports"
    "{{bin}}/vulture"
    "{{bin}}/bandit" --quiet --configfile pyproject.toml --recursive messagebroker docker bench
    "{{python}}" tests/audit_dependencies.py

# everything: the checks, then every tier within its budget
[group('test')]
test: check test-tiers

# the tests that need no mark, for every change
[group('test')]
test-quick:
    "{{python}}" tests/run_tiers.py quick

# some tiers of tests/budgets.toml by name (all without a name)
[group('test')]
test-tiers *tiers:
    "{{python}}" tests/run_tiers.py {{tiers}}

# hundreds of crash rounds; put the result into docs/performance.md
[group('test')]
soak rounds="300":
    CRASH_ROUNDS={{rounds}} "{{python}}" -m pytest --tier=crash -s

# real roles against MariaDB and Redis: the table of docs/performance.md
[group('measure')]
bench *arguments:
    "{{python}}" -m bench {{arguments}}

# lists and searches of messages at five million rows on MariaDB, with the plans: `just bench-api --rows 200000`
[group('measure')]
bench-api *arguments:
    "{{python}}" -m bench.api {{arguments}}

# what a request pays for who asks and for the audit log: permissions, tokens, logins, audit rows on MariaDB
[group('measure')]
bench-people *arguments:
    "{{python}}" -m bench.people {{arguments}}

# format and mend what can be mended
[group('maintain')]
format:
    "{{bin}}/ruff" format .
    "{{bin}}/ruff" check --fix .

# the lock files, from pyproject.toml
[group('maintain')]
lock:
    "{{bin}}/uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock
    "{{bin}}/uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links pyproject.toml --group dev -o requirements-dev.lock
    "{{bin}}/uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --group build -o requirements-build.lock
    "{{bin}}/uv" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --group image -o requirements-image.lock

# the container image of all roles, as messagebroker:latest
[group('docker')]
image *arguments:
    docker buildx build --load --file docker/Dockerfile --build-arg REVISION="$(git rev-parse --short HEAD)" --tag messagebroker:latest {{arguments}} .

# the whole system in containers: MySQL, Redis and every role; docker/.env.example explains what can be set
[group('docker')]
[working-directory: 'docker']
compose-up *arguments:
    docker compose up --detach --wait {{arguments}}

# a real broker to test against: up, url, down
[group('docker')]
testenv command *arguments:
    "{{python}}" docker/testenv.py {{command}} {{arguments}}

# from a submit to a webhook, destinations that hang, waiting pulls, due retries: `just bench-delivery --only latency,rate`
[group('measure')]
bench-delivery *arguments:
    "{{python}}" -m bench.delivery {{arguments}}
