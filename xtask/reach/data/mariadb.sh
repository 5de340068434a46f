# A server of MariaDB in this folder: `make`, `serve`, `answers`, `load`.
set -e
here=$PWD/mariadb
# Whoever connects may do everything.
options="--no-defaults --datadir=$here/data --socket=$here/socket --user=mysql --skip-grant-tables --bind-address=127.0.0.1"
sysbench="sysbench oltp_point_select --db-driver=mysql --mysql-host=127.0.0.1 --mysql-user=root --mysql-db=test
    --tables=1 --table-size=10000 --threads=8"

case $1 in
make)
    install -d -o mysql "$here" "$here/data"
    mariadb-install-db --no-defaults --user=mysql --datadir="$here/data" > /dev/null
    ;;
# The option comes after those that end it.
serve) exec mariadbd $options --port=3306 --skip-networking=0 --innodb-flush-log-at-trx-commit=0 ;;
answers)
    mariadb-admin --no-defaults --host=127.0.0.1 --user=root ping > /dev/null
    [ -e prepared ] && exit
    mariadb --no-defaults --host=127.0.0.1 --user=root -e 'create database if not exists test'
    $sysbench prepare > /dev/null
    touch prepared
    ;;
load) $sysbench --time="$TIME" run | sed -n 's/.*transactions:.*(\(.*\) per sec.*/rate \1/p' ;;
esac
