"""PostgreSQL: queries over TCP and a Unix socket, pgbench, and COPY both ways by checksum."""

import glob
import os
import pwd
import sys

from compat import HERE, fact, file_digest, run, serve, status, until, write

ROWS = int(sys.argv[1])
TRANSACTIONS = sys.argv[2]
PORT = 5499
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]

# The server refuses to run as root.
user = pwd.getpwnam("postgres")
os.chmod(HERE, 0o755)
home = os.path.join(HERE, "pg")
os.mkdir(home)
os.chown(home, user.pw_uid, user.pw_gid)
as_user = {"user": "postgres", "group": user.pw_gid, "cwd": home}
cluster = f"{home}/data"
run([f"{BIN}/initdb", "-D", cluster, "-A", "trust", "-U", "postgres", "--no-sync"], **as_user)
serve(
    [f"{BIN}/postgres", "-D", cluster, "-p", PORT, "-k", home, "-c", "listen_addresses=127.0.0.1"]
    + ["-c", "fsync=off", "-c", "log_min_messages=fatal", "-c", "shared_buffers=32MB"],
    PORT,
    **as_user,
)
# It listens before it answers.
until("postgres answers", lambda: status([f"{BIN}/pg_isready", "-q", "-h", home, "-p", PORT])[0] == 0)

WAYS = {"tcp": "127.0.0.1", "unix": home}


def psql(host, sql, **options):
    words = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    return run(words + ["-h", host, "-p", PORT, "-U", "postgres", "-c", sql], **options)


for way, host in WAYS.items():
    answer = psql(host, "select sum(i * i), md5(string_agg(i::text, ',')) from generate_series(1, 20000) i")
    fact(f"query over {way}", answer.decode())
    code, _ = status(["psql", "-X", "-h", host, "-p", PORT, "-U", "postgres", "-c", "select 1/0"], stderr=-3)
    fact(f"error over {way}", code)

# One session of many small queries, so that its connection lives long enough to be adopted.
write("many.sql", "".join(f"select {i}, md5('{i}');\n" for i in range(20000)))
for way, host in WAYS.items():
    words = ["psql", "-X", "-A", "-t", "-h", host, "-p", PORT, "-U", "postgres", "-f", "many.sql"]
    with open(f"many.{way}", "wb") as out:
        out.write(run(words))
    fact(f"20000 queries over {way}", file_digest(f"many.{way}"))

# About 100 bytes a row.
psql(WAYS["unix"], f"create table t as select i, repeat(md5(i::text), 3) as v from generate_series(1, {ROWS}) i")
write("out.sql", "\\copy t to 'tcp.csv'\n")
for way, host in WAYS.items():
    psql(host, f"\\copy t to '{HERE}/{way}.csv'")
    fact(f"COPY out over {way}", file_digest(f"{way}.csv"))
for way, host in WAYS.items():
    psql(host, f"create table back_{way} (i int, v text)")
    psql(host, f"\\copy back_{way} from '{HERE}/{way}.csv'")
    fact(f"COPY in over {way}", psql(host, f"select count(*), sum(hashtext(v)::bigint) from back_{way}").decode())

# Small queries, then bulk, then small ones again, in one connection.
write(
    "mixed.sql",
    "".join(f"select {i};\n" for i in range(6000))
    + "\\copy t to 'mixed.csv'\n"
    + "".join(f"select {i};\n" for i in range(6000)),
)
words = ["psql", "-X", "-q", "-A", "-t", "-h", WAYS["tcp"], "-p", PORT, "-U", "postgres", "-f", "mixed.sql"]
with open("mixed.out", "wb") as out:
    out.write(run(words))
fact("mixed session", file_digest("mixed.out"))
fact("mixed session, COPY", file_digest("mixed.csv"))

pgbench = f"{BIN}/pgbench"
for way, host in WAYS.items():
    common = ["-h", host, "-p", PORT, "-U", "postgres"]
    run([pgbench, *common, "-i", "-q", "-s", "2", "postgres"], stderr=-3)
    for kind in ("simple", "extended", "prepared"):
        out = run([pgbench, *common, "-n", "-c", "4", "-j", "2", "-t", TRANSACTIONS, "-M", kind, "postgres"], stderr=-3)
        for line in out.decode().splitlines():
            if "transactions actually processed" in line or "failed transactions" in line:
                fact(f"pgbench {kind} over {way}", line)
    balance = "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)"
    fact(f"pgbench balance over {way}", psql(host, balance).decode())

# Listen and notify: the server speaks first.
out = run(
    ["psql", "-X", "-q", "-A", "-t", "-h", WAYS["tcp"], "-p", PORT, "-U", "postgres"]
    + ["-c", "listen c", "-c", "notify c, 'payload'", "-c", "select 1"]
)
fact("notify", b"payload" in out)
