/* A server that gets at its bytes by splice(2) alone, and its client: each message must come back.
 * splicer MESSAGES [waits] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t move_bytes(int from, int to, size_t bytes);

#ifndef WITHOUT_SPLICE
ssize_t move_bytes(int from, int to, size_t bytes) {
    return splice(from, 0, to, 0, bytes, SPLICE_F_NONBLOCK);
}
#endif

#ifndef LIBRARY
static int failed(const char *what) {
    perror(what);
    return 1;
}

int main(int count, char **words) {
    int messages = count > 1 ? atoi(words[1]) : 300;
    if (count > 2) {
        char go;
        puts("ready");
        fflush(stdout);
        if (read(0, &go, 1) != 1) return failed("read");
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), pipes[2];
    if (bind(listener, (void *)&at, length) || listen(listener, 1)) return failed("listen");
    if (getsockname(listener, (void *)&at, &length) || pipe(pipes)) return failed("getsockname");
    if (connect(client, (void *)&at, length)) return failed("connect");
    int server = accept4(listener, 0, 0, SOCK_NONBLOCK);
    fcntl(client, F_SETFL, O_NONBLOCK);
    for (int round = 0; round < messages; round++) {
        /* Whatever goes wrong ends. */
        alarm(300);
        char message[64] = {round}, back[64];
        if (send(client, message, 64, 0) != 64) return failed("send");
        struct pollfd waits = {.fd = server, .events = POLLIN};
        if (poll(&waits, 1, 60000) != 1) return failed("poll of the server");
        if (move_bytes(server, pipes[1], 64) != 64) return failed("splice from the socket");
        if (move_bytes(pipes[0], server, 64) != 64) return failed("splice to the socket");
        waits.fd = client;
        if (poll(&waits, 1, 60000) != 1) return failed("poll of the client");
        if (recv(client, back, 64, 0) != 64 || back[0] != message[0]) return failed("recv");
        usleep(1000);
    }
    return 0;
}
#endif
