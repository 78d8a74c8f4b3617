# A machine with systemd, MariaDB and Redis around our image's own environment: for tests of the systemd units.
ARG APP_IMAGE=messagebroker:latest
FROM ${APP_IMAGE}
USER 0:0
ENV PATH=/opt/messagebroker/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get update -q \
 && apt-get install -q -y --no-install-recommends dbus mariadb-server python3-venv redis-server systemd systemd-sysv \
 && rm -rf /var/lib/apt/lists/* /var/lib/messagebroker \
 && userdel messagebroker \
 && systemctl mask systemd-udevd.service systemd-logind.service apt-daily.timer apt-daily-upgrade.timer
ENV container=docker
WORKDIR /root
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/lib/systemd/systemd"]
CMD ["--log-target=console", "--show-status=0"]
