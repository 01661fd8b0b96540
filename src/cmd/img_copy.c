/* Threads take chunks in the order of the disk. What the source's map calls zero is not read; data is read and looked
 * through for zeroes. Reads run in parallel; writes happen in the order of the disk (so that the target's
 * clusters lie in order), or as they come with any_order. */
#include "cmd/img_copy.h"

#include "cmd/img_pack.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/iov.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define CHUNK  (2u << 20)
#define SECTOR 512u

struct chunk {
    uint64_t offset, len, number;
    bool zero;
};

/* What one thread works with. */
struct buffers {
    uint8_t *data, *old;
    struct img_packer *packer; /* compressed targets */
};

struct copier {
    const struct img_copy *c;
    uint64_t backing_end; /* of the target's backing file; 0: none */
    uint64_t unit;        /* zero runs are looked for in these */
    pthread_mutex_t lock;
    pthread_cond_t turn;
    uint64_t next, next_number, write_number; /* under lock */
    int error;
    struct viv_err *err;
};

/* The signal that is to end this program, once the copy has been taken back. */
static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
}

/* Ctrl-C and the like end the copy between two chunks; a second one ends the program at once. */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static void catch_signals(struct sigaction old[3])
{
    struct sigaction mine = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};

    for (int i = 0; i < 3; i++) {
        sigaction(signals[i], NULL, &old[i]);
        if (old[i].sa_handler != SIG_IGN) /* as nohup has it */
            sigaction(signals[i], &mine, NULL);
    }
}

static void release_signals(const struct sigaction old[3])
{
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &old[i], NULL);
}

void img_copy_raise(void)
{
    if (interrupted)
        raise(interrupted);
}

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

static int look(const struct copier *k, uint64_t at, struct viv_extent *e)
{
    const struct img_copy *c = k->c;

    return c->look ? c->look(c, c->source_offset + at, c->len - at, e)
                   : viv_node_status(c->source, c->source_offset + at, c->len - at, e);
}

/* Data chunks end at multiples of CHUNK, so that clusters are written whole. */
static uint64_t chunk_len(const struct copier *k, const struct viv_extent *e, bool zero)
{
    uint64_t rest = k->c->look ? e->len : k->c->len - k->next;

    return zero ? e->len : MIN(rest, CHUNK - (k->c->target_offset + k->next) % CHUNK);
}

/* Zeroes up to where a cluster of the target starts: what holds data too is compressed whole. False: nothing is left. */
static bool to_cluster(const struct copier *k, uint64_t *len)
{
    uint64_t at = k->c->target_offset + k->next, end = at + *len;

    if (k->next + *len < k->c->len)
        end = viv_align_down(end, k->c->target->granule);
    *len = end > at ? end - at : 0;
    return *len;
}

/* The next piece of work, under the lock. 0, 1 (done) or a negative errno. */
static int take_chunk(struct copier *k, struct chunk *out)
{
    struct viv_extent e = {0};
    int ret;

    for (;;) {
        if (k->error || k->next >= k->c->len)
            return 1;
        if (interrupted)
            return -EINTR;
        ret = look(k, k->next, &e);
        if (ret)
            return ret;
        if (e.kind != VIV_MAP_BACKING)
            break;
        k->next += e.len;
        img_progress_advance(k->c->progress, e.len);
    }
    *out = (struct chunk){.offset = k->next, .number = k->next_number++};
    out->zero = e.kind == VIV_MAP_ZERO && k->c->sparse;
    if (out->zero && k->c->compressed)
        out->zero = to_cluster(k, &e.len);
    out->len = chunk_len(k, &e, out->zero);
    k->next += out->len;
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

static void pass_turn(struct copier *k, const struct chunk *ch)
{
    uint64_t wait;

    pthread_mutex_lock(&k->lock);
    k->write_number++;
    img_progress_advance(k->c->progress, ch->len);
    wait = k->c->rate && !ch->zero ? img_rate_delay(k->c->rate, ch->len) : 0;
    pthread_cond_broadcast(&k->turn);
    pthread_mutex_unlock(&k->lock);
    for (; wait && !interrupted; wait -= MIN(wait, 100000))
        g_usleep(MIN(wait, 100000));
}

static int write_zero(struct copier *k, uint64_t offset, uint64_t len)
{
    uint64_t at = k->c->target_offset + offset;
    int ret = 0;

    if (k->c->compare) /* what the target shows now is not what it will show */
        return viv_node_write_zeroes(k->c->target, at, len, VIV_BLK_UNMAP);
    /* Unwritten parts read as zeroes already, unless a backing file shows there. */
    if (k->c->target_zero && at >= k->backing_end)
        return 0;
    for (struct viv_extent e; len && !ret; at += e.len, len -= e.len) {
        ret = viv_node_status(k->c->target, at, len, &e);
        if (!ret && e.kind != VIV_MAP_ZERO)
            ret = viv_node_write_zeroes(k->c->target, at, e.len, VIV_BLK_UNMAP);
    }
    return ret;
}

enum piece { PIECE_SAME, PIECE_ZERO, PIECE_DATA };

static enum piece judge(struct copier *k, const uint8_t *data, const uint8_t *old, uint64_t at,
                        uint64_t n)
{
    if (old && memcmp(data + at, old + at, n) == 0)
        return PIECE_SAME;
    return k->c->sparse && viv_buf_is_zero(data + at, n) ? PIECE_ZERO : PIECE_DATA;
}

static int write_data(struct copier *k, const struct buffers *b, uint64_t offset, const uint8_t *data, uint64_t len)
{
    if (b->packer)
        return img_packer_write(b->packer, k->c->target_offset + offset, data, len);
    return viv_node_pwrite(k->c->target, k->c->target_offset + offset, data, len);
}

/* Writes a chunk in runs of pieces of one kind. */
static int write_pieces(struct copier *k, const struct chunk *ch, const struct buffers *b)
{
    const uint8_t *data = b->data, *old = b->old;
    uint64_t at = 0;
    int ret = 0;

    while (at < ch->len && !ret) {
        uint64_t end = MIN(ch->len, at + k->unit - (k->c->target_offset + ch->offset + at) % k->unit);
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
            ret = write_data(k, b, ch->offset + at, data + at, end - at);
        at = end;
    }
    return ret ? ret : k->c->writethrough ? viv_node_flush(k->c->target) : 0;
}

/* What the target shows there now, or will: a backing file's bytes, zeroes past its end. */
static int read_old(struct copier *k, const struct chunk *ch, uint8_t *old)
{
    struct viv_node *n = k->c->compare ? k->c->like : k->c->target;
    uint64_t at = k->c->target_offset + ch->offset, size = n ? viv_node_size(n) : 0;
    uint64_t there = at < size ? MIN(ch->len, size - at) : 0;

    memset(old + there, 0, ch->len - there);
    return there ? viv_node_pread(n, at, old, there) : 0;
}

/* Sector by sector where a longer read failed. */
static int salvage(struct copier *k, const struct chunk *ch, uint8_t *data)
{
    for (uint64_t at = 0; at < ch->len; at += SECTOR) {
        uint64_t n = MIN(SECTOR, ch->len - at), offset = k->c->source_offset + ch->offset + at;
        int ret = viv_node_pread(k->c->source, offset, data + at, n);

        if (!ret)
            continue;
        memset(data + at, 0, n);
        viv_warn("error while reading offset %" PRIu64 ": %s", offset, strerror(-ret));
    }
    return 0;
}

static int read_chunk(struct copier *k, const struct chunk *ch, uint8_t *data)
{
    int ret = viv_node_pread(k->c->source, k->c->source_offset + ch->offset, data, ch->len);

    return ret && k->c->salvage ? salvage(k, ch, data) : ret;
}

static int pack_chunk(struct copier *k, const struct chunk *ch, const struct buffers *b)
{
    if (!b->packer)
        return 0;
    return img_packer_pack(b->packer, k->c->target_offset + ch->offset, b->data, b->old, ch->len, k->c->sparse);
}

static int copy_chunk(struct copier *k, const struct chunk *ch, const struct buffers *b)
{
    int ret;

    if (ch->zero) {
        wait_turn(k, ch);
        ret = write_zero(k, ch->offset, ch->len);
        if (ret)
            failed(k, ret, "writing", ch->offset);
        return ret;
    }
    ret = read_chunk(k, ch, b->data);
    if (ret) {
        failed(k, ret, "reading", ch->offset);
        return ret;
    }
    if (b->old && (ret = read_old(k, ch, b->old)) != 0) {
        failed(k, ret, "reading the backing file", ch->offset);
        return ret;
    }
    ret = pack_chunk(k, ch, b);
    if (ret) {
        failed(k, ret, "compressing", ch->offset);
        return ret;
    }
    wait_turn(k, ch);
    ret = write_pieces(k, ch, b);
    if (ret)
        failed(k, ret, "writing", ch->offset);
    return ret;
}

static int get_buffers(const struct copier *k, struct buffers *b)
{
    *b = (struct buffers){0};
    if (posix_memalign((void **)&b->data, 4096, CHUNK))
        return -ENOMEM;
    if ((k->backing_end || k->c->compare) && posix_memalign((void **)&b->old, 4096, CHUNK))
        return -ENOMEM;
    if (k->c->compressed && !(b->packer = img_packer_new(k->c->target, CHUNK)))
        return -ENOMEM;
    return 0;
}

static void *worker(void *opaque)
{
    struct copier *k = opaque;
    struct buffers b;
    struct chunk ch;
    int ret = get_buffers(k, &b);

    if (ret)
        failed(k, ret, "starting", 0);
    while (!ret) {
        pthread_mutex_lock(&k->lock);
        ret = take_chunk(k, &ch);
        pthread_mutex_unlock(&k->lock);
        if (ret < 0)
            failed(k, ret, ret == -EINTR ? "copying" : "looking at the source", k->next);
        if (!ret)
            ret = copy_chunk(k, &ch, &b);
        if (!ret)
            pass_turn(k, &ch);
    }
    free(b.data);
    free(b.old);
    img_packer_free(b.packer);
    return NULL;
}

int img_copy(const struct img_copy *c, struct viv_err *err)
{
    struct copier k = {.c = c, .err = err};
    struct sigaction old[3];
    pthread_t thread[16];
    unsigned started = 0;

    k.backing_end = c->target->backing ? viv_node_size(c->target->backing) : 0;
    /* Compressed, each cluster of zeroes is left out: as data it would not be packed with its neighbours. */
    k.unit = c->compressed ? c->target->granule : MAX(c->sparse ? c->sparse : 4096, c->target->granule);
    k.unit = MIN(CHUNK, k.unit);
    pthread_mutex_init(&k.lock, NULL);
    pthread_cond_init(&k.turn, NULL);
    catch_signals(old);
    while (started < MIN(c->threads, G_N_ELEMENTS(thread)) &&
           pthread_create(&thread[started], NULL, worker, &k) == 0)
        started++;
    if (!started)
        worker(&k);
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    release_signals(old);
    pthread_cond_destroy(&k.turn);
    pthread_mutex_destroy(&k.lock);
    return k.error;
}
