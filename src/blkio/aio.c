/* aio_read, aio_write, aio_flush: requests that end while later commands run. What is under way belongs to no command. */
#include "blkio/blkio.h"

#include "block/stats.h"

#include <errno.h>
#include <getopt.h>
#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

struct request {
    struct viv_blk_req req;
    struct viv_blkio *file;
    struct iovec v;
    uint8_t *buf;
    double start;
    int pattern;
    bool machine, quiet, verbose, invalid;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned under_way; /* of all */

void viv_blkio_aio_wait(const struct viv_blkio *f)
{
    const unsigned *what = f ? &f->under_way : &under_way;

    pthread_mutex_lock(&lock);
    while (*what)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
}

bool viv_blkio_is_busy(const struct viv_blkio *f)
{
    bool busy;

    pthread_mutex_lock(&lock);
    busy = f->under_way;
    pthread_mutex_unlock(&lock);
    return busy;
}

static void tell(struct request *r, int result)
{
    const struct viv_blkio *f = r->file;
    bool reading = r->req.op == VIV_BLK_READ;

    if (viv_blkio_ended(f, reading ? "readv" : "aio_write", r->req.offset, r->req.len, result))
        return;
    for (size_t i = 0; reading && r->pattern >= 0 && i < r->req.len; i++) {
        if (r->buf[i] == r->pattern)
            continue;
        fprintf(f->out, "Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n", r->req.offset, r->req.len);
        break;
    }
    if (r->quiet)
        return;
    if (reading && r->verbose)
        viv_blkio_dump(f, r->buf, r->req.offset, r->req.len);
    viv_blkio_report(f, reading ? "read" : "wrote", r->req.len, r->req.len, r->req.offset, viv_blkio_now() - r->start, r->machine);
}

/* In an I/O thread. */
static void done(struct viv_blk_req *req, int result)
{
    struct request *r = req->opaque;
    struct viv_blkio *f = r->file;

    flockfile(f->out);
    tell(r, result);
    funlockfile(f->out);
    viv_blkio_free(f, r->buf);
    g_free(r);
    pthread_mutex_lock(&lock);
    under_way--;
    f->under_way--; /* f may be gone as soon as the lock is */
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&lock);
}

static const struct viv_blkio_command *self(const char *name)
{
    for (const struct viv_blkio_command *c = viv_blkio_aio_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

static int operands(const struct viv_blkio *f, struct request *r, int argc, char **argv, bool zero)
{
    if (argc - optind < 2 || (zero && argc - optind > 2))
        return viv_blkio_usage(f, self(argv[0]));
    if (viv_blkio_parse(f, argv[optind], &r->req.offset))
        return 1;
    if (zero) /* without a buffer: any length */
        return viv_blkio_parse(f, argv[optind + 1], &r->req.len);
    return viv_blkio_parse_lens(f, argc, argv, optind + 1, true, &r->req.len);
}

/* Takes the request. */
static int submit(struct viv_blkio *f, struct request *r, int fill)
{
    if (r->invalid) { /* counted, and never begun */
        viv_blk_count(f->blk, r->req.op, viv_blk_stats_clock(), -EINVAL);
        g_free(r);
        return 0;
    }
    r->file = f;
    if (r->req.op != VIV_BLK_WRITE_ZEROES) {
        r->buf = viv_blkio_alloc(f, r->req.len, fill);
        if (!r->buf) {
            viv_blkio_error(f, "not enough memory for %" PRIu64 " bytes", r->req.len);
            g_free(r);
            return 1;
        }
        r->v = (struct iovec){r->buf, r->req.len};
        r->req.iov = &r->v;
        r->req.iovcnt = 1;
    }
    r->req.done = done;
    r->req.opaque = r;
    r->start = viv_blkio_now();
    pthread_mutex_lock(&lock);
    under_way++;
    f->under_way++;
    pthread_mutex_unlock(&lock);
    viv_blk_submit(f->blk, &r->req);
    return 0;
}

/* One flag of either command into r. */
static int flag(const struct viv_blkio *f, struct request *r, int c, const char *name)
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
        return viv_blkio_parse_pattern(f, optarg, &r->pattern);
    case 'i':
        r->invalid = true;
        return 0;
    }
    return viv_blkio_usage(f, self(name));
}

static int cmd_aio_read(struct viv_blkio *f, int argc, char **argv)
{
    struct request *r = g_new0(struct request, 1);
    int c, bad = 0;

    r->req.op = VIV_BLK_READ;
    r->pattern = -1;
    while (!bad && (c = getopt(argc, argv, "CP:iqv")) != -1)
        bad = flag(f, r, c, argv[0]);
    if (bad || operands(f, r, argc, argv, false)) {
        g_free(r);
        return 1;
    }
    return submit(f, r, 0xab);
}

static int cmd_aio_write(struct viv_blkio *f, int argc, char **argv)
{
    struct request *r = g_new0(struct request, 1);
    const char *wrong = NULL;
    bool zero;
    int c, bad = 0;

    r->req.op = VIV_BLK_WRITE;
    r->pattern = -1;
    while (!bad && (c = getopt(argc, argv, "CfiqP:uz")) != -1)
        bad = flag(f, r, c, argv[0]);
    zero = r->req.op == VIV_BLK_WRITE_ZEROES;
    if (zero && r->pattern >= 0)
        wrong = "-z and -P cannot be specified at the same time";
    else if (!zero && (r->req.flags & VIV_BLK_UNMAP))
        wrong = "-u requires -z to be specified";
    if (!bad && wrong)
        fprintf(f->out, "%s\n", wrong);
    if (bad || wrong || operands(f, r, argc, argv, zero)) {
        g_free(r);
        return 1;
    }
    return submit(f, r, r->pattern >= 0 ? r->pattern : 0xcd);
}

static int cmd_aio_flush(struct viv_blkio *f, int argc, char **argv)
{
    int64_t start = viv_blk_stats_clock();

    viv_blkio_aio_wait(NULL);
    viv_blk_count(f->blk, VIV_BLK_FLUSH, start, 0);
    return 0;
}

const struct viv_blkio_command viv_blkio_aio_commands[] = {
    {"aio_read", NULL, cmd_aio_read, 2, -1, false, "[-Ciqv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes",
     " The command succeeds once the request is under way: how it ended is told when it does.\n"
     " -C, -P, -q, -v as for read\n -i, -- only counted, as an invalid request\n"},
    {"aio_write", NULL, cmd_aio_write, 2, -1, false, "[-Cfiquz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes",
     " The command succeeds once the request is under way: how it ended is told when it does.\n"
     " -C, -f, -P, -q, -u, -z as for write\n -i, -- only counted, as an invalid request\n", VIV_PERM_WRITE},
    {"aio_flush", NULL, cmd_aio_flush, 0, 0, false, NULL, "completes all outstanding aio requests", NULL},
    {0},
};
