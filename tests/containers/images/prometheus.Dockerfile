# Debian's Prometheus behind the interface of the official image that docker/compose.monitoring.yaml uses. Its promtool is too old
# to ask a server whether it is ready.
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -q -y --no-install-recommends curl prometheus \
 && rm -rf /var/lib/apt/lists/* /etc/prometheus && install -d -o 65534 -g 65534 /prometheus
COPY --chmod=755 promtool.sh /usr/local/bin/promtool
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
