/* check: every table and cluster that the tables name is used once and lies in the file; the rest has leaked.
 *
 * A repair clears entries that point outside (the data they meant is not there), and cuts leaked clusters off the end
 * of the file. Two entries for one cluster cannot be mended: nobody knows whose data it is. Work is bounded by the
 * file: a table is walked once, holes are passed over. */
#include "block/fmt/qed/qed_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

struct checker {
    struct qed *q;
    struct viv_check *c;
    uint8_t *used; /* a bit a cluster */
    uint64_t last; /* host of the data cluster before */
};

/* Marks clusters; false when one was used before. The range lies in the file. */
static bool use(struct checker *k, uint64_t offset, uint64_t bytes)
{
    bool first = true;

    for (uint64_t i = offset >> k->q->cluster_bits; i < (offset + bytes) >> k->q->cluster_bits;
         i++) {
        first &= !(k->used[i / 8] >> (i % 8) & 1);
        k->used[i / 8] |= 1u << (i % 8);
    }
    return first;
}

static void check_entry(struct checker *k, struct qed_page *p, uint64_t i, uint64_t guest)
{
    struct qed *q = k->q;
    uint64_t host = viv_ld_le64(p->data + i * 8);

    if (host <= QED_ZERO)
        return;
    k->c->allocated++;
    k->c->fragmented += k->last && host != k->last + q->cluster_size;
    k->last = host;
    if (qed_data_ok(q, host)) {
        if (!use(k, host, q->cluster_size)) {
            viv_check_say(k->c, "ERROR guest offset 0x%" PRIx64 ": its cluster at 0x%" PRIx64 " is used already",
                guest, host);
            k->c->corruptions++;
        }
        return;
    }
    viv_check_say(k->c, "%s guest offset 0x%" PRIx64 ": cluster at invalid offset 0x%" PRIx64,
        k->c->fix & VIV_FIX_ERRORS ? "Repairing" : "ERROR", guest, host);
    k->c->corruptions++;
    if (k->c->fix & VIV_FIX_ERRORS) {
        viv_st_le64(p->data + i * 8, QED_NONE);
        qed_page_dirty(q, p);
        k->c->corruptions_fixed++;
    }
}

/* How much of a table from `offset` on is a hole of the file. */
static uint64_t hole(struct qed *q, uint64_t offset, uint64_t len)
{
    struct viv_extent e;

    if (!q->file->drv->status || q->file->drv->status(q->file, offset, len, &e) ||
        e.kind != VIV_MAP_ZERO)
        return 0;
    return MIN(e.len, len);
}

static int check_table(struct checker *k, uint64_t l1_index)
{
    struct qed *q = k->q;
    uint64_t table = q->l1[l1_index], guest = l1_index << qed_reach_bits(q),
             per_page = q->page_bytes / 8;
    uint64_t left = viv_node_size(q->node) - guest, count;

    k->last = 0; /* fragmentation is counted inside a table */
    count = MIN(1ull << q->table_bits, (left + q->cluster_size - 1) >> q->cluster_bits);
    for (uint64_t i = 0; i < count; i += per_page) {
        uint64_t skip = hole(q, table + i * 8, (count - i) * 8) / q->page_bytes * per_page, first;
        struct qed_page *p;
        int ret;

        /* What is not in the file yet may be in memory. */
        if (skip && !q->dirty) {
            i += skip - per_page;
            continue;
        }
        ret = qed_page_get(q, table, i, &p, &first);
        if (ret == -ENOMEM)
            return ret;
        if (ret) {
            viv_check_say(k->c, "ERROR L2 table at 0x%" PRIx64 " could not be read", table);
            k->c->check_errors++;
            return 0;
        }
        for (uint64_t j = 0; j < per_page && i + j < count; j++)
            check_entry(k, p, j, guest + ((i + j) << q->cluster_bits));
    }
    return 0;
}

static int check_l1(struct checker *k)
{
    struct qed *q = k->q;
    int ret = 0;

    for (uint64_t i = 0; i < q->l1_size && !ret; i++) {
        if (!q->l1[i])
            continue;
        if (qed_table_ok(q, q->l1[i])) {
            if (use(k, q->l1[i], q->table_bytes)) {
                ret = check_table(k, i);
                continue;
            }
            viv_check_say(k->c, "ERROR L1 entry %" PRIu64 ": its L2 table at 0x%" PRIx64 " is used already", i,
                q->l1[i]);
            k->c->corruptions++;
            continue;
        }
        viv_check_say(k->c, "%s L1 entry %" PRIu64 ": L2 table at invalid offset 0x%" PRIx64,
            k->c->fix & VIV_FIX_ERRORS ? "Repairing" : "ERROR", i, q->l1[i]);
        k->c->corruptions++;
        if (!(k->c->fix & VIV_FIX_ERRORS))
            continue;
        q->l1[i] = QED_NONE;
        q->l1_dirty_from = q->l1_dirty_from == q->l1_dirty_to ? i : MIN(q->l1_dirty_from, i);
        q->l1_dirty_to = MAX(q->l1_dirty_to, i + 1);
        k->c->corruptions_fixed++;
    }
    return ret;
}

/* Clusters from the header's end on that nothing names; those at the file's end can be cut off, if all tables could be read. */
static void count_leaks(struct checker *k)
{
    struct qed *q = k->q;
    uint64_t total = q->end >> q->cluster_bits, end = 0,
             whole = viv_node_size(q->file) >> q->cluster_bits, leaked = 0;

    for (uint64_t i = q->header_bytes >> q->cluster_bits; i < total; i++) {
        if (k->used[i / 8] >> (i % 8) & 1)
            end = i + 1;
        else
            leaked += i < whole;
    }
    k->c->leaks += leaked;
    if (!(k->c->fix & VIV_FIX_LEAKS) || !end || end == total || k->c->check_errors ||
        k->c->corruptions > k->c->corruptions_fixed)
        return;
    if (viv_node_truncate(q->file, end << q->cluster_bits, VIV_PREALLOC_OFF, NULL))
        return; /* a device: they stay reported */
    viv_check_say(k->c, "Repairing %" PRIu64 " leaked clusters at the end of the file", total - end);
    k->c->leaks_fixed += whole > end ? whole - end : 0;
    q->end = end << q->cluster_bits;
    for (guint i = q->spare->len; i-- > 0;)
        if (g_array_index(q->spare, uint64_t, i) >= q->end)
            g_array_remove_index_fast(q->spare, i);
    qed_pages_free(q);
}

static int check_locked(struct checker *k, struct viv_err *err)
{
    struct qed *q = k->q;
    uint64_t bytes = (q->end >> q->cluster_bits) / 8 + 1;
    int ret;

    if (bytes > QED_CHECK_BYTES_MAX || !(k->used = g_try_malloc0(bytes)))
        return viv_fail(err, ENOMEM, "'%s': no memory to check a file of %" PRIu64 " clusters",
                        q->node->filename, q->end >> q->cluster_bits);
    k->c->total = (viv_node_size(q->node) + q->cluster_size - 1) >> q->cluster_bits;
    use(k, q->l1_offset, q->table_bytes);
    ret = check_l1(k);
    if (!ret && k->c->fix)
        ret = qed_flush_all(q);
    if (!ret)
        count_leaks(k);
    /* All is as it should be, and durable. */
    if (!ret && k->c->fix && k->c->corruptions == k->c->corruptions_fixed && !k->c->check_errors)
        ret = qed_write_features(q, q->features & ~QED_F_NEED_CHECK);
    return ret ? viv_fail_os(err, -ret, "Could not check '%s'", q->node->filename) : 0;
}

int qed_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct qed *q = n->state;
    struct checker k = {.q = q, .c = c};
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = check_locked(&k, err);
    pthread_mutex_unlock(&q->lock);
    g_free(k.used);
    return ret;
}
