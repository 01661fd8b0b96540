/* Other rights for a node that is open. A file gets another descriptor; a format's driver is closed and opens its image again, as what
 * it reads at open (tables, bitmaps, marks that the image is in use) depends on who may write. Nobody is at work meanwhile (graph.h). */
#include "block/graph.h"

#include "block/bitmap.h"
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

static int open_driver(struct viv_node *n, bool read_only, struct viv_err *err)
{
    struct viv_node_opts o = {.read_only = read_only, .unmap = n->unmap, .direct = n->direct, .no_flush = n->no_flush, .no_backing = true};
    uint64_t size = viv_node_size(n);
    int ret;

    n->read_only = read_only;
    ret = n->drv->open(n, &o, err);
    if (!ret && viv_node_size(n) != size)
        ret = viv_fail(err, EIO, "'%s' has another size than before", n->filename);
    return ret;
}

static int reopen_format(struct viv_node *n, bool read_only, struct viv_err *err)
{
    struct viv_err again = VIV_ERR_INIT;
    int ret = read_only ? viv_node_flush(n) : 0;

    if (!ret)
        ret = n->drv->close(n);
    if (ret)
        viv_fail_os(err, -ret, "'%s' could not be written completely", n->filename);
    else
        ret = open_driver(n, read_only, err);
    if (ret && n->state)
        n->drv->close(n);
    if (ret && open_driver(n, !read_only, &again)) {
        n->drv = &lost;
        n->granule = 1;
        return viv_fail(err, EIO, "'%s' cannot be opened any more: %s", n->filename, again.text);
    }
    return ret;
}

static int check_format(const struct viv_node *n, bool read_only, struct viv_err *err)
{
    if (n->crypt || n->children)
        return viv_fail(err, ENOTSUP, "'%s': images with %s cannot become %s while they are open", n->filename,
                        n->crypt ? "encryption" : "several files", read_only ? "read-only" : "writable");
    for (const struct viv_bitmap *b = n->bitmaps; b; b = b->next)
        if (b->stored && b->users)
            return viv_fail(err, EBUSY, "'%s': its bitmap '%s' is in use", n->filename, b->name);
    return 0;
}

static int set_protocol(struct viv_node *n, bool read_only, struct viv_err *err)
{
    int ret;

    if (n->drv == &viv_blk_file || n->drv == &viv_blk_host_device)
        return viv_file_set_read_only(n, read_only, err);
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

int viv_node_set_read_only(struct viv_node *n, bool read_only, struct viv_err *err)
{
    int ret;

    if (n->read_only == read_only)
        return 0;
    if (n->drv->protocol)
        return set_protocol(n, read_only, err);
    ret = check_format(n, read_only, err);
    if (!ret && !read_only)
        ret = viv_node_set_read_only(n->file, false, err);
    if (ret)
        return ret;
    if (n->drv == viv_blk_driver_find("raw")) /* a window into its file, whoever writes */
        n->read_only = read_only;
    else
        ret = reopen_format(n, read_only, err);
    if (ret ? !read_only : read_only)
        viv_node_set_read_only(n->file, true, NULL);
    return ret;
}
