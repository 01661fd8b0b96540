/* check: every table and cluster that the tables name is used once and lies in the file; clusters that nothing names have leaked.
 *
 * A repair clears entries that point outside (what they meant is not there), and cuts leaked clusters off the end of the file.
 * Two entries for one cluster cannot be mended: nobody knows whose data it is. Compressed bytes are never overwritten, so two
 * entries may share them; with data or a table they may not. Work is bounded by the file: a table is walked once. */
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

#define HOLE_STEP 8192u /* entries of L1 */

struct checker {
    struct qcow *q;
    struct viv_check *c;
    uint8_t *solid, *packed; /* a bit a cluster: data and metadata; compressed bytes */
    uint64_t clusters;       /* of the file; the last may be short */
    uint64_t last;           /* host of the data cluster before */
};

static bool bit(const uint8_t *map, uint64_t i)
{
    return map[i / 8] >> (i % 8) & 1;
}

/* Marks what [offset, offset + bytes) touches; false when it was solid before, or, for solid use, packed. */
static bool use(struct checker *k, uint64_t offset, uint64_t bytes, bool packed)
{
    uint8_t *map = packed ? k->packed : k->solid;
    uint64_t end = MIN(qcow_clusters(k->q, offset + bytes), k->clusters);
    bool fine = true;

    for (uint64_t i = offset >> k->q->cluster_bits; i < end; i++) {
        fine &= !bit(k->solid, i) && (packed || !bit(k->packed, i));
        map[i / 8] |= 1u << (i % 8);
    }
    return fine;
}

/* Where an entry points: inside, and to what is not used. */
static bool use_entry(struct checker *k, uint64_t entry, bool *inside)
{
    struct qcow *q = k->q;
    uint64_t host = entry;
    uint32_t len = q->cluster_size;

    if (entry & QCOW_COMPRESSED) {
        host = qcow_compressed_at(q, entry, &len);
        *inside = qcow_compressed_ok(q, host, len);
    } else {
        *inside = qcow_data_ok(q, host);
    }
    return *inside && use(k, host, len, entry & QCOW_COMPRESSED);
}

static void check_entry(struct checker *k, struct qcow_page *p, uint64_t i, uint64_t guest)
{
    struct qcow *q = k->q;
    uint64_t entry = viv_ld_be64(p->data + i * 8);
    bool inside;

    if (!entry)
        return;
    k->c->allocated++;
    k->c->compressed += (entry & QCOW_COMPRESSED) != 0;
    k->c->fragmented += !(entry & QCOW_COMPRESSED) && k->last && entry != k->last + q->cluster_size;
    k->last = entry & QCOW_COMPRESSED ? 0 : entry;
    if (use_entry(k, entry, &inside))
        return;
    k->c->corruptions++;
    if (inside) {
        viv_check_say(k->c, "ERROR guest offset 0x%" PRIx64 ": its cluster (entry 0x%" PRIx64 ") is used already", guest, entry);
        return;
    }
    viv_check_say(k->c, "%s guest offset 0x%" PRIx64 ": cluster at an invalid place (entry 0x%" PRIx64 ")",
        k->c->fix & VIV_FIX_ERRORS ? "Repairing" : "ERROR", guest, entry);
    if (k->c->fix & VIV_FIX_ERRORS) {
        viv_st_be64(p->data + i * 8, 0);
        qcow_page_dirty(q, p);
        k->c->corruptions_fixed++;
    }
}

static int check_table(struct checker *k, uint64_t table, uint64_t l1_index)
{
    struct qcow *q = k->q;
    uint64_t guest = l1_index << qcow_reach_bits(q), count = MIN(1ull << q->l2_bits, qcow_clusters(q, viv_node_size(q->node) - guest));
    struct qcow_page *p;
    int ret = qcow_l2_get(q, table, &p);

    if (ret == -ENOMEM)
        return ret;
    if (ret) {
        viv_check_say(k->c, "ERROR L2 table at 0x%" PRIx64 " could not be read", table);
        k->c->check_errors++;
        return 0;
    }
    for (uint64_t i = 0; i < count; i++)
        check_entry(k, p, i, guest + (i << q->cluster_bits));
    return 0;
}

static int check_l1_entry(struct checker *k, uint64_t i, uint64_t table)
{
    struct qcow *q = k->q;
    bool fix = k->c->fix & VIV_FIX_ERRORS;

    if (!table)
        return 0;
    if (qcow_table_ok(q, table)) {
        if (!use(k, table, q->table_bytes, false)) {
            viv_check_say(k->c, "ERROR L1 entry %" PRIu64 ": its L2 table at 0x%" PRIx64 " is used already", i, table);
            k->c->corruptions++;
            return 0;
        }
        return check_table(k, table, i);
    }
    viv_check_say(k->c, "%s L1 entry %" PRIu64 ": L2 table at invalid offset 0x%" PRIx64, fix ? "Repairing" : "ERROR", i, table);
    k->c->corruptions++;
    k->c->corruptions_fixed += fix;
    return fix ? qcow_l1_set(q, i, 0) : 0;
}

/* Clusters behind the header that nothing names; those at the file's end can be cut off, if all tables could be read. */
static void count_leaks(struct checker *k)
{
    struct qcow *q = k->q;
    uint64_t end = 0, leaked = 0;

    for (uint64_t i = 0; i < k->clusters; i++) {
        if (bit(k->solid, i) || bit(k->packed, i))
            end = i + 1;
        else
            leaked++;
    }
    k->c->leaks += leaked;
    if (!(k->c->fix & VIV_FIX_LEAKS) || end == k->clusters || k->c->check_errors || k->c->corruptions > k->c->corruptions_fixed)
        return;
    if (viv_node_truncate(q->file, end << q->cluster_bits, VIV_PREALLOC_OFF, NULL))
        return; /* a device: they stay reported */
    viv_check_say(k->c, "Repairing %" PRIu64 " leaked clusters at the end of the file", k->clusters - end);
    k->c->leaks_fixed += k->clusters - end;
    q->end = end << q->cluster_bits;
    g_array_set_size(q->spare, 0); /* some lie behind the end now */
}

static int check_locked(struct checker *k, struct viv_err *err)
{
    struct qcow *q = k->q;
    uint64_t bytes, table;
    int ret = 0;

    k->clusters = qcow_clusters(q, MIN(q->end, viv_node_size(q->file)));
    bytes = k->clusters / 8 + 1;
    if (2 * bytes > QCOW_CHECK_BYTES_MAX || !(k->solid = g_try_malloc0(bytes)) || !(k->packed = g_try_malloc0(bytes)))
        return viv_fail(err, ENOMEM, "'%s': no memory to check a file of %" PRIu64 " clusters", q->node->filename, k->clusters);
    k->c->total = qcow_clusters(q, viv_node_size(q->node));
    use(k, 0, QCOW_H_LENGTH, false);
    use(k, q->l1_offset, (q->l1_bytes + 511) & ~511ull, false); /* as create makes it */
    for (uint64_t i = 0; !ret && i < q->l1_bytes / 8; i++) {
        if (i % HOLE_STEP == 0 && !q->dirty_l1)
            i += qcow_hole(q, q->l1_offset + i * 8, q->l1_bytes - i * 8) / 8 / HOLE_STEP * HOLE_STEP;
        if (i * 8 >= q->l1_bytes)
            break;
        k->last = 0; /* fragmentation is counted inside a table */
        ret = qcow_l1_get(q, i, &table);
        if (!ret)
            ret = check_l1_entry(k, i, table);
    }
    if (!ret && k->c->fix)
        ret = qcow_flush_all(q);
    if (!ret)
        count_leaks(k);
    return ret ? viv_fail_os(err, -ret, "Could not check '%s'", q->node->filename) : 0;
}

int qcow_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct qcow *q = n->state;
    struct checker k = {.q = q, .c = c};
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = check_locked(&k, err);
    pthread_mutex_unlock(&q->lock);
    g_free(k.solid);
    g_free(k.packed);
    return ret;
}
