"""Java: blocking sockets with threads, the HTTP server and client of the JDK, and NIO, in one source file."""

from compat import fact, run

for line in run(["java", "-Xmx400m", "-XX:-UsePerfData", "-Dsun.net.httpserver.nodelay=true", "Main.java"]).decode().splitlines():
    name, _, value = line.partition("\t")
    fact(name, value)
