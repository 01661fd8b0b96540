#include "block/fmt/qcow2/entry.h"

#include "base/bytes.h"

void qcow2_entry_load(const struct qcow2 *q, const struct qcow2_table *t, uint32_t index, struct qcow2_entry *e)
{
    const uint8_t *p = t->data + ((size_t)index << q->entry_bits);
    uint64_t bits;

    *e = (struct qcow2_entry){.desc = viv_ld_be64(p)};
    if (q->extended) {
        bits = viv_ld_be64(p + 8);
        e->alloc = bits;
        e->zero = bits >> 32;
    }
    if (e->desc & QCOW2_COMPRESSED)
        return;
    if (q->extended) {
        e->desc &= ~QCOW2_ZERO; /* reserved here */
        return;
    }
    if (q->version >= 3 && (e->desc & QCOW2_ZERO))
        e->zero = 1;
    e->desc &= ~QCOW2_ZERO;
    e->alloc = !e->zero && qcow2_has_place(q, e);
}

void qcow2_entry_store(struct qcow2 *q, struct qcow2_table *t, uint32_t index, const struct qcow2_entry *e)
{
    uint8_t *p = t->data + ((size_t)index << q->entry_bits);

    if (q->extended) {
        viv_st_be64(p, e->desc);
        viv_st_be64(p + 8, (uint64_t)e->zero << 32 | e->alloc);
    } else {
        viv_st_be64(p, e->desc | (e->zero ? QCOW2_ZERO : 0));
    }
    qcow2_table_dirty(&q->l2_cache, t);
}

const char *qcow2_entry_fault(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t guest)
{
    uint64_t host = e->desc & QCOW2_OFFSET;

    if (e->desc & QCOW2_COMPRESSED)
        return q->external ? "a cluster is compressed although the data lies in a file of its own" : NULL;
    if (!viv_is_aligned(host, q->cluster_size))
        return "a data cluster's offset is not aligned";
    if (q->external && qcow2_has_place(q, e) && host != viv_align_down(guest, q->cluster_size))
        return "a data cluster does not lie at its own offset of the data file";
    if (e->alloc & e->zero)
        return "a subcluster is both allocated and zero";
    if (e->alloc && !qcow2_has_place(q, e))
        return "a subcluster is allocated in a cluster without a place";
    return NULL;
}

void qcow2_entry_release(struct qcow2 *q, const struct qcow2_entry *e)
{
    uint64_t host, len, first, last;

    if (q->external)
        return; /* nothing counts its clusters */
    if (e->desc & QCOW2_COMPRESSED) {
        len = qcow2_compressed_range(q, e->desc, &host);
        first = host >> q->cluster_bits;
        last = (host + len - 1) >> q->cluster_bits;
        qcow2_clusters_free_later(q, first << q->cluster_bits, last - first + 1);
    } else if (qcow2_has_place(q, e) && viv_is_aligned(e->desc & QCOW2_OFFSET, q->cluster_size)) {
        qcow2_clusters_free_later(q, e->desc & QCOW2_OFFSET, 1);
    }
}
