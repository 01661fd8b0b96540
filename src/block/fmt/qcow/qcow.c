/* The driver: open, close, info. The rest of QCOW is in the files beside; qcow_int.h is their table of contents. */
#include "block/fmt/qcow/qcow_int.h"

#include "base/bytes.h"

#include <errno.h>

static int probe(const uint8_t *head, size_t len)
{
    return len >= QCOW_H_LENGTH && viv_ld_be32(head) == QCOW_MAGIC && viv_ld_be32(head + QCOW_H_VERSION) == 1 ? 100 : 0;
}

/* The header has no field for the backing file's format. */
static void backing(struct viv_node *n, const char **name, const char **format)
{
    struct qcow *q = n->state;

    *name = q->backing_file;
    *format = NULL;
}

static int close_image(struct viv_node *n)
{
    struct qcow *q = n->state;

    qcow_pages_fini(q);
    if (q->tables)
        g_hash_table_destroy(q->tables);
    if (q->spare)
        g_array_free(q->spare, TRUE);
    pthread_mutex_destroy(&q->lock);
    g_free(q->backing_file);
    g_free(q);
    n->state = NULL;
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct qcow *q = g_new0(struct qcow, 1);
    int ret;

    q->node = n;
    q->file = n->file;
    pthread_mutex_init(&q->lock, NULL);
    n->state = q;
    ret = qcow_read_header(q, o, err);
    if (!ret) {
        n->granule = q->cluster_size;
        n->zero_init = !q->backing_file;
        q->tables = g_hash_table_new(g_direct_hash, g_direct_equal);
        q->spare = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        qcow_pages_init(q);
    }
    if (!ret && !n->read_only && !o->for_check)
        ret = qcow_find_tables(q, err);
    if (ret)
        close_image(n);
    return ret;
}

static int flush(struct viv_node *n)
{
    struct qcow *q = n->state;
    bool clean;
    int ret = 0;

    pthread_mutex_lock(&q->lock);
    clean = !q->broken && !q->dirty_l1 && !q->dirty_l2;
    if (!clean)
        ret = qcow_flush_all(q);
    pthread_mutex_unlock(&q->lock);
    /* Only data to make durable: nobody needs to wait for that with us. */
    return clean ? viv_node_flush(n->file) : ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    struct qcow *q = n->state;

    i->cluster_size = q->cluster_size;
    i->backing_file = g_strdup(q->backing_file);
    i->encrypted = q->crypt != 0;
}

static const char *const encrypt_values[] = {"aes", NULL};

static const struct viv_opt_def open_opts[] = {
    {"encrypt.format", VIV_OPT_ENUM, "aes, the only one", NULL, encrypt_values},
    {"encrypt.key-secret", VIV_OPT_STR, "id of the -object secret with the password"},
    VIV_OPT_END,
};

const struct viv_blk_driver viv_blk_qcow = {
    .name = "qcow",
    .probe = probe,
    .open_opts = open_opts,
    .open = open_image,
    .close = close_image,
    .map = qcow_map,
    .alloc = qcow_alloc,
    .commit = qcow_commit,
    .cancel = qcow_cancel,
    .read_special = qcow_read_compressed,
    .pack = qcow_pack,
    .write_packed = qcow_write_packed,
    .write_zeroes = qcow_write_zeroes,
    .discard = qcow_discard,
    .forget = qcow_forget,
    .flush = flush,
    .backing = backing,
    .create = qcow_create,
    .create_opts = qcow_create_opts,
    .create_shown = qcow_create_shown,
    .check = qcow_check,
    .info = info,
};
