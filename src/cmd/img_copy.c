/* Threads take chunks in the order of the disk. What the source's map calls zero is not read; data is read and looked
 * through for zeroes. Reads run in parallel; writes happen in the order of the disk (so that the target's
 * clusters lie in order), or as they come with any_order. */
#include "cmd/img_copy.h"

#include "block/iov.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNK (2u << 20)

struct chunk {
    uint64_t offset, len, number;
    bool zero;
};

struct copier {
    const struct img_copy *c;
    uint64_t size;
    uint64_t backing_end; /* of the target's backing file; 0: none */
    uint64_t unit;        /* zero runs are looked for in these */
    pthread_mutex_t lock;
    pthread_cond_t turn;
    uint64_t next, next_number, write_number; /* under lock */
    int error;
    int percent;
    struct viv_err *err;
};

static void failed(struct copier *k, int ret, const char *what, uint64_t offset)
{
    pthread_mutex_lock(&k->lock);
    if (!k->error) {
        k->error = ret;
        viv_fail_os(k->err, -ret, "error while %s at byte %" PRIu64, what, offset);
    }
    pthread_cond_broadcast(&k->turn);
    pthread_mutex_unlock(&k->lock);
}

static void show_progress(struct copier *k)
{
    int percent = k->size ? k->next * 10000 / k->size : 10000;

    if (!k->c->progress || percent == k->percent)
        return;
    k->percent = percent;
    printf("    (%3.2f/100%%)\r", percent / 100.0);
    fflush(stdout);
}

/* The next piece of work, under the lock. 0, 1 (done) or a negative errno. */
static int take_chunk(struct copier *k, struct chunk *out)
{
    struct viv_extent e = {0};
    int ret;

    if (k->error || k->next >= k->size)
        return 1;
    ret = viv_node_status(k->c->source, k->next, k->size - k->next, &e);
    if (ret)
        return ret;
    *out = (struct chunk){.offset = k->next, .number = k->next_number++};
    out->zero = e.kind == VIV_MAP_ZERO && k->c->sparse;
    /* Data chunks end at multiples of CHUNK, so that clusters are written whole. */
    out->len = out->zero ? e.len : MIN(k->size - k->next, CHUNK - k->next % CHUNK);
    k->next += out->len;
    show_progress(k);
    return 0;
}

static void wait_turn(struct copier *k, const struct chunk *ch)
{
    if (k->c->any_order)
        return;
    pthread_mutex_lock(&k->lock);
    while (k->write_number != ch->number && !k->error)
        pthread_cond_wait(&k->turn, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

static void pass_turn(struct copier *k)
{
    pthread_mutex_lock(&k->lock);
    k->write_number++;
    pthread_cond_broadcast(&k->turn);
    pthread_mutex_unlock(&k->lock);
}

static int write_zero(struct copier *k, uint64_t offset, uint64_t len)
{
    /* Unwritten parts read as zeroes already, unless a backing file shows there. */
    if (k->c->target_zero && offset >= k->backing_end)
        return 0;
    return viv_node_write_zeroes(k->c->target, offset, len, VIV_BLK_UNMAP);
}

enum piece { PIECE_SAME, PIECE_ZERO, PIECE_DATA };

static enum piece judge(struct copier *k, const uint8_t *data, const uint8_t *old, uint64_t at,
                        uint64_t n)
{
    if (old && memcmp(data + at, old + at, n) == 0)
        return PIECE_SAME;
    return k->c->sparse && viv_buf_is_zero(data + at, n) ? PIECE_ZERO : PIECE_DATA;
}

/* Writes a chunk in runs of pieces of one kind. */
static int write_pieces(struct copier *k, const struct chunk *ch, const uint8_t *data,
                        const uint8_t *old)
{
    uint64_t at = 0;
    int ret = 0;

    while (at < ch->len && !ret) {
        uint64_t end = MIN(ch->len, at + k->unit - (ch->offset + at) % k->unit);
        enum piece kind = judge(k, data, old, at, end - at);

        while (end < ch->len) {
            uint64_t n = MIN(ch->len - end, k->unit);

            if (judge(k, data, old, end, n) != kind)
                break;
            end += n;
        }
        if (kind == PIECE_ZERO)
            ret = write_zero(k, ch->offset + at, end - at);
        else if (kind == PIECE_DATA)
            ret = viv_node_pwrite(k->c->target, ch->offset + at, data + at, end - at);
        at = end;
    }
    return ret;
}

/* What the target shows there now: its backing file's bytes. */
static int read_old(struct copier *k, const struct chunk *ch, uint8_t *old)
{
    return viv_node_pread(k->c->target, ch->offset, old, ch->len);
}

static int copy_chunk(struct copier *k, const struct chunk *ch, uint8_t *data, uint8_t *old)
{
    int ret;

    if (ch->zero) {
        wait_turn(k, ch);
        ret = write_zero(k, ch->offset, ch->len);
        if (ret)
            failed(k, ret, "writing", ch->offset);
        return ret;
    }
    ret = viv_node_pread(k->c->source, ch->offset, data, ch->len);
    if (ret) {
        failed(k, ret, "reading", ch->offset);
        return ret;
    }
    if (old && (ret = read_old(k, ch, old)) != 0) {
        failed(k, ret, "reading the backing file", ch->offset);
        return ret;
    }
    wait_turn(k, ch);
    ret = write_pieces(k, ch, data, old);
    if (ret)
        failed(k, ret, "writing", ch->offset);
    return ret;
}

static void *worker(void *opaque)
{
    struct copier *k = opaque;
    uint8_t *data = NULL, *old = NULL;
    struct chunk ch;
    int ret = 0;

    if (posix_memalign((void **)&data, 4096, CHUNK) ||
        (k->backing_end && posix_memalign((void **)&old, 4096, CHUNK))) {
        ret = -ENOMEM;
        failed(k, ret, "starting", 0);
    }
    while (!ret) {
        pthread_mutex_lock(&k->lock);
        ret = take_chunk(k, &ch);
        pthread_mutex_unlock(&k->lock);
        if (ret < 0)
            failed(k, ret, "looking at the source", k->next);
        if (!ret)
            ret = copy_chunk(k, &ch, data, old);
        if (!ret)
            pass_turn(k);
    }
    free(data);
    free(old);
    return NULL;
}

int img_copy(const struct img_copy *c, struct viv_err *err)
{
    struct copier k = {.c = c, .size = viv_node_size(c->source), .percent = -1, .err = err};
    pthread_t thread[16];
    unsigned started = 0;

    k.backing_end = c->target->backing ? viv_node_size(c->target->backing) : 0;
    k.unit = MIN(CHUNK, MAX(c->sparse ? c->sparse : 4096, c->target->granule));
    pthread_mutex_init(&k.lock, NULL);
    pthread_cond_init(&k.turn, NULL);
    while (started < MIN(c->threads, G_N_ELEMENTS(thread)) &&
           pthread_create(&thread[started], NULL, worker, &k) == 0)
        started++;
    if (!started)
        worker(&k);
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    if (c->progress)
        printf(k.error ? "\n" : "    (100.00/100%%)\n");
    pthread_cond_destroy(&k.turn);
    pthread_mutex_destroy(&k.lock);
    return k.error;
}
