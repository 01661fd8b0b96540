/* check: counts every reference that the tables make and compares with the refcounts.
 *
 * A refcount that is too low is a corruption (the cluster would be given out twice), one that is too high a leak. The
 * COPIED flags of the active tables must say exactly "refcount is 1". Nothing here trusts an offset: what
 * lies outside the file is reported and not followed. */
#include "block/fmt/qcow2/bitmap.h"
#include "block/fmt/qcow2/check_int.h"
#include "block/fmt/qcow2/entry.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

bool qcow2_check_count(struct qcow2_checker *k, const char *what, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> k->q->cluster_bits, last, end;

    if (!bytes)
        return true;
    if (!viv_add_u64(offset, bytes - 1, &end) || end >> k->q->cluster_bits >= k->clusters) {
        viv_check_say(k->c, "ERROR %s at offset 0x%" PRIx64 " lies outside the file", what, offset);
        k->c->corruptions++;
        return false;
    }
    last = end >> k->q->cluster_bits;
    for (uint64_t i = first; i <= last; i++)
        if (k->refs[i] < UINT32_MAX)
            k->refs[i]++;
    return true;
}

static void count_compressed(struct qcow2_checker *k, uint64_t entry, bool active)
{
    struct qcow2 *q = k->q;
    uint64_t host, len = qcow2_compressed_range(q, entry, &host);

    /* The last sectors may be named beyond the file's end: they are padding. */
    if (host < k->clusters << q->cluster_bits)
        len = MIN(len, (k->clusters << q->cluster_bits) - host);
    qcow2_check_count(k, "compressed cluster", host, len);
    k->c->allocated += active;
    k->c->compressed += active;
    k->c->fragmented += active; /* never in a place of its own */
}

/* `guest`: the offset that the entry is for. */
static void count_data(struct qcow2_checker *k, const struct qcow2_entry *entry, uint64_t guest, bool active)
{
    struct qcow2 *q = k->q;
    const char *fault = qcow2_entry_fault(q, entry, guest);
    uint64_t host = entry->desc & QCOW2_OFFSET;

    if (fault) {
        viv_check_say(k->c, "ERROR offset=%" PRIx64 ": %s; L2 entry corrupted.", host, fault);
        k->c->corruptions++;
    }
    if (entry->desc & QCOW2_COMPRESSED) {
        if (!fault)
            count_compressed(k, entry->desc, active);
        return;
    }
    if (!qcow2_has_place(q, entry) || !viv_is_aligned(host, q->cluster_size))
        return;
    if (!q->external)
        qcow2_check_count(k, "data cluster", host, q->cluster_size);
    if (!active)
        return;
    k->c->allocated++;
    k->c->fragmented += k->next && host != k->next;
    k->next = host + q->cluster_size;
}

/* Visits the L2 table at `offset` through the cache: unflushed changes count. */
static int count_l2(struct qcow2_checker *k, uint64_t offset, uint64_t guest, bool active)
{
    struct qcow2_entry entry;
    struct qcow2_table *t;
    int ret;

    if (!qcow2_table_ok(k->q, offset, 0)) {
        viv_check_say(k->c, "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry corrupted",
            offset);
        k->c->corruptions++;
        return 0;
    }
    if (!qcow2_check_count(k, "L2 table", offset, k->q->cluster_size))
        return 0;
    ret = qcow2_table_get(k->q, &k->q->l2_cache, offset, false, &t);
    if (ret) {
        viv_check_say(k->c, "ERROR: I/O error in check: L2 table at 0x%" PRIx64 ": %s", offset,
                        strerror(-ret));
        k->c->check_errors++;
        return ret == -ENOMEM ? ret : 0;
    }
    k->next = 0; /* fragmentation is counted inside a table */
    for (uint32_t i = 0; i < 1u << k->q->l2_bits; i++) {
        qcow2_entry_load(k->q, t, i, &entry);
        count_data(k, &entry, guest + ((uint64_t)i << k->q->cluster_bits), active);
    }
    qcow2_table_put(t);
    return 0;
}

static int count_l1(struct qcow2_checker *k, const struct qcow2_array *l1, bool active)
{
    int ret = 0;

    if (!qcow2_check_count(k, "L1 table", l1->offset, l1->size * 8ull))
        return 0;
    for (uint32_t i = 0; i < l1->size && !ret; i++)
        if (l1->entry[i] & QCOW2_OFFSET)
            ret = count_l2(k, l1->entry[i] & QCOW2_OFFSET, (uint64_t)i << (k->q->cluster_bits + k->q->l2_bits), active);
    return ret;
}

static int count_snapshots(struct qcow2_checker *k)
{
    struct qcow2 *q = k->q;
    int ret = 0;

    qcow2_check_count(k, "snapshot table", q->snapshot_offset, q->snapshot_bytes);
    qcow2_check_count(k, "encryption header", q->crypt_offset, q->crypt_length);
    for (uint32_t i = 0; i < q->snapshot_count && !ret; i++) {
        struct qcow2_array l1 = {.offset = q->snapshots[i].l1_offset,
                                 .size = q->snapshots[i].l1_size};

        ret = qcow2_array_read(q, &l1);
        if (!ret)
            ret = count_l1(k, &l1, false);
        g_free(l1.entry);
    }
    return ret;
}

static int count_bitmap_cluster(void *opaque, const char *what, uint64_t offset, uint64_t bytes)
{
    qcow2_check_count(opaque, what, offset, bytes);
    return 0;
}

static void count_bitmaps(struct qcow2_checker *k)
{
    struct qcow2 *q = k->q;

    if (q->bitmaps_wrong) {
        viv_check_say(k->c, "ERROR %s", q->bitmaps_wrong);
        k->c->corruptions++;
        return;
    }
    qcow2_check_count(k, "bitmap directory", q->bitmap_dir_offset, q->bitmap_dir_bytes);
    for (uint32_t i = 0; i < q->bitmap_count; i++) {
        int ret = qcow2_each_bitmap_cluster(q, &q->bitmaps[i], count_bitmap_cluster, k);

        if (ret == -EUCLEAN) {
            viv_check_say(k->c, "ERROR bitmap '%s' has an impossible table entry; it can only be removed", q->bitmaps[i].name);
            k->c->corruptions++;
        } else if (ret) {
            viv_check_say(k->c, "ERROR: I/O error in check: bitmap '%s': %s", q->bitmaps[i].name, strerror(-ret));
            k->c->check_errors++;
        }
    }
}

/* Nothing can be said of them but that they are gone. */
static int drop_wrong_bitmaps(struct qcow2_checker *k)
{
    int ret;

    if (!k->q->bitmaps_wrong || !(k->c->fix & VIV_FIX_ERRORS))
        return 0;
    ret = qcow2_drop_wrong_bitmaps(k->q);
    if (ret)
        return ret;
    viv_check_say(k->c, "Repairing: all dirty bitmaps are removed");
    k->c->corruptions_fixed++;
    return 0;
}

static void count_refcount_structure(struct qcow2_checker *k)
{
    struct qcow2 *q = k->q;

    uint64_t before = k->c->corruptions;

    if (!qcow2_check_count(k, "refcount table", q->rt.offset, q->rt.size * 8ull))
        k->rebuild = true;
    for (uint32_t i = 0; i < q->rt.size; i++) {
        uint64_t offset = q->rt.entry[i] & ~511ull;

        if (!offset)
            continue;
        if (!qcow2_table_ok(q, offset, 0)) {
            viv_check_say(k->c, "ERROR refcount block %u is not cluster aligned; refcount table entry "
                            "corrupted",
                            i);
            k->c->corruptions++;
            k->rebuild = true;
        } else if (!qcow2_check_count(k, "refcount block", offset, q->cluster_size)) {
            k->rebuild = true;
        } else if (k->refs[offset >> q->cluster_bits] != 1) {
            viv_check_say(k->c, "ERROR refcount block %u refcount=%u", i,
                            k->refs[offset >> q->cluster_bits]);
            k->c->corruptions++;
            k->rebuild = true;
        }
    }
    k->mendable += k->c->corruptions - before;
}

static int count_all(struct qcow2_checker *k)
{
    int ret;

    memset(k->refs, 0, k->clusters * sizeof(*k->refs));
    qcow2_check_count(k, "header", 0, k->q->cluster_size);
    ret = count_l1(k, &k->q->l1, true);
    if (!ret)
        ret = count_snapshots(k);
    if (ret)
        return ret;
    count_bitmaps(k);
    count_refcount_structure(k);
    return 0;
}

/* --- comparing --- */

static void compare_one(struct qcow2_checker *k, uint64_t i, uint64_t refcount)
{
    uint32_t found = i < k->clusters ? k->refs[i] : 0;

    if (refcount || found)
        k->c->image_end = MAX(k->c->image_end, (i + 1) << k->q->cluster_bits);
    if (refcount == found)
        return;
    viv_check_say(k->c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%u",
                    refcount < found ? "ERROR" : "Leaked", i, refcount, found);
    if (refcount < found) {
        k->c->corruptions++;
        k->mendable++;
    } else {
        k->c->leaks++;
    }
}

/* The clusters that block `b` counts, also those behind the file's end. */
static int compare_block(struct qcow2_checker *k, uint64_t b)
{
    uint64_t per_block = 1ull << k->q->refblock_bits, offset = 0;
    struct qcow2_table *t = NULL;
    int ret;

    if (b < k->q->rt.size)
        offset = k->q->rt.entry[b] & ~511ull;
    if (offset && qcow2_table_ok(k->q, offset, 0) && offset >> k->q->cluster_bits < k->clusters) {
        ret = qcow2_table_get(k->q, &k->q->refblock_cache, offset, false, &t);
        if (ret) {
            viv_check_say(k->c, "ERROR: I/O error in check: refcount block %" PRIu64 ": %s", b,
                            strerror(-ret));
            k->c->check_errors++;
            return ret == -ENOMEM ? ret : 0;
        }
    } else if (b << k->q->refblock_bits >= k->clusters) {
        return 0;
    }
    for (uint64_t i = 0; i < per_block; i++)
        compare_one(k, (b << k->q->refblock_bits) + i,
                    t ? qcow2_refblock_load(k->q, t->data, i) : 0);
    qcow2_table_put(t);
    return 0;
}

static int compare_all(struct qcow2_checker *k)
{
    uint64_t blocks = MAX(k->q->rt.size, (k->clusters >> k->q->refblock_bits) + 1);
    int ret = 0;

    for (uint64_t b = 0; b < blocks && !ret; b++)
        ret = compare_block(k, b);
    return ret;
}

/* --- COPIED flags --- */

/* One entry, L1 or L2: the flag must be set exactly when the refcount is 1. *entry is mended when allowed. */
static int check_flag(struct qcow2_checker *k, uint64_t *entry, const char *what, bool *mended)
{
    uint64_t host = *entry & QCOW2_OFFSET, count;
    bool copied = *entry & QCOW2_COPIED;
    int ret;

    if (!host || !viv_is_aligned(host, k->q->cluster_size) ||
        host >> k->q->cluster_bits >= k->clusters)
        return 0; /* reported where it was counted */
    ret = qcow2_refcount_get(k->q, host >> k->q->cluster_bits, &count);
    if (ret || (count == 1) == copied)
        return ret;
    viv_check_say(k->c, "%s OFLAG_COPIED %s=%" PRIx64 " refcount=%" PRIu64,
                    k->c->fix & VIV_FIX_ERRORS ? "Repairing" : "ERROR", what, *entry, count);
    k->c->corruptions++;
    if (k->c->fix & VIV_FIX_ERRORS) {
        *entry ^= QCOW2_COPIED;
        *mended = true;
        k->c->corruptions_fixed++;
    }
    return 0;
}

/* "Subcluster Allocation Bitmap (for compressed clusters)": reserved, 0. */
static void check_packed_bitmap(struct qcow2_checker *k, struct qcow2_table *t, uint32_t i, struct qcow2_entry *e)
{
    if (!e->alloc && !e->zero)
        return;
    viv_check_say(k->c, "%s compressed cluster %" PRIx64 " has a bitmap of subclusters",
                    k->c->fix & VIV_FIX_ERRORS ? "Repairing" : "ERROR", e->desc);
    k->c->corruptions++;
    if (!(k->c->fix & VIV_FIX_ERRORS))
        return;
    e->alloc = e->zero = 0;
    qcow2_entry_store(k->q, t, i, e);
    k->c->corruptions_fixed++;
}

static int check_flags_l2(struct qcow2_checker *k, uint64_t offset)
{
    struct qcow2_table *t;
    int ret;

    if (k->q->external)
        return 0; /* its clusters are not counted: the flag only says that there is a place */
    ret = qcow2_table_get(k->q, &k->q->l2_cache, offset, false, &t);
    if (ret)
        return ret;
    for (uint32_t i = 0; i < 1u << k->q->l2_bits && !ret; i++) {
        struct qcow2_entry e;
        bool mended = false;

        qcow2_entry_load(k->q, t, i, &e);
        if (e.desc & QCOW2_COMPRESSED) {
            check_packed_bitmap(k, t, i, &e);
            continue;
        }
        ret = check_flag(k, &e.desc, "data cluster: l2_entry", &mended);
        if (mended)
            qcow2_entry_store(k->q, t, i, &e);
    }
    qcow2_table_put(t);
    return ret;
}

static int check_flags(struct qcow2_checker *k)
{
    struct qcow2_array *l1 = &k->q->l1;
    int ret = 0;

    for (uint32_t i = 0; i < l1->size && !ret; i++) {
        uint64_t entry = l1->entry[i], offset = entry & QCOW2_OFFSET;
        bool mended = false;

        if (!offset || !qcow2_table_ok(k->q, offset, 0) ||
            offset >> k->q->cluster_bits >= k->clusters)
            continue;
        ret = check_flag(k, &entry, "L2 cluster: l1_entry", &mended);
        if (mended)
            qcow2_array_set(l1, i, entry);
        if (!ret)
            ret = check_flags_l2(k, offset);
    }
    return ret;
}

/* --- snapshots' IDs --- */

static void check_ids(struct qcow2_checker *k)
{
    uint32_t n = k->q->snapshots_renamed;

    if (!n)
        return;
    viv_check_say(k->c, "%s %u snapshot%s with the ID of an earlier one", k->c->fix & VIV_FIX_ERRORS ? "Repairing" : "ERROR", n,
                  n > 1 ? "s" : "");
    k->c->corruptions += n;
}

/* They have IDs of their own in memory. Last, as the table gets another place: all else must be right. */
static int mend_ids(struct qcow2_checker *k)
{
    struct viv_check *c = k->c;
    uint32_t n = k->q->snapshots_renamed;
    int ret = n && c->corruptions - n == c->corruptions_fixed ? qcow2_store_snapshots(k->q) : 0;

    c->corruptions_fixed += n - k->q->snapshots_renamed;
    return ret;
}

/* --- the whole --- */

static int mend(struct qcow2_checker *k)
{
    struct viv_check *c = k->c;
    int ret = 0;

    /* What an unread table names was not counted, and would be freed or given out again. */
    if (c->fix && c->check_errors) {
        viv_check_say(c, "Nothing is repaired: not all of the image could be read");
        return 0;
    }
    if (k->rebuild && (c->fix & VIV_FIX_ERRORS))
        ret = qcow2_repair_rebuild(k);
    else if (c->fix && !k->rebuild)
        ret = qcow2_repair_refcounts(k);
    if (!ret)
        ret = drop_wrong_bitmaps(k);
    if (!ret)
        ret = check_flags(k);
    check_ids(k);
    if (!ret && c->fix)
        ret = qcow2_flush_all(k->q);
    if (!ret && (c->fix & VIV_FIX_ERRORS))
        ret = mend_ids(k);
    if (!ret && (c->fix & VIV_FIX_ERRORS) && c->corruptions == c->corruptions_fixed)
        ret = qcow2_set_incompatible(k->q, 0, QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
    return ret;
}

static int check_locked(struct qcow2_checker *k)
{
    struct viv_check *c = k->c;
    int ret;

    c->total = qcow2_clusters(k->q, viv_node_size(k->q->node));
    ret = count_all(k);
    if (!ret)
        ret = compare_all(k);
    if (!ret)
        ret = mend(k);
    return ret;
}

int qcow2_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    struct qcow2_checker k = {.q = q, .c = c};
    int ret;

    if (q->snapshot_view)
        return viv_fail(err, EINVAL, "'%s': it is the whole image that is checked: open it without a snapshot",
                        n->filename);
    k.clusters = qcow2_clusters(q, viv_node_size(q->file));
    k.refs = g_try_new0(uint32_t, k.clusters + 1);
    if (!k.refs)
        return viv_fail(err, ENOMEM, "no memory to count %" PRIu64 " clusters of '%s'", k.clusters,
                        n->filename);
    pthread_mutex_lock(&q->lock);
    ret = check_locked(&k);
    pthread_mutex_unlock(&q->lock);
    g_free(k.refs);
    return ret ? viv_fail_os(err, -ret, "Check of '%s' failed", n->filename) : 0;
}
