/* One client of a persistent reservation helper, for pr_helper.py's guest: commands for a device, an answer a line.
 *
 *   pr-client SOCKET DEVICE COMMAND...
 *     keys | holder | features | status     PERSISTENT RESERVE IN (SPC-4 6.15): generation, keys, reservation, capabilities
 *     register OLD NEW | reserve KEY TYPE | release KEY TYPE | clear KEY | preempt KEY VICTIM TYPE | ignore NEW
 *     ro COMMAND...                         the same with a descriptor that only reads
 * Numbers are hexadecimal. */
#include "cmd/pr.h"

#include "base/bytes.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEYS, HOLDER, CAPABILITIES, FULL_STATUS };                    /* PR IN's service actions */
enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, IGNORE_KEY = 6 }; /* PR OUT's */

#define OUT_LEN 24
#define IN_ROOM 1024

static void get(int sock, void *buf, size_t len)
{
    if (len && recv(sock, buf, len, MSG_WAITALL) != (ssize_t)len)
        errx(1, "the helper has gone");
}

static void put(int sock, const void *buf, size_t len)
{
    if (send(sock, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
        errx(1, "the helper has gone");
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    uint8_t features[4];

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    if (connect(s, (struct sockaddr *)&a, sizeof(a)))
        err(1, "%s", path);
    get(s, features, 4);
    if (viv_ld_be32(features))
        errx(1, "features 0x%x", viv_ld_be32(features));
    put(s, features, 4);
    return s;
}

/* The CDB with the descriptor beside it, then the parameters. */
static void ask(int sock, const uint8_t *cdb, int fd, const uint8_t *param, size_t len)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec v = {(void *)cdb, PR_CDB};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof(fd));
    if (sendmsg(sock, &m, MSG_NOSIGNAL) != PR_CDB)
        errx(1, "the helper has gone");
    put(sock, param, len);
}

/* The status, and the data's length. */
static uint32_t answer(int sock, uint8_t *data, uint32_t *len)
{
    uint8_t head[8 + PR_SENSE], *sense = head + 8;
    uint32_t status;

    get(sock, head, sizeof(head));
    status = viv_ld_be32(head);
    *len = viv_ld_be32(head + 4);
    if (*len > IN_ROOM)
        errx(1, "%u bytes came", *len);
    get(sock, data, *len);
    if (status == PR_CHECK_CONDITION)
        printf("sense %x/%02x/%02x ", sense[2], sense[12], sense[13]);
    return status;
}

static void print_in(unsigned action, const uint8_t *d, uint32_t len)
{
    if (action == CAPABILITIES) {
        printf("length %u types %02x%02x\n", viv_ld_be16(d), d[4], d[5]);
        return;
    }
    printf("generation %u", viv_ld_be32(d));
    if (action == KEYS)
        for (uint32_t at = 8; at + 8 <= len && at < 8 + viv_ld_be32(d + 4); at += 8)
            printf(" %lx", (unsigned long)viv_ld_be64(d + at));
    else if (action == HOLDER && viv_ld_be32(d + 4))
        printf(" %lx type %x", (unsigned long)viv_ld_be64(d + 8), d[21] & 15);
    else if (action == FULL_STATUS)
        for (uint32_t at = 8; at + 24 <= len; at += 24 + viv_ld_be32(d + at + 20))
            printf(" %lx:%s%x", (unsigned long)viv_ld_be64(d + at), d[at + 12] & 1 ? "holder" : "",
                   d[at + 13] & 15);
    printf("\n");
}

static int do_in(int sock, int fd, unsigned action)
{
    uint8_t cdb[PR_CDB] = {PR_IN, (uint8_t)action}, data[IN_ROOM];
    uint32_t len, status;

    viv_st_be16(cdb + 7, IN_ROOM);
    ask(sock, cdb, fd, NULL, 0);
    status = answer(sock, data, &len);
    if (!status && len >= 8)
        print_in(action, data, len);
    else
        printf("status %02x, %u bytes\n", status, len);
    return status != 0;
}

static int do_out(int sock, int fd, unsigned action, unsigned type, uint64_t key,
                  uint64_t service_key)
{
    uint8_t cdb[PR_CDB] = {PR_OUT, (uint8_t)action, (uint8_t)type}, param[OUT_LEN] = {0};
    uint32_t len, status;

    viv_st_be32(cdb + 5, OUT_LEN);
    viv_st_be64(param, key);
    viv_st_be64(param + 8, service_key);
    ask(sock, cdb, fd, param, sizeof(param));
    status = answer(sock, param, &len);
    printf("status %02x\n", status);
    if (len)
        errx(1, "%u bytes came", len);
    return status != 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        unsigned action;
        int out, numbers;
    } commands[] = {
        {"keys", KEYS, 0, 0},
        {"holder", HOLDER, 0, 0},
        {"features", CAPABILITIES, 0, 0},
        {"status", FULL_STATUS, 0, 0},
        {"register", REGISTER, 1, 2},
        {"reserve", RESERVE, 1, 2},
        {"release", RELEASE, 1, 2},
        {"clear", CLEAR, 1, 1},
        {"preempt", PREEMPT, 1, 3},
        {"ignore", IGNORE_KEY, 1, 1},
    };
    uint64_t n[3] = {0};
    int sock, fd, read_only = argc > 3 && !strcmp(argv[3], "ro");
    char **words = argv + 3 + read_only;

    if (argc < 4 + read_only)
        errx(2, "SOCKET DEVICE COMMAND...");
    sock = connect_to(argv[1]);
    fd = open(argv[2], (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK);
    if (fd < 0)
        err(1, "%s", argv[2]);
    for (unsigned i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        if (strcmp(words[0], commands[i].name) != 0)
            continue;
        for (int k = 0; k < commands[i].numbers; k++) {
            if (!words[k + 1])
                errx(2, "%s: too few numbers", words[0]);
            n[k] = strtoull(words[k + 1], NULL, 16);
        }
        if (!commands[i].out)
            return do_in(sock, fd, commands[i].action);
        switch (commands[i].action) {
        case REGISTER:
            return do_out(sock, fd, REGISTER, 0, n[0], n[1]);
        case IGNORE_KEY:
            return do_out(sock, fd, IGNORE_KEY, 0, 0, n[0]);
        case PREEMPT:
            return do_out(sock, fd, PREEMPT, (unsigned)n[2], n[0], n[1]);
        default:
            return do_out(sock, fd, commands[i].action, (unsigned)n[1], n[0], 0);
        }
    }
    errx(2, "no command '%s'", words[0]);
}
