/* Attach, walk, clunk, remove: the ways to get and to lose fids. */
#include "share/p9_int.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { WALK_MAX = 16 };

int p9_name_ok(const char *name)
{
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return -EINVAL;
    if (strlen(name) > VIV_SHARE_NAME_MAX)
        return -ENAMETOOLONG;
    return strchr(name, '/') ? -EINVAL : 0;
}

/* One step; `*at` is replaced (its reference given back) on success. */
static int step(struct viv_p9 *p, struct viv_share_node **at, const char *name, struct p9_qid *q)
{
    struct viv_share_node *next;
    struct stat st;
    int rc = 0;

    if (!strcmp(name, "..")) {
        next = viv_share_parent(p->tree, *at, NULL);
    } else {
        rc = p9_name_ok(name);
        if (!rc && viv_share_hidden(&p->attrs, name))
            rc = -ENOENT;
        if (!rc)
            rc = viv_share_child(p->tree, *at, name, &next);
        if (rc < 0)
            return rc == -EINVAL ? -ENOENT : rc;
    }
    rc = p9_node_stat(p, next, &st);
    if (!rc)
        rc = p9_qid(p, &st, q);
    if (rc < 0) {
        viv_share_unref(p->tree, next);
        return rc;
    }
    viv_share_unref(p->tree, *at);
    *at = next;
    return 0;
}

/* aname: a folder below the shared one to begin at; most clients say "" or "/". */
static int walk_aname(struct viv_p9 *p, const char *aname, struct viv_share_node **at, struct p9_qid *q)
{
    g_auto(GStrv) parts = g_strsplit(aname, "/", -1);
    int rc = 0;

    for (unsigned i = 0; parts[i] && !rc; i++) {
        if (*parts[i] && strcmp(parts[i], "."))
            rc = step(p, at, parts[i], q);
    }
    return rc;
}

int p9_attach(struct req *r)
{
    uint32_t fid = p9_get32(&r->in), afid = p9_get32(&r->in), uid;
    struct viv_share_node *at;
    const char *aname;
    struct p9_qid q;
    struct stat st;
    int rc;

    p9_get_str(&r->in); /* a name: of no meaning beside the number */
    aname = p9_get_str(&r->in);
    uid = p9_get32(&r->in);
    if (r->in.bad || afid != NO_FID)
        return -EINVAL;
    at = viv_share_root(r->p->tree);
    rc = p9_node_stat(r->p, at, &st);
    if (!rc)
        rc = p9_qid(r->p, &st, &q);
    if (!rc)
        rc = walk_aname(r->p, aname, &at, &q);
    if (rc < 0) {
        viv_share_unref(r->p->tree, at);
        return rc;
    }
    rc = p9_fid_add(r->p, fid, uid, at, NULL);
    if (!rc)
        p9_put_qid(&r->out, &q);
    return rc;
}

/* The fid itself goes there, when it has not been opened meanwhile. Takes `at` over. */
static int move_fid(struct viv_p9 *p, struct fid *f, struct viv_share_node *at)
{
    struct viv_share_node *old = at;
    int rc = -EBADF;

    pthread_mutex_lock(&f->lock);
    if (f->kind == FID_PATH) {
        old = f->node;
        f->node = at;
        rc = 0;
    }
    pthread_mutex_unlock(&f->lock);
    viv_share_unref(p->tree, old);
    return rc;
}

/* Qids of as many steps as can be taken; an error only when the first cannot. */
static int walk_names(struct req *r, unsigned count, struct viv_share_node **at, unsigned *done)
{
    struct p9_qid q;
    int rc = 0;

    for (*done = 0; *done < count; ++*done) {
        const char *name = p9_get_str(&r->in);

        rc = r->in.bad ? -EINVAL : step(r->p, at, name, &q);
        if (rc < 0)
            return *done && rc != -EINVAL ? 0 : rc;
        p9_put_qid(&r->out, &q);
    }
    return 0;
}

int p9_walk(struct req *r)
{
    uint32_t number = p9_get32(&r->in), new_number = p9_get32(&r->in);
    unsigned count = p9_get16(&r->in), done;
    struct viv_share_node *at;
    struct fid *f;
    int rc;

    if (r->in.bad || count > WALK_MAX)
        return -EINVAL;
    f = p9_fid_get(r->p, number);
    if (!f)
        return -EBADF;
    at = p9_fid_node(r->p, f);
    p9_put16(&r->out, 0);
    rc = walk_names(r, count, &at, &done);
    viv_st_le16(r->out.p + P9_HEAD, (uint16_t)done);
    if (rc < 0 || done < count)
        viv_share_unref(r->p->tree, at);
    else if (number == new_number)
        rc = move_fid(r->p, f, at);
    else
        rc = p9_fid_add(r->p, new_number, f->uid, at, NULL);
    p9_fid_put(r->p, f);
    return rc;
}

int p9_clunk(struct req *r)
{
    struct fid *f = p9_fid_get(r->p, p9_get32(&r->in));
    int rc;

    if (!f || r->in.bad)
        return p9_fid_put(r->p, f), -EBADF;
    rc = p9_xattr_commit(r->p, f);
    p9_fid_remove(r->p, f);
    p9_fid_put(r->p, f);
    return rc;
}

/* Of the name the file has now; the fid is gone in any case. */
static int remove_node(struct viv_p9 *p, struct viv_share_node *node)
{
    char name[VIV_SHARE_NAME_MAX + 1];
    struct viv_share_node *dir;
    int rc;

    if (p->dev->readonly)
        return -EROFS;
    if (viv_share_is_root(p->tree, node))
        return -EBUSY;
    dir = viv_share_parent(p->tree, node, name);
    rc = p9_unlink_node(p, dir, name, node);
    viv_share_unref(p->tree, dir);
    return rc;
}

int p9_remove(struct req *r)
{
    struct fid *f = p9_fid_get(r->p, p9_get32(&r->in));
    struct viv_share_node *node;
    int rc;

    if (!f || r->in.bad)
        return p9_fid_put(r->p, f), -EBADF;
    node = p9_fid_node(r->p, f);
    rc = remove_node(r->p, node);
    viv_share_unref(r->p->tree, node);
    p9_fid_remove(r->p, f);
    p9_fid_put(r->p, f);
    return rc;
}
