/* The persistent reservation helper's protocol, with a device of the test's own; and descriptors that are no SCSI devices. */
#include "cmd/pr.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pr_command seen;
static unsigned runs;

/* Takes keys; gives back as many bytes as there is room for, 24 at most. */
static void fake(struct pr_command *c)
{
    seen = *c;
    runs++;
    c->status = c->cdb[1] == 0x1f ? 0x18 : PR_GOOD; /* RESERVATION CONFLICT */
    c->len = c->cdb[0] == PR_IN ? MIN(c->len, 24) : 0;
    memset(c->data, 0xa5, c->len);
}

static int pair[2];
static const char *wrong;

static void *server(void *run)
{
    wrong = pr_serve(pair[1], (pr_run_fn *)run);
    shutdown(pair[1], SHUT_RDWR);
    return NULL;
}

static pthread_t thread;

static void start(pr_run_fn *run, uint32_t features)
{
    uint8_t f[4];

    runs = 0;
    wrong = NULL;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint(pthread_create(&thread, NULL, server, (void *)run), ==, 0);
    g_assert_cmpint(recv(pair[0], f, 4, MSG_WAITALL), ==, 4);
    g_assert_cmphex(viv_ld_be32(f), ==, 0);
    viv_st_be32(f, features);
    g_assert_cmpint(send(pair[0], f, 4, MSG_NOSIGNAL), ==, 4);
}

static void finish(const char *want)
{
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
    close(pair[0]);
    close(pair[1]);
    if (want)
        g_assert_true(wrong && strstr(wrong, want));
    else
        g_assert_null(wrong);
}

/* `len` bytes of a CDB with `fds` descriptors. */
static void send_cdb(const uint8_t *cdb, size_t len, const int *fds, unsigned count)
{
    char control[CMSG_SPACE(4 * sizeof(int))] = {0};
    struct iovec v = {(void *)cdb, len};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

    if (count) {
        struct cmsghdr *h;

        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(h), fds, count * sizeof(int));
    }
    g_assert_cmpint(sendmsg(pair[0], &m, MSG_NOSIGNAL), ==, (ssize_t)len);
}

static void expect(uint32_t status, uint32_t len, uint8_t *sense)
{
    uint8_t head[8 + PR_SENSE], data[PR_DATA];

    g_assert_cmpint(recv(pair[0], head, sizeof(head), MSG_WAITALL), ==, sizeof(head));
    g_assert_cmphex(viv_ld_be32(head), ==, status);
    g_assert_cmpuint(viv_ld_be32(head + 4), ==, len);
    if (sense)
        memcpy(sense, head + 8, PR_SENSE);
    if (len)
        g_assert_cmpint(recv(pair[0], data, len, MSG_WAITALL), ==, (ssize_t)len);
    for (uint32_t i = 0; i < len; i++)
        g_assert_cmphex(data[i], ==, 0xa5);
}

static int null_fd(int flags)
{
    int fd = open("/dev/null", flags | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void test_commands(void)
{
    uint8_t in[PR_CDB] = {PR_IN, 0, 0, 0, 0, 0, 0, 0x01, 0x00}, out[PR_CDB] = {PR_OUT, 1, 0, 0, 0, 0, 0, 0, 24};
    uint8_t keys[24];
    int fd = null_fd(O_RDWR);

    memset(keys, 0x77, sizeof(keys));
    start(fake, 0);
    send_cdb(in, 16, &fd, 1);
    expect(PR_GOOD, 24, NULL);
    send_cdb(out, 5, &fd, 1); /* in pieces */
    g_assert_cmpint(send(pair[0], out + 5, 11, 0), ==, 11);
    g_assert_cmpint(send(pair[0], keys, 10, 0), ==, 10);
    g_assert_cmpint(send(pair[0], keys + 10, 14, 0), ==, 14);
    expect(PR_GOOD, 0, NULL);
    g_assert_cmpmem(seen.data, seen.len, keys, 24);
    in[1] = 0x1f;
    send_cdb(in, 16, &fd, 1);
    expect(0x18, 0, NULL);
    finish(NULL);
    g_assert_cmpuint(runs, ==, 3);
    close(fd);
}

static void test_rules(void)
{
    uint8_t in[PR_CDB] = {PR_IN, 0, 0, 0, 0, 0, 0, 0x20, 0x01}, inquiry[PR_CDB] = {0x12}, out[PR_CDB] = {PR_OUT};
    int fd = null_fd(O_RDWR), two[2] = {fd, fd};

    start(fake, 1);
    finish("features");
    start(fake, 0);
    send_cdb(in, 16, NULL, 0);
    finish("without a descriptor");
    start(fake, 0);
    send_cdb(inquiry, 16, &fd, 1);
    finish("neither");
    start(fake, 0);
    send_cdb(in, 16, &fd, 1); /* 8193 bytes */
    finish("8 KiB");
    out[5] = 0xff;
    start(fake, 0);
    send_cdb(out, 16, &fd, 1);
    finish("8 KiB");
    start(fake, 0);
    send_cdb(inquiry, 16, two, 2);
    finish("more than one");
    out[5] = 0;
    out[8] = 24;
    start(fake, 0);
    send_cdb(out, 16, &fd, 1);
    finish("in the middle");
    start(fake, 0);
    send_cdb(out, 3, &fd, 1);
    finish("in the middle");
    g_assert_cmpuint(runs, ==, 0);
    close(fd);
}

/* What is no SCSI device gets an answer, not a command. */
static void test_no_device(void)
{
    uint8_t in[PR_CDB] = {PR_IN, 0, 0, 0, 0, 0, 0, 0, 64}, out[PR_CDB] = {PR_OUT};
    uint8_t sense[PR_SENSE];
    int rw = null_fd(O_RDWR), ro = null_fd(O_RDONLY), pipes[2];

    g_assert_cmpint(pipe(pipes), ==, 0);
    start(pr_run, 0);
    send_cdb(in, 16, &rw, 1);
    expect(PR_CHECK_CONDITION, 0, sense);
    g_assert_cmphex(sense[2], ==, 5);
    g_assert_cmphex(sense[12], ==, 0x20);
    send_cdb(out, 16, &ro, 1);
    expect(PR_CHECK_CONDITION, 0, sense);
    g_assert_cmphex(sense[2], ==, 7);
    send_cdb(in, 16, pipes, 1);
    expect(PR_CHECK_CONDITION, 0, sense);
    g_assert_cmphex(sense[2], ==, 5);
    finish(NULL);
    close(rw);
    close(ro);
    close(pipes[0]);
    close(pipes[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pr/commands", test_commands);
    g_test_add_func("/pr/rules", test_rules);
    g_test_add_func("/pr/no-device", test_no_device);
    return g_test_run();
}
