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
};

/* What a sector may hold: stamps in order of issue; [durable] is the newest that a flush covered. */
struct sector {
    GArray *stamps;    /* uint64_t */
    GArray *positions; /* log length when it was issued */
};

struct flush_point {
    guint log_start, log_end; /* issued, completed */
};

struct world {
    const struct config *cfg;
    GRand *rand;
    struct mem base, file;
    struct sector *sector;
    uint64_t sectors, stamp;
    GArray *flushes; /* struct flush_point */
};

static void fill(uint8_t *buf, uint64_t stamp)
{
    for (unsigned i = 0; i < SECTOR; i += 8)
        memcpy(buf + i, &stamp, 8);
}

static struct viv_node *open_image(struct world *w, struct mem *file)
{
    struct viv_node_opts o = {.no_backing = true, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (viv_node_open_format(&viv_blk_qcow2, mem_node(file), &o, &n, &err))
        g_error("open: %s", err.text);
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
    guint pos = w->file.log->len;

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
    struct flush_point f = {.log_start = w->file.log->len};

    g_assert_cmpint(viv_node_flush(n), ==, 0);
    f.log_end = w->file.log->len;
    g_array_append_val(w->flushes, f);
}

static void workload(struct world *w)
{
    struct viv_node *n = open_image(w, &w->file);

    for (unsigned i = 0; i < w->cfg->ops; i++) {
        uint64_t first = g_rand_int_range(w->rand, 0, w->sectors);
        uint64_t count = 1 + g_rand_int_range(w->rand, 0, 24);
        int what = g_rand_int_range(w->rand, 0, 100);

        count = MIN(count, w->sectors - first);
        if (what < 62) {
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
            n = open_image(w, &w->file);
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

static void verify(struct world *w, struct mem *file, guint cut)
{
    struct viv_node *n = open_image(w, file);
    uint8_t *buf = g_malloc(w->cfg->size);

    check_image(n, "after opening", cut);
    g_assert_cmpint(viv_node_pread(n, 0, buf, w->cfg->size), ==, 0);
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

static unsigned replay(struct world *w, const struct mem *start)
{
    struct mem now, stable, trial;
    guint last_flush = 0;
    unsigned tried = 0;

    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    mem_copy(&now, start);
    mem_copy(&stable, start);
    for (guint cut = 0; cut <= w->file.log->len; cut++) {
        if (cut % w->cfg->every == 0 || cut == w->file.log->len) {
            mem_copy(&trial, &now);
            verify(w, &trial, cut);
            mem_copy(&trial, &stable);
            for (guint i = last_flush; i < cut; i++)
                mem_replay(&trial, &g_array_index(w->file.log, struct mem_entry, i), w->rand);
            verify(w, &trial, cut);
            tried += 2;
        }
        if (cut == w->file.log->len)
            break;
        mem_replay(&now, &g_array_index(w->file.log, struct mem_entry, cut), NULL);
        if (g_array_index(w->file.log, struct mem_entry, cut).op == MEM_FLUSH) {
            mem_copy(&stable, &now);
            last_flush = cut + 1;
        }
    }
    mem_fini(&now);
    mem_fini(&stable);
    mem_fini(&trial);
    return tried;
}

static void start_world(struct world *w)
{
    struct viv_qcow2_create c = {.size = w->cfg->size,
                           .cluster_size = w->cfg->cluster_size,
                           .refcount_bits = w->cfg->refcount_bits,
                           .version = w->cfg->version,
                           .backing_file = w->cfg->backing ? "base" : NULL,
                           .backing_fmt = w->cfg->backing ? "raw" : NULL};
    struct viv_node *file;
    struct viv_err err = VIV_ERR_INIT;

    w->sectors = w->cfg->size / SECTOR;
    w->sector = g_new0(struct sector, w->sectors);
    w->flushes = g_array_new(FALSE, FALSE, sizeof(struct flush_point));
    mem_init(&w->base);
    mem_init(&w->file);
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
        mem_grow(&w->file, 3 * w->cfg->size);
        memset(w->file.data, 0x5a, w->file.size);
        w->file.device = true;
    }
    file = mem_node(&w->file);
    if (viv_qcow2_create(&c, file, &err))
        g_error("create: %s", err.text);
    viv_node_put(&file);
}

static void test_crash(gconstpointer data)
{
    struct world w = {.cfg = data, .rand = g_rand_new_with_seed(g_test_rand_int())};
    struct mem start;
    unsigned tried;

    start_world(&w);
    mem_init(&start);
    mem_copy(&start, &w.file);
    w.file.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    workload(&w);
    tried = replay(&w, &start);
    g_test_message("%u log entries, %u flushes, %u cuts", w.file.log->len, w.flushes->len, tried);
    for (uint64_t s = 0; s < w.sectors; s++) {
        g_array_free(w.sector[s].stamps, TRUE);
        g_array_free(w.sector[s].positions, TRUE);
    }
    g_free(w.sector);
    g_array_free(w.flushes, TRUE);
    mem_fini(&start);
    mem_fini(&w.base);
    mem_fini(&w.file);
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
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(configs); i++) {
        g_autofree char *path = g_strconcat("/block/qcow2/crash/", configs[i].name, NULL);

        g_test_add_data_func(path, &configs[i], test_crash);
    }
    return g_test_run();
}
