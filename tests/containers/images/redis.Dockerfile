# Debian's Redis behind the interface of the official image that docker/compose.yaml uses: uid 999, /data, redis-server as command.
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -q -y --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /etc/redis && usermod -u 999 redis && groupmod -g 999 redis \
 && install -d -o 999 -g 999 -m 755 /data
VOLUME /data
WORKDIR /data
CMD ["redis-server"]
