/* Extents: their files, sizes and order. Names come from the descriptor, which may be a stranger's: they must stay in the
 * image's folder, each file is there once, and no two extents share bytes. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* As viv_node_open_child() takes it: always a file, never "nbd:..." or another protocol. NULL: it leads out of the
 * folder. g_free. */
static char *safe_name(const char *name)
{
    const char *colon = strchr(name, ':'), *slash = strchr(name, '/');
    char **part;
    bool up;

    if (*name == '/')
        return NULL;
    part = g_strsplit(name, "/", -1);
    up = g_strv_contains((const char *const *)part, "..");
    g_strfreev(part);
    if (up)
        return NULL;
    return colon && (!slash || colon < slash) ? g_strconcat("./", name, NULL) : g_strdup(name);
}

struct opener {
    struct vmdk *v;
    const struct viv_node_opts *o;
    GHashTable *files; /* name -> struct vmdk_extent's index + 1 of the first that has it */
};

static int open_file(struct opener *k, const struct vmdk_line *l, struct viv_node **out, struct viv_err *err)
{
    struct viv_node *n = k->v->node;
    struct viv_node_opts o = *k->o;
    g_autofree char *path = safe_name(l->file);
    int ret;

    if (!path)
        return viv_fail(err, EACCES,
                        "'%s': its extent '%s' lies outside of the image's folder, which is not followed: any file of the "
                        "host could be named so. Move it beside the descriptor and name it there",
                        n->filename, l->file);
    o.read_only = n->read_only || l->access == VMDK_RDONLY;
    ret = viv_node_open_child(n, path, &o, out, err);
    if (ret)
        viv_err_prefix(err, "an extent of '%s'", n->filename);
    return ret;
}

/* Flat extents may be parts of one file. */
static int find_file(struct opener *k, const struct vmdk_line *l, struct vmdk_extent *e, struct viv_err *err)
{
    guint seen = GPOINTER_TO_UINT(g_hash_table_lookup(k->files, l->file));
    const struct vmdk_extent *first;

    if (!seen) {
        g_hash_table_insert(k->files, l->file, GUINT_TO_POINTER(k->v->extents->len + 1));
        return open_file(k, l, &e->file, err);
    }
    first = &g_array_index(k->v->extents, struct vmdk_extent, seen - 1);
    if (first->type != VMDK_FLAT || e->type != VMDK_FLAT || first->read_only != e->read_only)
        return viv_fail(err, EINVAL, "'%s': two extents are in '%s', and only flat ones of the same access can share a file",
                        k->v->node->filename, l->file);
    e->file = first->file;
    return 0;
}

static int open_flat(struct vmdk *v, const struct vmdk_line *l, struct vmdk_extent *e, struct viv_err *err)
{
    uint64_t size = viv_node_size(e->file);

    if (!viv_mul_u64(l->offset, VMDK_SECTOR, &e->flat) || !viv_range_inside(e->flat, e->len, size))
        return viv_fail(err, EINVAL,
                        "'%s': its extent '%s' is too short: %" PRIu64 " sectors from sector %" PRIu64 " on are wanted, the "
                        "file has %" PRIu64 " bytes",
                        v->node->filename, e->file->filename, l->sectors, l->offset, size);
    return 0;
}

static int open_sparse(struct vmdk *v, const struct vmdk_line *l, struct vmdk_extent *e, struct viv_err *err)
{
    int ret = vmdk_sparse_open(v, e->file, l->type == VMDK_COWD, &e->sparse, err);

    if (ret)
        return ret;
    if (e->sparse->capacity < e->len)
        ret = viv_fail(err, EINVAL, "'%s': its extent '%s' is to have %" PRIu64 " bytes of the disk, and has %" PRIu64,
                       v->node->filename, e->file->filename, e->len, e->sparse->capacity);
    return ret;
}

static int open_line(struct opener *k, const struct vmdk_line *l, struct viv_err *err)
{
    struct vmdk *v = k->v;
    struct vmdk_extent e = {
        .type = l->type, .format = l->format, .read_only = l->access == VMDK_RDONLY, .start = v->node->size};
    int ret = 0;

    if (!viv_mul_u64(l->sectors, VMDK_SECTOR, &e.len) || e.len > INT64_MAX - e.start)
        return viv_fail(err, EFBIG, "'%s': its extents are larger than a disk can be", v->node->filename);
    if (l->type != VMDK_ZERO)
        ret = find_file(k, l, &e, err);
    if (!ret && l->type == VMDK_FLAT)
        ret = open_flat(v, l, &e, err);
    else if (!ret && l->type != VMDK_ZERO)
        ret = open_sparse(v, l, &e, err);
    if (ret) {
        vmdk_sparse_free(e.sparse);
        return ret;
    }
    v->node->size += e.len;
    g_array_append_val(v->extents, e);
    return 0;
}

/* The file with the descriptor is the extent. */
static int open_single(struct vmdk *v, struct viv_err *err)
{
    struct vmdk_extent e = {.type = VMDK_SPARSE, .format = "", .file = v->node->file};
    int ret;

    if (v->desc.lines->len != 1 || g_array_index(v->desc.lines, struct vmdk_line, 0).type != VMDK_SPARSE)
        return viv_fail(err, ENOTSUP,
                        "'%s': a descriptor inside of a sparse extent that lists something else than this one is not "
                        "implemented; in a file of its own it works",
                        v->node->filename);
    e.read_only = g_array_index(v->desc.lines, struct vmdk_line, 0).access == VMDK_RDONLY;
    ret = vmdk_sparse_open(v, v->node->file, false, &e.sparse, err);
    if (ret)
        return ret;
    e.len = v->node->size = e.sparse->capacity;
    g_array_append_val(v->extents, e);
    return 0;
}

/* --- what they are together --- */

static int by_place(const void *a, const void *b)
{
    const struct vmdk_extent *x = *(struct vmdk_extent *const *)a, *y = *(struct vmdk_extent *const *)b;

    if (x->file != y->file)
        return (uintptr_t)x->file < (uintptr_t)y->file ? -1 : 1;
    return x->flat < y->flat ? -1 : x->flat > y->flat;
}

static int check_overlaps(struct vmdk *v, struct viv_err *err)
{
    g_autofree struct vmdk_extent **e = g_new(struct vmdk_extent *, v->extents->len + 1);
    guint n = 0;

    for (guint i = 0; i < v->extents->len; i++) {
        struct vmdk_extent *x = &g_array_index(v->extents, struct vmdk_extent, i);

        if (x->type == VMDK_FLAT)
            e[n++] = x;
    }
    qsort(e, n, sizeof(struct vmdk_extent *), by_place);
    for (guint i = 1; i < n; i++)
        if (e[i]->file == e[i - 1]->file && e[i]->flat < e[i - 1]->flat + e[i - 1]->len)
            return viv_fail(err, EINVAL, "'%s': two of its extents overlap in '%s' at byte %" PRIu64, v->node->filename,
                            e[i]->file->filename, e[i]->flat);
    return 0;
}

/* Range locks are in powers of two and must cover whole grains. Where extents do not begin at multiples of the largest grain,
 * the whole disk is one: writes that allocate then run one at a time. */
static int set_granule(struct vmdk *v, struct viv_err *err)
{
    uint64_t grain = 1, g;
    bool aligned = true, compressed = false;

    for (guint i = 0; i < v->extents->len; i++) {
        const struct vmdk_sparse *s = g_array_index(v->extents, struct vmdk_extent, i).sparse;

        if (!s)
            continue;
        compressed |= s->compressed;
        v->cluster = i ? v->cluster : s->grain;
        grain = MAX(grain, s->grain);
    }
    for (guint i = 0; i < v->extents->len; i++)
        aligned &= viv_is_aligned(g_array_index(v->extents, struct vmdk_extent, i).start, grain);
    if (compressed && v->extents->len > 1)
        return viv_fail(err, ENOTSUP, "'%s': a compressed extent that is one of several is not implemented; alone it works",
                        v->node->filename);
    for (g = grain; !aligned && g < v->node->size; g *= 2)
        ;
    v->node->granule = g;
    return 0;
}

/* Only what is open for writing needs to know where its metadata lies; a checker finds that out itself. */
static int prepare_writing(struct vmdk *v, const struct viv_node_opts *o, struct viv_err *err)
{
    int ret = 0;

    for (guint i = 0; !ret && i < v->extents->len; i++) {
        const struct vmdk_extent *e = &g_array_index(v->extents, struct vmdk_extent, i);

        if (!e->sparse || e->read_only || o->for_check)
            continue;
        if (!vmdk_can_write(e->sparse))
            return viv_fail(err, EROFS,
                            "'%s': %s can only be read; open it read-only, or make another image of it by 'viv-img convert'",
                            v->node->filename,
                            e->sparse->cowd ? "ESX's sparse extents (COWD)"
                                            : "an image made for streaming, without markers or with its grain directory at "
                                              "the end,");
        ret = vmdk_sparse_prepare(e->sparse, err);
    }
    return ret;
}

int vmdk_open_extents(struct vmdk *v, const struct viv_node_opts *o, struct viv_err *err)
{
    struct opener k = {v, o, g_hash_table_new(g_str_hash, g_str_equal)};
    int ret = v->desc_inside ? open_single(v, err) : 0;

    for (guint i = 0; !ret && !v->desc_inside && i < v->desc.lines->len; i++)
        ret = open_line(&k, &g_array_index(v->desc.lines, struct vmdk_line, i), err);
    g_hash_table_destroy(k.files);
    if (!ret)
        ret = check_overlaps(v, err);
    if (!ret)
        ret = set_granule(v, err);
    if (!ret && !v->node->read_only)
        ret = prepare_writing(v, o, err);
    return ret;
}

struct vmdk_extent *vmdk_extent_at(struct vmdk *v, uint64_t offset)
{
    guint low = 0, high = v->extents->len;

    while (high - low > 1) {
        guint mid = low + (high - low) / 2;

        if (g_array_index(v->extents, struct vmdk_extent, mid).start <= offset)
            low = mid;
        else
            high = mid;
    }
    return &g_array_index(v->extents, struct vmdk_extent, low);
}
