/* Pieces of L2 tables in memory, and the order in which they go out.
 *
 * Tables have up to 1 GiB: they are held in pages of a cluster or 64 KiB. Changed pages and L1 entries stay in memory
 * until a flush, which makes the file durable first: so no table ever points at bytes that are not. */
#include "block/fmt/qed/qed_int.h"

#include "base/bytes.h"

#include <errno.h>

bool qed_table_ok(const struct qed *q, uint64_t offset)
{
    return viv_is_aligned(offset, q->cluster_size) && offset >= q->header_bytes &&
           viv_range_inside(offset, q->table_bytes, q->end) &&
           (offset >= q->l1_offset + q->table_bytes || offset + q->table_bytes <= q->l1_offset);
}

bool qed_data_ok(const struct qed *q, uint64_t offset)
{
    return viv_is_aligned(offset, q->cluster_size) && offset >= q->header_bytes &&
           offset < q->end && (offset >= q->l1_offset + q->table_bytes || offset < q->l1_offset);
}

bool qed_on_table(const struct qed *q, uint64_t offset, uint64_t clusters)
{
    uint64_t first = offset >> q->cluster_bits, table = q->table_bytes >> q->cluster_bits;

    for (uint64_t c = first - MIN(first, table - 1); c < first + clusters; c++)
        if (g_hash_table_contains(q->tables, (gpointer)c))
            return true;
    return false;
}

void qed_page_dirty(struct qed *q, struct qed_page *p)
{
    q->dirty += !p->dirty;
    p->dirty = true;
}

void qed_pages_free(struct qed *q)
{
    if (q->pages)
        g_hash_table_remove_all(q->pages);
    q->dirty = 0;
}

/* Room for one more page: the longest unused one goes. Dirty ones go out in a flush, all at once. */
static int make_room(struct qed *q)
{
    struct qed_page *p, *oldest = NULL;
    GHashTableIter i;
    int ret = 0;

    if (g_hash_table_size(q->pages) < q->pages_max)
        return 0;
    if (q->dirty > q->pages_max / 2)
        ret = qed_flush_all(q);
    g_hash_table_iter_init(&i, q->pages);
    while (!ret && g_hash_table_iter_next(&i, NULL, (gpointer *)&p))
        if (!p->dirty && (!oldest || p->used < oldest->used))
            oldest = p;
    if (oldest)
        g_hash_table_remove(q->pages, &oldest->offset);
    return ret;
}

int qed_page_get(struct qed *q, uint64_t table, uint64_t index, struct qed_page **out,
                 uint64_t *first)
{
    uint64_t per_page = q->page_bytes / 8, offset = table + index / per_page * q->page_bytes;
    struct qed_page *p = g_hash_table_lookup(q->pages, &offset);
    int ret;

    *first = index / per_page * per_page;
    if (!p) {
        ret = make_room(q);
        if (ret)
            return ret;
        p = g_try_malloc(sizeof(*p) + q->page_bytes);
        if (!p)
            return -ENOMEM;
        p->offset = offset;
        p->dirty = false;
        ret = viv_node_pread(q->file, offset, p->data, q->page_bytes);
        if (ret) {
            g_free(p);
            return ret;
        }
        g_hash_table_insert(q->pages, &p->offset, p);
    }
    p->used = ++q->clock;
    *out = p;
    return 0;
}

static int write_pages(struct qed *q)
{
    struct qed_page *p;
    GHashTableIter i;
    int ret = 0;

    g_hash_table_iter_init(&i, q->pages);
    while (!ret && q->dirty && g_hash_table_iter_next(&i, NULL, (gpointer *)&p)) {
        if (!p->dirty)
            continue;
        ret = viv_node_pwrite(q->file, p->offset, p->data, q->page_bytes);
        if (!ret) {
            p->dirty = false;
            q->dirty--;
        }
    }
    return ret;
}

static int write_l1(struct qed *q)
{
    uint64_t from = q->l1_dirty_from, count = q->l1_dirty_to - from,
             *le = g_try_new(uint64_t, count);
    int ret;

    if (!le)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++)
        le[i] = GUINT64_TO_LE(q->l1[from + i]);
    ret = viv_node_pwrite(q->file, q->l1_offset + from * 8, le, count * 8);
    g_free(le);
    if (!ret)
        q->l1_dirty_from = q->l1_dirty_to = 0;
    return ret;
}

/* Data and new, empty tables; barrier; L2 entries; barrier; L1 entries; barrier. */
int qed_flush_all(struct qed *q)
{
    bool l1 = q->l1_dirty_from != q->l1_dirty_to, l2 = q->dirty;
    int ret = q->broken ? -EIO : viv_node_flush(q->file);

    if (!ret && l2)
        ret = write_pages(q);
    if (!ret && l2)
        ret = viv_node_flush(q->file);
    if (!ret && l1)
        ret = write_l1(q);
    if (!ret && l1)
        ret = viv_node_flush(q->file);
    return ret;
}
