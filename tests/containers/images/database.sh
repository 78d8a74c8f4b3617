#!/bin/bash
# What the official images' entry point does as far as docker/compose.yaml uses it: the first start makes the data folder, with
# ${FLAVOUR}_DATABASE, _USER, _PASSWORD_FILE and _ROOT_PASSWORD_FILE, on a server without a port; then the server itself.
set -euo pipefail
setting() { local name=${FLAVOUR}_$1; printf %s "${!name:-}"; }
secret() { cat "$(setting "$1_FILE")"; }
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then echo "this stand-in starts as the mysql user only" >&2; exit 1; fi
if [ ! -d "$data/mysql" ]; then
  [ -r "$(setting ROOT_PASSWORD_FILE)" ] || { echo "${FLAVOUR}_ROOT_PASSWORD_FILE cannot be read" >&2; exit 1; }
  if [ "$FLAVOUR" = MYSQL ]; then mysqld --initialize-insecure; else mariadb-install-db --auth-root-authentication-method=normal --skip-test-db >/dev/null; fi
  "$@" --skip-networking --socket=/var/run/mysqld/first.sock & server=$!
  client=(${FLAVOUR,,} --protocol=socket --socket=/var/run/mysqld/first.sock -uroot)
  for _ in $(seq 600); do "${client[@]}" -e 'SELECT 1' >/dev/null 2>&1 && break; kill -0 $server; sleep .1; done
  "${client[@]}" <<SQL
CREATE DATABASE \`$(setting DATABASE)\`;
CREATE USER '$(setting USER)'@'%' IDENTIFIED BY '$(secret PASSWORD)';
GRANT ALL ON \`$(setting DATABASE | sed 's/_/\\_/g')\`.* TO '$(setting USER)'@'%';
ALTER USER 'root'@'localhost' IDENTIFIED BY '$(secret ROOT_PASSWORD)';
SQL
  kill -TERM $server; wait $server
fi
exec "$@"
