"""Node: an HTTP server and clients with streams and back-pressure, and net sockets by themselves."""

from compat import fact, run

for line in run(["node", "node.js"]).decode().splitlines():
    name, _, value = line.partition("\t")
    fact(name, value)
