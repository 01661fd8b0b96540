/* The driver: open, close, info. The rest of QED is in the files beside; qed_int.h is their table of contents. */
#include "block/fmt/qed/qed_int.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
    return len >= QED_H_LENGTH && memcmp(head, QED_MAGIC, 4) == 0 ? 100 : 0;
}

static void backing(struct viv_node *n, const char **name, const char **format)
{
    struct qed *q = n->state;

    *name = q->backing_file;
    *format = q->features & QED_F_RAW ? "raw" : NULL;
}

/* The bit "need check" is cleared when all that was changed is durable, and only then. */
static int close_image(struct viv_node *n)
{
    struct qed *q = n->state;
    int ret = 0;

    if (!n->read_only && !q->broken && q->clear_at_close && (q->features & QED_F_NEED_CHECK)) {
        ret = qed_flush_all(q);
        if (!ret)
            ret = qed_write_features(q, q->features & ~QED_F_NEED_CHECK);
    }
    qed_pages_free(q);
    if (q->pages)
        g_hash_table_destroy(q->pages);
    if (q->tables)
        g_hash_table_destroy(q->tables);
    if (q->spare)
        g_array_free(q->spare, TRUE);
    pthread_mutex_destroy(&q->lock);
    g_free(q->l1);
    g_free(q->backing_file);
    g_free(q);
    n->state = NULL;
    return ret;
}

/* A writer did not close it: entries that point nowhere are cleared before anybody writes again. */
static int mend(struct qed *q, struct viv_err *err)
{
    struct viv_check c = {.fix = VIV_FIX_ERRORS};
    int ret;

    viv_warn("'%s' was not closed: checking its tables", q->node->filename);
    ret = qed_check(q->node, &c, err);
    if (ret)
        return ret;
    if (c.corruptions > c.corruptions_fixed || c.check_errors)
        return viv_fail(
            err, EIO,
            "'%s' was not closed and could not be repaired completely; opening it read-only works",
            q->node->filename);
    return 0;
}

static int prepare_writing(struct qed *q, const struct viv_node_opts *o, struct viv_err *err)
{
    q->clear_at_close = !o->for_check;
    if (o->for_check)
        return 0;
    if (q->overlap)
        return viv_fail(
            err, EINVAL,
            "'%s': the image is corrupt: two of its L2 tables overlap; opening it read-only works",
            q->node->filename);
    return q->features & QED_F_NEED_CHECK ? mend(q, err) : 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct qed *q = g_new0(struct qed, 1);
    int ret;

    q->node = n;
    q->file = n->file;
    pthread_mutex_init(&q->lock, NULL);
    n->state = q;
    ret = qed_read_header(q, o, err);
    if (!ret) {
        n->granule = q->cluster_size;
        n->zero_init = !q->backing_file;
        q->page_bytes = MIN(q->cluster_size, QED_PAGE_MAX);
        q->pages_max = QED_CACHE_BYTES / q->page_bytes;
        q->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        q->tables = g_hash_table_new(g_direct_hash, g_direct_equal);
        q->spare = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        ret = qed_load_l1(q, n->size, err);
    }
    if (!ret && !n->read_only)
        ret = prepare_writing(q, o, err);
    if (ret) {
        q->broken = true; /* nothing is written on the way out */
        close_image(n);
    }
    return ret;
}

static int flush(struct viv_node *n)
{
    struct qed *q = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&q->lock);
    clean = !q->broken && !q->dirty && q->l1_dirty_from == q->l1_dirty_to;
    if (!clean)
        ret = qed_flush_all(q);
    pthread_mutex_unlock(&q->lock);
    /* Only data to make durable: nobody needs to wait for that with us. */
    return clean ? viv_node_flush(n->file) : ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    struct qed *q = n->state;

    i->cluster_size = q->cluster_size;
    i->backing_file = g_strdup(q->backing_file);
    i->backing_fmt = g_strdup(q->backing_file && (q->features & QED_F_RAW) ? "raw" : NULL);
}

const struct viv_blk_driver viv_blk_qed = {
    .name = "qed",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = qed_map,
    .alloc = qed_alloc,
    .commit = qed_commit,
    .cancel = qed_cancel,
    .write_zeroes = qed_write_zeroes,
    .discard = qed_discard,
    .flush = flush,
    .truncate = qed_truncate,
    .backing = backing,
    .change_backing = qed_change_backing,
    .create = qed_create,
    .create_opts = qed_create_opts,
    .create_shown = qed_create_shown,
    .any_size = true,
    .check = qed_check,
    .info = info,
};
