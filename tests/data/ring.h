/* An io_uring without a library: kernels and distributions of tests have none. */
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
    int fd;
    unsigned flags, *tail, *woken, *array, *cq_head, *cq_tail, cq_mask;
    struct io_uring_sqe *entries;
    struct io_uring_cqe *done;
    char *queues;
    unsigned size, queues_size;
};

static int make_ring(struct ring *ring, unsigned flags) {
    struct io_uring_params made = {.flags = flags, .sq_thread_idle = 1};
    ring->flags = flags;
    ring->fd = syscall(SYS_io_uring_setup, 4, &made);
    if (ring->fd < 0) return -1;
    ring->queues_size = made.cq_off.cqes + made.cq_entries * sizeof *ring->done;
    char *queues = ring->queues = mmap(0, ring->queues_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
    ring->size = made.sq_entries * sizeof *ring->entries;
    ring->entries = mmap(0, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
    if (queues == MAP_FAILED || ring->entries == MAP_FAILED) return -1;
    ring->tail = (void *)(queues + made.sq_off.tail);
    ring->woken = (void *)(queues + made.sq_off.flags);
    ring->array = (void *)(queues + made.sq_off.array);
    ring->cq_head = (void *)(queues + made.cq_off.head);
    ring->cq_tail = (void *)(queues + made.cq_off.tail);
    ring->cq_mask = made.cq_entries - 1;
    ring->done = (void *)(queues + made.cq_off.cqes);
    return 0;
}

/* Submits one request and waits until it is complete. */
static int submit(struct ring *ring, struct io_uring_sqe request) {
    unsigned tail = *ring->tail, flags = IORING_ENTER_GETEVENTS, count = 1;
    ring->entries[tail % 4] = request;
    ring->array[tail % 4] = tail % 4;
    __atomic_store_n(ring->tail, tail + 1, __ATOMIC_SEQ_CST);
    if (ring->flags & IORING_SETUP_SQPOLL) { /* A thread of the kernel sees the tail. */
        count = 0;
        if (__atomic_load_n(ring->woken, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
    }
    while (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == *ring->cq_head) {
        if (syscall(SYS_io_uring_enter, ring->fd, count, 1, flags, 0, 0) < 0) return -1;
        count = 0;
    }
    int result = ring->done[*ring->cq_head & ring->cq_mask].res;
    ++*ring->cq_head;
    return result;
}

/* Reads a file by the ring. */
static int reads_file(struct ring *ring, int fd) {
    char text[16];
    struct io_uring_sqe request = {.opcode = IORING_OP_READ, .fd = fd, .addr = (long)text, .len = sizeof text};
    return submit(ring, request) == sizeof text ? 0 : -1;
}

/* Sends by the ring, or writes. */
static int sends(struct ring *ring, int operation, int fd, const char *bytes, int length) {
    struct io_uring_sqe request = {.opcode = operation, .fd = fd, .addr = (long)bytes, .len = length};
    return submit(ring, request) == length ? 0 : -1;
}
