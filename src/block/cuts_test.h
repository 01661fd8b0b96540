/* Power cuts for the small formats' unit tests: after each prefix of the record of writes, and with
 * random sectors of what was written since the last flush, the image opens, checks without
 * corruption, each sector holds what the last flush made durable or a later write, and the image
 * stays sound when it is written again. Not part of any program. */
#ifndef VIV_BLOCK_CUTS_TEST_H
#define VIV_BLOCK_CUTS_TEST_H

#include "block/tables_test.h"

#include "base/checked.h"

struct cut_world {
    const struct viv_blk_driver *drv;
    const struct variant *v;
    struct mem start, file, base;
    GArray **stamps;    /* a sector: uint64_t, in order of issue */
    GArray **positions; /* guint: length of the record then */
    GArray *flushes;    /* guint pairs: start, end */
    GRand *rand;
};

static inline void issue(struct cut_world *w, uint64_t s, uint64_t stamp)
{
    guint pos = w->file.log ? w->file.log->len : 0;

    g_array_append_val(w->stamps[s], stamp);
    g_array_append_val(w->positions[s], pos);
}

static inline void cut_request(struct cut_world *w, struct viv_node *n, uint64_t stamp)
{
    uint64_t sectors = w->v->size / SECTOR, first = g_rand_int_range(w->rand, 0, sectors);
    uint64_t most = MIN(20, sectors - first), count = 1 + g_rand_int_range(w->rand, 0, most);
    bool zero = g_rand_int_range(w->rand, 0, 4) == 0;
    bool pack = (w->drv->pack || w->drv->write_compressed) && g_rand_int_range(w->rand, 0, 4) == 0;
    uint8_t *buf;

    if (pack) { /* a granule */
        zero = false;
        first = viv_align_down(first, n->granule / SECTOR);
        count = MIN(n->granule / SECTOR, sectors - first);
    }
    buf = g_malloc(count * SECTOR);
    for (uint64_t i = 0; i < count; i++) {
        fill(buf + i * SECTOR, stamp + i);
        issue(w, first + i, zero ? 0 : stamp + i);
    }
    if (zero)
        g_assert_cmpint(viv_node_write_zeroes(n, first * SECTOR, count * SECTOR, VIV_BLK_UNMAP), ==,
                        0);
    else if (pack)
        g_assert_cmpint(viv_node_write_compressed(n, first * SECTOR, buf, count * SECTOR), ==, 0);
    else
        g_assert_cmpint(viv_node_pwrite(n, first * SECTOR, buf, count * SECTOR), ==, 0);
    g_free(buf);
}

static inline void cut_flush(struct cut_world *w, struct viv_node *n)
{
    guint start = w->file.log->len, end;

    g_assert_cmpint(viv_node_flush(n), ==, 0);
    end = w->file.log->len;
    g_array_append_val(w->flushes, start);
    g_array_append_val(w->flushes, end);
}

static inline bool cut_allows(struct cut_world *w, uint64_t s, uint64_t stamp, guint cut)
{
    guint durable = 0, from = 0;

    for (guint i = 0; i < w->flushes->len; i += 2)
        if (g_array_index(w->flushes, guint, i + 1) <= cut)
            durable = g_array_index(w->flushes, guint, i);
    for (guint i = 0; i < w->stamps[s]->len; i++)
        if (g_array_index(w->positions[s], guint, i) <= durable && durable)
            from = i;
    for (guint i = from; i < w->stamps[s]->len; i++)
        if (g_array_index(w->stamps[s], uint64_t, i) == stamp &&
            g_array_index(w->positions[s], guint, i) <= cut)
            return true;
    return false;
}

static inline void cut_verify(struct cut_world *w, struct mem *file, guint cut)
{
    struct viv_node *n =
        open_with(w->drv, file, (struct viv_node_opts){.read_only = true, .for_check = true});
    uint8_t *buf = g_malloc(w->v->size);
    struct viv_check c = {0};

    g_assert_nonnull(n);
    g_assert_cmpint(w->drv->check(n, &c, NULL), ==, 0);
    /* Parallels counts the mark of use as one. */
    g_assert_cmpuint(c.corruptions, <=, strcmp(w->drv->name, "parallels") == 0);
    viv_node_put(&n);
    n = open_variant(w->drv, w->v, file, &w->base);
    expect_check(n, true);
    g_assert_cmpint(viv_node_pread(n, 0, buf, w->v->size), ==, 0);
    for (uint64_t s = 0; s < w->v->size / SECTOR; s++) {
        uint64_t stamp;

        memcpy(&stamp, buf + s * SECTOR, 8);
        for (unsigned i = 8; i < SECTOR; i += 8)
            g_assert_cmpint(memcmp(buf + s * SECTOR, buf + s * SECTOR + i, 8), ==, 0);
        if (!cut_allows(w, s, stamp, cut))
            g_error("cut %u: sector %" PRIu64 " holds stamp 0x%" PRIx64
                    ", which was lost or never was",
                    cut, s, stamp);
    }
    /* Life goes on: what was left behind must not be given out twice. */
    for (int i = 0; i < 6; i++)
        g_assert_cmpint(viv_node_pwrite(n,
                                        g_rand_int_range(w->rand, 0, w->v->size / SECTOR) * SECTOR,
                                        buf, SECTOR),
                        ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    expect_check(n, true);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_free(buf);
}

static inline guint cut_replay(struct cut_world *w, guint every)
{
    struct mem now, stable, trial;
    guint last_flush = 0, images = 0;

    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    mem_copy(&now, &w->start);
    mem_copy(&stable, &w->start);
    for (guint cut = 0; cut <= w->file.log->len; cut++) {
        if (cut % every == 0 || cut == w->file.log->len) {
            mem_copy(&trial, &now);
            cut_verify(w, &trial, cut);
            mem_copy(&trial, &stable);
            for (guint i = last_flush; i < cut; i++)
                mem_replay(&trial, &g_array_index(w->file.log, struct mem_entry, i), w->rand);
            cut_verify(w, &trial, cut);
            images += 2;
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
    return images;
}

static inline void run_cuts(const struct viv_blk_driver *drv, const struct variant *v, int requests,
                            guint every)
{
    struct cut_world w = {.drv = drv, .v = v, .rand = g_rand_new_with_seed(g_test_rand_int())};
    uint64_t sectors = v->size / SECTOR;
    struct viv_node *n;

    make(drv, v, &w.file);
    make_base(v, &w.base);
    mem_init(&w.start);
    mem_copy(&w.start, &w.file);
    w.stamps = g_new(GArray *, sectors);
    w.positions = g_new(GArray *, sectors);
    w.flushes = g_array_new(FALSE, FALSE, sizeof(guint));
    for (uint64_t s = 0; s < sectors; s++) {
        w.stamps[s] = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        w.positions[s] = g_array_new(FALSE, FALSE, sizeof(guint));
        issue(&w, s, s < v->base / SECTOR ? 1ull << 40 | s : 0);
    }
    w.file.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    n = open_variant(drv, v, &w.file, &w.base);
    for (int i = 0; i < requests; i++) {
        cut_request(&w, n, (uint64_t)(i + 1) << 16);
        if (g_rand_int_range(w.rand, 0, 5) == 0)
            cut_flush(&w, n);
        if (i % 40 == 39) {
            cut_flush(&w, n);
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = open_variant(drv, v, &w.file, &w.base);
        }
    }
    cut_flush(&w, n);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    mem_tell_cuts(w.file.log->len, cut_replay(&w, every));
    for (uint64_t s = 0; s < sectors; s++) {
        g_array_free(w.stamps[s], TRUE);
        g_array_free(w.positions[s], TRUE);
    }
    g_free(w.stamps);
    g_free(w.positions);
    g_array_free(w.flushes, TRUE);
    mem_fini(&w.start);
    mem_fini(&w.file);
    mem_fini(&w.base);
    g_rand_free(w.rand);
}

#endif
