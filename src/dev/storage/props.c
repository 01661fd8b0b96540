/* What the properties that all disks have mean. */
#include "dev/storage/props.h"

#include "block/stats.h"
#include "dev/storage/front.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

const char *const viv_front_rerrors[] = {"auto", "report", "ignore", "stop", NULL};
const char *const viv_front_werrors[] = {"auto", "report", "ignore", "enospc", "stop", NULL};
const char *const viv_front_on_off_auto[] = {"auto", "on", "off", NULL};

static bool power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

int viv_front_take_geometry(struct viv_front *f, struct viv_opts *opts, struct viv_err *err)
{
    const char *what = viv_opts_what(opts);
    uint64_t min_io = viv_opts_size(opts, "min_io_size"), opt_io = viv_opts_size(opts, "opt_io_size");
    uint64_t discard = viv_opts_size(opts, "discard_granularity");

    f->logical = (uint32_t)viv_opts_size(opts, "logical_block_size");
    f->physical = (uint32_t)viv_opts_size(opts, "physical_block_size");
    if (!power_of_two(f->logical) || !power_of_two(f->physical))
        return viv_fail(err, EINVAL, "%s: block sizes are powers of two from 512 to 2097152", what);
    if (f->physical < f->logical)
        return viv_fail(err, EINVAL, "%s: physical_block_size=%u is less than logical_block_size=%u", what, f->physical, f->logical);
    if (min_io % f->logical || opt_io % f->logical || min_io / f->logical > UINT16_MAX)
        return viv_fail(err, EINVAL, "%s: min_io_size and opt_io_size are multiples of %u", what, f->logical);
    if (discard % f->logical)
        return viv_fail(err, EINVAL, "%s: discard_granularity is a multiple of %u", what, f->logical);
    f->min_io = (uint32_t)min_io;
    f->opt_io = (uint32_t)opt_io;
    f->discard = (uint32_t)discard;
    return 0;
}

static enum viv_drive_error policy(struct viv_opts *opts, const char *key, enum viv_drive_error of_drive,
                                   enum viv_drive_error fallback)
{
    enum viv_drive_error own = viv_drive_error_parse(viv_opts_str(opts, key));

    if (own == VIV_DRIVE_ERROR_AUTO)
        own = of_drive;
    return own == VIV_DRIVE_ERROR_AUTO ? fallback : own;
}

static void take_switch(struct viv_opts *opts, const char *key, atomic_bool *skip)
{
    const char *text = viv_opts_str(opts, key);

    if (strcmp(text, "auto"))
        *skip = !strcmp(text, "off");
}

/* auto: as the drive's cache= is. */
static bool write_back(const struct viv_front *f, const char *text)
{
    if (strcmp(text, "auto"))
        return !strcmp(text, "on");
    return !f->drive->blk || !viv_blk_writethrough(f->drive->blk);
}

void viv_front_take_rest(struct viv_front *f, struct viv_opts *opts)
{
    const char *serial = viv_opts_str(opts, "serial");

    if (!serial)
        serial = f->drive->serial;
    if (serial)
        g_strlcpy(f->serial, serial, sizeof(f->serial));
    f->bootindex = viv_opts_given(opts, "bootindex") ? (int)viv_opts_int(opts, "bootindex") : -1;
    f->rerror = policy(opts, "rerror", f->drive->rerror, VIV_DRIVE_ERROR_REPORT);
    f->werror = policy(opts, "werror", f->drive->werror, VIV_DRIVE_ERROR_ENOSPC);
    take_switch(opts, "account-invalid", &f->drive->counters->skip_invalid);
    take_switch(opts, "account-failed", &f->drive->counters->skip_failed);
    f->wce_default = write_back(f, viv_opts_str(opts, "write-cache"));
}
