/* driver=file and host_device: a name, and how to lock it. */
#include "block/options.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#define LATER "not implemented yet"

const struct viv_opt_def viv_file_opts[] = {
    {"filename", VIV_OPT_STR, "the file or block device"},
    {"locking", VIV_OPT_ENUM, "lock the file against other users", NULL, viv_locking_values},
    {"aio", VIV_OPT_ENUM, "how requests reach the kernel (native: io_uring with O_DIRECT)", "threads", viv_aio_values},
    {"pr-manager", VIV_OPT_REFUSED, LATER},
    {"drop-cache", VIV_OPT_REFUSED, LATER},
    {"aio-max-batch", VIV_OPT_REFUSED, LATER},
    VIV_OPT_END,
};

int viv_file_open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    const char *name = viv_opts_str(o->own, "filename"), *locking = viv_opts_str(o->own, "locking"),
               *aio = viv_opts_str(o->own, "aio");
    struct viv_node_opts no = *o;

    if (!name || !*name)
        return viv_fail(err, EINVAL, "%s: filename is %s", viv_opts_what(o->own), name ? "empty" : "missing");
    if (viv_opts_given(o->own, "aio"))
        viv_aio_parse(aio, &no.aio); /* one of viv_aio_values */
    if (locking)
        no.locking = strcmp(locking, "on") == 0    ? VIV_LOCKING_ON
                     : strcmp(locking, "off") == 0 ? VIV_LOCKING_OFF
                                                   : VIV_LOCKING_AUTO;
    /* Who says driver=file means a file, whatever its name looks like. */
    viv_blk_local_path(name, &name);
    return viv_file_open(name, &no, out, err);
}

static int open_device(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    const char *name = viv_opts_str(o->own, "filename");
    struct stat st;

    if (name && !stat(name, &st) && !S_ISBLK(st.st_mode))
        return viv_fail(err, EINVAL, "%s: '%s' is no block device, as driver=host_device needs", viv_opts_what(o->own), name);
    return viv_file_open_source(o, out, err);
}

/* Another name: the nodes are viv_blk_file's. */
const struct viv_blk_driver viv_blk_host_device = {
    .name = "host_device",
    .protocol = true,
    .open_opts = viv_file_opts,
    .open_source = open_device,
};
