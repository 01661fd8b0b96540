/* Byte-range locks (Tlock, Tgetlock): taken on the host, so that they hold among all guests that share the folder.
 *
 * A POSIX lock belongs to a process of the client, not to a fid. Each owner - file, process, client's name - gets an open file
 * description of its own with OFD locks (fcntl(2)), which has just the semantics of POSIX locks between owners: an owner's
 * locks merge and never clash, and they go when the description is closed. */
#include "share/p9_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { LOCK_SUCCESS, LOCK_BLOCKED, LOCK_ERROR, LOCK_FLAG_BLOCK = 1, LOCK_FLAG_RECLAIM = 2, CLIENT_MAX = 255 };

struct owner {
    dev_t dev;
    ino_t ino;
    uint32_t process;
    char *client;
    const struct fid *fid; /* used last: they go together, as close(2) drops a process's locks */
    int fd;
};

struct lock_msg {
    uint8_t type; /* 0 read, 1 write, 2 unlock */
    uint32_t flags, process;
    uint64_t start, length; /* length 0: to the end */
    const char *client;
};

static void owner_free(struct viv_p9 *p, struct owner *o)
{
    close(o->fd);
    p9_open_end(p);
    g_free(o->client);
    g_free(o);
}

void p9_locks_drop(struct viv_p9 *p, const struct fid *f)
{
    GHashTableIter it;
    gpointer o;

    pthread_mutex_lock(&p->locks_lock);
    g_hash_table_iter_init(&it, p->locks);
    while (g_hash_table_iter_next(&it, &o, NULL)) {
        if (f && ((struct owner *)o)->fid != f)
            continue;
        g_hash_table_iter_remove(&it);
        owner_free(p, o);
    }
    pthread_mutex_unlock(&p->locks_lock);
}

/* Few files have locks at a time: a walk over all is short, and bounded. Lock held. */
static struct owner *find(struct viv_p9 *p, const struct stat *st, const struct lock_msg *m)
{
    GHashTableIter it;
    gpointer k;

    g_hash_table_iter_init(&it, p->locks);
    while (g_hash_table_iter_next(&it, &k, NULL)) {
        struct owner *o = k;

        if (o->ino == st->st_ino && o->dev == st->st_dev && o->process == m->process && !strcmp(o->client, m->client))
            return o;
    }
    return NULL;
}

/* A lock to write needs a description that can write, and the owner may ask for one later, through another fid. It is an open file
 * among those that are counted. */
static int add(struct viv_p9 *p, const struct fid *f, const struct stat *st, const struct lock_msg *m, struct owner **out)
{
    struct owner *o;
    int fd;

    if (g_hash_table_size(p->locks) >= LOCKS_MAX || p9_open_begin(p) < 0)
        return -ENOLCK;
    /* A file that is open for writing cannot be executed on the host: not the guest's affair where it cannot write. */
    fd = p->dev->readonly ? -EROFS : viv_share_reopen(p->tree, f->io, O_RDWR);
    if (fd == -EACCES || fd == -EROFS || fd == -ETXTBSY)
        fd = viv_share_reopen(p->tree, f->io, f->writable ? O_WRONLY : O_RDONLY);
    if (fd < 0) {
        p9_open_end(p);
        return fd;
    }
    o = g_new0(struct owner, 1);
    *o = (struct owner){st->st_dev, st->st_ino, m->process, g_strdup(m->client), f, fd};
    g_hash_table_add(p->locks, o);
    *out = o;
    return 0;
}

static int fill(const struct lock_msg *m, struct flock *l)
{
    static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};

    if (m->type >= G_N_ELEMENTS(types) || m->start > INT64_MAX || strlen(m->client) > CLIENT_MAX)
        return -EINVAL;
    if (m->length > INT64_MAX || m->start + m->length > (uint64_t)INT64_MAX + 1)
        return -EINVAL;
    *l = (struct flock){.l_type = types[m->type], .l_whence = SEEK_SET, .l_start = (off_t)m->start, .l_len = (off_t)m->length};
    return 0;
}

/* Lock held. */
static int change(struct viv_p9 *p, struct fid *f, const struct stat *st, const struct lock_msg *m, struct flock *l)
{
    struct owner *o = find(p, st, m);
    bool all = l->l_type == F_UNLCK && !l->l_start && !l->l_len, fresh = !o;
    int rc = 0;

    if (fresh && l->l_type == F_UNLCK)
        return LOCK_SUCCESS;
    if (fresh)
        rc = add(p, f, st, m, &o);
    if (rc < 0)
        return rc;
    if (!all && fcntl(o->fd, F_OFD_SETLK, l) < 0)
        rc = errno == EAGAIN || errno == EACCES ? LOCK_BLOCKED : -errno;
    o->fid = f;
    if (all || (rc && fresh)) { /* nothing is left, or there never was anything */
        g_hash_table_remove(p->locks, o);
        owner_free(p, o);
    }
    return rc;
}

static int get_msg(struct req *r, bool set, struct lock_msg *m, struct fid **f)
{
    uint32_t number = p9_get32(&r->in);

    m->type = p9_get8(&r->in);
    m->flags = set ? p9_get32(&r->in) : 0;
    m->start = p9_get64(&r->in);
    m->length = p9_get64(&r->in);
    m->process = p9_get32(&r->in);
    m->client = p9_get_str(&r->in);
    if (r->in.bad || m->flags & ~(uint32_t)(LOCK_FLAG_BLOCK | LOCK_FLAG_RECLAIM))
        return -EINVAL;
    *f = p9_fid_get(r->p, number);
    return *f ? 0 : -EBADF;
}

/* The client comes back for what it has to wait for: nothing waits here. */
int p9_lock(struct req *r)
{
    struct lock_msg m;
    struct flock l;
    struct stat st;
    struct fid *f;
    int rc = get_msg(r, true, &m, &f);

    if (rc < 0)
        return rc;
    rc = fill(&m, &l);
    if (!rc && p9_fid_io(f, FID_FILE) < 0)
        rc = -EBADF;
    if (!rc && l.l_type == F_WRLCK && !f->writable)
        rc = -EBADF;
    if (!rc && fstat(f->io, &st) < 0)
        rc = -errno;
    if (!rc) {
        /* The fid's lock is held over it: its clunk drops what was taken before. */
        pthread_mutex_lock(&f->lock);
        pthread_mutex_lock(&r->p->locks_lock);
        rc = f->gone ? -EBADF : change(r->p, f, &st, &m, &l);
        pthread_mutex_unlock(&r->p->locks_lock);
        pthread_mutex_unlock(&f->lock);
    }
    p9_fid_put(r->p, f);
    if (rc < 0)
        return rc;
    p9_put8(&r->out, (uint8_t)rc);
    return 0;
}

/* Who stands in the way: on the host an owner is a description, whose process has no number here. */
static int ask(struct viv_p9 *p, struct fid *f, const struct lock_msg *m, struct flock *l)
{
    struct owner *o;
    struct stat st;
    int rc;

    if (fstat(f->io, &st) < 0)
        return -errno;
    pthread_mutex_lock(&p->locks_lock);
    o = find(p, &st, m);
    rc = fcntl(o ? o->fd : f->io, F_OFD_GETLK, l) < 0 ? -errno : 0;
    pthread_mutex_unlock(&p->locks_lock);
    return rc;
}

int p9_getlock(struct req *r)
{
    struct lock_msg m;
    struct flock l;
    struct fid *f;
    int rc = get_msg(r, false, &m, &f);

    if (rc < 0)
        return rc;
    rc = fill(&m, &l);
    if (!rc && (l.l_type == F_UNLCK || p9_fid_io(f, FID_FILE) < 0))
        rc = -EINVAL;
    if (!rc)
        rc = ask(r->p, f, &m, &l);
    p9_fid_put(r->p, f);
    if (rc < 0)
        return rc;
    p9_put8(&r->out, l.l_type == F_RDLCK ? 0 : l.l_type == F_WRLCK ? 1 : 2);
    p9_put64(&r->out, l.l_type == F_UNLCK ? m.start : (uint64_t)l.l_start);
    p9_put64(&r->out, l.l_type == F_UNLCK ? m.length : (uint64_t)l.l_len);
    p9_put32(&r->out, l.l_type == F_UNLCK ? m.process : 0);
    p9_put_str(&r->out, m.client, strlen(m.client));
    return 0;
}
