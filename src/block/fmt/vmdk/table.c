/* Grain tables in memory, and the order in which they go out.
 *
 * Tables of all extents share one cache. Changed entries stay in memory until a flush, which first makes the file durable: so
 * no entry ever points at bytes that are not. The copy of a table follows the table; both only ever name grains that are
 * durable, so it does no harm when a power cut leaves one older than the other. A new table is empty in the file before the
 * directory names it. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>

/* --- places --- */

static uint64_t file_end(const struct vmdk_sparse *s)
{
    return MAX(viv_node_size(s->file), s->next);
}

bool vmdk_table_ok(const struct vmdk_sparse *s, uint32_t sector)
{
    return sector && viv_range_inside((uint64_t)sector * VMDK_SECTOR, vmdk_table_bytes(s), file_end(s));
}

/* The first span that ends behind `sector`. */
static guint span_after(const GArray *meta, uint64_t sector)
{
    guint low = 0, high = meta->len;

    while (low < high) {
        guint mid = low + (high - low) / 2;

        if (g_array_index(meta, struct vmdk_span, mid).end > sector)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

bool vmdk_meta_hit(const GArray *meta, uint64_t first, uint64_t sectors)
{
    guint i = span_after(meta, first);

    return i < meta->len && g_array_index(meta, struct vmdk_span, i).first < first + sectors;
}

void vmdk_meta_add(GArray *meta, uint64_t first, uint64_t sectors)
{
    struct vmdk_span s = {first, first + sectors};
    guint i = span_after(meta, first);

    if (i && g_array_index(meta, struct vmdk_span, i - 1).end == first)
        g_array_index(meta, struct vmdk_span, i - 1).end = s.end;
    else
        g_array_insert_val(meta, i, s);
}

/* A grain may end behind the file's end: what is not there reads as zeroes. */
bool vmdk_grain_ok(const struct vmdk_sparse *s, uint32_t sector)
{
    uint64_t at = (uint64_t)sector * VMDK_SECTOR;

    /* The size of a compressed grain is known only when it is read. */
    return sector && at < file_end(s) &&
           (!s->meta || !vmdk_meta_hit(s->meta, sector, s->compressed ? 1 : s->grain / VMDK_SECTOR));
}

/* --- cache --- */

static guint page_hash(gconstpointer key)
{
    const struct vmdk_page *p = key;

    return g_direct_hash(p->s) ^ p->table * 2654435761u;
}

static gboolean page_equal(gconstpointer a, gconstpointer b)
{
    const struct vmdk_page *x = a, *y = b;

    return x->s == y->s && x->table == y->table;
}

static size_t page_bytes(const struct vmdk_sparse *s)
{
    return sizeof(struct vmdk_page) + vmdk_table_bytes(s);
}

static void drop(struct vmdk *v, struct vmdk_page *p)
{
    g_hash_table_remove(v->pages, p);
    g_queue_unlink(&v->lru, &p->lru);
    v->bytes -= page_bytes(p->s);
    g_free(p);
}

void vmdk_pages_free(struct vmdk *v)
{
    while (v->lru.head)
        drop(v, v->lru.head->data);
    if (v->pages)
        g_hash_table_destroy(v->pages);
    v->pages = NULL;
}

static bool is_dirty(const struct vmdk_page *p)
{
    return p->dirty_from != p->dirty_to;
}

static void evict(struct vmdk *v, size_t wanted)
{
    GList *l = v->lru.tail;

    while (l && v->bytes + wanted > VMDK_CACHE_BYTES) {
        struct vmdk_page *p = l->data;

        l = l->prev;
        if (!is_dirty(p))
            drop(v, p);
    }
}

int vmdk_make_room(struct vmdk *v)
{
    return v->dirty * (sizeof(struct vmdk_page) + 4ull * VMDK_GTES_MAX) > VMDK_CACHE_BYTES / 2 ? vmdk_flush_locked(v) : 0;
}

int vmdk_page_get(struct vmdk_sparse *s, uint32_t table, struct vmdk_page **out)
{
    struct vmdk_page key = {.s = s, .table = table}, *p;
    struct vmdk *v = s->v;
    int ret;

    if (!v->pages)
        v->pages = g_hash_table_new(page_hash, page_equal);
    p = g_hash_table_lookup(v->pages, &key);
    if (p) {
        g_queue_unlink(&v->lru, &p->lru);
    } else {
        if (!vmdk_table_ok(s, s->gd[table]))
            return -EIO;
        evict(v, page_bytes(s));
        p = g_try_malloc(page_bytes(s));
        if (!p)
            return -ENOMEM;
        *p = key;
        p->lru.data = p;
        ret = viv_node_pread(s->file, (uint64_t)s->gd[table] * VMDK_SECTOR, p->data, vmdk_table_bytes(s));
        if (ret) {
            g_free(p);
            return ret;
        }
        v->bytes += page_bytes(s);
        g_hash_table_add(v->pages, p);
    }
    g_queue_push_head_link(&v->lru, &p->lru);
    *out = p;
    return 0;
}

uint32_t vmdk_page_entry(const struct vmdk_page *p, uint32_t i)
{
    return viv_ld_le32(p->data + i * 4ull);
}

void vmdk_page_set(struct vmdk_page *p, uint32_t i, uint32_t value)
{
    viv_st_le32(p->data + i * 4ull, value);
    if (!is_dirty(p)) {
        p->s->dirty++;
        p->s->v->dirty++;
        p->dirty_from = i;
        p->dirty_to = i + 1;
    }
    p->dirty_from = MIN(p->dirty_from, i);
    p->dirty_to = MAX(p->dirty_to, i + 1);
}

void vmdk_gd_dirty(struct vmdk_sparse *s, uint32_t table)
{
    if (s->gd_dirty_from == s->gd_dirty_to) {
        s->gd_dirty_from = table;
        s->gd_dirty_to = table + 1;
    }
    s->gd_dirty_from = MIN(s->gd_dirty_from, table);
    s->gd_dirty_to = MAX(s->gd_dirty_to, table + 1);
}

/* --- writing --- */

static bool has_gd(const struct vmdk_sparse *s)
{
    return s->gd_dirty_from != s->gd_dirty_to;
}

/* Whole sectors of a table, to its place or its copy's. */
static int write_page(const struct vmdk_page *p, uint32_t sector)
{
    uint64_t from = p->dirty_from * 4ull / VMDK_SECTOR * VMDK_SECTOR;
    uint64_t to = viv_align_down(p->dirty_to * 4ull + VMDK_SECTOR - 1, VMDK_SECTOR);

    return viv_node_pwrite(p->s->file, (uint64_t)sector * VMDK_SECTOR + from, p->data + from, to - from);
}

static int write_pages(struct vmdk *v)
{
    int ret = 0;

    for (GList *l = v->lru.head; l && !ret && v->dirty; l = l->next) {
        struct vmdk_page *p = l->data;

        if (is_dirty(p))
            ret = write_page(p, p->s->gd[p->table]);
    }
    for (GList *l = v->lru.head; l && !ret && v->dirty; l = l->next) {
        struct vmdk_page *p = l->data;

        if (!is_dirty(p))
            continue;
        if (p->s->copy && p->s->copy[p->table])
            ret = write_page(p, p->s->copy[p->table]);
        if (!ret) {
            p->dirty_from = p->dirty_to = 0;
            p->s->dirty--;
            v->dirty--;
        }
    }
    return ret;
}

static int write_directory(struct vmdk_sparse *s, uint64_t at, const uint32_t *gd)
{
    uint32_t from = s->gd_dirty_from, count = s->gd_dirty_to - from;
    g_autofree uint32_t *le = g_try_new(uint32_t, count);

    if (!le)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        le[i] = GUINT32_TO_LE(gd[from + i]);
    return viv_node_pwrite(s->file, at + from * 4ull, le, count * 4ull);
}

static int write_directories(struct vmdk_sparse *s)
{
    int ret = write_directory(s, s->gd_at, s->gd);

    if (!ret && s->copy)
        ret = write_directory(s, s->copy_at, s->copy);
    if (!ret)
        s->gd_dirty_from = s->gd_dirty_to = 0;
    return ret;
}

/* Other programs expect whole grains. */
static int make_whole(struct vmdk_sparse *s)
{
    if (s->file->zero_init && viv_node_size(s->file) < s->next)
        return viv_node_truncate(s->file, s->next, VIV_PREALLOC_OFF, NULL);
    return 0;
}

/* Data and new, empty tables; barrier; tables; their copies; barrier; directories; barrier. */
int vmdk_flush_locked(struct vmdk *v)
{
    g_autoptr(GPtrArray) with_tables = g_ptr_array_new(), with_gd = g_ptr_array_new();
    int ret = 0;

    for (guint i = 0; i < v->extents->len; i++) {
        struct vmdk_sparse *s = g_array_index(v->extents, struct vmdk_extent, i).sparse;

        if (s && (s->dirty || has_gd(s)))
            g_ptr_array_add(with_tables, s);
        if (s && has_gd(s))
            g_ptr_array_add(with_gd, s);
    }
    for (guint i = 0; !ret && i < with_tables->len; i++) {
        ret = make_whole(with_tables->pdata[i]);
        if (!ret)
            ret = viv_node_flush(((struct vmdk_sparse *)with_tables->pdata[i])->file);
    }
    if (!ret)
        ret = write_pages(v);
    for (guint i = 0; !ret && i < with_tables->len; i++)
        ret = viv_node_flush(((struct vmdk_sparse *)with_tables->pdata[i])->file);
    for (guint i = 0; !ret && i < with_gd->len; i++) {
        ret = write_directories(with_gd->pdata[i]);
        if (!ret)
            ret = viv_node_flush(((struct vmdk_sparse *)with_gd->pdata[i])->file);
    }
    return ret;
}
