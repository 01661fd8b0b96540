/* blkverify: two disks written alike; each read of `test` must give what `raw` has. */
#include "block/filter/filter.h"
#include "block/iov.h"
#include "opt/opt.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static struct viv_node *raw_of(const struct viv_node *n)
{
    return n->child[0];
}

static int open_filter(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    if (!o->children || !o->children[0])
        return viv_fail(err, EINVAL, "'%s': blkverify needs raw.* to compare with", n->filename);
    viv_node_get(o->children[0]);
    viv_node_add_child(n, o->children[0]);
    viv_filter_init(n, g_new0(char, 1));
    return 0;
}

static uint64_t first_difference(const uint8_t *a, const struct iovec *iov, int cnt)
{
    uint64_t at = 0;

    for (int i = 0; i < cnt; i++)
        for (size_t k = 0; k < iov[i].iov_len; k++, at++)
            if (a[at] != ((const uint8_t *)iov[i].iov_base)[k])
                return at;
    return UINT64_MAX;
}

static int verify_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    uint8_t *raw = g_try_malloc(len);
    int ret = raw ? viv_node_pread(raw_of(n), offset, raw, len) : -ENOMEM;
    uint64_t at;

    if (!ret)
        ret = viv_node_preadv(n->file, offset, iov, cnt, len);
    if (!ret && (at = first_difference(raw, iov, cnt)) != UINT64_MAX) {
        viv_error("blkverify: read offset=%llu bytes=%zu contents mismatch at offset %llu", (unsigned long long)offset, len,
                  (unsigned long long)(offset + at));
        ret = -EIO;
    }
    g_free(raw);
    return ret;
}

static int verify_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    int raw = viv_node_pwritev(raw_of(n), offset, iov, cnt, len), test = viv_filter_pwritev(n, offset, iov, cnt, len);

    if (!raw != !test) {
        viv_error("blkverify: write offset=%llu bytes=%zu: test ends with '%s', raw with '%s'", (unsigned long long)offset, len,
                  g_strerror(-test), g_strerror(-raw));
        return -EIO;
    }
    return test;
}

static bool is_name(const char *name)
{
    return g_str_has_prefix(name, "blkverify:");
}

/* blkverify:RAW:TEST */
static int parse_name(const char *name, struct viv_raw_opts *out, struct viv_err *err)
{
    const char *raw = name + strlen("blkverify:"), *colon = strchr(raw, ':');
    g_autofree char *file = colon ? g_strndup(raw, colon - raw) : NULL;

    if (!colon || colon == raw || !colon[1])
        return viv_fail(err, EINVAL, "'%s': blkverify requires raw copy and original image path (blkverify:RAW:TEST)", name);
    viv_raw_set(out, "driver", "blkverify");
    viv_raw_set(out, "raw.filename", file);
    viv_raw_set(out, "test.file.filename", colon + 1);
    return 0;
}

const struct viv_blk_driver viv_blk_verify = {
    .name = "blkverify",
    .protocol = true,
    .filter = true,
    .open_children = (const struct viv_child_def[]){{.name = "test", .image = true}, {.name = "raw"}, {0}},
    .is_name = is_name,
    .parse_name = parse_name,
    .open = open_filter,
    .close = viv_filter_close,
    .preadv = verify_preadv,
    .pwritev = verify_pwritev,
};
