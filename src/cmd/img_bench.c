/* viv-img bench: so many requests of one size, so many in flight, one offset after the other; how long it took. */
#include "cmd/img.h"

#include "base/checked.h"
#include "block/blk.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *path;
    bool write, drain, step_given, aio_given, writethrough;
    uint64_t count, depth, size, step, offset, flush_interval, pattern;
};

struct slot {
    struct viv_blk_req req;
    struct iovec v;
    struct bench *b;
    struct slot *next;
};

struct bench {
    const struct args *a;
    struct viv_blk *blk;
    uint64_t image;
    struct slot *slots, *idle; /* idle: under lock */
    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned flying; /* under lock */
    int error;       /* under lock: the first */
};

enum { OPT_FLUSH = IMG_OPT_OWN, OPT_PATTERN, OPT_NO_DRAIN };

static int take_number(const char *what, const char *text, uint64_t max, uint64_t *out)
{
    return viv_parse_u64(text, out, NULL) || *out > max ? img_error("Invalid %s specified", what) : 0;
}

static int take_aio(struct args *a, const char *text)
{
    a->aio_given = true;
    return viv_aio_parse(text, &a->common.o.aio) ? img_error("Invalid aio option: %s", text) : 0;
}

static int take(void *args, int c)
{
    struct args *a = args;

    switch (c) {
    case 'c':
        return take_number("request count", optarg, INT_MAX, &a->count);
    case 'd':
        return take_number("queue depth", optarg, INT_MAX, &a->depth);
    case 'i':
        return take_aio(a, optarg);
    case 'n':
        return take_aio(a, "native");
    case 'o':
        return img_parse_size("offset", optarg, &a->offset);
    case 's':
        return img_parse_size("buffer size", optarg, &a->size);
    case 'S':
        a->step_given = true;
        return img_parse_size("step_size", optarg, &a->step);
    case 't':
        return img_parse_cache("Invalid cache mode", optarg, &a->common.o, &a->writethrough);
    case 'w':
        a->write = true;
        return 0;
    case OPT_FLUSH:
        return take_number("flush interval", optarg, INT_MAX, &a->flush_interval);
    case OPT_PATTERN:
        return take_number("pattern byte", optarg, 255, &a->pattern);
    default:
        a->drain = false;
        return 0;
    }
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"flush-interval", required_argument, NULL, OPT_FLUSH},
                                          {"pattern", required_argument, NULL, OPT_PATTERN},
                                          {"no-drain", no_argument, NULL, OPT_NO_DRAIN},
                                          {0}};
    static const struct img_syntax syntax = {":hc:d:f:ni:o:qs:S:t:wU", longs, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    if (!a->depth)
        return 1 + img_error("Invalid queue depth specified: at least 1 request has to be in flight");
    if (!a->write && a->flush_interval)
        return 1 + img_error("--flush-interval is only available in write tests");
    if (a->flush_interval && a->flush_interval < a->depth)
        return 1 + img_error("Flush interval can't be smaller than depth");
    if (a->size > INT_MAX)
        return 1 + img_error("Invalid buffer size specified: at most %d bytes", INT_MAX);
    a->path = argv[optind];
    if (!a->step_given || !a->step)
        a->step = a->size;
    return 0;
}

/* --- the requests --- */

static void done(struct viv_blk_req *req, int result)
{
    struct slot *s = req->opaque;
    struct bench *b = s->b;

    pthread_mutex_lock(&b->lock);
    if (result && !b->error)
        b->error = result;
    s->next = b->idle;
    b->idle = s;
    b->flying--;
    pthread_mutex_unlock(&b->lock);
    pthread_cond_signal(&b->done);
}

/* An idle slot, or NULL after an error. */
static struct slot *get_slot(struct bench *b)
{
    struct slot *s = NULL;

    pthread_mutex_lock(&b->lock);
    while (!b->idle)
        pthread_cond_wait(&b->done, &b->lock);
    if (!b->error) {
        s = b->idle;
        b->idle = s->next;
        b->flying++;
    }
    pthread_mutex_unlock(&b->lock);
    return s;
}

static void wait_all(struct bench *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->flying)
        pthread_cond_wait(&b->done, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* Who did not say which way requests are to take gets the shortest one: this thread does what needs no disk, and with one request at a
 * time, which it would only wait for, all. -EAGAIN: neither. */
static int do_here(struct bench *b, const struct viv_blk_req *r)
{
    if (b->a->aio_given)
        return -EAGAIN;
    return b->a->depth == 1 ? viv_blk_run(b->blk, r) : viv_blk_try(b->blk, r);
}

static void submit(struct bench *b, struct slot *s, enum viv_blk_op op, uint64_t offset)
{
    bool data = op != VIV_BLK_FLUSH;
    int ret;

    s->req = (struct viv_blk_req){.op = op, .offset = data ? offset : 0, .len = data ? b->a->size : 0, .iov = &s->v,
                                  .iovcnt = data, .done = done, .opaque = s};
    ret = do_here(b, &s->req);
    if (ret == -EAGAIN)
        viv_blk_submit(b->blk, &s->req);
    else
        done(&s->req, ret);
}

static bool flush(struct bench *b)
{
    struct slot *s;

    if (b->a->drain)
        wait_all(b);
    s = get_slot(b);
    if (!s)
        return false;
    submit(b, s, VIV_BLK_FLUSH, 0);
    if (b->a->drain)
        wait_all(b);
    return true;
}

static int run(struct bench *b)
{
    const struct args *a = b->a;
    uint64_t offset = a->offset;

    for (uint64_t i = 0; i < a->count; i++) {
        struct slot *s = get_slot(b);

        if (!s)
            break;
        submit(b, s, a->write ? VIV_BLK_WRITE : VIV_BLK_READ, offset);
        offset += a->step;
        if (b->image && offset >= b->image)
            offset %= b->image;
        if (a->flush_interval && (i + 1) % a->flush_interval == 0 && !flush(b))
            break;
    }
    wait_all(b);
    return b->error;
}

/* --- around them --- */

static bool make_slots(struct bench *b)
{
    uint64_t n = b->a->depth, bytes;

    if (!viv_mul_u64(n, b->a->size, &bytes) || bytes > SIZE_MAX / 2)
        return false;
    b->slots = g_try_new0(struct slot, n);
    for (uint64_t i = 0; b->slots && i < n; i++) {
        struct slot *s = &b->slots[i];

        if (posix_memalign(&s->v.iov_base, 4096, MAX(b->a->size, 1)))
            return false;
        s->v.iov_len = b->a->size;
        memset(s->v.iov_base, b->a->write ? (int)b->a->pattern : 0, b->a->size);
        s->b = b;
        s->next = b->idle;
        b->idle = s;
    }
    return b->slots != NULL;
}

static void free_slots(struct bench *b)
{
    for (uint64_t i = 0; b->slots && i < b->a->depth; i++)
        free(b->slots[i].v.iov_base);
    g_free(b->slots);
}

static void announce(const struct args *a)
{
    printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64 " in parallel (starting at offset %" PRIu64
           ", step size %" PRIu64 ")\n", a->count, a->write ? "write" : "read", a->size, a->depth, a->offset, a->step);
    if (a->flush_interval)
        printf("Sending flush every %" PRIu64 " requests\n", a->flush_interval);
    fflush(stdout);
}

static int measure(struct bench *b)
{
    int64_t start;
    int ret;

    if (!make_slots(b)) {
        free_slots(b);
        return img_error("bench: no memory for %" PRIu64 " buffers of %" PRIu64 " bytes", b->a->depth, b->a->size);
    }
    announce(b->a);
    start = g_get_monotonic_time();
    ret = run(b);
    if (ret)
        img_error("Failed request: %s", strerror(ret == -EINVAL ? EIO : -ret));
    else
        printf("Run completed in %3.3f seconds.\n", (g_get_monotonic_time() - start) / 1e6);
    free_slots(b);
    return ret ? 1 : 0;
}

int img_bench(int argc, char **argv)
{
    struct args a = {.count = 75000, .depth = 64, .size = 4096, .drain = true};
    struct bench b = {.a = &a, .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    a.common.o.read_only = !a.write;
    if (img_open(&a.common, a.path, a.common.format, &a.common.o, &n, &err) ||
        viv_blk_new(n, VIV_PERM_READ | (a.write ? VIV_PERM_WRITE : 0), VIV_PERM_READ, "bench", a.writethrough, &b.blk, &err))
        return img_error("%s", err.text);
    b.image = viv_blk_size(b.blk);
    ret = measure(&b);
    if (viv_blk_close(b.blk, &err) && !ret)
        ret = img_error("%s", err.text);
    return ret;
}
