/* The snapshot table: read with limits, written whole, looked up. Spec: "Snapshots".
 *
 * An entry has 40 bytes, then extra data, id, name, and padding to 8 bytes. Of the extra data we know the VM state's
 * size, the disk's size and the instruction counter; all of it is kept. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define ENTRY_BYTES 40

static int bad(struct qcow2 *q, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid qcow2 image: %s", q->node->filename, what);
}

uint64_t qcow2_snapshot_bytes(const struct qcow2_snapshot *s)
{
    uint64_t len = ENTRY_BYTES + (uint64_t)s->extra_len + strlen(s->id) + strlen(s->name);

    return (len + 7) & ~7ull;
}

/* What follows the fixed part: extra data, id, name. */
static int read_tail(struct qcow2 *q, uint64_t at, size_t id_len, size_t name_len, struct qcow2_snapshot *s,
                     struct viv_err *err)
{
    size_t len = s->extra_len + id_len + name_len;
    uint8_t *tail = g_try_malloc(len + 1);
    int ret;

    if (!tail)
        return viv_fail(err, ENOMEM, "no memory for the snapshots of '%s'", q->node->filename);
    ret = len ? viv_node_pread(q->file, at, tail, len) : 0;
    if (ret) {
        g_free(tail);
        return viv_fail_os(err, -ret, "Could not read the snapshots of '%s'", q->node->filename);
    }
    s->id = g_strndup((const char *)tail + s->extra_len, id_len);
    s->name = g_strndup((const char *)tail + s->extra_len + id_len, name_len);
    s->extra = tail; /* longer than extra_len: no matter */
    return 0;
}

static int read_one(struct qcow2 *q, uint64_t *at, struct qcow2_snapshot *s, struct viv_err *err)
{
    uint8_t e[ENTRY_BYTES];
    size_t id_len, name_len;
    int ret = viv_node_pread(q->file, *at, e, sizeof(e));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read the snapshots of '%s'", q->node->filename);
    s->l1_offset = viv_ld_be64(e);
    s->l1_size = viv_ld_be32(e + 8);
    id_len = viv_ld_be16(e + 12);
    name_len = viv_ld_be16(e + 14);
    s->date_sec = viv_ld_be32(e + 16);
    s->date_nsec = viv_ld_be32(e + 20);
    s->vm_clock_nsec = viv_ld_be64(e + 24);
    s->vm_state_size = viv_ld_be32(e + 32);
    s->extra_len = viv_ld_be32(e + 36);
    if (!qcow2_table_ok(q, s->l1_offset, 0) || s->l1_size > QCOW2_L1_BYTES_MAX / 8 ||
        s->extra_len > QCOW2_SNAPSHOT_BYTES_MAX)
        return bad(q, err, "a snapshot's table is impossible");
    if (*at - q->snapshot_offset + sizeof(e) + s->extra_len + id_len + name_len > QCOW2_SNAPSHOT_BYTES_MAX)
        return bad(q, err, "the snapshot table is larger than 16 MiB");
    ret = read_tail(q, *at + sizeof(e), id_len, name_len, s, err);
    *at = (*at + sizeof(e) + s->extra_len + id_len + name_len + 7) & ~7ull;
    return ret;
}

/* --- IDs: they say which one is meant, so there are no two of a kind, whatever the file has --- */

struct ids {
    GHashTable *used; /* borrowed strings */
    uint64_t last;
};

static struct ids ids_of(const struct qcow2 *q)
{
    struct ids d = {.used = g_hash_table_new(g_str_hash, g_str_equal)};

    for (uint32_t i = 0; i < q->snapshot_count; i++) {
        g_hash_table_add(d.used, q->snapshots[i].id);
        d.last = MAX(d.last, g_ascii_strtoull(q->snapshots[i].id, NULL, 10));
    }
    return d;
}

/* There are more numbers than snapshots: past the largest one it begins again. */
static char *free_id(struct ids *d)
{
    char text[24];

    do
        g_snprintf(text, sizeof(text), "%" PRIu64, d->last = d->last == UINT64_MAX ? 1 : d->last + 1);
    while (g_hash_table_contains(d->used, text));
    return g_strdup(text);
}

char *qcow2_next_snapshot_id(const struct qcow2 *q)
{
    struct ids d = ids_of(q);
    char *id = free_id(&d);

    g_hash_table_destroy(d.used);
    return id;
}

/* The first of an ID keeps it. Always the same ones for the same table; they come to the disk when it is written next. */
static void tell_apart(struct qcow2 *q)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func(g_free); /* d.used may have borrowed them */
    struct ids d = ids_of(q);

    for (uint32_t i = 0; i < q->snapshot_count; i++) {
        char **id = &q->snapshots[i].id;

        if (g_hash_table_contains(seen, *id)) {
            g_ptr_array_add(old, *id);
            *id = free_id(&d);
            g_hash_table_add(d.used, *id);
        }
        g_hash_table_add(seen, *id);
    }
    q->snapshots_renamed = old->len;
    g_hash_table_destroy(d.used);
}

int qcow2_read_snapshots(struct qcow2 *q, struct viv_err *err)
{
    uint64_t at = q->snapshot_offset, tables = 0;

    if (!q->snapshot_count)
        return 0;
    if (!qcow2_table_ok(q, at, 0) || !at || q->snapshot_count > QCOW2_SNAPSHOTS_MAX)
        return bad(q, err, "the snapshot table is impossible");
    q->snapshots = g_try_new0(struct qcow2_snapshot, q->snapshot_count);
    if (!q->snapshots)
        return viv_fail(err, ENOMEM, "no memory for the snapshots of '%s'", q->node->filename);
    for (uint32_t i = 0; i < q->snapshot_count; i++) {
        int ret = read_one(q, &at, &q->snapshots[i], err);

        if (ret)
            return ret;
        tables += qcow2_clusters(q, q->snapshots[i].l1_size * 8ull);
        if (tables > qcow2_clusters(q, viv_node_size(q->file))) /* bounds the work of all who read them */
            return bad(q, err, "the snapshots' L1 tables overlap, or the file was cut off");
    }
    q->snapshot_bytes = at - q->snapshot_offset;
    tell_apart(q);
    return 0;
}

void qcow2_free_snapshots(struct qcow2_snapshot *s, uint32_t count)
{
    for (uint32_t i = 0; s && i < count; i++) {
        g_free(s[i].id);
        g_free(s[i].name);
        g_free(s[i].extra);
    }
    g_free(s);
}

static void pack_one(const struct qcow2_snapshot *s, uint8_t *e)
{
    size_t id_len = strlen(s->id), name_len = strlen(s->name);

    viv_st_be64(e, s->l1_offset);
    viv_st_be32(e + 8, s->l1_size);
    viv_st_be16(e + 12, id_len);
    viv_st_be16(e + 14, name_len);
    viv_st_be32(e + 16, s->date_sec);
    viv_st_be32(e + 20, s->date_nsec);
    viv_st_be64(e + 24, s->vm_clock_nsec);
    viv_st_be32(e + 32, s->vm_state_size);
    viv_st_be32(e + 36, s->extra_len);
    e += ENTRY_BYTES;
    if (s->extra_len)
        memcpy(e, s->extra, s->extra_len);
    memcpy(e + s->extra_len, s->id, id_len);
    memcpy(e + s->extra_len + id_len, s->name, name_len);
}

uint8_t *qcow2_pack_snapshots(const struct qcow2_snapshot *s, uint32_t count, size_t *len)
{
    uint8_t *table, *at;

    *len = 0;
    for (uint32_t i = 0; i < count; i++)
        *len += qcow2_snapshot_bytes(&s[i]);
    table = at = g_try_malloc0(*len + 1);
    for (uint32_t i = 0; table && i < count; i++) {
        pack_one(&s[i], at);
        at += qcow2_snapshot_bytes(&s[i]);
    }
    return table;
}

uint64_t qcow2_snapshot_state_size(const struct qcow2_snapshot *s)
{
    return s->extra_len >= 8 ? viv_ld_be64(s->extra) : s->vm_state_size;
}

uint64_t qcow2_snapshot_disk_size(const struct qcow2 *q, const struct qcow2_snapshot *s)
{
    return s->extra_len >= 16 ? viv_ld_be64(s->extra + 8) : viv_node_size(q->node);
}

struct qcow2_snapshot *qcow2_find_snapshot(const struct qcow2 *q, const char *which)
{
    for (uint32_t i = 0; i < q->snapshot_count; i++)
        if (strcmp(q->snapshots[i].id, which) == 0)
            return &q->snapshots[i];
    for (uint32_t i = 0; i < q->snapshot_count; i++)
        if (strcmp(q->snapshots[i].name, which) == 0)
            return &q->snapshots[i];
    return NULL;
}

int qcow2_view_snapshot(struct qcow2 *q, const char *which, struct viv_err *err)
{
    const struct qcow2_snapshot *s = qcow2_find_snapshot(q, which);
    uint64_t size;

    if (!q->node->read_only)
        return viv_fail(err, EROFS, "'%s': a snapshot can only be read: open it read-only, or apply it first",
                        q->node->filename);
    if (!s)
        return viv_fail(err, ENOENT, "'%s': there is no snapshot '%s' ('viv-img snapshot -l' lists them)",
                        q->node->filename, which);
    size = qcow2_snapshot_disk_size(q, s);
    if (size > INT64_MAX || qcow2_l1_need(q, size) > s->l1_size)
        return bad(q, err, "the snapshot's L1 table is too small for its disk");
    if (s->l1_offset + s->l1_size * 8ull > viv_node_size(q->file))
        return bad(q, err, "the snapshot's L1 table lies beyond the end of the file");
    q->l1.offset = s->l1_offset;
    q->l1.size = s->l1_size;
    q->node->size = size;
    q->snapshot_view = true;
    return 0;
}
