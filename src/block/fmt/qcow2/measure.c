/* How large the file of a new image is going to be: with `data` bytes of it written, and with all of it. */
#include "block/fmt/qcow2/bitmap.h"

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

/* The source's bitmaps with all their bits, tables and a directory. Those that are out of date are not taken along. */
static int measure_bitmaps(struct viv_node *source, uint64_t cluster, uint64_t *out, struct viv_err *err)
{
    struct viv_bitmap_info *list;
    uint64_t dir = 0, clusters = 0;
    unsigned count;
    int ret = source->drv->bitmaps->list(source, &list, &count, err);

    if (ret)
        return ret;
    for (unsigned i = 0; i < count; i++) {
        struct qcow2_bitmap b = {.name = list[i].name};
        uint64_t data = units(viv_bitmap_bytes(viv_node_size(source), list[i].granularity), cluster);

        if (list[i].in_use)
            continue;
        clusters += data + units(data * 8, cluster);
        dir += qcow2_bitmap_entry_bytes(&b);
    }
    viv_bitmap_info_free(list, count);
    *out = (clusters + units(dir, cluster)) * cluster;
    return 0;
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
    out->has_bitmaps = source && source->drv->bitmaps && q.version >= 3;
    return out->has_bitmaps ? measure_bitmaps(source, q.cluster_size, &out->bitmaps, err) : 0;
}
