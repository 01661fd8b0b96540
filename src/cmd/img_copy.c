/* Threads take chunks in the order of the disk. What the source's map calls zero is not read; data is read and looked through for zeroes, or
 * copied by the host where it can. What has been read waits for its turn in a job, and whichever thread is free writes it: no thread sleeps
 * with a chunk in its hands. Room is given out in the order of the disk (so that the target's clusters lie in order), or as chunks come
 * with any_order. */
#include "cmd/img_copy_int.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Small enough that what four threads have read is still in the CPU's cache when it is written; a cluster of the target at least. */
#define CHUNK_MIN  (512u << 10)
#define CHUNK_MAX  (2u << 20)
#define HOST_CHUNK (8u << 20) /* what the host is asked to copy at once */

#define PATIENCE_SECONDS 3 /* for taking back what an interrupted copy has made */

/* The signal that is to end this program, once the copy has been taken back. */
static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
    alarm(PATIENCE_SECONDS);
}

/* Its default action is the signal's by now. */
static void on_alarm(int sig)
{
    (void)sig;
    raise(interrupted);
}

/* Ctrl-C and the like end the copy between two chunks; a second one ends the program at once, and so does a chunk that takes long (a
 * server that does not answer). */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static void catch_signals(struct sigaction old[3])
{
    struct sigaction mine = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}, late = {.sa_handler = on_alarm};

    sigaction(SIGALRM, &late, NULL);
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

void img_copy_failed(struct img_copier *k, int ret, const char *what, uint64_t offset)
{
    pthread_mutex_lock(&k->lock);
    if (!k->error) {
        k->error = ret;
        viv_fail_os(k->err, -ret, "error while %s at byte %" PRIu64, what, offset);
    }
    pthread_cond_broadcast(&k->work);
    pthread_mutex_unlock(&k->lock);
}

static int status_of(const struct img_copy *c, uint64_t at, uint64_t len, struct viv_extent *e)
{
    return c->look ? c->look(c, c->source_offset + at, len, e) : viv_node_status(c->source, c->source_offset + at, len, e);
}

/* --salvage: as far as the map can be told; what cannot be told of is for reading to find out. */
static void status_salvaged(const struct img_copy *c, uint64_t at, struct viv_extent *e)
{
    uint64_t unit = MAX(c->source->granule, SECTOR), least = MIN(c->len - at, unit - (c->source_offset + at) % unit), len = c->len - at;
    int ret;

    while ((ret = status_of(c, at, len, e)) != 0 && len > least)
        len = MAX(len / 4, least);
    if (!ret)
        return;
    if (!c->quiet)
        viv_warn("error while reading block status at offset %" PRIu64 ": %s", c->source_offset + at, strerror(-ret));
    *e = (struct viv_extent){.len = least, .kind = VIV_MAP_DATA};
}

/* What lies at k->next. Extents may be much longer than chunks: each is asked for once. */
static int look(struct img_copier *k, struct viv_extent *e)
{
    const struct img_copy *c = k->c;
    uint64_t at = k->next;
    int ret = 0;

    if (at >= k->seen_end) {
        ret = status_of(c, at, c->len - at, &k->seen);
        if (ret && c->salvage) {
            status_salvaged(c, at, &k->seen);
            ret = 0;
        }
        k->seen_end = ret ? 0 : at + k->seen.len;
    }
    *e = k->seen;
    e->len = k->seen_end - at;
    return ret;
}

/* Data chunks end at multiples of their size, so that clusters are written whole. */
static uint64_t chunk_len(const struct img_copier *k, const struct viv_extent *e, bool zero)
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
static bool to_cluster(const struct img_copier *k, uint64_t *len)
{
    uint64_t at = k->c->target_offset + k->next, end = at + *len;

    if (k->next + *len < k->c->len)
        end = viv_align_down(end, k->c->target->granule);
    *len = end > at ? end - at : 0;
    return *len;
}

/* The next piece of work, under the lock. 0, 1 (done) or a negative errno. */
static int take_chunk(struct img_copier *k, struct img_chunk *out)
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
    *out = (struct img_chunk){.offset = k->next, .number = k->next_number++};
    out->zero = e.kind == VIV_MAP_ZERO && k->c->sparse;
    if (out->zero && k->c->compressed)
        out->zero = to_cluster(k, &e.len);
    out->len = chunk_len(k, &e, out->zero);
    k->next += out->len;
    return 0;
}

/* The job whose turn it is to be written. Lock held. */
static struct img_job *find_ready(struct img_copier *k)
{
    struct img_job *first = NULL;

    for (struct img_job *j = k->job; j < k->job + k->jobs; j++)
        if (j->state == READY && (!first || j->ch.number < first->ch.number))
            first = j;
    return first && (k->c->any_order || first->ch.number == k->write_number) ? first : NULL;
}

/* The next chunk may be given room. Once a chunk, in its turn. Lock held. */
static void pass_turn(struct img_copier *k, struct img_chunk *ch)
{
    if (ch->passed)
        return;
    ch->passed = true;
    k->write_number++;
    if (k->sleepers && k->writers < k->max_writers && find_ready(k))
        pthread_cond_signal(&k->work);
}

void img_copy_placed(struct img_copier *k, struct img_chunk *ch)
{
    pthread_mutex_lock(&k->lock);
    pass_turn(k, ch);
    pthread_mutex_unlock(&k->lock);
}

/* --- the threads. These are called with the lock held, and let go of it while they work --- */

static void read_job(struct img_copier *k, struct img_job *j)
{
    int ret = take_chunk(k, &j->ch);

    if (ret) {
        k->all_taken = true;
        pthread_cond_broadcast(&k->work);
        pthread_mutex_unlock(&k->lock);
        if (ret < 0)
            img_copy_failed(k, ret, ret == -EINTR ? "copying" : "looking at the source", k->next);
        pthread_mutex_lock(&k->lock);
        return;
    }
    j->state = READING;
    k->idle--;
    pthread_mutex_unlock(&k->lock);
    j->late = img_chunk_is_hosts(k) || j->ch.len > k->chunk;
    if (!j->ch.zero && !j->late)
        img_chunk_read(k, &j->ch, &j->b);
    pthread_mutex_lock(&k->lock);
    j->state = READY;
}

/* Returns how long its thread is to wait then. */
static uint64_t finish_job(struct img_copier *k, struct img_job *j)
{
    const struct img_copy *c = k->c;

    pass_turn(k, &j->ch);
    img_progress_advance(c->progress, j->ch.len);
    j->state = FREE;
    k->idle++;
    /* Waking a CPU costs more than reading a chunk: not for one. */
    if (k->sleepers && !k->all_taken && (k->max_writers > 1 || 2 * k->idle >= k->jobs))
        pthread_cond_signal(&k->work);
    return c->rate && !j->ch.zero ? img_rate_delay(c->rate, j->ch.len) : 0;
}

static void write_job(struct img_copier *k, struct img_job *j)
{
    uint64_t wait = 0;
    int ret;

    j->state = WRITING;
    k->writers++;
    pthread_mutex_unlock(&k->lock);
    ret = img_chunk_write(k, j);
    pthread_mutex_lock(&k->lock);
    k->writers--;
    if (!ret)
        wait = finish_job(k, j);
    if (!wait)
        return;
    pthread_mutex_unlock(&k->lock);
    for (; wait && !interrupted; wait -= MIN(wait, 100000))
        g_usleep(MIN(wait, 100000));
    pthread_mutex_lock(&k->lock);
}

static struct img_job *find_idle(struct img_copier *k)
{
    for (struct img_job *j = k->job; j < k->job + k->jobs; j++)
        if (j->state == FREE)
            return j;
    return NULL;
}

static void *worker(void *opaque)
{
    struct img_copier *k = opaque;

    pthread_mutex_lock(&k->lock);
    while (!k->error) {
        struct img_job *j = k->writers < k->max_writers ? find_ready(k) : NULL;

        if (j) {
            write_job(k, j);
        } else if (k->all_taken) {
            break; /* what is still on its way is written by who reads it, or who writes what comes before it */
        } else if ((j = find_idle(k)) != NULL) {
            read_job(k, j);
        } else {
            k->sleepers++;
            pthread_cond_wait(&k->work, &k->lock);
            k->sleepers--;
        }
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* The kernel does buffered writes to one file one at a time, and who waits for his turn there keeps a CPU busy. */
static unsigned writers_max(const struct img_copier *k)
{
    bool one = viv_file_has_one_writer(k->c->target) && !k->c->target->crypt && !k->c->compressed && k->offload != IMG_OFFLOAD_COPY;

    return one ? 1 : MAX(k->c->threads, 1);
}

static void free_jobs(struct img_copier *k)
{
    for (struct img_job *j = k->job; j < k->job + k->jobs; j++)
        img_chunk_free(&j->b);
    g_free(k->job);
}

int img_copy(const struct img_copy *c, struct viv_err *err)
{
    struct img_copier k = {.c = c, .err = err};
    struct sigaction old[3];
    pthread_t thread[16];
    unsigned started = 0;

    k.backing_end = c->target->backing ? viv_node_size(c->target->backing) : 0;
    /* Compressed, each cluster of zeroes is left out: as data it would not be packed with its neighbours. */
    k.unit = c->compressed ? c->target->granule : MAX(c->sparse ? c->sparse : 4096, c->target->granule);
    k.chunk = MIN(CHUNK_MAX, MAX(CHUNK_MIN, c->target->granule));
    k.unit = MIN(k.chunk, k.unit);
    k.offload = k.backing_end || c->compare || c->compressed || c->salvage ? IMG_OFFLOAD_NO : c->offload;
    k.max_writers = writers_max(&k);
    k.jobs = k.idle = 2 * MAX(c->threads, 1);
    k.job = g_new0(struct img_job, k.jobs);
    pthread_mutex_init(&k.lock, NULL);
    pthread_cond_init(&k.work, NULL);
    catch_signals(old);
    while (started < MIN(c->threads, G_N_ELEMENTS(thread)) &&
           pthread_create(&thread[started], NULL, worker, &k) == 0)
        started++;
    if (!started)
        worker(&k);
    for (unsigned i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    release_signals(old);
    free_jobs(&k);
    pthread_cond_destroy(&k.work);
    pthread_mutex_destroy(&k.lock);
    return k.error;
}
