/* The map and its changes: first writes and zeroes. The core holds the guest range exclusively while it changes.
 *
 * A cluster that has a place keeps it for ever (nothing could say that it is free): zeroes and discards work on the
 * place itself. So entries only go from nothing or zero to a place, or from nothing to zero. */
#include "block/fmt/qed/qed_int.h"

#include "base/bytes.h"

#include <errno.h>

static uint64_t load(const struct qed_page *p, uint64_t i)
{
    return viv_ld_le64(p->data + i * 8);
}

static enum viv_map_kind kind_of(uint64_t entry)
{
    return entry == QED_NONE ? VIV_MAP_BACKING : entry == QED_ZERO ? VIV_MAP_ZERO : VIV_MAP_DATA;
}

static int check_data(struct qed *q, uint64_t host)
{
    if (!qed_data_ok(q, host))
        return qed_corrupt(q, "a data cluster lies outside the file or on the header or L1 table",
                           host);
    if (!q->node->read_only && qed_on_table(q, host, 1))
        return qed_corrupt(q, "a data cluster lies on an L2 table", host);
    return 0;
}

/* As many clusters as are like the first and, with data, follow it; inside one page. */
static int map_run(struct qed *q, uint64_t offset, uint64_t table, struct viv_extent *e)
{
    uint64_t in = offset & (q->cluster_size - 1), index = qed_l2_index(q, offset), first, count = 1,
             entry;
    uint64_t per_page = q->page_bytes / 8, want = ((in + e->len - 1) >> q->cluster_bits) + 1;
    struct qed_page *p;
    int ret = qed_page_get(q, table, index, &p, &first);

    if (ret)
        return ret;
    index -= first;
    entry = load(p, index);
    e->kind = kind_of(entry);
    if (e->kind == VIV_MAP_DATA && (ret = check_data(q, entry)) != 0)
        return ret;
    for (; count < want && index + count < per_page; count++) {
        uint64_t next = load(p, index + count);

        if (kind_of(next) != e->kind)
            break;
        if (e->kind == VIV_MAP_DATA &&
            (next != entry + (count << q->cluster_bits) || check_data(q, next)))
            break;
    }
    e->len = MIN(e->len, (count << q->cluster_bits) - in);
    if (e->kind == VIV_MAP_DATA) {
        e->host = entry + in;
        e->allocated = true;
        e->in_place = !q->node->read_only && !q->broken;
    }
    return 0;
}

static int map_locked(struct qed *q, uint64_t offset, struct viv_extent *e)
{
    uint64_t table = q->l1[qed_l1_index(q, offset)], reach = 1ull << qed_reach_bits(q);

    e->len = MIN(e->len, reach - (offset & (reach - 1)));
    if (!table)
        return 0;
    if (!qed_table_ok(q, table))
        return qed_corrupt(q, "an L2 table lies outside the file or on the header or L1 table",
                           table);
    return map_run(q, offset, table, e);
}

int qed_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct qed *q = n->state;
    int ret;

    *out = (struct viv_extent){.kind = VIV_MAP_BACKING, .len = len};
    pthread_mutex_lock(&q->lock);
    ret = map_locked(q, offset, out);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* --- room --- */

/* Before the first change of the tables. */
static int start_writing(struct qed *q)
{
    if (q->broken || q->node->read_only)
        return q->broken ? -EIO : -EROFS;
    return qed_write_features(q, q->features | QED_F_NEED_CHECK);
}

/* Clusters in a row; fewer than wanted when one was given back before. */
static uint64_t take(struct qed *q, uint64_t *count)
{
    uint64_t host = q->end;

    if (q->spare->len && *count == 1) {
        host = g_array_index(q->spare, uint64_t, q->spare->len - 1);
        g_array_set_size(q->spare, q->spare->len - 1);
        return host;
    }
    q->end += *count << q->cluster_bits;
    return host;
}

static void give_back(struct qed *q, uint64_t host, uint64_t count)
{
    if (host + (count << q->cluster_bits) == q->end) {
        q->end = host;
        return;
    }
    for (uint64_t i = 0; i < count; i++, host += q->cluster_size)
        g_array_append_val(q->spare, host);
}

/* The L2 table of `offset`, made when there is none: empty in the file at once, named by L1 at the next flush. */
static int writable_table(struct qed *q, uint64_t offset, uint64_t *table)
{
    uint64_t i = qed_l1_index(q, offset), clusters = q->table_bytes >> q->cluster_bits;
    int ret = start_writing(q);

    *table = q->l1[i];
    if (ret)
        return ret;
    if (*table)
        return qed_table_ok(q, *table)
                   ? 0
                   : qed_corrupt(q,
                                 "an L2 table lies outside the file or on the header or L1 table",
                                 *table);
    *table = take(q, &clusters);
    ret = viv_node_write_zeroes(q->file, *table, q->table_bytes, 0);
    if (ret) {
        give_back(q, *table, clusters);
        return ret;
    }
    g_hash_table_add(q->tables, (gpointer)(*table >> q->cluster_bits));
    if (q->l1_dirty_from == q->l1_dirty_to)
        q->l1_dirty_from = q->l1_dirty_to = i;
    q->l1[i] = *table;
    q->l1_dirty_from = MIN(q->l1_dirty_from, i);
    q->l1_dirty_to = MAX(q->l1_dirty_to, i + 1);
    return 0;
}

static int alloc_locked(struct qed *q, struct viv_alloc *a)
{
    uint64_t in = a->offset & (q->cluster_size - 1), index = qed_l2_index(q, a->offset), table,
             first, count = 0, host;
    uint64_t per_page = q->page_bytes / 8, want = ((in + a->len - 1) >> q->cluster_bits) + 1;
    struct qed_page *p;
    int ret = writable_table(q, a->offset, &table);

    if (!ret)
        ret = qed_page_get(q, table, index, &p, &first);
    if (ret)
        return ret;
    index -= first;
    if (kind_of(load(p, index)) == VIV_MAP_DATA) {
        host = load(p, index);
        a->len = MIN(a->len, q->cluster_size - in);
        a->host = host + in;
        return check_data(q, host);
    }
    while (count < want && index + count < per_page &&
           kind_of(load(p, index + count)) != VIV_MAP_DATA)
        count++;
    host = take(q, &count);
    a->len = MIN(a->len, (count << q->cluster_bits) - in);
    a->host = host + in;
    a->head = in;
    a->tail = (count << q->cluster_bits) - in - a->len;
    a->fresh = true;
    return 0;
}

int qed_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct qed *q = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&q->lock);
    ret = alloc_locked(q, out);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qed_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct qed *q = n->state;
    uint64_t host = a->host - a->head, count = (a->head + a->len + a->tail) >> q->cluster_bits,
             first, index;
    struct qed_page *p;
    int ret;

    pthread_mutex_lock(&q->lock);
    index = qed_l2_index(q, a->offset);
    ret = q->broken ? -EIO : qed_page_get(q, q->l1[qed_l1_index(q, a->offset)], index, &p, &first);
    for (uint64_t i = 0; !ret && i < count; i++, host += q->cluster_size)
        viv_st_le64(p->data + (index - first + i) * 8, host);
    if (!ret)
        qed_page_dirty(q, p);
    else
        give_back(q, host, count);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

void qed_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct qed *q = n->state;

    pthread_mutex_lock(&q->lock);
    give_back(q, a->host - a->head, (a->head + a->len + a->tail) >> q->cluster_bits);
    pthread_mutex_unlock(&q->lock);
}

/* --- zeroes --- */

static bool has_backing(const struct qed *q)
{
    return q->node->backing || q->backing_file; /* not opened is there all the same */
}

/* Nothing becomes zero in [offset, offset + len), which map() called BACKING. */
static int mark_zero(struct qed *q, uint64_t offset, uint64_t len)
{
    uint64_t clusters = ((len - 1) >> q->cluster_bits) + 1, table;
    int ret = writable_table(q, offset, &table);

    while (!ret && clusters) {
        uint64_t index = qed_l2_index(q, offset), first, step;
        struct qed_page *p;

        ret = qed_page_get(q, table, index, &p, &first);
        if (ret)
            break;
        step = MIN(clusters, first + q->page_bytes / 8 - index);
        for (uint64_t i = 0; i < step; i++)
            viv_st_le64(p->data + (index - first + i) * 8, QED_ZERO);
        qed_page_dirty(q, p);
        clusters -= step;
        offset += step << q->cluster_bits;
    }
    return ret;
}

/* Ends of the range count as whole clusters: the last one may pass the end of the disk. */
static int zero_range(struct qed *q, uint64_t offset, uint64_t len, unsigned flags, bool mark)
{
    int ret = q->broken ? -EIO : 0;

    while (len && !ret) {
        struct viv_extent e = {.kind = VIV_MAP_BACKING, .len = len};

        ret = map_locked(q, offset, &e);
        if (!ret && e.kind == VIV_MAP_DATA)
            ret = viv_node_write_zeroes(q->file, e.host, e.len, flags);
        else if (!ret && e.kind == VIV_MAP_BACKING && mark && has_backing(q))
            ret = mark_zero(q, offset, e.len);
        offset += e.len;
        len -= e.len;
    }
    return ret;
}

int qed_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct qed *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, flags, true);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qed_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct qed *q = n->state;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = zero_range(q, offset, len, VIV_BLK_UNMAP, false);
    pthread_mutex_unlock(&q->lock);
    return ret;
}
