#include "cmd/pr.h"

#include "base/bytes.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* 1: all of it; 0: the peer has gone before the first byte; -1: in the middle. */
static int read_all(int sock, void *buf, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = recv(sock, (uint8_t *)buf + got, len - got, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return got || n < 0 ? -1 : 0;
        got += (size_t)n;
    }
    return 1;
}

static bool write_all(int sock, const void *buf, size_t len)
{
    while (len) {
        ssize_t n = send(sock, buf, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        buf = (const uint8_t *)buf + n;
        len -= (size_t)n;
    }
    return true;
}

/* Closes what came along and keeps one: more than one descriptor is against the rules. */
static int take_descriptors(struct msghdr *m, bool *too_many)
{
    int kept = -1;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
            if (kept < 0) {
                kept = fd;
            } else {
                *too_many = true;
                close(fd);
            }
        }
    }
    return kept;
}

/* The CDB and the descriptor beside its first byte. As read_all(); c->fd is -1 without one. */
static int read_cdb(int sock, struct pr_command *c, bool *too_many)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec v = {c->cdb, sizeof(c->cdb)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;

    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -1 : 0;
    c->fd = take_descriptors(&m, too_many);
    if ((size_t)n == sizeof(c->cdb))
        return 1;
    return read_all(sock, c->cdb + n, sizeof(c->cdb) - (size_t)n) == 1 ? 1 : -1;
}

/* Lengths in the CDB: PR IN's room (7.12), PR OUT's parameters. */
static size_t data_len(const struct pr_command *c)
{
    return c->cdb[0] == PR_IN ? viv_ld_be16(c->cdb + 7) : viv_ld_be32(c->cdb + 5);
}

static bool answer(int sock, const struct pr_command *c)
{
    size_t len = c->status == PR_GOOD && c->cdb[0] == PR_IN ? c->len : 0;
    uint8_t head[8 + PR_SENSE];

    viv_st_be32(head, c->status);
    viv_st_be32(head + 4, (uint32_t)len);
    memcpy(head + 8, c->sense, PR_SENSE);
    return write_all(sock, head, sizeof(head)) && write_all(sock, c->data, len);
}

/* One command. NULL: go on. "": the client has gone. Else what it did wrong. */
static const char *serve_one(int sock, pr_run_fn *run, struct pr_command *c)
{
    bool too_many = false;
    int got = read_cdb(sock, c, &too_many);

    if (got <= 0)
        return got ? "gone in the middle of a command" : "";
    if (too_many)
        return "more than one descriptor with a command";
    if (c->fd < 0)
        return "a command without a descriptor";
    if (c->cdb[0] != PR_IN && c->cdb[0] != PR_OUT)
        return "neither PERSISTENT RESERVE IN nor OUT";
    c->len = data_len(c);
    if (c->len > PR_DATA)
        return "more than 8 KiB of data";
    if (c->cdb[0] == PR_OUT && c->len && read_all(sock, c->data, c->len) != 1)
        return "gone in the middle of a command";
    run(c);
    return answer(sock, c) ? NULL : "";
}

const char *pr_serve(int sock, pr_run_fn *run)
{
    uint8_t features[4] = {0};
    const char *wrong = NULL;

    if (!write_all(sock, features, sizeof(features)) || read_all(sock, features, sizeof(features)) != 1)
        return NULL;
    if (viv_ld_be32(features))
        return "wants features that there are none of";
    while (!wrong) {
        struct pr_command c = {.fd = -1};

        wrong = serve_one(sock, run, &c);
        if (c.fd >= 0)
            close(c.fd);
    }
    return *wrong ? wrong : NULL;
}
