/* Copies with a bitmap of what is left, for jobs: one at a time has a range of granules, whichever thread. */
#include "block/job_int.h"

#include "base/checked.h"
#include "block/iov.h"

#include <errno.h>
#include <string.h>

#define CHUNK      (1u << 20)
#define ZERO_CHUNK (256u << 20)

static int use_as(struct viv_job *j, struct viv_node *n, const struct viv_node_use *use, struct viv_err *err)
{
    g_autofree char *user = g_strdup_printf("block job '%s' (%s)", j->id, j->type->name);
    unsigned i = 0;
    int ret;

    while (j->used[i])
        i++;
    ret = viv_node_attach_as(n, user, use, &j->user[i], err);
    if (ret)
        return ret;
    viv_node_get(n);
    j->used[i] = n;
    return 0;
}

int viv_job_use(struct viv_job *j, struct viv_node *n, unsigned perms, struct viv_err *err)
{
    const unsigned all = VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE;
    const struct viv_node_use use = {.perms = perms, .shared = perms & VIV_PERM_WRITE ? VIV_PERM_READ : all};

    return use_as(j, n, &use, err);
}

int viv_job_use_keeping(struct viv_job *j, struct viv_err *err)
{
    const struct viv_node_use use = {.perms = VIV_PERM_READ | VIV_PERM_WRITE, .shared = VIV_PERM_READ, .above = j->target, .keeper = true};

    return use_as(j, j->target, &use, err);
}

int viv_job_use_base(struct viv_job *j, const struct viv_node *above, struct viv_err *err)
{
    const struct viv_node_use use = {.perms = VIV_PERM_READ | VIV_PERM_WRITE, .shared = VIV_PERM_READ, .above = above, .will_be_writable = true};

    return use_as(j, j->base, &use, err);
}

int viv_job_copy_init(struct viv_job *j, struct viv_node *from, struct viv_node *to, uint32_t granularity, bool follow, struct viv_err *err)
{
    struct viv_job_copy *c = &j->copy;
    int ret = viv_bitmap_new(from, NULL, granularity, &c->todo, err);

    if (ret)
        return ret;
    viv_bitmap_enable(c->todo, follow);
    viv_range_lock_init(&c->ranges);
    c->from = from;
    c->to = to;
    c->unmap = true;
    return 0;
}

void viv_job_copy_fini(struct viv_job_copy *c)
{
    if (!c->todo)
        return;
    viv_bitmap_free(c->todo);
    viv_range_lock_fini(&c->ranges);
    c->todo = NULL;
}

int viv_node_status_above(struct viv_node *top, struct viv_node *base, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    for (struct viv_node *n = top;; n = n->backing) {
        int ret = viv_node_status_layer(n, offset, len, out);

        if (ret)
            return ret;
        out->len = len = MIN(len, out->len);
        if (out->kind != VIV_MAP_BACKING || !n->backing || n->backing == base)
            return 0;
        if (offset >= viv_node_size(n->backing)) { /* behind a shorter layer nothing shows */
            out->kind = VIV_MAP_ZERO;
            return 0;
        }
        len = MIN(len, viv_node_size(n->backing) - offset);
    }
}

int viv_job_copy_mark(struct viv_job *j, struct viv_node *top, struct viv_node *base, struct viv_err *err)
{
    uint64_t size = viv_node_size(j->copy.from), at = 0;
    int ret = 0;

    if (!top) {
        viv_bitmap_mark(j->copy.todo, 0, size);
        return 0;
    }
    while (!ret && at < size && !viv_job_stopped(j)) {
        struct viv_extent e;

        viv_graph_enter();
        ret = viv_node_status_above(top, base, at, size - at, &e);
        viv_graph_leave();
        if (!ret && e.kind != VIV_MAP_BACKING)
            viv_bitmap_mark(j->copy.todo, at, e.len);
        at += ret ? 0 : e.len;
    }
    return ret ? viv_fail_os(err, -ret, "cannot tell what '%s' holds", top->filename) : 0;
}

/* --- moving --- */

static int write_data(struct viv_job_copy *c, uint64_t offset, const uint8_t *buf, size_t len)
{
    int ret = -ENOTSUP;

    if (c->compress) {
        uint64_t g = c->to->granule;

        for (size_t at = 0; at < len; at += g) {
            ret = viv_node_write_compressed(c->to, offset + at, buf + at, MIN(g, len - at));
            if (ret)
                return ret;
        }
        return ret;
    }
    return viv_buf_is_zero(buf, len) ? viv_node_write_zeroes(c->to, offset, len, c->unmap ? VIV_BLK_UNMAP : 0)
                                     : viv_node_pwrite(c->to, offset, buf, len);
}

static int move_data(struct viv_job_copy *c, uint64_t offset, uint64_t len, bool *read)
{
    uint64_t chunk = MAX(CHUNK, c->compress ? c->to->granule : 0);
    uint8_t *buf = g_try_malloc(MIN(len, chunk));
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t at = 0; at < len && !ret; at += chunk) {
        size_t step = MIN(len - at, chunk);

        *read = true;
        ret = viv_node_pread(c->from, offset + at, buf, step);
        if (ret)
            break;
        *read = false;
        ret = write_data(c, offset + at, buf, step);
    }
    g_free(buf);
    return ret;
}

int viv_job_copy_move(struct viv_job_copy *c, uint64_t offset, uint64_t len, bool *read)
{
    int ret = 0;

    while (len && !ret) {
        struct viv_extent e;
        uint64_t step;
        bool zero;

        *read = true;
        ret = viv_node_status(c->from, offset, len, &e);
        if (ret)
            return ret;
        step = MIN(e.len, len);
        zero = e.kind == VIV_MAP_ZERO && !c->compress;
        if (c->compress) /* whole clusters */
            step = MIN(len, MAX(CHUNK, c->to->granule));
        *read = false;
        ret = zero ? viv_node_write_zeroes(c->to, offset, step, c->unmap ? VIV_BLK_UNMAP : 0) : move_data(c, offset, step, read);
        offset += step;
        len -= step;
    }
    return ret;
}

/* One piece: what is marked in [offset, end). The graph first, then the range (graph.h). */
static int copy_piece(struct viv_job_copy *c, uint64_t offset, uint64_t end, bool *read)
{
    struct viv_range r;
    uint64_t at, run;
    int ret = 0;

    viv_graph_enter();
    viv_range_acquire(&c->ranges, &r, offset, end, true);
    while (!ret && viv_bitmap_next(c->todo, offset, &at, &run) && at < end) {
        run = MIN(run, end - at);
        viv_bitmap_clear(c->todo, at, run); /* before reading: what is written from here on marks it again */
        ret = viv_job_copy_move(c, at, run, read);
        if (ret)
            viv_bitmap_mark(c->todo, at, run);
        offset = at + run;
    }
    viv_range_release(&c->ranges, &r);
    viv_graph_leave();
    return ret;
}

/* In pieces: whoever waits to change the graph comes in between. */
int viv_job_copy_range(struct viv_job_copy *c, uint64_t offset, uint64_t len, bool *read)
{
    uint64_t g = c->todo->granularity, size = c->todo->size, end, piece = MAX(ZERO_CHUNK, g);
    int ret = 0;

    if (offset >= size || !len)
        return 0;
    end = MIN(size, viv_align_down(MIN(len, size - offset) + offset + g - 1, g));
    for (offset = viv_align_down(offset, g); offset < end && !ret; offset += MIN(piece, end - offset))
        ret = copy_piece(c, offset, MIN(end, offset + piece), read);
    return ret;
}

/* How much to do in one step: zeroes are quick. */
static uint64_t step_at(struct viv_job_copy *c, uint64_t offset, uint64_t len)
{
    uint64_t g = c->todo->granularity, zeroes;
    struct viv_extent e;

    if (viv_node_status(c->from, offset, MIN(len, ZERO_CHUNK), &e) || e.kind != VIV_MAP_ZERO)
        return MIN(len, MAX(CHUNK, g));
    zeroes = offset + e.len == c->todo->size ? e.len : viv_align_down(e.len, g);
    return MIN(len, MAX(zeroes, g));
}

static void show(struct viv_job *j, uint64_t done)
{
    viv_job_set_progress(j, done, done + viv_bitmap_count(j->copy.todo));
}

int viv_job_copy_all(struct viv_job *j, struct viv_err *err)
{
    struct viv_job_copy *c = &j->copy;
    uint64_t at = 0, done = j->offset, offset, len;
    int ret = 0;

    show(j, done);
    while (!viv_job_stopped(j)) {
        bool read = false;

        ret = __atomic_load_n(&j->hook_error, __ATOMIC_ACQUIRE);
        if (ret)
            return viv_fail_os(err, -ret, "a write of the guest could not be followed");
        if (!viv_bitmap_next(c->todo, at, &offset, &len)) {
            if (!at)
                break;
            at = 0;
            continue;
        }
        len = step_at(c, offset, len);
        ret = viv_job_copy_range(c, offset, len, &read);
        if (ret && (ret = viv_job_error(j, ret, read)) != 0)
            return viv_fail_os(err, -ret, "%s '%s' failed", read ? "reading" : "writing", read ? c->from->filename : c->to->filename);
        at = offset + len;
        done += len;
        show(j, done);
        if (viv_job_wait(j, len, 0))
            break;
    }
    return 0;
}

/* --- chains --- */

struct viv_node *viv_node_above(struct viv_node *top, const struct viv_node *n)
{
    while (top && top->backing != n)
        top = top->backing;
    return top;
}
