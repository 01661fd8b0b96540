/* A device's side of its drive: claiming, properties, requests in flight, what happens to failed ones. */
#include "dev/storage/front.h"

#include "base/log.h"
#include "bus/vmevent.h"
#include "bus/vmreq.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>

const char *const viv_front_rerrors[] = {"auto", "report", "ignore", "stop", NULL};
const char *const viv_front_werrors[] = {"auto", "report", "ignore", "enospc", "stop", NULL};
const char *const viv_front_on_off_auto[] = {"auto", "on", "off", NULL};

static struct viv_front *fronts; /* one VM a process; in creation order */

struct viv_front *viv_front_next(struct viv_front *f)
{
    return f ? f->next : fronts;
}

/* --- properties --- */

static bool power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

static int take_geometry(struct viv_front *f, struct viv_opts *opts, struct viv_err *err)
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

static enum viv_drive_error policy(const char *text, enum viv_drive_error of_drive, enum viv_drive_error fallback)
{
    if (!strcmp(text, "auto"))
        return of_drive == VIV_DRIVE_ERROR_AUTO ? fallback : of_drive;
    if (!strcmp(text, "report"))
        return VIV_DRIVE_ERROR_REPORT;
    if (!strcmp(text, "ignore"))
        return VIV_DRIVE_ERROR_IGNORE;
    return !strcmp(text, "stop") ? VIV_DRIVE_ERROR_STOP : VIV_DRIVE_ERROR_ENOSPC;
}

static void take_rest(struct viv_front *f, struct viv_opts *opts)
{
    const char *serial = viv_opts_str(opts, "serial");

    if (!serial)
        serial = f->drive->serial;
    if (serial)
        g_strlcpy(f->serial, serial, sizeof(f->serial));
    f->bootindex = viv_opts_given(opts, "bootindex") ? (int)viv_opts_int(opts, "bootindex") : -1;
    f->rerror = policy(viv_opts_str(opts, "rerror"), f->drive->rerror, VIV_DRIVE_ERROR_REPORT);
    f->werror = policy(viv_opts_str(opts, "werror"), f->drive->werror, VIV_DRIVE_ERROR_ENOSPC);
    f->wce_default = strcmp(viv_opts_str(opts, "write-cache"), "off") != 0;
}

/* --- claiming --- */

static int claim(struct viv_front *f, struct viv_opts *opts, struct viv_err *err)
{
    static unsigned count;
    const char *id = viv_opts_str(opts, "drive"), *user = f->dev->id ? f->dev->id : f->dev->cls->name;
    g_autofree char *own = NULL;
    int rc;

    if (!id && !f->removable)
        return viv_fail(err, EINVAL, "%s: drive is missing: the id of a -drive if=none or the node-name of a -blockdev",
                        viv_opts_what(opts));
    if (!id) {
        id = own = f->dev->id ? g_strdup(f->dev->id) : g_strdup_printf("empty%u", count++);
        rc = viv_drive_add(id, NULL, NULL, err);
        if (rc < 0)
            return rc;
        f->own = true;
    }
    rc = viv_drive_claim(id, user, &f->drive, err);
    if (rc < 0)
        viv_err_prefix(err, "%s", viv_opts_what(opts));
    return rc;
}

static int check_medium(const struct viv_front *f, struct viv_opts *opts, struct viv_err *err)
{
    const char *what = viv_opts_what(opts);

    if (!f->drive->blk && !f->removable)
        return viv_fail(err, EINVAL, "%s: drive '%s' is empty, and this disk is not removable: give it file=", what, f->drive->id);
    if (!f->removable && viv_blk_size(f->drive->blk) % f->logical)
        return viv_fail(err, EINVAL, "%s: the size of drive '%s' is not a multiple of %u bytes", what, f->drive->id, f->logical);
    return 0;
}

static void release(struct viv_front *f)
{
    if (f->own)
        viv_drive_remove(f->drive, NULL);
    else
        viv_drive_release(f->drive);
    f->drive = NULL;
}

int viv_front_open(struct viv_front *f, struct viv_dev *dev, struct viv_opts *opts, bool removable, const struct viv_front_ops *ops,
                   void *opaque, struct viv_err *err)
{
    struct viv_front **end = &fronts;
    int rc;

    *f = (struct viv_front){.dev = dev, .ops = ops, .opaque = opaque, .removable = removable};
    rc = claim(f, opts, err);
    if (rc < 0)
        return rc;
    rc = take_geometry(f, opts, err);
    if (!rc)
        rc = check_medium(f, opts, err);
    if (rc < 0) {
        release(f);
        return rc;
    }
    take_rest(f, opts);
    f->ro = !f->drive->blk || !viv_blk_writable(f->drive->blk);
    pthread_cond_init(&f->idle, NULL);
    while (*end)
        end = &(*end)->next;
    *end = f;
    return 0;
}

void viv_front_close(struct viv_front *f)
{
    struct viv_front **p = &fronts;

    if (!f->drive)
        return;
    while (*p != f)
        p = &(*p)->next;
    *p = f->next;
    viv_front_wait_idle(f);
    release(f);
    pthread_cond_destroy(&f->idle);
}

bool viv_front_ready(const struct viv_front *f)
{
    return f->drive->blk && !f->tray_open;
}

uint64_t viv_front_blocks(const struct viv_front *f)
{
    return viv_front_ready(f) ? viv_blk_size(f->drive->blk) / f->logical : 0;
}

/* --- requests --- */

static void done(struct viv_blk_req *br, int result)
{
    struct viv_front_req *r = br->opaque;
    struct viv_front *f = r->front;

    viv_dev_lock();
    /* Counted off first: the device may ask at once whether something is in flight. */
    if (!--f->in_flight)
        pthread_cond_broadcast(&f->idle);
    r->done(r, result);
    viv_dev_unlock();
}

void viv_front_submit(struct viv_front *f, struct viv_front_req *r)
{
    r->front = f;
    r->br.done = done;
    r->br.opaque = r;
    f->in_flight++;
    viv_blk_submit(f->drive->blk, &r->br);
}

void viv_front_wait_idle(struct viv_front *f)
{
    while (f->in_flight)
        viv_dev_wait(&f->idle);
}

/* --- failures --- */

static enum viv_front_action decide(enum viv_drive_error policy, int error)
{
    if (policy == VIV_DRIVE_ERROR_IGNORE)
        return VIV_FRONT_IGNORE;
    if (policy == VIV_DRIVE_ERROR_STOP || (policy == VIV_DRIVE_ERROR_ENOSPC && error == ENOSPC))
        return VIV_FRONT_HOLD;
    return VIV_FRONT_REPORT;
}

static void tell(const struct viv_front *f, bool write, int error, const char *action)
{
    json_t *data = json_pack("{s:s, s:s, s:s, s:b, s:s}", "device", f->drive->id, "operation", write ? "write" : "read", "action",
                             action, "nospace", error == ENOSPC, "reason", strerror(error));

    viv_vm_event_json("BLOCK_IO_ERROR", data);
}

enum viv_front_action viv_front_failed(struct viv_front *f, bool write, int error)
{
    static const char *const names[] = {"report", "ignore", "stop"};
    enum viv_front_action action = decide(write ? f->werror : f->rerror, error);

    tell(f, write, error, names[action]);
    if (action == VIV_FRONT_HOLD) {
        viv_error("drive '%s': a %s failed: %s; the VM stops, `cont` tries again", f->drive->id, write ? "write" : "read",
                  strerror(error));
        f->holding = true;
        viv_vm_request(VIV_VM_IO_ERROR, 0, f->dev->cls->name);
    }
    return action;
}

void viv_front_running(struct viv_front *f, bool running)
{
    if (!running || !f->holding)
        return;
    f->holding = false;
    f->ops->resend(f->opaque);
}

void viv_front_drop_held(struct viv_front *f)
{
    f->holding = false;
}

/* --- the guest's tray --- */

static void tell_tray(const struct viv_front *f)
{
    viv_vm_event_json("DEVICE_TRAY_MOVED", json_pack("{s:s, s:s, s:b}", "device", f->drive->id, "id", f->dev->id ? f->dev->id : "",
                                                     "tray-open", f->tray_open));
}

void viv_front_set_tray(struct viv_front *f, bool open)
{
    if (f->tray_open == open)
        return;
    f->tray_open = open;
    tell_tray(f);
    if (f->ops->media)
        f->ops->media(f->opaque);
}

void viv_front_lock_tray(struct viv_front *f, bool locked)
{
    f->tray_locked = locked;
}

const struct viv_state_table viv_front_state = {
    .name = "front",
    .ctype = "viv_front",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(viv_front, dev),
            VIV_F_CONFIG(viv_front, drive),
            VIV_F_CONFIG(viv_front, ops),
            VIV_F_CONFIG(viv_front, opaque),
            VIV_F_CONFIG(viv_front, serial),
            VIV_F_CONFIG(viv_front, rerror),
            VIV_F_CONFIG(viv_front, werror),
            VIV_F_CONFIG(viv_front, logical),
            VIV_F_CONFIG(viv_front, physical),
            VIV_F_CONFIG(viv_front, min_io),
            VIV_F_CONFIG(viv_front, opt_io),
            VIV_F_CONFIG(viv_front, discard),
            VIV_F_CONFIG(viv_front, bootindex),
            VIV_F_CONFIG(viv_front, ro),
            VIV_F_CONFIG(viv_front, removable),
            VIV_F_CONFIG(viv_front, wce_default),
            VIV_F_CONFIG(viv_front, own),
            VIV_F_CONFIG(viv_front, read_only_media),
            VIV_F_INT(viv_front, tray_open),
            VIV_F_INT(viv_front, tray_locked),
            VIV_F_INT(viv_front, holding),
            VIV_F_DERIVED(viv_front, in_flight, "0: the device is idle when it is saved"),
            VIV_F_CONFIG(viv_front, idle),
            VIV_F_CONFIG(viv_front, next),
            VIV_F_END,
        },
};
