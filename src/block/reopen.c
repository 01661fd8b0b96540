/* Other rights, options or children for a node that is open. A file gets another descriptor; a format's driver is closed and opens its image
 * again, as what it reads at open (tables, bitmaps, marks that the image is in use) depends on who may write. Nobody is at work meanwhile
 * (graph.h). */
#include "block/graph.h"

#include "base/log.h"
#include "block/bitmap.h"
#include "block/build.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* In place of a driver that could not open its image again. */
static int fail_io(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return -EIO;
}

static const struct viv_blk_driver lost = {.name = "lost", .protocol = true, .preadv = fail_io, .pwritev = fail_io};

/* --- a format's driver --- */

static int parse_given(const struct viv_node *n, struct viv_opt_def **schema, struct viv_opts **out, struct viv_err *err)
{
    *schema = NULL;
    *out = NULL;
    if (!n->given)
        return 0;
    *schema = viv_node_schema(n->drv);
    return viv_opts_from_raw(n->filename, *schema, n->given, out, err);
}

static int open_driver(struct viv_node *n, struct viv_err *err)
{
    struct viv_node_opts o = {.read_only = n->read_only, .unmap = n->unmap, .direct = n->direct, .no_flush = n->no_flush, .no_backing = true};
    uint64_t size = viv_node_size(n);
    struct viv_opt_def *schema;
    int ret = parse_given(n, &schema, &o.own, err);

    if (!ret)
        ret = viv_node_settle_file(n, err);
    if (!ret)
        ret = n->drv->open(n, &o, err);
    if (!ret && o.own)
        ret = viv_opts_check_used(o.own, err);
    if (!ret && viv_node_size(n) != size && (n->users || n->parents))
        ret = viv_fail(err, EINVAL, "'%s' would have another size (%llu bytes, now %llu), and is in use", n->filename,
                       (unsigned long long)viv_node_size(n), (unsigned long long)size);
    if (!ret && viv_node_size(n) != size && (ret = viv_bitmaps_resize(n, viv_node_size(n))) != 0)
        viv_fail_os(err, -ret, "the dirty bitmaps of '%s' cannot follow its size", n->filename);
    if (ret)
        __atomic_store_n(&n->size, size, __ATOMIC_RELEASE);
    viv_opts_free(o.own);
    g_free(schema);
    return ret;
}

/* What a driver finds when it opens. */
struct ground {
    bool read_only;
    struct viv_node *file;
    struct viv_raw_opts *given;
};

static void exchange_ground(struct viv_node *n, struct ground *g)
{
    struct ground was = {n->read_only, n->file, n->given};

    n->read_only = g->read_only;
    n->given = g->given;
    if (n->file != g->file) {
        n->file->parents--;
        g->file->parents++;
        n->file = g->file;
    }
    *g = was;
}

/* On success `g` holds what the driver found before. */
static int reopen_format(struct viv_node *n, struct ground *g, struct viv_err *err)
{
    struct viv_err again = VIV_ERR_INIT;
    int ret = n->read_only ? 0 : viv_node_flush(n);

    if (ret) /* the driver keeps what it could not write: its users see it, and a later flush may get through */
        return viv_fail_os(err, -ret, "'%s' could not be written completely", n->filename);
    ret = n->drv->close(n);
    if (ret)
        viv_fail_os(err, -ret, "'%s' could not be written completely", n->filename);
    exchange_ground(n, g);
    if (!ret)
        ret = open_driver(n, err);
    if (!ret)
        return 0;
    if (n->state)
        n->drv->close(n);
    exchange_ground(n, g);
    if (open_driver(n, &again)) {
        n->drv = &lost;
        n->granule = 1;
        return viv_fail(err, EIO, "'%s' cannot be opened any more: %s", n->filename, again.text);
    }
    return ret;
}

static int check_format(const struct viv_node *n, struct viv_err *err)
{
    if (n->crypt || n->children)
        return viv_fail(err, ENOTSUP, "'%s': images with %s cannot be reopened (made writable, read-only or otherwise different) while they are open",
                        n->filename, n->crypt ? "encryption" : "several files");
    for (const struct viv_bitmap *b = n->bitmaps; b; b = b->next)
        if (b->stored && b->users)
            return viv_fail(err, EBUSY, "'%s': its bitmap '%s' is in use", n->filename, b->name);
    return 0;
}

/* --- read-only and back --- */

static bool is_file(const struct viv_node *n)
{
    return n->drv == &viv_blk_file || n->drv == &viv_blk_host_device;
}

/* Two images on one file may both be read; the one that writes has it for itself. */
static int check_alone(const struct viv_node *n, struct viv_err *err)
{
    return n->file && n->file->parents > 1 ? viv_fail(err, EBUSY, "'%s' cannot be made writable: another image stands on '%s' too",
                                                      n->name ? n->name : n->filename, n->file->name ? n->file->name : n->file->filename)
                                           : 0;
}

static int set_protocol(struct viv_node *n, bool read_only, struct viv_err *err)
{
    int ret;

    if (is_file(n))
        return viv_file_reopen(n, read_only, n->direct, err);
    if (n->drv->filter && n->file) {
        ret = viv_node_set_read_only(n->file, read_only, err);
        if (!ret)
            n->read_only = read_only;
        return ret;
    }
    if (read_only || strcmp(n->drv->name, "memory") == 0 || g_str_has_prefix(n->drv->name, "null-")) {
        n->read_only = read_only;
        return 0;
    }
    return viv_fail(err, EACCES, "'%s' is open read-only, and %s cannot change that while it is open", n->filename, n->drv->name);
}

static bool is_raw(const struct viv_node *n) /* a window into its file, whoever writes */
{
    return n->drv == viv_blk_driver_find("raw");
}

/* The format's own part; its file has the rights already. */
static int set_format(struct viv_node *n, bool read_only, struct viv_err *err)
{
    struct ground g = {read_only, n->file, n->given};

    if (!is_raw(n))
        return reopen_format(n, &g, err);
    n->read_only = read_only;
    return 0;
}

int viv_node_set_read_only(struct viv_node *n, bool read_only, struct viv_err *err)
{
    int ret;

    if (n->read_only == read_only)
        return 0;
    if (!read_only && (ret = check_alone(n, err)) != 0)
        return ret;
    if (n->drv->protocol)
        return set_protocol(n, read_only, err);
    ret = check_format(n, err);
    if (!ret && !read_only)
        ret = viv_node_set_read_only(n->file, false, err);
    if (ret)
        return ret;
    ret = set_format(n, read_only, err);
    if (ret ? !read_only : read_only)
        viv_node_set_read_only(n->file, true, NULL);
    return ret;
}

int viv_node_wake_writable(struct viv_node *n, struct viv_err *err)
{
    if (!is_file(n) || !n->read_only || n->stays_read_only || n->parents || n->users)
        return 0;
    return viv_node_set_read_only(n, false, err);
}

/* --- all that can change --- */

void viv_node_change_init(struct viv_node_change *c, struct viv_node *n)
{
    *c = (struct viv_node_change){.n = n,
                                  .read_only = n->read_only,
                                  .stays_read_only = n->stays_read_only,
                                  .direct = n->direct,
                                  .no_flush = n->no_flush,
                                  .unmap = n->unmap,
                                  .detect_zeroes = n->detect_zeroes,
                                  .file = n->file,
                                  .backing = n->backing,
                                  .given = n->given ? viv_raw_copy(n->given) : NULL};
    for (struct viv_node **p = (struct viv_node *[]){n, n->file, n->backing}, **end = p + 3; p < end; p++)
        if (*p)
            viv_node_get(*p);
}

void viv_node_change_fini(struct viv_node_change *c)
{
    viv_node_put(&c->n);
    viv_node_put(&c->file);
    viv_node_put(&c->backing);
    viv_raw_free(c->given);
    c->given = NULL;
}

static bool same_given(const struct viv_raw_opts *a, const struct viv_raw_opts *b)
{
    size_t na = a ? viv_raw_count(a) : 0, nb = b ? viv_raw_count(b) : 0;

    for (size_t i = 0; i < na && na == nb; i++) {
        const char *key, *value, *other;

        viv_raw_at(a, i, &key, &value);
        other = viv_raw_get(b, key);
        if (!other || strcmp(other, value) != 0)
            return false;
    }
    return na == nb;
}

/* Does somebody above write it? */
static int check_writers(const struct viv_node *n, struct viv_err *err)
{
    const char *what = n->name ? n->name : n->filename;
    g_auto(GStrv) names = viv_node_names();
    unsigned above = 0;

    for (const struct viv_node_user *u = n->users; u; u = u->next)
        if (u->perms & (VIV_PERM_WRITE | VIV_PERM_RESIZE))
            return viv_fail(err, EBUSY, "Read-only block node '%s' cannot support read-write users: %s writes it", what, u->name);
    for (char **name = names; *name; name++) {
        const struct viv_node *p = viv_node_find(*name);

        if (p->file != n)
            continue;
        above++;
        if (!p->read_only)
            return viv_fail(err, EBUSY, "Read-only block node '%s' cannot support read-write users: '%s' above it writes", what, *name);
    }
    return above == n->parents ? 0 : viv_fail(err, EBUSY, "Read-only block node '%s' cannot support read-write users: an image above it has no "
                                              "name, and may write", what);
}

static int make_writable(struct viv_node *n, struct viv_err *err)
{
    const struct viv_node *low = n->file;

    while (low && low->read_only && !low->stays_read_only)
        low = low->file;
    if (low && low->read_only)
        return viv_fail(err, EACCES, "Block node is read-only: '%s' was opened with read-only=on", low->name ? low->name : low->filename);
    return viv_node_set_read_only(n, false, err);
}

/* Another file, other options of the driver's: on success `c` has what was there. */
static int exchange_driver(struct viv_node_change *c, struct viv_err *err)
{
    struct viv_node *n = c->n;
    struct ground g = {n->read_only, c->file, c->given};
    struct viv_node *lifted = !n->read_only && c->file && c->file->read_only ? c->file : NULL;
    int ret;

    if (c->file == n->file && same_given(c->given, n->given))
        return 0;
    ret = check_format(n, err);
    if (!ret && lifted)
        ret = make_writable(lifted, err);
    if (ret)
        return ret;
    ret = reopen_format(n, &g, err);
    if (ret && lifted)
        viv_node_set_read_only(lifted, true, NULL);
    c->file = g.file;
    c->given = g.given;
    return ret;
}

static int exchange_rights(struct viv_node_change *c, struct viv_err *err)
{
    struct viv_node *n = c->n;
    bool was = n->read_only;
    int ret;

    if (c->read_only == was)
        return 0;
    ret = c->read_only ? check_writers(n, err) : 0;
    if (!ret)
        ret = c->read_only ? viv_node_set_read_only(n, true, err) : make_writable(n, err);
    if (ret && c->keep_right && !c->read_only) {
        viv_err_clear(err);
        ret = 0;
    }
    c->read_only = was;
    return ret;
}

static int exchange_cache(struct viv_node_change *c, struct viv_err *err)
{
    struct viv_node *n = c->n;
    bool was = n->direct;
    int ret = 0;

    /* With O_DIRECT a failed flush counts as no loss (flush.c), so what is in the page cache goes out before. */
    if (is_file(n) && c->direct && !was && (ret = viv_node_flush(n)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", n->filename);
    if (!ret && is_file(n) && c->direct != was)
        ret = viv_file_reopen(n, n->read_only, c->direct, err);
    if (!ret) {
        n->direct = c->direct;
        c->direct = was;
    }
    return ret;
}

static void exchange_flags(struct viv_node_change *c)
{
    struct viv_node *n = c->n;
    struct viv_node_change was = {.stays_read_only = n->stays_read_only, .no_flush = n->no_flush, .unmap = n->unmap, .detect_zeroes = n->detect_zeroes, .backing = n->backing};

    n->stays_read_only = c->stays_read_only;
    n->no_flush = c->no_flush;
    n->unmap = c->unmap;
    n->detect_zeroes = c->detect_zeroes;
    if (c->backing != n->backing)
        viv_node_set_backing(n, c->backing);
    c->stays_read_only = was.stays_read_only;
    c->no_flush = was.no_flush;
    c->unmap = was.unmap;
    c->detect_zeroes = was.detect_zeroes;
    c->backing = was.backing;
}

static void restore_file(struct viv_node *file, bool read_only)
{
    struct viv_err err = VIV_ERR_INIT;

    if (file && viv_node_set_read_only(file, read_only, &err))
        viv_error("%s", err.text);
}

/* What may fail first, and what has been done is undone. */
int viv_node_exchange(struct viv_node_change *c, struct viv_err *err)
{
    struct viv_node_change undo = *c;
    struct viv_node *file = c->undoes ? c->n->file : c->file; /* whose right changes with the node's */
    bool file_read_only = c->undoes ? c->file_read_only : file && file->read_only;
    int ret = exchange_cache(c, err);

    if (ret)
        return ret;
    ret = exchange_driver(c, err);
    if (!ret) {
        ret = exchange_rights(c, err);
        if (ret)
            exchange_driver(c, NULL);
    }
    if (ret) {
        exchange_cache(c, NULL);
        c->read_only = undo.read_only;
    } else {
        exchange_flags(c);
        c->file_read_only = file_read_only;
    }
    if (ret || undo.undoes)
        restore_file(file, file_read_only);
    c->undoes = !ret && !undo.undoes;
    return ret;
}
