/* The driver: open, close, flush, info. The rest of VMDK is in the files beside; vmdk_int.h is their table of contents. */
#include "block/fmt/vmdk/vmdk_int.h"

#include <errno.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
    if (len < VMDK_H_LEN)
        return 0;
    if (memcmp(head, VMDK_MAGIC, 4) == 0 || memcmp(head, VMDK_COWD_MAGIC, 4) == 0)
        return 100;
    return vmdk_is_descriptor(head, len) ? 100 : 0;
}

/* --- open --- */

/* The descriptor's text; *len 0: the file is an extent without one. g_free. */
static int load_text(struct vmdk *v, char **text, uint64_t *len, struct viv_err *err)
{
    struct viv_node *file = v->node->file;
    struct vmdk_sparse *s = NULL;
    uint8_t head[4];
    int ret = viv_node_pread(file, 0, head, sizeof(head));

    *len = viv_node_size(file);
    if (!ret && memcmp(head, VMDK_MAGIC, 4) == 0) {
        ret = vmdk_sparse_open(v, file, false, &s, err);
        if (ret)
            return ret;
        v->desc_inside = true;
        v->desc_at = s->desc_at;
        *len = s->desc_bytes;
        vmdk_sparse_free(s);
    } else if (!ret && memcmp(head, VMDK_COWD_MAGIC, 4) == 0) {
        *len = 0;
    }
    if (*len > VMDK_DESC_MAX)
        return viv_fail(err, EINVAL, "Image not in VMDK format: '%s' is neither an extent nor a descriptor", file->filename);
    *text = g_try_malloc(*len + 1);
    if (!ret)
        ret = *text ? viv_node_pread(file, v->desc_at, *text, *len) : -ENOMEM;
    return ret ? viv_fail_os(err, -ret, "Could not read '%s'", file->filename) : 0;
}

static int load_descriptor(struct vmdk *v, struct viv_err *err)
{
    const char *name = v->node->filename;
    char *text = NULL;
    uint64_t len;
    int ret = load_text(v, &text, &len, err);

    if (!ret && (!len || (v->desc_inside && !*text)))
        ret = viv_fail(err, EINVAL,
                       "'%s' is one extent of an image and holds no descriptor: open the file that does (its name is this "
                       "one's, without '-s001', '-delta' and the like)",
                       name);
    if (!ret && !vmdk_is_descriptor((const uint8_t *)text, len))
        ret = viv_fail(err, EINVAL, "Image not in VMDK format: '%s' has no VMDK descriptor of version 1 to 3", name);
    if (!ret)
        ret = vmdk_descriptor_parse(text, len, name, &v->desc, err);
    if (!ret && v->desc_inside && v->desc.type && strcmp(v->desc.type, "monolithicSparse") != 0 &&
        strcmp(v->desc.type, "streamOptimized") != 0)
        ret = viv_fail(err, ENOTSUP, "'%s': unsupported image type '%s' of a descriptor inside of an extent", name,
                       v->desc.type);
    g_free(text);
    return ret;
}

static int close_image(struct viv_node *n)
{
    struct vmdk *v = n->state;

    vmdk_pages_free(v);
    for (guint i = 0; i < v->extents->len; i++)
        vmdk_sparse_free(g_array_index(v->extents, struct vmdk_extent, i).sparse);
    g_array_free(v->extents, TRUE);
    vmdk_descriptor_free(&v->desc);
    pthread_mutex_destroy(&v->lock);
    g_free(v);
    n->state = NULL;
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct vmdk *v = g_new0(struct vmdk, 1);
    int ret;

    v->node = n;
    v->extents = g_array_new(FALSE, FALSE, sizeof(struct vmdk_extent));
    g_queue_init(&v->lru);
    pthread_mutex_init(&v->lock, NULL);
    n->state = v;
    ret = load_descriptor(v, err);
    if (!ret)
        ret = vmdk_open_extents(v, o, err);
    if (ret) {
        close_image(n);
        return ret;
    }
    n->zero_init = !v->desc.parent;
    n->only_packed = v->extents->len == 1 && v->cluster &&
                     g_array_index(v->extents, struct vmdk_extent, 0).sparse->compressed;
    for (unsigned i = 0; i < n->children; i++)
        n->zero_init &= n->child[i]->zero_init;
    return 0;
}

/* --- parent --- */

static void backing(struct viv_node *n, const char **name, const char **format)
{
    struct vmdk *v = n->state;

    *name = v->desc.parent;
    *format = v->desc.parent ? "vmdk" : NULL;
}

/* --- the rest --- */

static int flush(struct viv_node *n)
{
    struct vmdk *v = n->state;
    int ret = 0;

    pthread_mutex_lock(&v->lock);
    for (guint i = 0; !ret && i < v->extents->len; i++) {
        const struct vmdk_sparse *s = g_array_index(v->extents, struct vmdk_extent, i).sparse;

        if (s && (s->dirty || s->gd_dirty_from != s->gd_dirty_to)) {
            ret = vmdk_flush_locked(v);
            break;
        }
    }
    pthread_mutex_unlock(&v->lock);
    return ret ? ret : viv_node_flush(n->file);
}

static void info_extent(const struct vmdk_extent *e, struct viv_img_info *i)
{
    viv_img_fact_open(i, NULL, false);
    if (e->sparse && e->sparse->compressed)
        viv_img_fact_bool(i, "compressed", true);
    viv_img_fact_uint(i, "virtual-size", e->len);
    if (e->file)
        viv_img_fact_str(i, "filename", e->file->filename);
    if (e->sparse)
        viv_img_fact_uint(i, "cluster-size", e->sparse->grain);
    viv_img_fact_str(i, "format", e->format);
    viv_img_fact_close(i);
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
    struct vmdk *v = n->state;

    i->cluster_size = v->cluster;
    i->backing_file = g_strdup(v->desc.parent);
    i->backing_fmt = g_strdup(v->desc.parent ? "vmdk" : NULL);
    viv_img_fact_uint(i, "cid", v->desc.cid);
    viv_img_fact_uint(i, "parent-cid", v->desc.parent_cid);
    viv_img_fact_str(i, "create-type", v->desc.type ? v->desc.type : "");
    viv_img_fact_open(i, "extents", true);
    for (guint k = 0; k < v->extents->len; k++)
        info_extent(&g_array_index(v->extents, struct vmdk_extent, k), i);
    viv_img_fact_close(i);
}

const struct viv_blk_driver viv_blk_vmdk = {
    .name = "vmdk",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = vmdk_map,
    .alloc = vmdk_alloc,
    .commit = vmdk_commit,
    .cancel = vmdk_cancel,
    .read_special = vmdk_read_special,
    .pack = vmdk_pack,
    .write_packed = vmdk_write_packed,
    .write_zeroes = vmdk_write_zeroes,
    .discard = vmdk_discard,
    .flush = flush,
    .backing = backing,
    .check_backing = vmdk_check_backing,
    .keep_backing = vmdk_keep_backing,
    .create = vmdk_create,
    .create_opts = vmdk_create_opts,
    .create_shown = vmdk_create_shown,
    .check = vmdk_check,
    .info = info,
};
