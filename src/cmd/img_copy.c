/* Threads take chunks in the order of the disk. What the source's map calls zero is not read; data is read and looked
 * through for zeroes, or copied by the host where it can. Reads and writes run in parallel; room is given out in the order of the disk
 * (so that the target's clusters lie in order), or as chunks come with any_order. */
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

/* Small enough that what four threads have read is still in the CPU's cache when it is written; a cluster of the target at least. */
#define CHUNK_MIN  (512u << 10)
#define CHUNK_MAX  (2u << 20)
#define HOST_CHUNK (8u << 20) /* what the host is asked to copy at once */
#define SECTOR     512u

struct chunk {
    uint64_t offset, len, number;
    bool zero;
    bool passed; /* the next chunk has been let on */
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
    uint64_t chunk;       /* bytes that a thread reads at once */
    enum img_offload offload; /* atomic */
    bool by_host;             /* atomic: the host has copied something */
    pthread_mutex_t lock;
    pthread_cond_t turn;
    uint64_t next, next_number, write_number; /* under lock */
    struct viv_extent seen; /* under lock: what lies from `next` on, up to seen_end */
    uint64_t seen_end;
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

/* What lies at k->next. Extents may be much longer than chunks: each is asked for once. */
static int look(struct copier *k, struct viv_extent *e)
{
    const struct img_copy *c = k->c;
    uint64_t at = k->next;
    int ret = 0;

    if (at >= k->seen_end) {
        ret = c->look ? c->look(c, c->source_offset + at, c->len - at, &k->seen)
                      : viv_node_status(c->source, c->source_offset + at, c->len - at, &k->seen);
        k->seen_end = ret ? 0 : at + k->seen.len;
    }
    *e = k->seen;
    e->len = k->seen_end - at;
    return ret;
}

/* Data chunks end at multiples of their size, so that clusters are written whole. */
static uint64_t chunk_len(const struct copier *k, const struct viv_extent *e, bool zero)
{
    bool by_host = __atomic_load_n(&k->offload, __ATOMIC_RELAXED) != IMG_OFFLOAD_NO;
    uint64_t max = by_host && __atomic_load_n(&k->by_host, __ATOMIC_RELAXED) ? HOST_CHUNK : k->chunk;
    uint64_t rest = k->c->look || by_host ? e->len : k->c->len - k->next;
    uint64_t at = k->c->target_offset + k->next;

    if (by_host && !viv_is_aligned(at, k->c->target->granule)) /* by hand up to there */
        max = k->c->target->granule;
    return zero ? e->len : MIN(rest, max - at % max);
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
        ret = look(k, &e);
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

/* The next chunk may be given room. Once a chunk, in its turn. */
static void pass_turn(struct copier *k, struct chunk *ch)
{
    if (ch->passed)
        return;
    ch->passed = true;
    pthread_mutex_lock(&k->lock);
    k->write_number++;
    pthread_cond_broadcast(&k->turn);
    pthread_mutex_unlock(&k->lock);
}

static void finish_chunk(struct copier *k, const struct chunk *ch)
{
    uint64_t wait;

    pthread_mutex_lock(&k->lock);
    img_progress_advance(k->c->progress, ch->len);
    wait = k->c->rate && !ch->zero ? img_rate_delay(k->c->rate, ch->len) : 0;
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

struct turn {
    struct copier *k;
    struct chunk *ch;
};

static void placed(void *opaque)
{
    struct turn *t = opaque;

    pass_turn(t->k, t->ch);
}

/* The bytes from `at` on of a chunk. Once its last ones have their place, the next chunk's turn comes. */
static int write_data(struct copier *k, struct chunk *ch, const struct buffers *b, uint64_t at, uint64_t len)
{
    uint64_t offset = k->c->target_offset + ch->offset + at;
    struct turn t = {k, ch};

    if (b->packer)
        return img_packer_write(b->packer, offset, b->data + at, len);
    if (at + len < ch->len)
        return viv_node_pwrite(k->c->target, offset, b->data + at, len);
    return viv_node_pwrite_placed(k->c->target, offset, b->data + at, len, placed, &t);
}

/* Writes a chunk in runs of pieces of one kind. */
static int write_pieces(struct copier *k, struct chunk *ch, const struct buffers *b)
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
            ret = write_data(k, ch, b, at, end - at);
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

/* By the host, in its turn. 0 with what it left in *rest, which has to be read and written. */
static int copy_by_host(struct copier *k, struct chunk *rest)
{
    const struct img_copy *c = k->c;
    bool share = k->offload == IMG_OFFLOAD_SHARE;
    int ret = 0;

    wait_turn(k, rest);
    while (rest->len && !ret) {
        uint64_t done;

        ret = viv_node_copy_range(c->source, c->source_offset + rest->offset, c->target, c->target_offset + rest->offset, rest->len,
                                  share, &done);
        if (ret)
            break;
        rest->offset += done;
        rest->len -= done;
        __atomic_store_n(&k->by_host, true, __ATOMIC_RELAXED);
    }
    /* Some pieces cannot be had this way (compressed clusters, the end of a file); if the first one cannot, none will be. */
    if (ret == -ENOTSUP && !__atomic_load_n(&k->by_host, __ATOMIC_RELAXED))
        __atomic_store_n(&k->offload, IMG_OFFLOAD_NO, __ATOMIC_RELAXED);
    if (ret == -ENOTSUP)
        return 0;
    if (ret)
        failed(k, ret, "copying", rest->offset);
    return ret;
}

static int copy_by_hand(struct copier *k, struct chunk *ch, const struct buffers *b)
{
    int ret = read_chunk(k, ch, b->data);

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

static int copy_chunk(struct copier *k, struct chunk *ch, const struct buffers *b)
{
    bool by_host = __atomic_load_n(&k->offload, __ATOMIC_RELAXED) != IMG_OFFLOAD_NO;
    struct chunk rest = *ch;
    int ret = 0;

    if (ch->zero) {
        wait_turn(k, ch);
        ret = write_zero(k, ch->offset, ch->len);
        if (ret)
            failed(k, ret, "writing", ch->offset);
        return ret;
    }
    if (by_host)
        ret = copy_by_host(k, &rest);
    else if (ch->len <= k->chunk)
        return copy_by_hand(k, ch, b);
    while (rest.len && !ret) {
        struct chunk part = rest;

        part.len = MIN(rest.len, k->chunk - (k->c->target_offset + rest.offset) % k->chunk);
        part.passed = true; /* the turn is this chunk's until all of it is done */
        ret = copy_by_hand(k, &part, b);
        rest.offset += part.len;
        rest.len -= part.len;
    }
    return ret;
}

static int get_buffers(const struct copier *k, struct buffers *b)
{
    *b = (struct buffers){0};
    if (posix_memalign((void **)&b->data, 4096, k->chunk))
        return -ENOMEM;
    if ((k->backing_end || k->c->compare) && posix_memalign((void **)&b->old, 4096, k->chunk))
        return -ENOMEM;
    if (k->c->compressed && !(b->packer = img_packer_new(k->c->target, k->chunk)))
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
        if (!ret) {
            pass_turn(k, &ch);
            finish_chunk(k, &ch);
        }
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
    k.chunk = MIN(CHUNK_MAX, MAX(CHUNK_MIN, c->target->granule));
    k.unit = MIN(k.chunk, k.unit);
    k.offload = k.backing_end || c->compare || c->compressed || c->salvage ? IMG_OFFLOAD_NO : c->offload;
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
