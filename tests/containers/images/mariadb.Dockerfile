# Debian's MariaDB behind the interface of the official image that docker/compose.yaml uses.
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -q -y --no-install-recommends mariadb-server \
 && rm -rf /var/lib/apt/lists/* /var/lib/mysql && usermod -u 999 mysql && groupmod -g 999 mysql \
 && install -d -o 999 -g 999 -m 750 /var/lib/mysql && install -d -o 999 -g 999 /var/run/mysqld \
 && rm -rf /etc/mysql/mariadb.conf.d && mkdir -p /etc/mysql/mariadb.conf.d
COPY --chmod=755 database.sh /usr/local/bin/docker-entrypoint.sh
ENV FLAVOUR=MARIADB
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mariadbd"]
