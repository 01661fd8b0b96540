/* Other options for an image that exists: one after the other, each change at once (edit.h, turn.h). What cannot be done is
 * refused before anything is changed. Going to version 2 comes last, going to version 3 first. */
#include "block/fmt/qcow2/edit.h"
#include "block/fmt/qcow2/turn.h"

#include "block/crypt/luks.h"

#include "base/bytes.h"
#include "opt/opt.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const compat_values[] = {"0.10", "v2", "1.1", "v3", NULL};

const struct viv_opt_def qcow2_amend_opts[] = {
    {"backing_file", VIV_OPT_STR, "File name of a base image"},
    {"backing_fmt", VIV_OPT_STR, "Image format of the base image"},
    {"compat", VIV_OPT_ENUM, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, compat_values},
    {"data_file", VIV_OPT_STR, "File name of an external data file"},
    {"data_file_raw", VIV_OPT_BOOL, "The external data file must stay valid as a raw image"},
    VIV_LUKS_AMEND_OPTS("encrypt."),
    {"lazy_refcounts", VIV_OPT_BOOL, "Postpone refcount updates"},
    {"refcount_bits", VIV_OPT_INT, "Width of a reference count entry in bits"},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    VIV_OPT_END,
};

/* What the image is to be. */
struct plan {
    int version;
    unsigned refcount_order;
    bool lazy;
    const char *data_file; /* NULL: as it is */
    uint64_t size;
};

/* --- may it be? --- */

/* A name that may be given if it says what is so already. */
static bool differs(struct viv_opts *o, const char *key, const char *now)
{
    return viv_opts_given(o, key) && g_strcmp0(viv_opts_str(o, key), now ? now : "") != 0;
}

static int check_names(struct qcow2 *q, struct viv_opts *o, struct plan *p, struct viv_err *err)
{
    bool raw = viv_opts_bool(o, "data_file_raw");

    if (differs(o, "backing_file", q->backing_file) || differs(o, "backing_fmt", q->backing_fmt))
        return viv_fail(err, EINVAL, "Cannot amend the backing file\nYou can use 'viv-img rebase' instead.");
    if (viv_opts_given(o, "data_file") && !q->external)
        return viv_fail(err, EINVAL, "data-file can only be set for images that use an external data file");
    if (viv_opts_given(o, "data_file"))
        p->data_file = viv_opts_str(o, "data_file");
    if (p->data_file && (!*p->data_file || strlen(p->data_file) > 1023))
        return viv_fail(err, EINVAL, "The name of a data file has 1 to 1023 bytes");
    if (viv_opts_given(o, "data_file_raw") && raw && !q->data_raw)
        return viv_fail(err, EINVAL, "data-file-raw cannot be set on existing images");
    if (viv_opts_given(o, "data_file_raw") && !raw && q->data_raw)
        return viv_fail(err, ENOTSUP,
                        "data_file_raw=off is not implemented for existing images; the data file stays valid as a raw image");
    return 0;
}

static int check_refcounts(struct viv_opts *o, struct plan *p, struct viv_err *err)
{
    int64_t bits = viv_opts_int(o, "refcount_bits");

    if (viv_opts_given(o, "refcount_bits")) {
        if (bits < 1 || bits > 64 || (bits & (bits - 1)))
            return viv_fail(err, EINVAL, "Refcount width must be a power of two and may not exceed 64 bits");
        p->refcount_order = __builtin_ctzll(bits);
    }
    if (p->version == 2 && p->refcount_order != 4)
        return viv_opts_given(o, "compat")
                   ? viv_fail(err, EINVAL, "compat=0.10 requires refcount_bits=16")
                   : viv_fail(err, EINVAL, "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
                                           "compat=1.1 or greater)");
    return 0;
}

static int has_zero_entries(struct qcow2 *q, const struct qcow2_array *l1, bool *found)
{
    int ret = 0;

    for (uint32_t i = 0; i < l1->size && !ret && !*found; i++) {
        struct qcow2_table *t;

        if (!(l1->entry[i] & QCOW2_OFFSET))
            continue;
        ret = qcow2_table_ok(q, l1->entry[i] & QCOW2_OFFSET, 0)
                  ? qcow2_table_get(q, &q->l2_cache, l1->entry[i] & QCOW2_OFFSET, false, &t)
                  : -EUCLEAN;
        if (ret)
            return ret;
        for (uint32_t k = 0; k < 1u << q->l2_bits; k++) {
            uint64_t entry = viv_ld_be64(t->data + (size_t)k * 8);

            *found |= !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_ZERO);
        }
        qcow2_table_put(t);
    }
    return ret;
}

/* Version 2 cannot say zero, and snapshots are not written. */
static int check_snapshots(struct qcow2 *q, uint64_t size, struct viv_err *err)
{
    for (uint32_t i = 0; i < q->snapshot_count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots[i];
        struct qcow2_array l1 = {.offset = s->l1_offset, .size = s->l1_size};
        bool zero = false;
        int ret;

        if (qcow2_snapshot_disk_size(q, s) != size)
            return viv_fail(err, ENOTSUP,
                            "Internal snapshots prevent downgrade of image: '%s' has another size than the disk, which "
                            "version 2 cannot say",
                            s->name);
        ret = qcow2_array_read(q, &l1);
        if (!ret)
            ret = has_zero_entries(q, &l1, &zero);
        g_free(l1.entry);
        if (ret)
            return viv_fail_os(err, -ret, "Could not read the tables of snapshot '%s'", s->name);
        if (zero)
            return viv_fail(err, ENOTSUP,
                            "Internal snapshots prevent downgrade of image: '%s' has zero clusters, which version 2 has not",
                            s->name);
    }
    return 0;
}

static int check_downgrade(struct qcow2 *q, const struct plan *p, struct viv_err *err)
{
    if (q->external)
        return viv_fail(err, ENOTSUP, "Cannot downgrade an image with a data file");
    if (q->incompatible)
        return viv_fail(err, ENOTSUP, "Cannot downgrade an image with incompatible features 0x%" PRIx64 " set (%s)",
                        q->incompatible,
                        q->extended        ? "extended L2 entries"
                        : q->compression ? "zstd compression"
                                           : "it is dirty or corrupt");
    if (q->bitmap_count)
        return viv_fail(err, ENOTSUP, "Cannot downgrade an image with dirty bitmaps, which version 2 has not; 'viv-img bitmap "
                                      "--remove' removes them");
    return check_snapshots(q, p->size, err);
}

static int make_plan(struct qcow2 *q, struct viv_opts *o, struct plan *p, struct viv_err *err)
{
    const char *compat = viv_opts_given(o, "compat") ? viv_opts_str(o, "compat") : NULL;
    int ret;

    *p = (struct plan){.version = q->version,
                       .refcount_order = q->refcount_order,
                       .lazy = q->compatible & QCOW2_COMPAT_LAZY,
                       .size = viv_node_size(q->node)};
    if (compat)
        p->version = strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0 ? 2 : 3;
    if (viv_opts_given(o, "size"))
        p->size = viv_opts_size(o, "size");
    if (p->size % 512)
        return viv_fail(err, EINVAL, "The size of a disk is a multiple of 512 bytes, not %" PRIu64, p->size);
    if (viv_opts_given(o, "lazy_refcounts"))
        p->lazy = viv_opts_bool(o, "lazy_refcounts");
    else if (p->version == 2)
        p->lazy = false;
    if (p->lazy && p->version == 2)
        return viv_fail(err, EINVAL, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or "
                                     "greater)");
    ret = check_names(q, o, p, err);
    if (!ret)
        ret = check_refcounts(o, p, err);
    if (!ret && p->version < q->version)
        ret = check_downgrade(q, p, err);
    return ret;
}

/* --- steps; with the lock, but for what goes through the core --- */

/* Version 3 wants the disk's size in each snapshot's extra data. */
static int complete_snapshots(struct qcow2 *q)
{
    struct qcow2_snapshot *old = q->snapshots, *list;
    uint32_t count = q->snapshot_count;
    struct qcow2_turn t;
    bool some = false;
    int ret;

    for (uint32_t i = 0; i < count; i++)
        some |= old[i].extra_len < 16;
    if (!some)
        return 0;
    list = g_try_new0(struct qcow2_snapshot, count);
    if (!list)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        list[i] = old[i];
        if (old[i].extra_len >= 16)
            continue;
        list[i].extra = g_malloc0(16);
        list[i].extra_len = 16;
        viv_st_be64(list[i].extra, qcow2_snapshot_state_size(&old[i]));
        viv_st_be64(list[i].extra + 8, qcow2_snapshot_disk_size(q, &old[i]));
    }
    ret = qcow2_turn_begin(&t, q);
    if (!ret)
        ret = qcow2_turn_set_snapshots(&t, list, count);
    if (!ret)
        ret = qcow2_turn_commit(&t);
    qcow2_turn_end(&t);
    for (uint32_t i = 0; i < count; i++)
        if (list[i].extra != old[i].extra)
            g_free(ret ? list[i].extra : old[i].extra);
    g_free(ret ? list : old);
    return ret;
}

static int set_version(struct qcow2 *q, int version)
{
    uint32_t names_len;
    const void *names = qcow2_feature_names(&names_len);
    struct qcow2_edit e;
    int ret = qcow2_edit_begin(&e, q);

    if (!ret) {
        viv_st_be32(e.fields + QCOW2_H_VERSION, version);
        memset(e.fields + QCOW2_H_V2_LENGTH, 0, e.fields_room - QCOW2_H_V2_LENGTH);
        e.fields_len = version == 2 ? QCOW2_H_V2_LENGTH : QCOW2_H_V3_LENGTH;
        if (version == 3) {
            viv_st_be32(e.fields + QCOW2_H_REFCOUNT_ORDER, q->refcount_order);
            viv_st_be32(e.fields + QCOW2_H_HEADER_LENGTH, e.fields_len);
        }
        qcow2_edit_extension(&e, QCOW2_EXT_FEATURES, version == 3 ? names : NULL, names_len);
        ret = qcow2_edit_commit(&e);
    }
    qcow2_edit_end(&e);
    if (ret)
        return ret;
    q->version = version;
    q->compatible = q->autoclear = 0;
    return 0;
}

static int set_lazy(struct qcow2 *q, bool on)
{
    uint64_t value = (q->compatible & ~QCOW2_COMPAT_LAZY) | (on ? QCOW2_COMPAT_LAZY : 0);
    int ret = qcow2_write_u64(q, QCOW2_H_COMPATIBLE, value);

    if (!ret)
        ret = viv_node_flush(q->file);
    if (!ret)
        q->compatible = value;
    return ret;
}

static int set_refcount_order(struct qcow2 *q, unsigned order)
{
    struct qcow2_turn t;
    int ret = qcow2_turn_begin(&t, q);

    t.refcount_order = order;
    if (!ret)
        ret = qcow2_turn_commit(&t);
    qcow2_turn_end(&t);
    return ret;
}

static int set_data_file(struct qcow2 *q, const char *name)
{
    struct qcow2_edit e;
    int ret = qcow2_edit_begin(&e, q);

    if (!ret) {
        qcow2_edit_extension(&e, QCOW2_EXT_DATA_FILE, name, strlen(name));
        ret = qcow2_edit_commit(&e);
    }
    qcow2_edit_end(&e);
    if (ret)
        return ret;
    g_free(q->data_file);
    q->data_file = g_strdup(name);
    return 0;
}

/* Zero clusters become nothing at all, or data where a backing file would show. Through the core, which holds the ranges. */
static int expand_zeroes(struct viv_node *n)
{
    struct qcow2 *q = n->state;
    bool shows = n->backing || q->backing_file;
    uint64_t size = viv_node_size(n), step, end;
    uint8_t *zero = g_try_malloc0(q->cluster_size);
    int ret = zero ? 0 : -ENOMEM;

    for (uint64_t at = 0; at < size && !ret; at += step) {
        struct viv_extent e;

        step = MIN(q->cluster_size, size - at);
        ret = qcow2_map(n, at, size - at, &e);
        if (ret || e.kind != VIV_MAP_ZERO)
            step = ret ? step : MAX(e.len, 1);
        else if (shows)
            ret = viv_node_pwrite(n, at, zero, step);
        else
            ret = qcow2_forget(n, at, step);
    }
    g_free(zero);
    /* What is left of a disk that once was larger. */
    end = (size + q->cluster_size - 1) & ~(uint64_t)(q->cluster_size - 1);
    step = qcow2_l1_need(q, size) << (q->cluster_bits + q->l2_bits);
    if (!ret && end < step)
        ret = qcow2_forget(n, end, step - end);
    return ret ? ret : viv_node_flush(n);
}

static int downgrade(struct viv_node *n)
{
    struct qcow2 *q = n->state;
    unsigned zeroes = n->detect_zeroes;
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = qcow2_drop_state(q);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    n->detect_zeroes = VIV_DETECT_OFF;
    ret = expand_zeroes(n);
    n->detect_zeroes = zeroes;
    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = set_version(q, 2);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int change_locked(struct qcow2 *q, const struct plan *p)
{
    int ret = 0;

    if (p->version > q->version) {
        ret = complete_snapshots(q);
        if (!ret)
            ret = set_version(q, 3);
    }
    if (!ret && p->refcount_order != q->refcount_order)
        ret = set_refcount_order(q, p->refcount_order);
    if (!ret && p->lazy != ((q->compatible & QCOW2_COMPAT_LAZY) != 0) && p->version == 3)
        ret = set_lazy(q, p->lazy);
    if (!ret && p->data_file)
        ret = set_data_file(q, p->data_file);
    return ret;
}

static int explain(struct qcow2 *q, int ret, struct viv_err *err)
{
    const char *name = q->node->filename;

    if (ret == -EOVERFLOW)
        return viv_fail(err, EOVERFLOW, "'%s': a cluster has more references than refcounts of that width can count", name);
    if (ret == -EUCLEAN)
        return viv_fail(err, EUCLEAN, "'%s': its tables and refcounts contradict each other; 'viv-img check -r all' mends that",
                        name);
    if (ret == -ENOSPC)
        return viv_fail(err, ENOSPC, "'%s': no room in the file system, or in the header's cluster of %u bytes", name,
                        q->cluster_size);
    return ret ? viv_fail_os(err, -ret, "Could not amend '%s'", name) : 0;
}

int qcow2_amend(struct viv_node *n, struct viv_opts *o, bool force, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    struct plan p;
    int ret = make_plan(q, o, &p, err);

    if (!ret)
        ret = viv_node_flush(n);
    if (!ret)
        ret = qcow2_amend_encryption(q, o, force, err);
    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = change_locked(q, &p);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return explain(q, ret, err);
    if (p.size != viv_node_size(n) && (ret = viv_node_truncate(n, p.size, VIV_PREALLOC_OFF, err)) != 0)
        return ret;
    return p.version < q->version ? explain(q, downgrade(n), err) : 0;
}
