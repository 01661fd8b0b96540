/* The session: its life, which message goes where, answers. */
#include "share/p9_int.h"

#include "base/log.h"
#include "bus/virtio.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const struct {
    int (*fn)(struct req *r);
    bool writes;  /* refused where the folder is read-only */
    bool alone;   /* p9_version: no other request is under way */
    bool waits;   /* p9_flush: for others */
} handlers[128] = {
    [P9_STATFS] = {p9_statfs},
    [P9_LOPEN] = {p9_lopen},
    [P9_LCREATE] = {p9_lcreate, .writes = true},
    [P9_SYMLINK] = {p9_symlink, .writes = true},
    [P9_MKNOD] = {p9_mknod, .writes = true},
    [P9_RENAME] = {p9_rename, .writes = true},
    [P9_READLINK] = {p9_readlink},
    [P9_GETATTR] = {p9_getattr},
    [P9_SETATTR] = {p9_setattr, .writes = true},
    [P9_XATTRWALK] = {p9_xattrwalk},
    [P9_XATTRCREATE] = {p9_xattrcreate, .writes = true},
    [P9_READDIR] = {p9_readdir},
    [P9_FSYNC] = {p9_fsync},
    [P9_LOCK] = {p9_lock},
    [P9_GETLOCK] = {p9_getlock},
    [P9_LINK] = {p9_link, .writes = true},
    [P9_MKDIR] = {p9_mkdir, .writes = true},
    [P9_RENAMEAT] = {p9_renameat, .writes = true},
    [P9_UNLINKAT] = {p9_unlinkat, .writes = true},
    [P9_VERSION] = {p9_version, .alone = true},
    [P9_ATTACH] = {p9_attach},
    [P9_FLUSH] = {p9_flush, .waits = true},
    [P9_WALK] = {p9_walk},
    [P9_READ] = {p9_read},
    [P9_WRITE] = {p9_write},
    [P9_CLUNK] = {p9_clunk},
    [P9_REMOVE] = {p9_remove}, /* the fid goes in any case: it looks itself */
};

/* ---- order of requests ---- */

void viv_p9_announce(struct viv_p9 *p, struct viv_p9_ticket *t, const struct iovec *msg, int n)
{
    uint8_t head[P9_HEAD] = {0};

    viv_iov_to_buf(msg, n, 0, head, sizeof(head));
    t->tag = viv_ld_le16(head + 5);
    t->next = NULL;
    pthread_mutex_lock(&p->tickets_lock);
    t->number = p->next_number++;
    t->prev = p->newest;
    *(p->newest ? &p->newest->next : &p->oldest) = t;
    p->newest = t;
    pthread_mutex_unlock(&p->tickets_lock);
}

void viv_p9_done(struct viv_p9 *p, struct viv_p9_ticket *t)
{
    pthread_mutex_lock(&p->tickets_lock);
    *(t->prev ? &t->prev->next : &p->oldest) = t->next;
    *(t->next ? &t->next->prev : &p->newest) = t->prev;
    pthread_cond_broadcast(&p->ticket_done);
    pthread_mutex_unlock(&p->tickets_lock);
}

/* An older request with that tag; waiting for older ones only there can be no ring. Lock held. */
static bool under_way(struct viv_p9 *p, uint16_t tag, uint64_t before)
{
    for (struct viv_p9_ticket *t = p->oldest; t && t->number < before; t = t->next) {
        if (t->tag == tag)
            return true;
    }
    return false;
}

/* Requests are not broken off: the answer to the old one is sent first, as flush(5) allows. */
int p9_flush(struct req *r)
{
    uint16_t tag = p9_get16(&r->in);

    if (r->in.bad)
        return -EINVAL;
    pthread_mutex_lock(&r->p->tickets_lock);
    while (under_way(r->p, tag, r->number))
        pthread_cond_wait(&r->p->ticket_done, &r->p->tickets_lock);
    pthread_mutex_unlock(&r->p->tickets_lock);
    return 0;
}

/* ---- a message ---- */

int p9_version(struct req *r)
{
    uint32_t msize = p9_get32(&r->in);
    const char *version = p9_get_str(&r->in);
    bool known = !strcmp(version, "9P2000.L");

    if (r->in.bad)
        return -EINVAL;
    if (msize < VIV_P9_MSIZE_MIN)
        return -EMSGSIZE;
    p9_fid_remove_all(r->p);
    if (msize > VIV_P9_MSIZE_MAX)
        msize = VIV_P9_MSIZE_MAX;
    r->p->msize = known ? msize : 0;
    if (!known)
        viv_guest_error("virtio-9p", "the guest asks for protocol '%.20s': mount with version=9p2000.L", version);
    p9_put32(&r->out, msize);
    p9_put_str(&r->out, known ? "9P2000.L" : "unknown", known ? 8 : 7);
    return 0;
}

static int dispatch(struct req *r)
{
    struct viv_p9 *p = r->p;
    int (*fn)(struct req *r) = r->type < G_N_ELEMENTS(handlers) ? handlers[r->type].fn : NULL;
    int rc;

    if (!fn)
        return -EOPNOTSUPP; /* Tauth too: nobody has to prove who he is */
    if (handlers[r->type].waits)
        return fn(r);
    if (handlers[r->type].alone)
        pthread_rwlock_wrlock(&p->session);
    else
        pthread_rwlock_rdlock(&p->session);
    if (r->type != P9_VERSION && !p->msize)
        rc = -EPROTO;
    else if (r->type != P9_VERSION && viv_ld_le32(r->in.p - P9_HEAD) > p->msize)
        rc = -EMSGSIZE;
    else if (handlers[r->type].writes && p->dev->readonly)
        rc = -EROFS;
    else
        rc = fn(r);
    if (!rc && r->type != P9_VERSION && r->out.len + r->data > p->msize)
        rc = -EMSGSIZE;
    pthread_rwlock_unlock(&p->session);
    return rc;
}

/* Length of the answer's head and fields, which are in r->out. */
static size_t put_answer(struct req *r, int rc)
{
    size_t total = r->out.len + r->data;

    if (!rc && total > r->room)
        rc = -EMSGSIZE;
    if (rc) {
        r->out.len = P9_HEAD;
        p9_put32(&r->out, -rc);
        total = r->out.len;
    }
    viv_st_le32(r->out.p, (uint32_t)total);
    r->out.p[4] = rc ? P9_LERROR + 1 : r->type + 1;
    viv_st_le16(r->out.p + 5, r->tag);
    return total;
}

size_t viv_p9_serve(struct viv_p9 *p, struct viv_p9_ticket *t, const struct iovec *msg, int n, size_t len, const struct iovec *reply,
                    int rn, size_t room)
{
    uint8_t in[P9_SMALL], out[P9_SMALL];
    size_t have = viv_iov_to_buf(msg, n, 0, in, len < sizeof(in) ? len : sizeof(in)), total = 0;
    struct req r = {.p = p, .number = t->number, .msg = msg, .msg_n = n, .msg_len = len, .reply = reply, .reply_n = rn, .room = room};
    int rc = -EMSGSIZE;
    uint32_t size;

    if (have >= P9_HEAD && room >= P9_HEAD + 4) {
        size = viv_ld_le32(in);
        r.type = in[4];
        r.tag = t->tag;
        r.in.p = in + P9_HEAD;
        r.out = (struct p9_out){out, P9_HEAD};
        if (r.type == P9_WRITE && size > P9_WRITE_HEAD)
            have = have < P9_WRITE_HEAD ? have : P9_WRITE_HEAD;
        else if (size < have)
            have = size;
        r.in.left = have > P9_HEAD ? have - P9_HEAD : 0;
        r.msg_len = size;
        if (size >= P9_HEAD && size <= len && (r.type == P9_WRITE || size <= P9_SMALL))
            rc = dispatch(&r);
        total = put_answer(&r, rc);
        viv_iov_from_buf(reply, rn, 0, out, r.out.len);
    }
    return total;
}

/* ---- life ---- */

void viv_p9_thread_init(void)
{
    if (unshare(CLONE_FS) < 0)
        viv_warn("virtio-9p: unshare: %s; the process's umask applies to files that the guest makes", strerror(errno));
    else
        umask(0);
}

static guint device_hash(gconstpointer p)
{
    const uint64_t *k = p;

    return (guint)(k[0] * 0x9e3779b97f4a7c15ull >> 32 ^ k[1]);
}

static gboolean device_equal(gconstpointer a, gconstpointer b)
{
    return !memcmp(a, b, 2 * sizeof(uint64_t));
}

/* Descriptors that the process may have. */
static unsigned descriptors(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
        return 1024;
    if (rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
            getrlimit(RLIMIT_NOFILE, &rl);
    }
    return rl.rlim_cur > 1 << 18 ? 1 << 18 : (unsigned)rl.rlim_cur;
}

/* Those that a share may use, for names and for open files each: of one or two an eighth, of more so many that all have a half together.
 * The process has other work for them as well. */
static unsigned part_of(unsigned most)
{
    unsigned shares = viv_fsdev_count();

    return most / (4 * (shares < 2 ? 2 : shares));
}

int viv_p9_new(const struct viv_fsdev *dev, struct viv_p9 **out, struct viv_err *err)
{
    struct viv_p9 *p = g_new0(struct viv_p9, 1);
    unsigned most = part_of(descriptors());
    struct viv_share_node *root;
    ino_t ino;
    int rc = viv_share_tree_new(dev->path, most, NODES_MAX, &p->tree, err);

    if (rc < 0) {
        g_free(p);
        return rc;
    }
    p->dev = dev;
    p->attrs = (struct viv_share_attrs){.model = dev->model, .fmode = dev->fmode, .dmode = dev->dmode};
    p->open_max = most;
    pthread_mutex_init(&p->attrs.lock, NULL);
    pthread_rwlock_init(&p->session, NULL);
    pthread_mutex_init(&p->fids_lock, NULL);
    pthread_mutex_init(&p->tickets_lock, NULL);
    pthread_cond_init(&p->ticket_done, NULL);
    pthread_mutex_init(&p->qids_lock, NULL);
    pthread_mutex_init(&p->locks_lock, NULL);
    p->fids = g_hash_table_new(NULL, NULL);
    p->devices = g_hash_table_new_full(device_hash, device_equal, g_free, NULL);
    p->locks = g_hash_table_new(NULL, NULL);
    root = viv_share_root(p->tree);
    viv_share_identity(root, &p->root_dev, &ino);
    viv_share_unref(p->tree, root);
    *out = p;
    return 0;
}

void viv_p9_reset(struct viv_p9 *p)
{
    p9_fid_remove_all(p);
    p->msize = 0;
}

bool viv_p9_mounted(struct viv_p9 *p)
{
    return __atomic_load_n(&p->attached, __ATOMIC_RELAXED) > 0;
}

void viv_p9_free(struct viv_p9 *p)
{
    if (!p)
        return;
    viv_p9_reset(p);
    g_hash_table_destroy(p->fids);
    g_hash_table_destroy(p->devices);
    g_hash_table_destroy(p->locks);
    viv_share_tree_free(p->tree);
    pthread_mutex_destroy(&p->attrs.lock);
    pthread_rwlock_destroy(&p->session);
    pthread_mutex_destroy(&p->fids_lock);
    pthread_mutex_destroy(&p->tickets_lock);
    pthread_cond_destroy(&p->ticket_done);
    pthread_mutex_destroy(&p->qids_lock);
    pthread_mutex_destroy(&p->locks_lock);
    g_free(p);
}
