/* driver=file, host_device and host_cdrom: a name, and how to lock it. */
#include "block/options.h"
#include "block/proto/file/file.h"

#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/cdrom.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Is there a disc that can be read? */
static int look_for_disc(const char *path, struct viv_err *err)
{
    struct viv_err own = VIV_ERR_INIT;
    int fd = viv_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &own), status;

    if (fd < 0)
        return viv_fail_os(err, -fd, "Could not open '%s'", path);
    status = ioctl(fd, CDROM_DRIVE_STATUS, CDSL_CURRENT);
    close(fd);
    if (status == CDS_DISC_OK || status == CDS_NO_INFO)
        return 0;
    return viv_fail(err, ENOMEDIUM, "'%s': %s", path,
                    status < 0                      ? "this is no CD-ROM drive"
                    : status == CDS_TRAY_OPEN       ? "the drive's tray is open"
                    : status == CDS_DRIVE_NOT_READY ? "the drive is not ready"
                                                    : "there is no disc in the drive");
}

/* What is read later from a drive that lost its disc fails as the kernel says. */
static int open_cdrom(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    const char *name = viv_opts_str(o->own, "filename");
    int ret = !name || !*name ? viv_fail(err, EINVAL, "%s: filename is missing", viv_opts_what(o->own)) : 0;

    if (!ret && !o->read_only)
        ret = viv_fail(err, EROFS, "%s: discs are only read (read-only=on)", viv_opts_what(o->own));
    if (!ret)
        ret = look_for_disc(name, err);
    return ret ? ret : viv_file_open_source(o, out, err);
}

const struct viv_blk_driver viv_blk_host_cdrom = {
    .name = "host_cdrom",
    .protocol = true,
    .open_opts = viv_file_opts,
    .open_source = open_cdrom,
};
