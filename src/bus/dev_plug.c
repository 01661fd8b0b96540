/* Devices that come and go while the machine runs.
 *
 * A device goes in three steps. It is asked for (viv_dev_ask_unplug): the guest is told, in the way of its bus. When the guest has
 * let go, or nobody asks it (a reset, a bus that needs no asking), viv_dev_unplug() takes it off its bus at once: a register write
 * may be the cause, so nothing is waited for. The loop thread frees it when its requests have ended, those that are on its buses
 * before it. */
#include "bus/dev.h"
#include "bus/vmevent.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>

#define LOOK_AGAIN_NS 2000000 /* at what leaves and is not idle */

static struct viv_timer *again;

/* ---- coming ---- */

static int check_class(const struct viv_dev_class *c, struct viv_err *err)
{
    const char *bus = c->bus == VIV_BUS_ISA ? "isa.0" : c->bus == VIV_BUS_IDE ? "ide" : NULL;

    if (c->hotplug)
        return 0;
    if (c->internal)
        return viv_fail(err, EINVAL, "Parameter 'driver' expects a pluggable device type; '%s' is a part of the machine", c->name);
    if (bus)
        return viv_fail(err, ENOTSUP, "Bus '%s' does not support hotplugging; give the machine its '%s' at its start", bus, c->name);
    return viv_fail(err, ENOTSUP, "Parameter 'driver' expects a pluggable device type; give the machine its '%s' at its start", c->name);
}

int viv_dev_plug(struct viv_board *board, const char *cls, const char *id, struct viv_opts *opts, struct viv_err *err)
{
    const struct viv_dev_class *c = viv_dev_class_find(cls);
    struct viv_dev *d;
    int rc = c ? check_class(c, err) : 0;

    if (rc == 0 && id && !viv_is_id(id))
        rc = viv_fail(err, EINVAL, "Parameter 'id' expects an identifier: " VIV_ID_FORM);
    if (rc == 0 && id && viv_dev_find(id))
        rc = viv_fail(err, EEXIST, "Duplicate device ID '%s'", id);
    if (rc == 0 && c && c->hotplug->check)
        rc = c->hotplug->check(board, opts, err);
    if (rc == 0)
        rc = viv_dev_new(board, cls, id, NULL, opts, &d, err);
    if (rc == 0 && c->hotplug->plugged)
        c->hotplug->plugged(d);
    return rc;
}

/* ---- going ---- */

int viv_dev_ask_unplug(struct viv_dev *d, struct viv_err *err)
{
    int rc;

    if (!d->cls->hotplug)
        return viv_fail(err, ENOTSUP, "Device '%s' does not support hotplugging: it stays as long as the machine", d->cls->name);
    if (d->life == VIV_DEV_LEAVING)
        return 0;
    rc = d->cls->hotplug->ask ? d->cls->hotplug->ask(d, err) : 1;
    if (rc < 0)
        return rc;
    d->life = VIV_DEV_ASKED;
    d->asked_ns = viv_clock_ns(VIV_CLOCK_GUEST);
    if (rc)
        viv_dev_unplug(d);
    return 0;
}

void viv_dev_set_asked(struct viv_dev *d, bool asked)
{
    if (d->life != VIV_DEV_LEAVING)
        d->life = asked ? VIV_DEV_ASKED : VIV_DEV_THERE;
    d->asked_ns = viv_clock_ns(VIV_CLOCK_GUEST);
}

char *viv_dev_object_path(const struct viv_dev *d)
{
    return d->id ? g_strdup_printf("/machine/peripheral/%s", d->id) : g_strdup_printf("/machine/unattached/%s", d->path);
}

static json_t *name_of(const struct viv_dev *d)
{
    g_autofree char *path = viv_dev_object_path(d);
    json_t *data = json_pack("{s:s}", "path", path);

    if (d->id)
        json_object_set_new(data, "device", json_string(d->id));
    return data;
}

void viv_dev_unplug_refused(struct viv_dev *d)
{
    if (d->life != VIV_DEV_ASKED)
        return;
    d->life = VIV_DEV_THERE;
    viv_vm_event_json("DEVICE_UNPLUG_GUEST_ERROR", name_of(d));
}

static void reap(void *unused);

static void take_off(struct viv_dev *d)
{
    for (struct viv_dev *c = viv_dev_first(); c; c = c->next) {
        if (c->parent == d && c->life != VIV_DEV_LEAVING)
            take_off(c);
    }
    d->life = VIV_DEV_LEAVING;
    if (d->cls->vm_running)
        d->cls->vm_running(d, false); /* as in a machine that stops: it begins nothing new */
    if (d->cls->hotplug)
        d->cls->hotplug->unplug(d);
}

void viv_dev_unplug(struct viv_dev *d)
{
    VIV_ASSERT_DEV_LOCKED();
    if (d->life == VIV_DEV_LEAVING)
        return;
    take_off(d);
    viv_loop_call(reap, NULL);
}

void viv_dev_unplug_asked(void)
{
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next) {
        if (d->life == VIV_DEV_ASKED)
            viv_dev_unplug(d);
    }
}

static bool has_children(const struct viv_dev *d)
{
    struct viv_dev *c = viv_dev_first();

    while (c && c->parent != d)
        c = c->next;
    return c != NULL;
}

/* The next one that nothing holds. */
static struct viv_dev *free_to_go(bool *waits)
{
    struct viv_dev *d = viv_dev_first();

    *waits = false;
    for (; d; d = d->next) {
        if (d->life != VIV_DEV_LEAVING)
            continue;
        if (!d->refs && !has_children(d) && (!d->cls->idle || d->cls->idle(d)))
            return d;
        *waits = true;
    }
    return NULL;
}

bool viv_dev_reap(void)
{
    struct viv_dev *d;
    bool waits;

    while ((d = free_to_go(&waits))) {
        json_t *name = name_of(d);

        viv_dev_free(d);
        viv_vm_event_json("DEVICE_DELETED", name);
    }
    return !waits;
}

static void reap(void *unused)
{
    if (viv_dev_reap())
        return;
    if (!again)
        again = viv_timer_new(VIV_CLOCK_HOST, reap, NULL);
    viv_timer_set(again, viv_clock_ns(VIV_CLOCK_HOST) + LOOK_AGAIN_NS);
}
