/* L2 tables and pieces of L1 in memory, and the order in which they go out.
 *
 * Changed entries stay in memory until a flush, which makes the file durable first: so no table ever points at bytes that are not. */
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"

#include <errno.h>

static bool on_head(const struct qcow *q, uint64_t offset, uint64_t len)
{
    return offset < QCOW_H_LENGTH || (offset < q->l1_offset + q->l1_bytes && offset + len > q->l1_offset);
}

bool qcow_table_ok(const struct qcow *q, uint64_t offset)
{
    return viv_is_aligned(offset, q->cluster_size) && viv_range_inside(offset, q->table_bytes, q->end) &&
           !on_head(q, offset, q->table_bytes);
}

/* The file's last cluster may be short. */
bool qcow_data_ok(const struct qcow *q, uint64_t offset)
{
    return viv_is_aligned(offset, q->cluster_size) && offset < q->end && !on_head(q, offset, q->cluster_size);
}

bool qcow_compressed_ok(const struct qcow *q, uint64_t offset, uint32_t len)
{
    return len && viv_range_inside(offset, len, q->end) && !on_head(q, offset, len);
}

bool qcow_on_table(const struct qcow *q, uint64_t offset, uint64_t clusters)
{
    uint64_t first = offset >> q->cluster_bits, table = qcow_clusters(q, q->table_bytes);

    for (uint64_t c = first - MIN(first, table - 1); c < first + clusters; c++)
        if (g_hash_table_contains(q->tables, (gpointer)c))
            return true;
    return false;
}

void qcow_pages_init(struct qcow *q)
{
    q->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    q->pages_max = QCOW_CACHE_BYTES / q->table_bytes;
    g_queue_init(&q->lru);
}

void qcow_pages_fini(struct qcow *q)
{
    if (q->pages)
        g_hash_table_destroy(q->pages); /* the links of the queue with it */
    q->pages = NULL;
    q->dirty_l1 = q->dirty_l2 = 0;
}

void qcow_page_dirty(struct qcow *q, struct qcow_page *p)
{
    if (p->dirty)
        return;
    p->dirty = true;
    *(p->l1 ? &q->dirty_l1 : &q->dirty_l2) += 1;
}

/* Room for one more page: the longest unused one goes. Dirty ones go out in a flush, all at once. */
static int make_room(struct qcow *q)
{
    int ret = 0;

    if (g_hash_table_size(q->pages) < q->pages_max)
        return 0;
    if (q->dirty_l1 + q->dirty_l2 > q->pages_max / 2)
        ret = qcow_flush_all(q);
    for (GList *l = q->lru.tail; !ret && l; l = l->prev) {
        struct qcow_page *p = l->data;

        if (p->dirty)
            continue;
        g_queue_unlink(&q->lru, l);
        g_hash_table_remove(q->pages, &p->offset);
        break;
    }
    return ret;
}

static int page_get(struct qcow *q, uint64_t offset, uint32_t len, bool l1, struct qcow_page **out)
{
    struct qcow_page *p = g_hash_table_lookup(q->pages, &offset);
    int ret;

    if (p) {
        g_queue_unlink(&q->lru, &p->link);
        g_queue_push_head_link(&q->lru, &p->link);
        *out = p;
        return 0;
    }
    ret = make_room(q);
    if (ret)
        return ret;
    p = g_try_malloc(sizeof(*p) + len);
    if (!p)
        return -ENOMEM;
    *p = (struct qcow_page){.offset = offset, .len = len, .l1 = l1, .link.data = p};
    ret = viv_node_pread(q->file, offset, p->data, len);
    if (ret) {
        g_free(p);
        return ret;
    }
    g_hash_table_insert(q->pages, &p->offset, p);
    g_queue_push_head_link(&q->lru, &p->link);
    *out = p;
    return 0;
}

int qcow_l2_get(struct qcow *q, uint64_t table, struct qcow_page **out)
{
    if (!qcow_table_ok(q, table))
        return qcow_corrupt(q, "an L2 table lies outside the file or on the header or L1 table", table);
    return page_get(q, table, q->table_bytes, false, out);
}

/* The piece of L1 with entry `index`; *in becomes the entry's place in it. */
static int l1_page(struct qcow *q, uint64_t index, struct qcow_page **out, uint32_t *in)
{
    uint64_t start = viv_align_down(index * 8, q->table_bytes);

    *in = index * 8 - start;
    return page_get(q, q->l1_offset + start, MIN(q->table_bytes, q->l1_bytes - start), true, out);
}

int qcow_l1_get(struct qcow *q, uint64_t index, uint64_t *table)
{
    struct qcow_page *p;
    uint32_t in;
    int ret = l1_page(q, index, &p, &in);

    if (!ret)
        *table = viv_ld_be64(p->data + in);
    return ret;
}

int qcow_l1_set(struct qcow *q, uint64_t index, uint64_t table)
{
    struct qcow_page *p;
    uint32_t in;
    int ret = l1_page(q, index, &p, &in);

    if (ret)
        return ret;
    viv_st_be64(p->data + in, table);
    qcow_page_dirty(q, p);
    return 0;
}

int qcow_entry_get(struct qcow *q, uint64_t offset, uint64_t *entry)
{
    struct qcow_page *p;
    uint64_t table;
    int ret = qcow_l1_get(q, offset >> qcow_reach_bits(q), &table);

    *entry = 0;
    if (ret || !table)
        return ret;
    ret = qcow_l2_get(q, table, &p);
    if (!ret)
        *entry = viv_ld_be64(p->data + qcow_l2_index(q, offset) * 8);
    return ret;
}

static int write_pages(struct qcow *q, bool l1)
{
    unsigned *dirty = l1 ? &q->dirty_l1 : &q->dirty_l2;
    int ret = 0;

    for (GList *l = q->lru.head; !ret && *dirty && l; l = l->next) {
        struct qcow_page *p = l->data;

        if (!p->dirty || p->l1 != l1)
            continue;
        ret = viv_node_pwrite(q->file, p->offset, p->data, p->len);
        if (!ret) {
            p->dirty = false;
            --*dirty;
        }
    }
    return ret;
}

/* Data and new, empty tables; barrier; L2 entries; barrier; L1 entries; barrier. */
int qcow_flush_all(struct qcow *q)
{
    int ret = q->broken ? -EIO : viv_node_flush(q->file);

    for (int l1 = 0; l1 < 2; l1++) {
        if (ret || !(l1 ? q->dirty_l1 : q->dirty_l2))
            continue;
        ret = write_pages(q, l1);
        if (!ret)
            ret = viv_node_flush(q->file);
    }
    return ret;
}
