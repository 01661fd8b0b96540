/* The header's cluster changes at once.
 *
 * Only one sector can. So all that readers need lies in the first: the fields, then the extensions with the names of feature
 * bits last. What of these and of the backing file's name goes on behind the first sector is changed in three writes
 * with barriers between them: the old header with its list of extensions ending in the first sector (only the names
 * of feature bits, which nobody needs, are gone); the rest of the cluster, beside the old backing file's name; and the
 * new first sector. */
#include "block/fmt/qcow2/edit.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512u

static int read_extensions(struct qcow2_edit *e, uint32_t end)
{
    uint32_t at = e->fields_len;

    while (at + 8 <= end) {
        struct qcow2_extension x = {.type = viv_ld_be32(e->old + at), .len = viv_ld_be32(e->old + at + 4)};

        if (x.type == QCOW2_EXT_END)
            break;
        at += 8;
        if (x.len > end - at)
            return -EUCLEAN;
        x.data = g_memdup2(e->old + at, x.len);
        g_array_append_val(e->extensions, x);
        if (x.len > end - at - MIN(7, end - at))
            break;
        at += (x.len + 7) & ~7u;
    }
    return 0;
}

int qcow2_edit_begin(struct qcow2_edit *e, struct qcow2 *q)
{
    uint32_t name_at, name_len;
    int ret;

    *e = (struct qcow2_edit){.q = q};
    e->extensions = g_array_new(FALSE, FALSE, sizeof(struct qcow2_extension));
    if (q->broken || q->node->read_only)
        return q->broken ? -EIO : -EROFS;
    e->old = g_try_malloc(q->cluster_size);
    e->fields_room = q->cluster_size;
    e->fields = g_try_malloc0(e->fields_room);
    if (!e->old || !e->fields)
        return -ENOMEM;
    ret = viv_node_pread(q->file, 0, e->old, q->cluster_size);
    if (ret)
        return ret;
    e->fields_len = q->version == 2 ? QCOW2_H_V2_LENGTH : viv_ld_be32(e->old + QCOW2_H_HEADER_LENGTH);
    name_at = viv_ld_be64(e->old + QCOW2_H_BACKING_OFFSET);
    name_len = viv_ld_be32(e->old + QCOW2_H_BACKING_SIZE);
    if (e->fields_len > q->cluster_size || !viv_range_inside(name_at, name_len, q->cluster_size))
        return -EUCLEAN; /* was checked when the image was opened */
    memcpy(e->fields, e->old, e->fields_len);
    if (name_at && name_len)
        e->backing = g_strndup((const char *)e->old + name_at, name_len);
    return read_extensions(e, e->backing ? name_at : q->cluster_size);
}

void qcow2_edit_end(struct qcow2_edit *e)
{
    for (guint i = 0; i < e->extensions->len; i++)
        g_free(g_array_index(e->extensions, struct qcow2_extension, i).data);
    g_array_free(e->extensions, TRUE);
    g_free(e->old);
    g_free(e->fields);
    g_free(e->backing);
}

const struct qcow2_extension *qcow2_edit_find(const struct qcow2_edit *e, uint32_t type)
{
    for (guint i = 0; i < e->extensions->len; i++)
        if (g_array_index(e->extensions, struct qcow2_extension, i).type == type)
            return &g_array_index(e->extensions, struct qcow2_extension, i);
    return NULL;
}

void qcow2_edit_extension(struct qcow2_edit *e, uint32_t type, const void *data, uint32_t len)
{
    struct qcow2_extension x = {.type = type, .len = len};

    for (guint i = 0; i < e->extensions->len; i++) {
        struct qcow2_extension *old = &g_array_index(e->extensions, struct qcow2_extension, i);

        if (old->type != type)
            continue;
        g_free(old->data);
        g_array_remove_index(e->extensions, i--);
    }
    if (!data)
        return;
    x.data = g_memdup2(data, len);
    g_array_append_val(e->extensions, x);
}

void qcow2_edit_backing(struct qcow2_edit *e, const char *name)
{
    char *copy = g_strdup(name);

    g_free(e->backing);
    e->backing = copy;
}

/* --- composing --- */

/* Small and needed ones first. */
static int rank(uint32_t type)
{
    switch (type) {
    case QCOW2_EXT_BITMAPS:
        return 0;
    case QCOW2_EXT_BACKING_FORMAT:
        return 1;
    case QCOW2_EXT_FEATURES:
        return 3;
    default:
        return 2;
    }
}

/* Appends all extensions up to a rank, and the end; the offset behind it, or 0: they do not fit. */
static uint32_t put_extensions(const struct qcow2_edit *e, uint8_t *to, uint32_t at, uint32_t end, int last)
{
    if (at > end)
        return 0;
    for (int r = 0; r <= last; r++) {
        for (guint i = 0; i < e->extensions->len; i++) {
            const struct qcow2_extension *x = &g_array_index(e->extensions, struct qcow2_extension, i);
            uint32_t padded = (x->len + 7) & ~7u;

            if (rank(x->type) != r)
                continue;
            if (padded < x->len || end - at < 8 || padded > end - at - 8)
                return 0;
            viv_st_be32(to + at, x->type);
            viv_st_be32(to + at + 4, x->len);
            if (x->len)
                memcpy(to + at + 8, x->data, x->len);
            memset(to + at + 8 + x->len, 0, padded - x->len);
            at += 8 + padded;
        }
    }
    if (end - at < 8)
        return 0;
    memset(to + at, 0, 8);
    return at + 8;
}

static bool overlap(uint32_t a, uint32_t a_len, uint32_t b, uint32_t b_len)
{
    return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* The new cluster, with extensions up to `last`, nothing of it over the old name where that lies behind the first
 * sector. False: it does not fit. */
static bool compose(const struct qcow2_edit *e, uint8_t *to, int last)
{
    uint32_t cs = e->q->cluster_size, len = e->backing ? strlen(e->backing) : 0;
    uint32_t old_at = viv_ld_be64(e->old + QCOW2_H_BACKING_OFFSET), old_len = viv_ld_be32(e->old + QCOW2_H_BACKING_SIZE);
    uint32_t at, lost = 0;

    if (old_at < SECTOR) { /* that part changes with the pointer to it */
        lost = MIN(old_len, SECTOR - old_at);
        old_at += lost;
        old_len -= lost;
    }
    memset(to, 0, cs);
    memcpy(to, e->fields, e->fields_len);
    at = put_extensions(e, to, e->fields_len, cs, last);
    if (!at || at < e->fields_len || overlap(e->fields_len, at - e->fields_len, old_at, old_len))
        return false;
    if (overlap(at, len, old_at, old_len))
        at = old_at + old_len;
    if (len > cs - at)
        return false;
    if (old_len)
        memcpy(to + old_at, e->old + old_at, old_len);
    if (len)
        memcpy(to + at, e->backing, len);
    viv_st_be64(to + QCOW2_H_BACKING_OFFSET, len ? at : 0);
    viv_st_be32(to + QCOW2_H_BACKING_SIZE, len);
    return true;
}

/* The old first sector with a list of extensions that ends in it. False: it cannot. */
static bool compose_between(const struct qcow2_edit *e, uint8_t *to)
{
    struct qcow2_edit old = {.q = e->q, .old = e->old, .fields_len = e->q->version == 2
                                 ? QCOW2_H_V2_LENGTH : viv_ld_be32(e->old + QCOW2_H_HEADER_LENGTH)};
    uint32_t name_at = viv_ld_be64(e->old + QCOW2_H_BACKING_OFFSET);
    bool ok;

    memcpy(to, e->old, SECTOR);
    if (old.fields_len > SECTOR)
        return false;
    old.extensions = g_array_new(FALSE, FALSE, sizeof(struct qcow2_extension));
    ok = !read_extensions(&old, name_at ? name_at : e->q->cluster_size) &&
         put_extensions(&old, to, old.fields_len, name_at && name_at < SECTOR ? name_at : SECTOR, 2);
    for (guint i = 0; i < old.extensions->len; i++)
        g_free(g_array_index(old.extensions, struct qcow2_extension, i).data);
    g_array_free(old.extensions, TRUE);
    return ok;
}

/* --- writing --- */

static int write_durably(struct qcow2 *q, uint32_t from, const uint8_t *data, uint32_t len)
{
    int ret = viv_node_pwrite(q->file, from, data, len);

    return ret ? ret : viv_node_flush(q->file);
}

static int write_cluster(struct qcow2_edit *e, const uint8_t *new)
{
    uint32_t cs = e->q->cluster_size;
    uint8_t between[SECTOR];
    int ret = 0;

    if (memcmp(new + SECTOR, e->old + SECTOR, cs - SECTOR) != 0) {
        if (!compose_between(e, between))
            return -ENOSPC;
        ret = write_durably(e->q, 0, between, SECTOR);
        if (!ret)
            ret = write_durably(e->q, SECTOR, new + SECTOR, cs - SECTOR);
    }
    return ret ? ret : write_durably(e->q, 0, new, SECTOR);
}

int qcow2_edit_commit(struct qcow2_edit *e)
{
    uint8_t *new = g_try_malloc(e->q->cluster_size);
    int ret = new ? 0 : -ENOMEM;

    if (e->backing && strlen(e->backing) > 1023)
        ret = -ENOSPC;
    if (!ret && !compose(e, new, 3) && !compose(e, new, 2))
        ret = -ENOSPC;
    if (!ret)
        ret = write_cluster(e, new);
    if (ret && ret != -ENOSPC && ret != -ENOMEM)
        e->q->broken = true; /* what the disk has is not known */
    g_free(new);
    return ret;
}
