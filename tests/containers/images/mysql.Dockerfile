# A MySQL server's unpacked tree , the folder `tree`, behind the interface of the official image that docker/compose.yaml uses.
FROM debian:bookworm-slim
RUN groupadd -g 999 mysql && useradd -u 999 -g 999 -M mysql \
 && install -d -o 999 -g 999 -m 750 /var/lib/mysql && install -d -o 999 -g 999 /var/run/mysqld && mkdir -p /etc/mysql/conf.d \
 && printf '[mysqld]\nsocket=/var/run/mysqld/mysqld.sock\ndatadir=/var/lib/mysql\nbasedir=/opt/mysql\nlc_messages_dir=/opt/mysql/share\n\
character_sets_dir=/opt/mysql/share/charsets\nplugin_dir=/opt/mysql/plugin\npid_file=/var/run/mysqld/mysqld.pid\nsecure_file_priv=NULL\n\
[client]\nsocket=/var/run/mysqld/mysqld.sock\n!includedir /etc/mysql/conf.d/\n' > /etc/my.cnf
COPY tree /opt/mysql
RUN for name in mysqld mysql mysqladmin; do \
      real=/opt/mysql/bin/$name; [ $name != mysqld ] || real=/opt/mysql/mysqld; \
      printf '#!/bin/sh\nexec /opt/mysql/ld.so --library-path /opt/mysql/lib %s "$@"\n' $real > /usr/local/bin/$name; \
      chmod 755 /usr/local/bin/$name; \
    done
COPY --chmod=755 database.sh /usr/local/bin/docker-entrypoint.sh
ENV FLAVOUR=MYSQL
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mysqld"]
