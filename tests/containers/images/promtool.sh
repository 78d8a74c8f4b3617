#!/bin/sh
# `promtool check ready --http.config.file=FILE --url=URL`, which newer ones have; all else is the real one's.
[ "$1 $2" = "check ready" ] || exec /usr/bin/promtool "$@"
FILE=${3#*=} URL=${4#*=}; field() { sed -n "s|^ *$1: *||p" "$FILE"; }
exec curl -fsS -o /dev/null --cacert "$(field ca_file)" --cert "$(field cert_file)" --key "$(field key_file)" "$URL/-/ready"
