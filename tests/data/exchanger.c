/* Both ends of a connection that exchanges small messages until the file that SOCKETVIRT_TEST_GO names is there,
 * and some more then, unless SOCKETVIRT_TEST_END names a file that has to be there at the end. The words:
 *   RING [THEN]      makes an io_uring before the connection, and uses it (RING: `ring` not at all, `files` for a file,
 *                    `poll` the same by a thread of the kernel that polls, `network` for a socket, `unmapped` for a file,
 *                    and has its entries no more, `gone` for a file, and closes it). When told to go on it does THEN by
 *                    it: `file` reads a file, `send` and `write` send the next message, `late` makes another ring and
 *                    sends by that. It then has another connection at the end, and leaves a third one to a child
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
#include <sys/socket.h>
#include <sys/wait.h>

#include "ring.h"

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

static struct ring ring;

/* Makes and uses the ring that the first word tells of. */
static int uses_ring(const char *what) {
    int polls = !strcmp(what, "poll"), network = !strcmp(what, "network"), unmapped = !strcmp(what, "unmapped");
    int gone = !strcmp(what, "gone"), files = polls || unmapped || gone || !strcmp(what, "files"), pair[2];
    if (!files && !network && strcmp(what, "ring")) return 0;
    if (make_ring(&ring, polls ? IORING_SETUP_SQPOLL : 0)) return failed("io_uring_setup");
    if (files && reads_file(&ring, open("/proc/self/exe", O_RDONLY))) return failed("a read by the ring");
    if (network && (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || sends(&ring, IORING_OP_SEND, pair[0], "1234", 4)))
        return failed("a send by the ring");
    if (unmapped) munmap(ring.entries, ring.size);
    if (gone) close(ring.fd), munmap(ring.entries, ring.size), munmap(ring.queues, ring.queues_size);
    return 0;
}

/* Sends a message as the second word tells, once. */
static int sends_by_ring(const char *then, int fd, const char *message) {
    if (!strcmp(then, "file"))
        return reads_file(&ring, open("/proc/self/exe", O_RDONLY)) || send(fd, message, 64, 0) != 64;
    if (!strcmp(then, "late") && make_ring(&ring, 0)) return -1;
    return sends(&ring, !strcmp(then, "write") ? IORING_OP_WRITE : IORING_OP_SEND, fd, message, 64);
}

static int connects(int listener, struct sockaddr_in *at, int *client, int *server) {
    *client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(*client, (void *)at, sizeof *at)) return -1;
    *server = accept4(listener, 0, 0, SOCK_NONBLOCK);
    return *server < 0 ? -1 : fcntl(*client, F_SETFL, O_NONBLOCK);
}

static int exchange(int client, int server, int splices, const char *by_ring) {
    char message[64] = {1};
    alarm(600);
    if (by_ring ? sends_by_ring(by_ring, client, message) : send(client, message, 64, 0) != 64) return failed("send");
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
    const char *then = count > 2 && strcmp(what, "supervise") ? words[2] : 0;
    int went = 0, ends = getenv("SOCKETVIRT_TEST_END") != 0, maps = !strcmp(what, "map"), map = -1, client, server;
    if (uses_ring(what)) return 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    /* One that was bound and listens already is inherited as descriptor 3. */
    int listener = getenv("INHERITED") ? 3 : socket(AF_INET, SOCK_STREAM, 0);
    if (!getenv("INHERITED") && (bind(listener, (void *)&at, length) || listen(listener, 1))) return failed("listen");
    if (getsockname(listener, (void *)&at, &length)) return failed("getsockname");
    if (!strcmp(what, "supervise")) return supervise(words[0], words[2], listener);
    if (connects(listener, &at, &client, &server)) return failed("connect");
    for (int more = 0; ends ? (then && !went) || !there("SOCKETVIRT_TEST_END") : more < 300; more += went) {
        const char *by_ring = 0;
        if (!went && there("SOCKETVIRT_TEST_GO")) {
            went = 1;
            if (what[0] == '/' && !dlopen(what, RTLD_NOW)) return failed(dlerror());
            if (maps && (map = make_map()) < 0) return failed("the map");
            if (maps) put(map, server);
            by_ring = then;
        }
        if (exchange(client, server, went, by_ring)) return 1;
    }
    if (!maps && !then) return 0;
    close(client);
    close(server);
    if (connects(listener, &at, &client, &server)) return failed("connect again");
    for (int more = 0; more < 1000; more++) {
        if (maps && more == 900) put(map, server);
        if (exchange(client, server, 0, 0)) return 1;
    }
    unsetenv("SOCKETVIRT_TEST_END");
    return supervise(words[0], "/dev/null", listener);
}
