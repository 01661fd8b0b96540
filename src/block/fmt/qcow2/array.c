/* L1 and refcount table: arrays of big-endian u64, whole in memory, their changed part written back. */
#include "block/event.h"
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>

int qcow2_array_read(struct qcow2 *q, struct qcow2_array *a)
{
    int ret;

    /* Sizes were limited when the header was checked; one more so that an empty array is not NULL. */
    a->entry = g_try_new0(uint64_t, (size_t)a->size + 1);
    if (!a->entry)
        return -ENOMEM;
    if (a == &q->rt)
        viv_node_event(q->file, VIV_EVENT_REFTABLE_LOAD);
    ret = a->size ? viv_node_pread(q->file, a->offset, a->entry, (size_t)a->size * 8) : 0;
    for (uint32_t i = 0; i < a->size; i++)
        a->entry[i] = viv_ld_be64(&a->entry[i]);
    return ret;
}

void qcow2_array_set(struct qcow2_array *a, uint32_t index, uint64_t value)
{
    a->entry[index] = value;
    if (a->dirty_from == a->dirty_to) {
        a->dirty_from = index;
        a->dirty_to = index + 1;
    } else {
        a->dirty_from = MIN(a->dirty_from, index);
        a->dirty_to = MAX(a->dirty_to, index + 1);
    }
}

static int write_part(struct qcow2 *q, struct qcow2_array *a, uint32_t from, uint32_t to)
{
    uint64_t *be = g_try_new(uint64_t, (size_t)(to - from) + 1);
    int ret;

    if (!be)
        return -ENOMEM;
    for (uint32_t i = from; i < to; i++)
        viv_st_be64(&be[i - from], a->entry[i]);
    viv_node_event(q->file, a == &q->l1 ? VIV_EVENT_L1_UPDATE : VIV_EVENT_REFTABLE_UPDATE);
    ret = viv_node_pwrite(q->file, a->offset + (uint64_t)from * 8, be, (size_t)(to - from) * 8);
    g_free(be);
    return ret;
}

int qcow2_array_write(struct qcow2 *q, struct qcow2_array *a)
{
    int ret;

    if (a->dirty_from == a->dirty_to)
        return 0;
    ret = write_part(q, a, a->dirty_from, a->dirty_to);
    if (!ret)
        a->dirty_from = a->dirty_to = 0;
    return ret;
}

int qcow2_array_write_all(struct qcow2 *q, struct qcow2_array *a)
{
    int ret = write_part(q, a, 0, a->size);

    if (!ret)
        a->dirty_from = a->dirty_to = 0;
    return ret;
}
