/* Images of a Ceph cluster. Requests go to librbd from whichever thread has them, which waits: the library keeps any number of them
 * under way. What it writes back from its cache is durable after flush. */
#include "block/proto/rbd/rbd_int.h"

#include "base/checked.h"
#include "block/image.h"
#include "block/iov.h"
#include "host/sandbox.h"

#include <errno.h>
#include <string.h>

#define PIECE_MAX   (1u << 30) /* of zeroes and discards: lengths come back as int */
#define LOOK_SLOW   64u        /* objects to ask about at once, when each costs a request */
#define UNIT        4096u      /* objects know their bytes; nobody is helped by a hole that begins at an odd one */
#define LOOK_FAST   16384u     /* when the object map knows */

struct rbd_image {
    struct rbd_cluster c;
    rbd_image_t image;
    uint64_t object; /* bytes */
    bool fast;       /* the object map can be asked instead of the objects */
    pthread_mutex_t grow; /* one makes it larger at a time */
};

/* --- requests --- */

/* `started`: what starting it gave. */
static ssize_t finish(rbd_completion_t done, int started)
{
    ssize_t ret = started;

    if (started >= 0) {
        rbd_aio_wait_for_complete(done);
        ret = rbd_aio_get_return_value(done);
    }
    rbd_aio_release(done);
    return ret;
}

static int begin(rbd_completion_t *done)
{
    return rbd_aio_create_completion(NULL, NULL, done);
}

static int read_there(struct rbd_image *r, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    rbd_completion_t done;
    ssize_t ret = begin(&done);

    if (ret < 0)
        return ret;
    ret = finish(done, rbd_aio_readv(r->image, iov, cnt, offset, done));
    return ret < 0 ? ret : (size_t)ret == len ? 0 : -EIO;
}

static int rbd_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct rbd_image *r = n->state;
    uint64_t size = viv_node_size(n);
    size_t there = offset >= size ? 0 : MIN(len, size - offset);
    struct iovec *part;
    int ret;

    viv_iov_zero(iov, cnt, there, len - there);
    if (!there)
        return 0;
    if (there == len)
        return read_there(r, offset, iov, cnt, len);
    part = g_try_new(struct iovec, cnt);
    if (!part)
        return -ENOMEM;
    ret = read_there(r, offset, part, viv_iov_slice(part, iov, cnt, 0, there), there);
    g_free(part);
    return ret;
}

/* librbd calls it without a look whether there is one. */
static int no_progress(uint64_t done, uint64_t total, void *opaque)
{
    return 0;
}

/* At least `end` bytes. */
static int grow_to(struct viv_node *n, uint64_t end)
{
    struct rbd_image *r = n->state;
    int ret = 0;

    if (end <= viv_node_size(n))
        return 0;
    pthread_mutex_lock(&r->grow);
    if (end > viv_node_size(n) && (ret = rbd_resize2(r->image, end, false, no_progress, NULL)) >= 0)
        __atomic_store_n(&n->size, end, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&r->grow);
    return MIN(ret, 0);
}

static int rbd_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct rbd_image *r = n->state;
    rbd_completion_t done;
    uint64_t end;
    int ret;

    if (!viv_add_u64(offset, len, &end) || end > INT64_MAX)
        return -EFBIG;
    if (!len)
        return 0;
    ret = grow_to(n, end);
    if (!ret)
        ret = begin(&done);
    return ret < 0 ? ret : MIN(finish(done, rbd_aio_writev(r->image, iov, cnt, offset, done)), 0);
}

/* Zeroes or a discard, inside the image. */
static int clear(struct rbd_image *r, uint64_t offset, uint64_t len, bool discard, int how)
{
    int ret = 0;

    while (len && ret >= 0) {
        uint64_t step = MIN(len, PIECE_MAX);
        rbd_completion_t done;

        ret = begin(&done);
        if (ret < 0)
            return ret;
        ret = finish(done, discard ? rbd_aio_discard(r->image, offset, step, done)
                                   : rbd_aio_write_zeroes(r->image, offset, step, done, how, 0));
        offset += step;
        len -= step;
    }
    return MIN(ret, 0);
}

static int rbd_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    uint64_t end;
    int ret;

    if (!viv_add_u64(offset, len, &end) || end > INT64_MAX)
        return -EFBIG;
    ret = grow_to(n, end);
    return ret ? ret : clear(n->state, offset, len, false, flags & VIV_BLK_UNMAP ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION);
}

static int rbd_trim(struct viv_node *n, uint64_t offset, uint64_t len)
{
    uint64_t size = viv_node_size(n);

    return offset >= size ? 0 : clear(n->state, offset, MIN(len, size - offset), true, 0);
}

static int rbd_sync(struct viv_node *n)
{
    return MIN(rbd_flush(((struct rbd_image *)n->state)->image), 0);
}

static int rbd_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    struct rbd_image *r = n->state;
    int ret;

    if (size > INT64_MAX)
        return viv_fail(err, EFBIG, "'%s': %llu bytes are more than an image can have", n->filename, (unsigned long long)size);
    if (prealloc != VIV_PREALLOC_OFF)
        return viv_fail(err, ENOTSUP, "'%s': there is no preallocation on Ceph: preallocation=off works", n->filename);
    pthread_mutex_lock(&r->grow);
    ret = rbd_resize2(r->image, size, true, no_progress, NULL);
    if (ret >= 0)
        __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&r->grow);
    return ret < 0 ? viv_fail_os(err, -ret, "cannot make '%s' %llu bytes long", n->filename, (unsigned long long)size) : 0;
}

/* --- what lies where --- */

struct look {
    uint64_t from, end; /* what is known: [from, end) is all data, or all hole */
    bool data, done;
};

/* Ranges that hold data come in the order of the image. */
static int see(uint64_t offset, size_t len, int exists, void *opaque)
{
    struct look *l = opaque;
    uint64_t end = offset + len;

    if (!exists || end <= l->from)
        return 0;
    if (!l->data && offset <= l->from) {
        l->data = true;
        l->end = end;
    } else if (l->data && offset <= l->end) {
        l->end = MAX(l->end, end);
    } else {
        if (!l->data)
            l->end = offset;
        l->done = true;
        return -ECANCELED; /* no more */
    }
    return 0;
}

/* Whole objects are asked about: older libraries tell wrong offsets when a range starts or ends inside one. */
static int rbd_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct rbd_image *r = n->state;
    uint64_t size = viv_node_size(n), start = viv_align_down(offset, r->object), room = r->object * (r->fast ? LOOK_FAST : LOOK_SLOW);
    struct look l = {.from = offset};
    uint64_t end;
    int ret;

    *out = (struct viv_extent){.kind = VIV_MAP_DATA, .len = len, .host = offset, .allocated = true, .in_place = true};
    if (offset >= size) {
        out->kind = VIV_MAP_ZERO;
        out->allocated = false;
        return 0;
    }
    end = MIN(size, start + room);
    ret = rbd_diff_iterate2(r->image, NULL, start, end - start, 1, r->fast, see, &l);
    if (ret < 0 && !l.done)
        return 0; /* cannot tell: all data */
    if (!l.data && !l.done)
        l.end = end;
    if (!l.data && l.end < end)
        l.end = viv_align_down(l.end, UNIT);
    if (!l.data && l.end > offset) {
        out->kind = VIV_MAP_ZERO;
        out->allocated = false;
    } else {
        l.end = MIN(viv_align_down(MAX(l.end, offset + 1) + UNIT - 1, UNIT), end);
    }
    out->len = MIN(len, l.end - offset);
    return 0;
}

static void rbd_info(struct viv_node *n, struct viv_img_info *i)
{
    i->cluster_size = ((struct rbd_image *)n->state)->object;
}

/* --- opening --- */

static int free_image(struct rbd_image *r)
{
    int ret = r->image ? rbd_close(r->image) : 0;

    viv_rbd_disconnect(&r->c);
    pthread_mutex_destroy(&r->grow);
    g_free(r);
    return MIN(ret, 0);
}

static int close_image(struct viv_node *n)
{
    int ret = free_image(n->state);

    n->state = NULL;
    return ret;
}

static int look_at(struct rbd_image *r, const char *name, uint64_t *size, struct viv_err *err)
{
    uint64_t features = 0, flags = 0;
    rbd_image_info_t info;
    int ret = rbd_stat(r->image, &info, sizeof(info));

    if (ret < 0)
        return viv_fail_os(err, -ret, "'%s': Ceph does not tell the image's size", name);
    if (info.size > INT64_MAX || !info.obj_size || (info.obj_size & (info.obj_size - 1)))
        return viv_fail(err, EPROTO, "'%s': Ceph tells sizes that make no sense", name);
    *size = info.size;
    r->object = info.obj_size;
    r->fast = rbd_get_features(r->image, &features) >= 0 && (features & RBD_FEATURE_FAST_DIFF) && rbd_get_flags(r->image, &flags) >= 0 &&
              !(flags & (RBD_FLAG_FAST_DIFF_INVALID | RBD_FLAG_OBJECT_MAP_INVALID));
    return 0;
}

static int open_image(struct rbd_image *r, const struct rbd_target *t, const char *name, bool read_only, struct viv_err *err)
{
    int ret;

    if (t->snapshot && !read_only)
        return viv_fail(err, EROFS, "'%s' is a snapshot, which can only be read (read-only=on)", name);
    ret = read_only ? rbd_open_read_only(r->c.io, t->image, &r->image, t->snapshot) : rbd_open(r->c.io, t->image, &r->image, NULL);
    if (ret >= 0)
        return 0;
    r->image = NULL;
    return viv_fail_os(err, -ret, "'%s': the image '%s'%s%s cannot be opened", name, t->image, t->snapshot ? " at the snapshot " : "",
                       t->snapshot ? t->snapshot : "");
}

#define OBJECT_MIN 4096u /* what librbd takes */
#define OBJECT_MAX (32u << 20)

static int make_image(struct rbd_image *r, const struct rbd_target *t, const char *name, uint64_t object, struct viv_err *err)
{
    int order = object ? __builtin_ctzll(object) : 0; /* 0: as the cluster is set */
    int ret;

    if (object && (object & (object - 1)))
        return viv_fail(err, EINVAL, "'%s': RBD obj size needs to be power of 2 (cluster_size=%llu)", name, (unsigned long long)object);
    if (object && (object < OBJECT_MIN || object > OBJECT_MAX))
        return viv_fail(err, EINVAL, "'%s': objects of an image have %u bytes to %u MiB, not %llu (cluster_size)", name, OBJECT_MIN,
                        OBJECT_MAX >> 20, (unsigned long long)object);
    if (t->snapshot)
        return viv_fail(err, EINVAL, "'%s': a new image has no snapshots", name);
    ret = rbd_create(r->c.io, t->image, 0, &order);
    return ret < 0 ? viv_fail_os(err, -ret, "'%s': the image '%s' cannot be made%s", name, t->image,
                                 ret == -EEXIST ? " (convert -n writes one that is there)" : "")
                   : 0;
}

static int open_target(const struct rbd_target *t, bool make, uint64_t object, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct rbd_image *r = g_new0(struct rbd_image, 1);
    g_autofree char *name = viv_rbd_target_text(t);
    struct viv_node *n;
    uint64_t size = 0;
    int ret;

    viv_sandbox_need(VIV_SANDBOX_NETWORK); /* librados' threads connect when they like */

    pthread_mutex_init(&r->grow, NULL);
    ret = viv_rbd_connect(t, name, !o->direct, &r->c, err);
    if (!ret && make)
        ret = make_image(r, t, name, object, err);
    if (!ret)
        ret = open_image(r, t, name, o->read_only, err);
    if (!ret)
        ret = look_at(r, name, &size, err);
    if (ret) {
        free_image(r);
        return ret;
    }
    n = viv_node_new(&viv_blk_rbd, name);
    n->state = r;
    n->size = size;
    n->read_only = o->read_only;
    n->no_flush = o->no_flush;
    n->zero_init = true;
    *out = n;
    return 0;
}

static int open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct rbd_target t = {0};
    int ret = viv_rbd_target_read(o->own, o->own_lists, &t, err);

    if (!ret)
        ret = open_target(&t, false, 0, o, out, err);
    viv_rbd_target_fini(&t);
    return ret;
}

int viv_rbd_create(const char *name, uint64_t object, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct rbd_target t = {0};
    int ret = viv_rbd_target_parse(name, &t, err);

    if (!ret)
        ret = open_target(&t, true, object, o, out, err);
    viv_rbd_target_fini(&t);
    return ret;
}

const struct viv_blk_driver viv_blk_rbd = {
    .name = "rbd",
    .protocol = true,
    .open_opts = viv_rbd_opts,
    .open_lists = viv_rbd_lists,
    .open_source = open_source,
    .is_name = viv_rbd_is_name,
    .parse_name = viv_rbd_parse_name,
    .close = close_image,
    .preadv = rbd_preadv,
    .pwritev = rbd_pwritev,
    .status = rbd_status,
    .write_zeroes = rbd_zeroes,
    .discard = rbd_trim,
    .flush = rbd_sync,
    .truncate = rbd_truncate,
    .info = rbd_info,
};
