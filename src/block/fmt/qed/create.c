/* New images, and larger ones. */
#include "block/fmt/qed/qed_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct viv_opt_def qed_create_opts[] = {
    {"backing_file", VIV_OPT_STR, "File name of a base image"},
    {"backing_fmt", VIV_OPT_STR, "Image format of the base image"},
    {"cluster_size", VIV_OPT_SIZE, "Cluster size (in bytes)", "65536"},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"table_size", VIV_OPT_SIZE, "L1/L2 table size (in clusters)"},
    VIV_OPT_END,
};

const char *const qed_create_shown[] = {"size",         "backing_file", "backing_fmt",
                                        "cluster_size", "table_size",   NULL};

/* Where the backing file's name lies: behind the fields that this version of the header has. */
static void make_header(const struct viv_create *c, uint64_t size, uint32_t cs, uint32_t ts,
                        uint8_t *head)
{
    uint64_t features = 0;

    memcpy(head, QED_MAGIC, 4);
    viv_st_le32(head + QED_H_CLUSTER_SIZE, cs);
    viv_st_le32(head + QED_H_TABLE_SIZE, ts);
    viv_st_le32(head + QED_H_HEADER_SIZE, 1);
    viv_st_le64(head + QED_H_L1_OFFSET, cs);
    viv_st_le64(head + QED_H_SIZE, size);
    if (c->backing_file) {
        features =
            QED_F_BACKING | (c->backing_fmt && strcmp(c->backing_fmt, "raw") == 0 ? QED_F_RAW : 0);
        viv_st_le32(head + QED_H_BACKING_OFFSET, QED_H_LENGTH);
        viv_st_le32(head + QED_H_BACKING_SIZE, strlen(c->backing_file));
        memcpy(head + QED_H_LENGTH, c->backing_file, strlen(c->backing_file));
    }
    viv_st_le64(head + QED_H_FEATURES, features);
}

static int refuse(const struct viv_create *c, uint64_t size, uint64_t cs, uint64_t ts,
                  struct viv_err *err)
{
    if (!qed_cluster_size_ok(cs))
        return viv_fail(err, EINVAL,
                        "QED cluster size must be within range [%u, %u] and power of 2",
                        QED_CLUSTER_MIN, QED_CLUSTER_MAX);
    if (!qed_table_size_ok(ts))
        return viv_fail(err, EINVAL, "QED table size must be within range [1, %u] and power of 2",
                        QED_TABLE_MAX);
    if (size > qed_size_max(cs, ts))
        return viv_fail(err, EINVAL,
                        "QED image size is at most %" PRIu64
                        " bytes with this cluster and table size",
                        qed_size_max(cs, ts));
    if (c->backing_file && strlen(c->backing_file) > QED_BACKING_NAME_MAX)
        return viv_fail(err, EINVAL, "The backing file's name has %zu bytes; at most 1023 fit",
                        strlen(c->backing_file));
    return 0;
}

int qed_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    uint64_t cs = viv_opts_size(c->opts, "cluster_size"), size, end;
    uint64_t ts = viv_opts_given(c->opts, "table_size") ? viv_opts_size(c->opts, "table_size") : 4;
    uint8_t head[QED_CLUSTER_MIN] = {0};
    int ret;

    if (!viv_align_up_checked(c->size, 512, &size))
        return viv_fail(err, EFBIG, "%" PRIu64 " bytes are too large", c->size);
    ret = refuse(c, size, cs, ts, err);
    if (ret)
        return ret;
    end = cs + cs * ts;
    ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, end, VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    make_header(c, size, cs, ts, head);
    ret = viv_node_write_zeroes(file, 0, end, 0); /* a device holds anything */
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret)
        ret = viv_node_pwrite(file, 0, head, sizeof(head));
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}

static int set_size(struct qed *q, uint64_t size)
{
    uint8_t le[8];
    int ret;

    viv_st_le64(le, size);
    ret = viv_node_pwrite(q->file, QED_H_SIZE, le, sizeof(le));
    return ret ? ret : viv_node_flush(q->file);
}

/* The part of the backing file that a larger disk would uncover reads as zeroes. */
static int hide_backing(struct viv_node *n, uint64_t old, uint64_t size)
{
    uint64_t end = n->backing ? MIN(size, viv_node_size(n->backing)) : 0;

    return end > old ? viv_node_write_zeroes(n, old, end - old, 0) : 0;
}

int qed_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    struct qed *q = n->state;
    uint64_t old = viv_node_size(n),
             max = qed_size_max(q->cluster_size, q->table_bytes >> q->cluster_bits);
    int ret;

    if (prealloc != VIV_PREALLOC_OFF)
        return viv_fail(err, ENOTSUP, "Unsupported preallocation mode: qed images have none");
    if (size < old)
        return viv_fail(
            err, ENOTSUP,
            "Shrinking images is currently not supported (qed); convert makes a smaller one");
    if (size > max)
        return viv_fail(err, EINVAL,
                        "Invalid image size specified: %" PRIu64
                        " bytes; with this cluster and table size at most "
                        "%" PRIu64 " work",
                        size, max);
    pthread_mutex_lock(&q->lock);
    ret = qed_load_l1(q, size, err);
    pthread_mutex_unlock(&q->lock);
    if (ret)
        return ret;
    __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    ret = hide_backing(n, old, size);
    if (!ret)
        ret = viv_node_flush(n);
    if (!ret)
        ret = set_size(q, size);
    if (ret)
        __atomic_store_n(&n->size, old, __ATOMIC_RELEASE);
    return ret ? viv_fail_os(err, -ret, "Could not resize '%s'", n->filename) : 0;
}
