/* How large the file of a new image is going to be: with `data` bytes of it written, and with all of it. */
#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>
#include <inttypes.h>

static uint64_t units(uint64_t n, uint64_t unit)
{
    return n / unit + (n % unit != 0);
}

/* Header, L1, L2 tables of the whole disk, and the refcounts of these, of the data and of themselves; in clusters. */
static uint64_t metadata(uint64_t data, uint64_t cluster, unsigned refcount_bits, unsigned entry)
{
    uint64_t l2 = units(data, cluster / entry), l1 = units(l2 * 8, cluster);
    uint64_t rest = 1 + l1 + l2, blocks = 0, table = 0, last;

    do { /* each round needs as much or more: the smallest that holds itself */
        last = blocks + table;
        blocks = units(data + rest + last, cluster * 8 / refcount_bits);
        table = units(blocks * 8, cluster);
    } while (blocks + table != last);
    return rest + blocks + table;
}

int qcow2_measure(const struct viv_create *c, struct viv_node *source, struct viv_measure *out, struct viv_err *err)
{
    struct viv_qcow2_create q;
    uint64_t meta, all, used = 0;
    int ret = qcow2_read_options(c, &q, err);

    if (!ret)
        ret = qcow2_plan(&q, err);
    if (ret)
        return ret;
    all = units(c->size, q.cluster_size);
    meta = metadata(all, q.cluster_size, q.refcount_bits, q.extended_l2 ? 16 : 8);
    if (source && (ret = viv_img_count_data(source, q.cluster_size, &used)) != 0)
        return viv_fail_os(err, -ret, "Could not read what '%s' holds", source->filename);
    if ((source && c->backing_file) || c->prealloc == VIV_PREALLOC_FALLOC || c->prealloc == VIV_PREALLOC_FULL)
        used = all;
    meta += units(qcow2_crypt_bytes(&q), q.cluster_size);
    out->required = (meta + used) * q.cluster_size;
    out->full = (meta + all) * q.cluster_size;
    out->has_bitmaps = source && source->drv == &viv_blk_qcow2 && q.version >= 3; /* none in it: we refuse those that have */
    return 0;
}
