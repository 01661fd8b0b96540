/* Power cuts. A random workload runs on an image whose file records every write and flush; then the file is rebuilt
 * as a cut could have left it: after each prefix of the record, and with random subsets of the sectors
 * written since the last flush (the disk may do those in any order). Each time the image must open, check
 * without corruption (leaks are allowed), hold what the last completed flush made durable or something written
 * since, sector by sector, and stay sound when it is written again. */
#include "block/fmt/qcow2/qcow2.h"
#include "block/image.h"
#include "block/mem_test.h"

#include <inttypes.h>

#define SECTOR 512

struct config {
    const char *name;
    uint32_t cluster_size, refcount_bits;
    int version;
    bool backing;
    uint64_t size;
    unsigned ops;
    unsigned every; /* prefixes tried: one in so many */
    bool device;    /* garbage where nothing was written */
    bool extended;  /* subclusters */
    bool compress, zstd; /* some writes are of compressed clusters */
    bool data_file, data_raw;
    bool forget; /* no ops: what the backing file holds is written, and forgotten */
};

/* What a sector may hold: stamps in order of issue; [durable] is the newest that a flush covered. */
struct sector {
    GArray *stamps;    /* uint64_t */
    GArray *positions; /* log length when it was issued */
};

struct flush_point {
    guint log_start, log_end; /* issued, completed */
};

/* What is on the disk: the image, and its data file where it has one. */
struct files {
    struct mem image, data;
};

struct world {
    const struct config *cfg;
    GRand *rand;
    struct mem base;
    struct files f;
    struct sector *sector;
    uint64_t sectors, stamp;
    GArray *flushes; /* struct flush_point */
};

static void fill(uint8_t *buf, uint64_t stamp)
{
    for (unsigned i = 0; i < SECTOR; i += 8)
        memcpy(buf + i, &stamp, 8);
}

static struct viv_node *open_image(struct world *w, struct files *f)
{
    struct viv_node_opts o = {.no_backing = true, .unmap = true};
    struct viv_node *data = w->cfg->data_file ? mem_node(&f->data) : NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    o.data_file = data;
    if (viv_node_open_format(&viv_blk_qcow2, mem_node(&f->image), &o, &n, &err))
        g_error("open: %s", err.text);
    viv_node_put(&data);
    if (w->cfg->backing) {
        struct viv_node_opts ro = {.read_only = true};

        g_assert_cmpint(viv_node_open_format(viv_blk_driver_find("raw"), mem_node(&w->base), &ro,
                                             &n->backing, &err),
                        ==, 0);
    }
    return n;
}

static void issue(struct world *w, uint64_t s, uint64_t stamp)
{
    guint pos = w->f.image.log->len;

    g_array_append_val(w->sector[s].stamps, stamp);
    g_array_append_val(w->sector[s].positions, pos);
}

static void do_write(struct world *w, struct viv_node *n, uint64_t first, uint64_t count)
{
    uint8_t *buf = g_malloc(count * SECTOR);

    for (uint64_t i = 0; i < count; i++) {
        fill(buf + i * SECTOR, ++w->stamp);
        issue(w, first + i, w->stamp);
    }
    g_assert_cmpint(viv_node_pwrite(n, first * SECTOR, buf, count * SECTOR), ==, 0);
    g_free(buf);
}

/* The clusters that hold these sectors. */
static void do_write_compressed(struct world *w, struct viv_node *n, uint64_t first, uint64_t count)
{
    uint64_t per_cluster = w->cfg->cluster_size / SECTOR, end = first + count;

    for (first -= first % per_cluster; first < end; first += per_cluster) {
        uint64_t sectors = MIN(per_cluster, w->sectors - first);
        g_autofree uint8_t *buf = g_malloc(sectors * SECTOR);

        for (uint64_t i = 0; i < sectors; i++) {
            fill(buf + i * SECTOR, ++w->stamp);
            issue(w, first + i, w->stamp);
        }
        g_assert_cmpint(viv_node_write_compressed(n, first * SECTOR, buf, sectors * SECTOR), ==, 0);
    }
}

static void do_zero(struct world *w, struct viv_node *n, uint64_t first, uint64_t count,
                    bool discard)
{
    for (uint64_t i = 0; i < count; i++)
        issue(w, first + i, 0);
    if (discard)
        g_assert_cmpint(viv_node_discard(n, first * SECTOR, count * SECTOR), ==, 0);
    else
        g_assert_cmpint(viv_node_write_zeroes(n, first * SECTOR, count * SECTOR,
                                              g_rand_boolean(w->rand) ? VIV_BLK_UNMAP : 0),
                        ==, 0);
}

static void do_flush(struct world *w, struct viv_node *n)
{
    struct flush_point f = {.log_start = w->f.image.log->len};

    g_assert_cmpint(viv_node_flush(n), ==, 0);
    f.log_end = w->f.image.log->len;
    g_array_append_val(w->flushes, f);
}

/* As commit does it: here and below there is the same, then it is here no more. */
static void do_forget(struct world *w, struct viv_node *n)
{
    g_assert_cmpint(viv_node_pwrite(n, 0, w->base.data, w->base.size), ==, 0);
    do_flush(w, n);
    g_assert_cmpint(viv_node_forget(n), ==, 0);
}

static void workload(struct world *w)
{
    struct viv_node *n = open_image(w, &w->f);

    if (w->cfg->forget)
        do_forget(w, n);
    for (unsigned i = 0; i < w->cfg->ops; i++) {
        uint64_t first = g_rand_int_range(w->rand, 0, w->sectors);
        uint64_t count = 1 + g_rand_int_range(w->rand, 0, 24);
        int what = g_rand_int_range(w->rand, 0, 100);

        count = MIN(count, w->sectors - first);
        if (what < 62 && w->cfg->compress && what & 1) {
            do_write_compressed(w, n, first, count);
        } else if (what < 62) {
            do_write(w, n, first, count);
        } else if (what < 72) {
            do_zero(w, n, first, count, false);
        } else if (what < 82) {
            /* A discard may do nothing: only whole clusters without a backing file are certain. So both the
             * old stamp and zero stay allowed: the old one is issued again behind the zero. */
            for (uint64_t s = first; s < first + count; s++) {
                uint64_t old =
                    g_array_index(w->sector[s].stamps, uint64_t, w->sector[s].stamps->len - 1);

                issue(w, s, old);
            }
            do_zero(w, n, first, count, true);
            for (uint64_t s = first; s < first + count; s++) {
                uint8_t buf[SECTOR];
                uint64_t now;

                g_assert_cmpint(viv_node_pread(n, s * SECTOR, buf, SECTOR), ==, 0);
                memcpy(&now, buf, 8);
                issue(w, s, now);
            }
        } else if (what < 97) {
            do_flush(w, n);
        } else {
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = open_image(w, &w->f);
        }
    }
    do_flush(w, n);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* Is `stamp` allowed in sector s when the power went after `cut` log entries? */
static bool allowed(struct world *w, uint64_t s, uint64_t stamp, guint cut)
{
    const struct sector *x = &w->sector[s];
    guint durable_at = 0, newest = 0;
    bool flushed = false;

    for (guint i = 0; i < w->flushes->len; i++) {
        struct flush_point *f = &g_array_index(w->flushes, struct flush_point, i);

        if (f->log_end <= cut) {
            durable_at = f->log_start;
            flushed = true;
        }
    }
    for (guint i = 0; flushed && i < x->stamps->len; i++)
        if (g_array_index(x->positions, guint, i) <= durable_at)
            newest = i;
    /* A request that was issued at the same log length as the flush came before it. */
    for (guint i = newest; i < x->stamps->len; i++)
        if (g_array_index(x->positions, guint, i) <= cut &&
            g_array_index(x->stamps, uint64_t, i) == stamp)
            return true;
    return false;
}

static void check_image(struct viv_node *n, const char *when, guint cut)
{
    struct viv_check c = {0};
    struct viv_err err = VIV_ERR_INIT;

    if (n->drv->check(n, &c, &err))
        g_error("cut %u %s: %s", cut, when, err.text);
    if (c.corruptions || c.check_errors)
        g_error("cut %u %s: %" PRIu64 " corruptions, %" PRIu64 " errors", cut, when, c.corruptions,
                c.check_errors);
}

static void verify_sectors(struct world *w, const uint8_t *buf, guint cut)
{
    for (uint64_t s = 0; s < w->sectors; s++) {
        uint64_t stamp;

        memcpy(&stamp, buf + s * SECTOR, 8);
        if (!viv_buf_is_zero(buf + s * SECTOR, SECTOR) || stamp)
            for (unsigned i = 8; i < SECTOR; i += 8)
                g_assert_cmpint(memcmp(buf + s * SECTOR, buf + s * SECTOR + i, 8), ==, 0);
        if (!allowed(w, s, stamp, cut))
            g_error("cut %u: sector %" PRIu64 " holds stamp %" PRIu64
                    ", which was lost or never was",
                    cut, s, stamp);
    }
}

static void verify(struct world *w, struct files *f, guint cut)
{
    struct viv_node *n = open_image(w, f);
    uint8_t *buf = g_malloc(w->cfg->size);

    check_image(n, "after opening", cut);
    g_assert_cmpint(viv_node_pread(n, 0, buf, w->cfg->size), ==, 0);
    verify_sectors(w, buf, cut);
    if (w->cfg->data_raw) { /* whoever reads the data file alone sees as much */
        g_assert_cmpuint(f->data.size, ==, w->cfg->size);
        verify_sectors(w, f->data.data, cut);
    }
    /* Life goes on: what was left behind must not be given out twice. */
    for (int i = 0; i < 8; i++) {
        uint64_t s = g_rand_int_range(w->rand, 0, w->sectors);

        fill(buf, UINT64_MAX - i);
        g_assert_cmpint(viv_node_pwrite(n, s * SECTOR, buf, SECTOR), ==, 0);
    }
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    check_image(n, "after writing", cut);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_free(buf);
}

static void files_init(struct files *f)
{
    mem_init(&f->image);
    mem_init(&f->data);
    f->data.id = 1;
}

static void files_fini(struct files *f)
{
    f->data.log = NULL; /* the image's */
    mem_fini(&f->image);
    mem_fini(&f->data);
}

static void files_copy(struct files *to, const struct files *from)
{
    mem_copy(&to->image, &from->image);
    mem_copy(&to->data, &from->data);
}

static struct mem *file_of(struct files *f, const struct mem_entry *e)
{
    return e->file ? &f->data : &f->image;
}

/* What a disk may hold that had done `cut` entries: of each file some of what came since its own last flush. */
static void random_cut(struct world *w, struct files *trial, const struct files *stable, guint cut,
                       const guint last_flush[2])
{
    files_copy(trial, stable);
    for (guint i = MIN(last_flush[0], last_flush[1]); i < cut; i++) {
        const struct mem_entry *e = &g_array_index(w->f.image.log, struct mem_entry, i);

        if (i >= last_flush[e->file])
            mem_replay(file_of(trial, e), e, w->rand);
    }
}

static unsigned replay(struct world *w, const struct files *start)
{
    GArray *log = w->f.image.log;
    struct files now, stable, trial;
    guint last_flush[2] = {0};
    unsigned tried = 0;

    files_init(&now);
    files_init(&stable);
    files_init(&trial);
    files_copy(&now, start);
    files_copy(&stable, start);
    for (guint cut = 0; cut <= log->len; cut++) {
        const struct mem_entry *e = &g_array_index(log, struct mem_entry, cut);

        if (cut % w->cfg->every == 0 || cut == log->len) {
            files_copy(&trial, &now);
            verify(w, &trial, cut);
            random_cut(w, &trial, &stable, cut, last_flush);
            verify(w, &trial, cut);
            tried += 2;
        }
        if (cut == log->len)
            break;
        mem_replay(file_of(&now, e), e, NULL);
        if (e->op == MEM_FLUSH) {
            mem_copy(file_of(&stable, e), file_of(&now, e));
            last_flush[e->file] = cut + 1;
        }
    }
    files_fini(&now);
    files_fini(&stable);
    files_fini(&trial);
    return tried;
}

static void start_world(struct world *w)
{
    struct viv_qcow2_create c = {.size = w->cfg->size,
                           .cluster_size = w->cfg->cluster_size,
                           .refcount_bits = w->cfg->refcount_bits,
                           .version = w->cfg->version,
                           .backing_file = w->cfg->backing ? "base" : NULL,
                           .backing_fmt = w->cfg->backing ? "raw" : NULL,
                           .extended_l2 = w->cfg->extended,
                           .zstd = w->cfg->zstd,
                           .data_file = w->cfg->data_file ? "data" : NULL,
                           .data_file_raw = w->cfg->data_raw,
                           .prealloc = w->cfg->data_raw ? VIV_PREALLOC_METADATA : VIV_PREALLOC_OFF};
    struct viv_node *file;
    struct viv_err err = VIV_ERR_INIT;

    w->sectors = w->cfg->size / SECTOR;
    w->sector = g_new0(struct sector, w->sectors);
    w->flushes = g_array_new(FALSE, FALSE, sizeof(struct flush_point));
    mem_init(&w->base);
    files_init(&w->f);
    /* The backing image is shorter than the disk. */
    mem_grow(&w->base, w->cfg->size / 4 * 3);
    for (uint64_t s = 0; s < w->sectors; s++) {
        uint64_t stamp = 0;
        guint zero = 0;

        if (w->cfg->backing && (s + 1) * SECTOR <= w->base.size) {
            stamp = 1ull << 40 | s;
            fill(w->base.data + s * SECTOR, stamp);
        }
        w->sector[s].stamps = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        w->sector[s].positions = g_array_new(FALSE, FALSE, sizeof(guint));
        g_array_append_val(w->sector[s].stamps, stamp);
        g_array_append_val(w->sector[s].positions, zero);
    }
    if (w->cfg->device) {
        mem_grow(&w->f.image, 3 * w->cfg->size);
        memset(w->f.image.data, 0x5a, w->f.image.size);
        w->f.image.device = true;
    }
    if (w->cfg->data_file) {
        mem_grow(&w->f.data, w->cfg->size);
        c.data = mem_node(&w->f.data);
    }
    file = mem_node(&w->f.image);
    if (viv_qcow2_create(&c, file, &err))
        g_error("create: %s", err.text);
    viv_node_put(&file);
    viv_node_put(&c.data);
}

static void test_crash(gconstpointer data)
{
    struct world w = {.cfg = data, .rand = g_rand_new_with_seed(g_test_rand_int())};
    struct files start;

    start_world(&w);
    files_init(&start);
    files_copy(&start, &w.f);
    w.f.image.log = w.f.data.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    workload(&w);
    mem_tell_cuts(w.f.image.log->len, replay(&w, &start));
    for (uint64_t s = 0; s < w.sectors; s++) {
        g_array_free(w.sector[s].stamps, TRUE);
        g_array_free(w.sector[s].positions, TRUE);
    }
    g_free(w.sector);
    g_array_free(w.flushes, TRUE);
    files_fini(&start);
    mem_fini(&w.base);
    files_fini(&w.f);
    g_rand_free(w.rand);
}

int main(int argc, char **argv)
{
    static const struct config configs[] = {
        {"plain", 4096, 16, 3, false, 512 * 1024, 200, 3},
        {"backing", 4096, 16, 3, true, 512 * 1024, 200, 3},
        {"v2-backing", 4096, 16, 2, true, 512 * 1024, 150, 5},
        {"tiny-clusters-grow-table", 512, 64, 3, true, 3 << 20, 700, 61},
        {"new-tables", 512, 16, 3, false, 4 << 20, 220, 3, true},
        {"one-bit-refcounts", 1024, 1, 3, false, 512 * 1024, 150, 5},
        {"big-clusters", 65536, 16, 3, true, 4 << 20, 100, 7},
        {"compressed", 4096, 16, 3, false, 512 * 1024 + 1536, 200, 3, .compress = true},
        {"compressed-zstd-backing", 512, 2, 3, true, 256 * 1024, 200, 5, .compress = true, .zstd = true},
        {"compressed-one-bit", 4096, 1, 3, false, 512 * 1024, 150, 5, .compress = true},
        {"subclusters", 16384, 16, 3, false, 2 << 20, 200, 3, .extended = true},
        {"subclusters-backing", 16384, 16, 3, true, 2 << 20, 200, 3, .extended = true, .compress = true},
        {"subclusters-device", 65536, 16, 3, true, 4 << 20, 150, 3, true, .extended = true},
        {"data-file", 4096, 16, 3, false, 512 * 1024, 200, 3, .data_file = true},
        {"data-file-backing", 4096, 16, 3, true, 512 * 1024, 200, 3, .data_file = true},
        {"forget", 4096, 16, 3, true, 512 * 1024, 0, 1, .forget = true},
        {"data-file-forget", 4096, 16, 3, true, 512 * 1024, 0, 1, .data_file = true, .forget = true},
        {"data-file-raw", 4096, 16, 3, false, 512 * 1024, 200, 3, .data_file = true, .data_raw = true},
        {"data-file-subclusters", 16384, 16, 3, true, 2 << 20, 200, 3, .data_file = true, .extended = true},
        {"data-file-raw-subclusters", 16384, 16, 3, false, 2 << 20, 200, 3, .data_file = true, .data_raw = true, .extended = true},
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(configs); i++) {
        g_autofree char *path = g_strconcat("/block/qcow2/crash/", configs[i].name, NULL);

        g_test_add_data_func(path, &configs[i], test_crash);
    }
    return g_test_run();
}
