/* A device's side of its drive: claiming, properties, requests in flight, what happens to failed ones. */
#include "dev/storage/front.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/options.h"
#include "bus/virtio.h"
#include "bus/vmevent.h"
#include "bus/vmreq.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>

static struct viv_front *fronts; /* one VM a process; in creation order */

struct viv_front *viv_front_next(struct viv_front *f)
{
    return f ? f->next : fronts;
}

/* --- claiming --- */

/* Of the handle of a node: its name, or what is still free for one more device on it. */
static char *drive_name(const char *node)
{
    char *name = g_strdup(node);

    for (unsigned i = 2; viv_drive_find(name); i++) {
        g_free(name);
        name = g_strdup_printf("%s#%u", node, i);
    }
    return name;
}

/* Is there no drive of this name, or one that is only another device's handle on a node? */
static bool is_node(const char *id)
{
    const struct viv_drive *d = viv_drive_find(id);

    return !d || d->node;
}

/* drive= may be a block node: the drive is then a handle on it. */
static int add_node(struct viv_front *f, const char *id, char **handle, struct viv_err *err)
{
    const struct viv_dev *d = f->dev;
    g_autofree char *user = g_strdup_printf("device '%s'", d->id ? d->id : d->cls->name);
    unsigned perms = VIV_PERM_READ | (g_str_has_suffix(d->cls->name, "-cd") ? 0 : VIV_PERM_WRITE);
    g_autofree char *name = drive_name(id);
    struct viv_drive *drive;
    struct viv_blk *blk;
    int rc = viv_blockdev_attach(id, perms, VIV_PERM_READ | (f->share ? VIV_PERM_WRITE | VIV_PERM_RESIZE : 0), user, &blk, err);

    if (rc == -ENOENT) {
        viv_err_clear(err);
        return 0; /* the claim says what there could be */
    }
    if (rc == 0)
        rc = viv_drive_add(name, blk, &drive, err);
    f->of_node = rc == 0;
    if (f->of_node)
        drive->node = g_strdup(id), *handle = g_steal_pointer(&name);
    return rc;
}

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
    rc = !own && is_node(id) ? add_node(f, id, &own, err) : 0;
    if (rc == 0)
        rc = viv_drive_claim(own ? own : id, user, f->share, &f->drive, err);
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

static void resized(void *opaque)
{
    struct viv_front *f = opaque;

    f->ops->resized(f->opaque);
}

/* Closes the image without the device lock: it is flushed, and the guest need not wait. */
static void discard(struct viv_front *f)
{
    struct viv_blk *blk = f->drive->blk;
    struct viv_err err = VIV_ERR_INIT;

    f->drive->blk = NULL;
    viv_drive_remove(f->drive, NULL);
    if (!blk)
        return;
    viv_dev_unlock();
    if (viv_blk_close(blk, &err) < 0)
        viv_error("%s", err.text);
    viv_dev_lock();
}

/* A device that was pulled out takes its drive along (a block node stays, for blockdev-del); one that could not be made leaves
 * nothing behind. */
static void release(struct viv_front *f)
{
    if (f->drive->blk)
        viv_blk_on_resize(f->drive->blk, 0, NULL, NULL);
    if (f->own || f->dev->life == VIV_DEV_LEAVING || (f->of_node && f->dev->life == VIV_DEV_MAKING))
        discard(f);
    else
        viv_drive_release(f->drive);
    f->drive = NULL;
}

int viv_front_open(struct viv_front *f, struct viv_dev *dev, struct viv_opts *opts, bool removable, const struct viv_front_ops *ops,
                   void *opaque, struct viv_err *err)
{
    struct viv_front **end = &fronts;
    int rc;

    *f = (struct viv_front){.dev = dev, .ops = ops, .opaque = opaque, .removable = removable, .share = viv_opts_bool(opts, "share-rw")};
    rc = claim(f, opts, err);
    if (rc < 0)
        return rc;
    rc = viv_front_take_geometry(f, opts, err);
    if (!rc)
        rc = check_medium(f, opts, err);
    if (rc < 0) {
        release(f);
        return rc;
    }
    viv_front_take_rest(f, opts);
    f->waiting_end = &f->waiting;
    f->ro = !f->drive->blk || !viv_blk_writable(f->drive->blk);
    pthread_cond_init(&f->idle, NULL);
    if (ops->resized && !removable)
        viv_blk_on_resize(f->drive->blk, f->logical, resized, f);
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

static struct viv_front_req *reversed(struct viv_front_req *r)
{
    struct viv_front_req *list = NULL;

    while (r) {
        struct viv_front_req *next = r->next;

        r->next = list;
        list = r;
        r = next;
    }
    return list;
}

/* Device lock held. */
static void tell_all(struct viv_front *f)
{
    struct viv_front_req *r = reversed(__atomic_exchange_n(&f->ended, NULL, __ATOMIC_ACQ_REL));

    while (r) {
        struct viv_front_req *next = r->next;

        /* Counted off first: the device may ask at once whether something is in flight. */
        if (!--f->in_flight)
            pthread_cond_broadcast(&f->idle);
        r->done(r, r->result);
        r = next;
    }
    if (f->ops->told)
        f->ops->told(f->opaque);
}

static void done(struct viv_blk_req *br, int result)
{
    struct viv_front_req *r = br->opaque, *head;
    struct viv_front *f = r->front;

    r->result = result;
    head = __atomic_load_n(&f->ended, __ATOMIC_RELAXED);
    do
        r->next = head;
    while (!__atomic_compare_exchange_n(&f->ended, &head, r, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    if (head)
        return; /* somebody is on the way */
    viv_dev_lock();
    tell_all(f);
    viv_dev_unlock();
}

void viv_front_submit(struct viv_front *f, struct viv_front_req *r)
{
    r->front = f;
    r->br.done = done;
    r->br.opaque = r;
    if (f->drained) {
        r->next = NULL;
        *f->waiting_end = r;
        f->waiting_end = &r->next;
        return;
    }
    f->in_flight++;
    viv_blk_submit(f->drive->blk, &r->br);
}

void viv_front_hurry(struct viv_front *f)
{
    if (f->drive->blk)
        viv_blk_lift_limits(f->drive->blk);
}

bool viv_front_idle(struct viv_front *f)
{
    if (f->in_flight)
        viv_front_hurry(f);
    return !f->in_flight;
}

bool viv_front_idle_all(void)
{
    bool idle = true;

    for (struct viv_front *f = viv_front_next(NULL); f; f = viv_front_next(f))
        idle &= viv_front_idle(f); /* each: I/O limits do not hold them up */
    return idle;
}

static void wait_in_flight(struct viv_front *f)
{
    while (f->in_flight) {
        viv_front_hurry(f);
        viv_dev_wait(&f->idle);
    }
}

void viv_front_wait_idle(struct viv_front *f)
{
    wait_in_flight(f);
    while (f->waiting || f->in_flight) { /* somebody else has drained the drive: a monitor command */
        viv_dev_wait(&f->idle);
        wait_in_flight(f);
    }
}

void viv_front_drain(struct viv_front *f)
{
    f->drained++;
    wait_in_flight(f);
}

void viv_front_resume(struct viv_front *f)
{
    struct viv_front_req *r = f->waiting;

    if (--f->drained)
        return;
    f->waiting = NULL;
    f->waiting_end = &f->waiting;
    while (r) {
        struct viv_front_req *next = r->next;

        if (f->drive->blk)
            viv_front_submit(f, r);
        else
            r->done(r, -ENOMEDIUM);
        r = next;
    }
    if (f->ops->told)
        f->ops->told(f->opaque);
    pthread_cond_broadcast(&f->idle);
}

/* --- failures --- */

/* The disk was made smaller while it waited, or was held. */
static bool place_gone(const struct viv_front_req *r, int error)
{
    const struct viv_blk *blk = r->front->drive->blk;

    return error == EINVAL && blk && !viv_range_inside(r->br.offset, r->br.len, viv_blk_size(blk));
}

static enum viv_front_action decide(const struct viv_front_req *r, enum viv_drive_error policy, int error)
{
    if (error == ENOMEDIUM || place_gone(r, error)) /* no fault of the host's, and trying again does not help: the guest learns of it */
        return VIV_FRONT_REPORT;
    if (policy == VIV_DRIVE_ERROR_IGNORE)
        return VIV_FRONT_IGNORE;
    if (policy == VIV_DRIVE_ERROR_STOP || (policy == VIV_DRIVE_ERROR_ENOSPC && error == ENOSPC))
        return VIV_FRONT_HOLD;
    return VIV_FRONT_REPORT;
}

const char *viv_front_drive_name(const struct viv_front *f)
{
    return f->of_node ? "" : f->drive->id;
}

char *viv_front_device_name(const struct viv_front *f)
{
    const struct viv_dev *d = f->dev;
    bool behind = d->cls->bus == VIV_BUS_PCI && viv_virtio_of(f->dev); /* the disk is what is behind the transport */
    g_autofree char *path = viv_dev_object_path(d);

    return behind ? g_strconcat(path, "/virtio-backend", NULL) : d->id ? g_strdup(d->id) : g_steal_pointer(&path);
}

/* As QEMU has it: of disks whose errors could stop the machine. */
const char *viv_front_io_status(const struct viv_front *f)
{
    bool stops = f->werror == VIV_DRIVE_ERROR_AUTO || f->werror == VIV_DRIVE_ERROR_ENOSPC || f->werror == VIV_DRIVE_ERROR_STOP ||
                 f->rerror == VIV_DRIVE_ERROR_ENOSPC || f->rerror == VIV_DRIVE_ERROR_STOP;

    if (f->trayless || !stops)
        return NULL;
    return !f->holding ? "ok" : f->held_error == ENOSPC ? "nospace" : "failed";
}

static void tell(const struct viv_front *f, bool write, int error, const char *action)
{
    json_t *data = json_pack("{s:s, s:s, s:s, s:b, s:s}", "device", viv_front_drive_name(f), "operation", write ? "write" : "read", "action",
                             action, "nospace", error == ENOSPC, "reason", strerror(error));

    if (f->of_node) /* as it was named; what lies on top of it by now is not for this thread to look at */
        json_object_set_new(data, "node-name", json_string(f->drive->node));
    viv_vm_event_json("BLOCK_IO_ERROR", data);
}

enum viv_front_action viv_front_failed(const struct viv_front_req *r, int result)
{
    static const char *const names[] = {"report", "ignore", "stop"};
    struct viv_front *f = r->front;
    bool write = r->br.op != VIV_BLK_READ;
    int error = -result;
    enum viv_front_action action = decide(r, write ? f->werror : f->rerror, error);

    tell(f, write, error, names[action]);
    if (action == VIV_FRONT_HOLD) {
        viv_error("drive '%s': a %s failed: %s; the VM stops, `cont` tries again", f->drive->id, write ? "write" : "read",
                  strerror(error));
        f->holding = true;
        f->held_error = error;
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
    g_autofree char *device = viv_front_device_name(f);

    viv_vm_event_json("DEVICE_TRAY_MOVED", json_pack("{s:s, s:s, s:b}", "device", viv_front_drive_name(f), "id", device, "tray-open", f->tray_open));
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
            VIV_F_CONFIG(viv_front, share),
            VIV_F_CONFIG(viv_front, of_node),
            VIV_F_CONFIG(viv_front, read_only_media),
            VIV_F_CONFIG(viv_front, trayless),
            VIV_F_INT(viv_front, tray_open),
            VIV_F_INT(viv_front, tray_locked),
            VIV_F_INT(viv_front, holding),
            VIV_F_DERIVED(viv_front, held_error, "for people only: after a load it is any error"),
            VIV_F_DERIVED(viv_front, in_flight, "0: the device is idle when it is saved"),
            VIV_F_DERIVED(viv_front, drained, "0: only within a monitor's command"),
            VIV_F_DERIVED(viv_front, waiting, "none, as nothing is drained"),
            VIV_F_DERIVED(viv_front, waiting_end, "see waiting"),
            VIV_F_DERIVED(viv_front, ended, "none: the device is idle when it is saved"),
            VIV_F_CONFIG(viv_front, idle),
            VIV_F_CONFIG(viv_front, next),
            VIV_F_END,
        },
};
