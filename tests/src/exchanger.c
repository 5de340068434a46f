/* Both ends of a connection that exchanges small messages until the file that SOCKETVIRT_TEST_GO names is there,
 * and some more then, unless SOCKETVIRT_TEST_END names a file that has to be there at the end. The words:
 *   ring             makes an io_uring before the connection
 *   /LIBRARY         loads it when it is told to go on
 *   supervise PROCS  listens, and leaves the rest to a child that it moves to the cgroup with this list of processes
 * Built with SPLICES, the server gets at its bytes by splice(2) alone when it is told to go on. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int there(const char *variable) {
    const char *file = getenv(variable);
    return file && access(file, F_OK) == 0;
}

static int failed(const char *what) {
    perror(what);
    return 1;
}

static int get(int fd, char *message) {
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    ssize_t got;
    do {
        if (poll(&waits, 1, 60000) != 1) return -1;
        got = recv(fd, message, 64, 0);
    } while (got < 0 && errno == EAGAIN);
    return got == 64 ? 0 : -1;
}

#ifdef SPLICES
static int echo(int server) {
    static int pipes[2];
    struct pollfd waits = {.fd = server, .events = POLLIN};
    if (!pipes[1] && pipe(pipes)) return -1;
    if (poll(&waits, 1, 60000) != 1) return -1;
    if (splice(server, 0, pipes[1], 0, 64, SPLICE_F_NONBLOCK) != 64) return -1;
    return splice(pipes[0], 0, server, 0, 64, 0) == 64 ? 0 : -1;
}
#endif

/* Runs itself again in another cgroup, with the listener as descriptor 3. */
static int supervise(const char *self, const char *procs, int listener) {
    pid_t child = fork();
    if (child == 0) {
        int file = open(procs, O_WRONLY | O_CLOEXEC);
        if (write(file, "0", 1) != 1 || (listener != 3 && dup2(listener, 3) != 3)) _exit(failed("the move"));
        setenv("INHERITED", "1", 1);
        execl(self, self, (char *)0);
        _exit(failed("exec"));
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : failed("the child");
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    char message[64] = {1}, parameters[120] = "";
    int went = 0, ends = getenv("SOCKETVIRT_TEST_END") != 0;
    if (!strcmp(what, "ring") && syscall(SYS_io_uring_setup, 2, parameters) < 0) return failed("io_uring_setup");
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int client = socket(AF_INET, SOCK_STREAM, 0);
    /* One that was bound and listens already is inherited as descriptor 3. */
    int listener = getenv("INHERITED") ? 3 : socket(AF_INET, SOCK_STREAM, 0);
    if (!getenv("INHERITED") && (bind(listener, (void *)&at, length) || listen(listener, 1))) return failed("listen");
    if (getsockname(listener, (void *)&at, &length)) return failed("getsockname");
    if (!strcmp(what, "supervise")) return supervise(words[0], words[2], listener);
    if (connect(client, (void *)&at, length)) return failed("connect");
    int server = accept4(listener, 0, 0, SOCK_NONBLOCK);
    if (server < 0) return failed("accept");
    fcntl(client, F_SETFL, O_NONBLOCK);
    for (int more = 0; ends ? !there("SOCKETVIRT_TEST_END") : more < 300; more += went) {
        alarm(600);
        if (!went && there("SOCKETVIRT_TEST_GO")) {
            went = 1;
            if (what[0] == '/' && !dlopen(what, RTLD_NOW)) return failed(dlerror());
        }
        if (send(client, message, 64, 0) != 64) return failed("send");
#ifdef SPLICES
        if (went ? echo(server) : get(server, message) || send(server, message, 64, 0) != 64) return failed("echo");
#else
        if (get(server, message) || send(server, message, 64, 0) != 64) return failed("echo");
#endif
        if (get(client, message)) return failed("the answer");
        usleep(1000);
    }
    return 0;
}
