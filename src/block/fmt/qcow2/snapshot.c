/* Internal snapshots: list, create, apply, remove; the VM state's place.
 *
 * Each of the three changes is a turn (turn.h): on disk it happens at once or not at all, also in version 2. Create gives
 * the active L1 table and its L2 tables to the snapshot and goes on with copies; so a snapshot holds the VM state, which lies
 * in the active tables behind the disk until then, and the new active tables do not. */
#include "block/bitmap.h"
#include "block/fmt/qcow2/turn.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

/* --- list --- */

static int list(struct viv_node *n, struct viv_snapshot **out, unsigned *count, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    struct viv_snapshot *list;

    pthread_mutex_lock(&q->lock);
    *count = q->snapshot_count;
    *out = list = g_new0(struct viv_snapshot, q->snapshot_count);
    for (uint32_t i = 0; i < q->snapshot_count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots[i];

        list[i] = (struct viv_snapshot){.id = g_strdup(s->id),
                                        .name = g_strdup(s->name),
                                        .vm_state_size = qcow2_snapshot_state_size(s),
                                        .disk_size = qcow2_snapshot_disk_size(q, s),
                                        .date_sec = s->date_sec,
                                        .date_nsec = s->date_nsec,
                                        .vm_clock_nsec = s->vm_clock_nsec,
                                        .icount = s->extra_len >= 24 ? viv_ld_be64(s->extra + 16) : UINT64_MAX};
    }
    pthread_mutex_unlock(&q->lock);
    (void)err;
    return 0;
}

/* --- what all changes share --- */

/* The caller says which snapshot could not be made, applied or deleted. */
static int explain(struct qcow2 *q, int ret, struct viv_err *err)
{
    const char *name = q->node->filename;

    if (ret == -EUCLEAN)
        return viv_fail(err, EUCLEAN,
                        "the tables and refcounts of '%s' contradict each other; 'viv-img check -r all' mends that", name);
    if (ret == -EOVERFLOW)
        return viv_fail(err, EOVERFLOW,
                        "refcounts of %u bits in '%s' cannot count that many references; 'viv-img amend -o refcount_bits=16' (or "
                        "more) makes them wider",
                        1u << q->refcount_order, name);
    return ret ? viv_fail_os(err, -ret, "'%s' could not be changed", name) : 0;
}

static int may_change(struct qcow2 *q, struct viv_err *err)
{
    if (q->node->read_only)
        return viv_fail(err, EROFS, "'%s' is open read-only", q->node->filename);
    if (q->external)
        return viv_fail(err, ENOTSUP,
                        "'%s' keeps its data in an external file, of which there can be no internal snapshots; an overlay "
                        "('viv-img create -b') can",
                        q->node->filename);
    return 0;
}

static int no_such(struct qcow2 *q, const char *which, struct viv_err *err)
{
    return viv_fail(err, ENOENT, "'%s' has no snapshot of ID or name '%s'", q->node->filename, which);
}

/* The list without entry `skip` (UINT32_MAX: with all) and with room for one more: the same strings, other array. */
static struct qcow2_snapshot *copy_list(const struct qcow2 *q, uint32_t skip)
{
    struct qcow2_snapshot *s = g_try_new0(struct qcow2_snapshot, (size_t)q->snapshot_count + 1);

    for (uint32_t i = 0, k = 0; s && i < q->snapshot_count; i++)
        if (i != skip)
            s[k++] = q->snapshots[i];
    return s;
}

static void free_one(struct qcow2_snapshot *s)
{
    g_free(s->id);
    g_free(s->name);
    g_free(s->extra);
}

/* --- create --- */

static bool has_id(const struct qcow2 *q, const char *id)
{
    for (uint32_t i = 0; i < q->snapshot_count; i++)
        if (strcmp(q->snapshots[i].id, id) == 0)
            return true;
    return false;
}

static int check_new(struct qcow2 *q, const struct viv_snapshot *s, struct viv_err *err)
{
    if (q->snapshot_count >= QCOW2_SNAPSHOTS_MAX)
        return viv_fail(err, EFBIG, "'%s' has %u snapshots already; no more fit", q->node->filename, q->snapshot_count);
    if (!s->name || strlen(s->name) > UINT16_MAX || (s->id && strlen(s->id) > UINT16_MAX))
        return viv_fail(err, EINVAL, "a snapshot's name has at most %u bytes", UINT16_MAX);
    if (s->id && has_id(q, s->id))
        return viv_fail(err, EEXIST, "'%s' has a snapshot with ID %s already", q->node->filename, s->id);
    return 0;
}

static struct qcow2_snapshot new_entry(const struct qcow2 *q, const struct viv_snapshot *from)
{
    struct qcow2_snapshot s = {.id = from->id ? g_strdup(from->id) : qcow2_next_snapshot_id(q),
                               .name = g_strdup(from->name),
                               .l1_offset = q->l1.offset,
                               .l1_size = q->l1.size,
                               .date_sec = from->date_sec,
                               .date_nsec = from->date_nsec,
                               .vm_clock_nsec = from->vm_clock_nsec,
                               .vm_state_size = from->vm_state_size > UINT32_MAX ? 0 : from->vm_state_size,
                               .extra_len = 24,
                               .extra = g_malloc0(24)};

    viv_st_be64(s.extra, from->vm_state_size);
    viv_st_be64(s.extra + 8, viv_node_size(q->node));
    viv_st_be64(s.extra + 16, from->icount);
    return s;
}

static int create_turn(struct qcow2_turn *t, struct qcow2 *q, struct qcow2_snapshot *list)
{
    uint32_t used = MIN(qcow2_l1_need(q, viv_node_size(q->node)), q->l1.size);
    int ret = qcow2_turn_begin(t, q);

    t->keeps_l1 = true;
    if (!ret)
        ret = qcow2_turn_count_l1(t, q->l1.entry, used, 1);
    if (!ret)
        ret = qcow2_turn_set_active(t, q->l1.entry, used, q->l1.size);
    if (!ret)
        ret = qcow2_turn_set_snapshots(t, list, q->snapshot_count + 1);
    return ret ? ret : qcow2_turn_commit(t);
}

static int create_locked(struct qcow2 *q, const struct viv_snapshot *s, struct viv_err *err)
{
    struct qcow2_snapshot *old = q->snapshots, *list;
    struct qcow2_turn t;
    int ret = check_new(q, s, err);

    if (ret)
        return ret;
    list = copy_list(q, UINT32_MAX);
    if (!list)
        return viv_fail(err, ENOMEM, "no memory for one more snapshot of '%s'", q->node->filename);
    list[q->snapshot_count] = new_entry(q, s);
    ret = create_turn(&t, q, list);
    if (ret)
        free_one(&list[q->snapshot_count]);
    g_free(ret ? list : old);
    qcow2_turn_end(&t);
    return explain(q, ret, err);
}

static int create(struct viv_node *n, const struct viv_snapshot *s, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret = may_change(q, err);

    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = create_locked(q, s, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* --- apply --- */

static int read_l1(struct qcow2 *q, const struct qcow2_snapshot *s, struct qcow2_array *l1)
{
    *l1 = (struct qcow2_array){.offset = s->l1_offset, .size = s->l1_size};
    return qcow2_array_read(q, l1);
}

static int apply_turn(struct qcow2_turn *t, struct qcow2 *q, const struct qcow2_array *l1, uint64_t size)
{
    int ret = qcow2_turn_begin(t, q);

    if (!ret)
        ret = qcow2_turn_count_l1(t, q->l1.entry, q->l1.size, -1);
    if (!ret)
        ret = qcow2_turn_count_l1(t, l1->entry, l1->size, 1);
    if (!ret)
        ret = qcow2_turn_set_active(t, l1->entry, l1->size, MAX(l1->size, qcow2_l1_need(q, size)));
    viv_st_be64(t->head + QCOW2_H_SIZE, size);
    return ret ? ret : qcow2_turn_commit(t);
}

static int apply_locked(struct qcow2 *q, const char *which, struct viv_err *err)
{
    const struct qcow2_snapshot *s = qcow2_find_snapshot(q, which);
    struct qcow2_array l1 = {0};
    struct qcow2_turn t;
    uint64_t size;
    int ret;

    if (!s)
        return no_such(q, which, err);
    size = qcow2_snapshot_disk_size(q, s);
    if (size > INT64_MAX || qcow2_l1_need(q, size) > QCOW2_L1_BYTES_MAX / 8)
        return viv_fail(err, EINVAL, "its disk of %" PRIu64 " bytes is impossible", size);
    if (size != viv_node_size(q->node) && qcow2_bitmap_of_size(q))
        return viv_fail(err, ENOTSUP,
                        "its disk has another size, which bitmap '%s' could not follow; remove that bitmap, or resize the image "
                        "to %" PRIu64 " bytes first",
                        qcow2_bitmap_of_size(q), size);
    ret = read_l1(q, s, &l1);
    if (!ret) {
        ret = apply_turn(&t, q, &l1, size);
        qcow2_turn_end(&t);
    }
    if (!ret) {
        __atomic_store_n(&q->node->size, size, __ATOMIC_RELEASE);
        ret = viv_bitmaps_resize(q->node, size);
        viv_bitmaps_wrote(q->node, 0, size); /* any of it may be another now */
    }
    g_free(l1.entry);
    return explain(q, ret, err);
}

static int apply(struct viv_node *n, const char *which, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret = may_change(q, err);

    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = apply_locked(q, which, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* --- remove --- */

static int remove_turn(struct qcow2_turn *t, struct qcow2 *q, const struct qcow2_array *l1, struct qcow2_snapshot *list)
{
    int ret = qcow2_turn_begin(t, q);

    if (!ret)
        ret = qcow2_turn_count_l1(t, l1->entry, l1->size, -1);
    if (!ret)
        ret = qcow2_turn_drop(t, l1->offset, l1->size * 8ull);
    if (!ret)
        ret = qcow2_turn_set_active(t, q->l1.entry, q->l1.size, q->l1.size);
    if (!ret)
        ret = qcow2_turn_set_snapshots(t, list, q->snapshot_count - 1);
    return ret ? ret : qcow2_turn_commit(t);
}

static int remove_locked(struct qcow2 *q, const char *which, struct viv_err *err)
{
    struct qcow2_snapshot *s = qcow2_find_snapshot(q, which), *old = q->snapshots, *list = NULL;
    struct qcow2_array l1 = {0};
    struct qcow2_turn t;
    int ret;

    if (!s)
        return no_such(q, which, err);
    list = copy_list(q, s - q->snapshots);
    ret = list ? read_l1(q, s, &l1) : -ENOMEM;
    if (!ret) {
        ret = remove_turn(&t, q, &l1, list);
        qcow2_turn_end(&t);
    }
    if (!ret)
        free_one(s);
    g_free(ret ? list : old);
    g_free(l1.entry);
    return explain(q, ret, err);
}

static int remove_snapshot(struct viv_node *n, const char *which, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    int ret = may_change(q, err);

    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = remove_locked(q, which, err);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* --- the list alone --- */

int qcow2_store_snapshots(struct qcow2 *q)
{
    struct qcow2_snapshot *old = q->snapshots, *list = copy_list(q, UINT32_MAX);
    struct qcow2_turn t;
    int ret = list ? qcow2_turn_begin(&t, q) : -ENOMEM;

    if (!list)
        return ret;
    if (!ret)
        ret = qcow2_turn_set_snapshots(&t, list, q->snapshot_count);
    if (!ret)
        ret = qcow2_turn_commit(&t);
    qcow2_turn_end(&t);
    g_free(ret ? list : old);
    return ret;
}

/* --- VM state --- */

static int state_area(struct viv_node *n, uint64_t len, uint64_t *base)
{
    struct qcow2 *q = n->state;
    uint64_t end, need;
    int ret = 0;

    if (q->external)
        return -ENOTSUP;
    *base = qcow2_l1_need(q, viv_node_size(n)) << (q->cluster_bits + q->l2_bits);
    if (!viv_add_u64(*base, len, &end) || end > INT64_MAX)
        return -EFBIG;
    need = qcow2_l1_need(q, end);
    if (need <= q->l1.size || n->read_only)
        return need <= q->l1.size ? 0 : -ENODATA;
    if (need > QCOW2_L1_BYTES_MAX / 8)
        return -EFBIG;
    pthread_mutex_lock(&q->lock);
    if (need > q->l1.size)
        ret = q->broken ? -EIO : qcow2_grow_l1(q, need);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* In place, as a discard: a turn takes clusters first, and a disk that is full has none. */
static int state_drop(struct viv_node *n, uint64_t len)
{
    struct qcow2 *q = n->state;
    unsigned shift = q->cluster_bits + q->l2_bits;
    uint64_t base = qcow2_l1_need(q, viv_node_size(n)) << shift, end = (uint64_t)q->l1.size << shift;
    int ret;

    if (q->external || base >= end)
        return 0;
    len = MIN(len, end - base);
    ret = qcow2_forget(n, base, viv_align_down(len + q->cluster_size - 1, q->cluster_size));
    if (ret)
        return ret;
    pthread_mutex_lock(&q->lock);
    ret = qcow2_flush_all(q); /* then the clusters are free */
    if (!ret)
        ret = qcow2_flush_all(q); /* and now the image says so: as many clusters should not leak if the process is killed */
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int drop_turn(struct qcow2_turn *t, struct qcow2 *q, uint32_t used)
{
    int ret = qcow2_turn_begin(t, q);

    if (!ret)
        ret = qcow2_turn_count_l1(t, q->l1.entry + used, q->l1.size - used, -1);
    if (!ret)
        ret = qcow2_turn_set_active(t, q->l1.entry, used, q->l1.size);
    return ret ? ret : qcow2_turn_commit(t);
}

int qcow2_drop_state(struct qcow2 *q)
{
    uint32_t used = MIN(qcow2_l1_need(q, viv_node_size(q->node)), q->l1.size);
    struct qcow2_turn t;
    bool some = false;
    int ret;

    for (uint32_t i = used; i < q->l1.size; i++)
        some |= (q->l1.entry[i] & QCOW2_OFFSET) != 0;
    if (!some)
        return 0;
    ret = drop_turn(&t, q, used);
    qcow2_turn_end(&t);
    return ret;
}

/* What the node shows, and that nothing is written to it. */
struct look {
    struct qcow2_array l1;
    uint64_t size;
    bool read_only;
};

static void exchange(struct qcow2 *q, struct look *v)
{
    struct look old = {q->l1, viv_node_size(q->node), q->node->read_only};

    q->l1 = v->l1;
    q->node->read_only = v->read_only;
    __atomic_store_n(&q->node->size, v->size, __ATOMIC_RELEASE);
    *v = old;
}

static int look_at(struct qcow2 *q, const char *which, struct look *v, struct viv_err *err)
{
    const struct qcow2_snapshot *s = qcow2_find_snapshot(q, which);
    int ret;

    if (!s)
        return no_such(q, which, err);
    *v = (struct look){.size = qcow2_snapshot_disk_size(q, s), .read_only = true};
    if (v->size > INT64_MAX || qcow2_l1_need(q, v->size) > QCOW2_L1_BYTES_MAX / 8)
        return viv_fail(err, EINVAL, "its disk of %" PRIu64 " bytes is impossible", v->size);
    ret = read_l1(q, s, &v->l1);
    if (ret)
        return viv_fail_os(err, -ret, "cannot read snapshot '%s' of '%s'", which, q->node->filename);
    exchange(q, v);
    return 0;
}

/* Its tables stand for the active ones while it is read, in memory alone. */
static int state_read(struct viv_node *n, const char *which, uint64_t pos, void *buf, size_t len, struct viv_err *err)
{
    struct qcow2 *q = n->state;
    struct look v = {0};
    int ret;

    pthread_mutex_lock(&q->lock);
    ret = look_at(q, which, &v, err);
    pthread_mutex_unlock(&q->lock);
    if (!ret) {
        ret = viv_node_state_read(n, pos, buf, len);
        if (ret)
            viv_fail_os(err, -ret, "cannot read the VM state in '%s'", n->filename);
        pthread_mutex_lock(&q->lock);
        exchange(q, &v);
        pthread_mutex_unlock(&q->lock);
    }
    g_free(v.l1.entry);
    return ret;
}

const struct viv_snapshot_ops qcow2_snapshot_ops = {
    .list = list,
    .create = create,
    .apply = apply,
    .remove = remove_snapshot,
    .state_area = state_area,
    .state_drop = state_drop,
    .state_read = state_read,
};
