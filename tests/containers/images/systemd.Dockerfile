# A machine with systemd, MariaDB and Redis, and our image's own environment as its first release: for tests of the systemd units.
ARG APP_IMAGE=messagebroker:latest
FROM ${APP_IMAGE}
USER 0:0
ENV PATH=/opt/messagebroker/current/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get update -q \
 && apt-get install -q -y --no-install-recommends dbus mariadb-server python3-venv redis-server systemd systemd-sysv \
 && rm -rf /var/lib/apt/lists/* /var/lib/messagebroker \
 && userdel messagebroker \
 && systemctl mask systemd-udevd.service systemd-logind.service apt-daily.timer apt-daily-upgrade.timer
# pip's and setuptools' own files, then the image's libraries over them; the program with this environment's Python
RUN cd /opt/messagebroker \
 && python3 -m venv releases/1 \
 && cp -a lib/python3*/site-packages/. "$(echo releases/1/lib/python3*/site-packages)" \
 && printf '%s\n' '#!/opt/messagebroker/releases/1/bin/python' 'from messagebroker.__main__ import main' 'main()' \
      > releases/1/bin/messagebroker \
 && chmod 755 releases/1/bin/messagebroker \
 && rm -rf bin lib lib64 include pyvenv.cfg \
 && ln -s releases/1 current
ENV container=docker
WORKDIR /root
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/lib/systemd/systemd"]
CMD ["--log-target=console", "--show-status=0"]
