/* Both ends of a connection that exchanges small messages until the file that SOCKETVIRT_TEST_GO names is there,
 * and some more then, unless SOCKETVIRT_TEST_END names a file that has to be there at the end. The words:
 *   ring             makes an io_uring before the connection
 *   map              makes a map of sockets when it is told to go on, tries to put its socket in, and at the end that of
 *                    another connection; leaves a third connection to a child
 *   /LIBRARY         loads it when it is told to go on
 *   supervise PROCS  listens, and leaves the rest to a child that it moves to the cgroup with this list of processes
 * Built with SPLICES, the server gets at its bytes by splice(2) alone when it is told to go on. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
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

static long bpf(int command, union bpf_attr *attributes) {
    return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

/* A map of sockets that lets each message pass. */
static int make_map(void) {
    struct bpf_insn pass[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = SK_PASS}, {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr program = {.prog_type = BPF_PROG_TYPE_SK_MSG, .expected_attach_type = BPF_SK_MSG_VERDICT, .insn_cnt = 2,
                              .insns = (long)pass, .license = (long)"GPL"};
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 4, .max_entries = 1};
    union bpf_attr both = {.target_fd = bpf(BPF_MAP_CREATE, &map), .attach_type = BPF_SK_MSG_VERDICT};
    both.attach_bpf_fd = bpf(BPF_PROG_LOAD, &program);
    return bpf(BPF_PROG_ATTACH, &both) ? -1 : (int)both.target_fd;
}

static void put(int map, int fd) {
    int key = 0;
    union bpf_attr entry = {.map_fd = map, .key = (long)&key, .value = (long)&fd};
    puts(bpf(BPF_MAP_UPDATE_ELEM, &entry) ? strerror(errno) : "taken");
    fflush(stdout);
}

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

static int connects(int listener, struct sockaddr_in *at, int *client, int *server) {
    *client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(*client, (void *)at, sizeof *at)) return -1;
    *server = accept4(listener, 0, 0, SOCK_NONBLOCK);
    return *server < 0 ? -1 : fcntl(*client, F_SETFL, O_NONBLOCK);
}

static int exchange(int client, int server, int splices) {
    char message[64] = {1};
    alarm(600);
    if (send(client, message, 64, 0) != 64) return failed("send");
#ifdef SPLICES
    if (splices ? echo(server) : get(server, message) || send(server, message, 64, 0) != 64) return failed("echo");
#else
    (void)splices;
    if (get(server, message) || send(server, message, 64, 0) != 64) return failed("echo");
#endif
    if (get(client, message)) return failed("the answer");
    return usleep(1000);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    char parameters[120] = "";
    int went = 0, ends = getenv("SOCKETVIRT_TEST_END") != 0, maps = !strcmp(what, "map"), map = -1, client, server;
    if (!strcmp(what, "ring") && syscall(SYS_io_uring_setup, 2, parameters) < 0) return failed("io_uring_setup");
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    /* One that was bound and listens already is inherited as descriptor 3. */
    int listener = getenv("INHERITED") ? 3 : socket(AF_INET, SOCK_STREAM, 0);
    if (!getenv("INHERITED") && (bind(listener, (void *)&at, length) || listen(listener, 1))) return failed("listen");
    if (getsockname(listener, (void *)&at, &length)) return failed("getsockname");
    if (!strcmp(what, "supervise")) return supervise(words[0], words[2], listener);
    if (connects(listener, &at, &client, &server)) return failed("connect");
    for (int more = 0; ends ? !there("SOCKETVIRT_TEST_END") : more < 300; more += went) {
        if (!went && there("SOCKETVIRT_TEST_GO")) {
            went = 1;
            if (what[0] == '/' && !dlopen(what, RTLD_NOW)) return failed(dlerror());
            if (maps && (map = make_map()) < 0) return failed("the map");
            if (maps) put(map, server);
        }
        if (exchange(client, server, went)) return 1;
    }
    if (!maps) return 0;
    close(client);
    close(server);
    if (connects(listener, &at, &client, &server)) return failed("connect again");
    for (int more = 0; more < 1000; more++) {
        if (more == 900) put(map, server);
        if (exchange(client, server, 0)) return 1;
    }
    unsetenv("SOCKETVIRT_TEST_END");
    return supervise(words[0], "/dev/null", listener);
}
