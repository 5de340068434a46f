# A cluster of PostgreSQL in this folder: `make`, `serve`, `answers`, `load PORT [OPTION...]`, `as_user COMMAND...`.
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
here=$PWD/postgresql

# The servers refuse to run as root.
as_user() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

case $1 in
make)
    install -d -o postgres "$here"
    as_user "$bin/initdb" -D "$here/data" -A trust --no-sync > /dev/null
    # A transaction waits for no disk: connections are what is measured.
    printf "fsync = off\nsynchronous_commit = off\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\n" \
        "$here" >> "$here/data/postgresql.conf"
    as_user "$bin/pg_ctl" -D "$here/data" -s -w -l "$here/log" start
    as_user "$bin/pgbench" -h "$here" -i -q -s 10 postgres 2> /dev/null
    as_user "$bin/pg_ctl" -D "$here/data" -s -w -m fast stop
    ;;
serve) exec setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" -D "$here/data" ;;
answers) "$bin/pg_isready" -q -h 127.0.0.1 ;;
load)
    port=$2
    shift 2
    "$bin/pgbench" -h 127.0.0.1 -p "$port" -U postgres -n -c 8 -j 2 -T "$TIME" "$@" postgres
    ;;
as_user)
    shift
    exec setpriv --reuid postgres --regid postgres --init-groups "$@"
    ;;
esac
