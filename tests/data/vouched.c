/* Both ends of connections to a port, which exchange small messages by recv(2). Once the file is there that
 * SOCKETVIRT_TEST_GO names, the server gets at a message by splice(2) alone, however long that takes, and both ends say
 * what became of it. A further connection exchanges messages until the file is there that SOCKETVIRT_TEST_END names.
 * With a second word, the connection before is another one every few messages: with `renews` until it is told to splice,
 * and it splices one that is redirected; with `at-once` it splices a new one.
 * vouched PORT [renews | at-once] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(const char *what) {
    perror(what);
    return 1;
}

static int there(const char *variable) {
    const char *file = getenv(variable);
    return !file || access(file, F_OK) == 0;
}

static int connects(int listener, struct sockaddr_in *at, int *client, int *server) {
    *client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(*client, (void *)at, sizeof *at) && errno != EINPROGRESS) return failed("connect");
    *server = accept4(listener, 0, 0, SOCK_NONBLOCK);
    struct pollfd waits = {.fd = *client, .events = POLLOUT};
    return *server < 0 || poll(&waits, 1, 60000) != 1 ? failed("accept") : 0;
}

static ssize_t get(int fd, char *message) {
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    ssize_t got;
    do {
        if (poll(&waits, 1, 60000) != 1) return -1;
        got = recv(fd, message, 64, 0);
    } while (got < 0 && errno == EAGAIN);
    return got;
}

static int exchange(int client, int server) {
    char message[64] = {1};
    alarm(600);
    if (send(client, message, 64, 0) != 64 || get(server, message) != 64) return failed("a request");
    if (send(server, message, 64, 0) != 64 || get(client, message) != 64) return failed("an answer");
    return usleep(1000);
}

/* Fewer bytes went by the stack than were sent, and the last message was not among them. */
static int is_fast(int client, int messages) {
    static long before;
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &length);
    long by_stack = info.tcpi_bytes_sent, same = by_stack == before;
    before = by_stack;
    return same && by_stack < 64L * messages - 64;
}

static void says(const char *who, ssize_t got) {
    printf("%s: %s\n", who, got > 0 ? "a message" : got == 0 ? "the end" : strerror(errno));
    fflush(stdout);
}

static int splices(int client, int server) {
    char message[64] = {2};
    int pipes[2];
    if (pipe(pipes) || send(client, message, 64, 0) != 64) return failed("a message to be spliced");
    ssize_t got;
    while ((got = splice(server, 0, pipes[1], 0, 64, SPLICE_F_NONBLOCK)) < 0 && errno == EAGAIN) usleep(1000);
    says("server", got);
    if (got == 64 && splice(pipes[0], 0, server, 0, 64, 0) != 64) return failed("the answer");
    says("client", get(client, message));
    close(client);
    close(server);
    return 0;
}

int main(int count, char **words) {
    int client, server, one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    at.sin_port = htons(count > 1 ? atoi(words[1]) : 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&at, length) || listen(listener, 4)) return failed("listen");
    if (getsockname(listener, (void *)&at, &length)) return failed("getsockname");
    if (connects(listener, &at, &client, &server)) return 1;
    int renews = count > 2, at_once = renews && !strcmp(words[2], "at-once"), goes = 0;
    for (int messages = 1; !(goes = there("SOCKETVIRT_TEST_GO")) || (renews && !at_once && !is_fast(client, messages)); messages++) {
        if (exchange(client, server)) return 1;
        if (!renews || goes || messages % 8) continue;
        close(client);
        close(server);
        messages = 0;
        if (connects(listener, &at, &client, &server)) return 1;
    }
    if (at_once) {
        close(client);
        close(server);
        if (connects(listener, &at, &client, &server)) return 1;
    }
    if (splices(client, server) || connects(listener, &at, &client, &server)) return 1;
    while (!there("SOCKETVIRT_TEST_END"))
        if (exchange(client, server)) return 1;
    return 0;
}
