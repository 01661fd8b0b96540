/* aio_read, aio_write, aio_flush: requests that end while later commands run. What is under way belongs to no command. */
#include "cmd/io.h"

#include <getopt.h>
#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

struct request {
    struct viv_blk_req req;
    const struct io_file *file;
    struct iovec v;
    uint8_t *buf;
    double start;
    int pattern;
    bool machine, quiet, verbose;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned under_way;

void io_aio_wait(void)
{
    pthread_mutex_lock(&lock);
    while (under_way)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
}

static void tell(struct request *r, int result)
{
    bool reading = r->req.op == VIV_BLK_READ;

    if (io_ended(r->file, reading ? "readv" : "aio_write", r->req.offset, r->req.len, result))
        return;
    for (size_t i = 0; reading && r->pattern >= 0 && i < r->req.len; i++) {
        if (r->buf[i] == r->pattern)
            continue;
        printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n", r->req.offset, r->req.len);
        break;
    }
    if (r->quiet)
        return;
    if (reading && r->verbose)
        io_dump(r->buf, r->req.offset, r->req.len);
    io_report(reading ? "read" : "wrote", r->req.len, r->req.len, r->req.offset, io_now() - r->start, r->machine);
}

/* In an I/O thread. */
static void done(struct viv_blk_req *req, int result)
{
    struct request *r = req->opaque;

    flockfile(stdout);
    tell(r, result);
    funlockfile(stdout);
    io_free(r->file, r->buf);
    g_free(r);
    pthread_mutex_lock(&lock);
    under_way--;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&lock);
}

static const struct io_command *self(const char *name)
{
    for (const struct io_command *c = io_aio_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

static int operands(struct request *r, int argc, char **argv, bool zero)
{
    if (argc - optind < 2 || (zero && argc - optind > 2))
        return io_usage(self(argv[0]));
    if (io_parse(argv[optind], &r->req.offset))
        return 1;
    if (zero) /* without a buffer: any length */
        return io_parse(argv[optind + 1], &r->req.len);
    return io_parse_lens(argc, argv, optind + 1, true, &r->req.len);
}

/* Takes the request. */
static int submit(struct io_file *f, struct request *r, int fill)
{
    r->file = f;
    if (r->req.op != VIV_BLK_WRITE_ZEROES) {
        r->buf = io_alloc(f, r->req.len, fill);
        if (!r->buf) {
            io_error("not enough memory for %" PRIu64 " bytes", r->req.len);
            g_free(r);
            return 1;
        }
        r->v = (struct iovec){r->buf, r->req.len};
        r->req.iov = &r->v;
        r->req.iovcnt = 1;
    }
    r->req.done = done;
    r->req.opaque = r;
    r->start = io_now();
    pthread_mutex_lock(&lock);
    under_way++;
    pthread_mutex_unlock(&lock);
    viv_blk_submit(f->blk, &r->req);
    return 0;
}

/* One flag of either command into r. */
static int flag(struct request *r, int c, const char *name)
{
    switch (c) {
    case 'C':
        r->machine = true;
        return 0;
    case 'q':
        r->quiet = true;
        return 0;
    case 'v':
        r->verbose = true;
        return 0;
    case 'f':
        r->req.flags |= VIV_BLK_FUA;
        return 0;
    case 'u':
        r->req.flags |= VIV_BLK_UNMAP;
        return 0;
    case 'z':
        r->req.op = VIV_BLK_WRITE_ZEROES;
        return 0;
    case 'P':
        return io_parse_pattern(optarg, &r->pattern);
    case 'i':
        return io_error("%s -i: there are no statistics of invalid requests to exercise", name);
    }
    return io_usage(self(name));
}

static int cmd_aio_read(struct io_file *f, int argc, char **argv)
{
    struct request *r = g_new0(struct request, 1);
    int c, bad = 0;

    r->req.op = VIV_BLK_READ;
    r->pattern = -1;
    while (!bad && (c = getopt(argc, argv, "CP:iqv")) != -1)
        bad = flag(r, c, argv[0]);
    if (bad || operands(r, argc, argv, false)) {
        g_free(r);
        return 1;
    }
    return submit(f, r, 0xab);
}

static int cmd_aio_write(struct io_file *f, int argc, char **argv)
{
    struct request *r = g_new0(struct request, 1);
    const char *wrong = NULL;
    bool zero;
    int c, bad = 0;

    r->req.op = VIV_BLK_WRITE;
    r->pattern = -1;
    while (!bad && (c = getopt(argc, argv, "CfiqP:uz")) != -1)
        bad = flag(r, c, argv[0]);
    zero = r->req.op == VIV_BLK_WRITE_ZEROES;
    if (zero && r->pattern >= 0)
        wrong = "-z and -P cannot be specified at the same time";
    else if (!zero && (r->req.flags & VIV_BLK_UNMAP))
        wrong = "-u requires -z to be specified";
    if (!bad && wrong)
        printf("%s\n", wrong);
    if (bad || wrong || operands(r, argc, argv, zero)) {
        g_free(r);
        return 1;
    }
    return submit(f, r, r->pattern >= 0 ? r->pattern : 0xcd);
}

static int cmd_aio_flush(struct io_file *f, int argc, char **argv)
{
    io_aio_wait();
    return 0;
}

const struct io_command io_aio_commands[] = {
    {"aio_read", NULL, cmd_aio_read, 2, -1, false, "[-Cqv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes",
     " The command succeeds once the request is under way: how it ended is told when it does.\n"
     " -C, -P, -q, -v as for read\n"},
    {"aio_write", NULL, cmd_aio_write, 2, -1, false, "[-Cfquz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes",
     " The command succeeds once the request is under way: how it ended is told when it does.\n"
     " -C, -f, -P, -q, -u, -z as for write\n"},
    {"aio_flush", NULL, cmd_aio_flush, 0, 0, false, NULL, "completes all outstanding aio requests", NULL},
    {0},
};
