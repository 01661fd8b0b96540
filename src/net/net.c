/* The registry of network back ends and what all of them share. */
#include "net/net_int.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

#define TYPE_NAME 16 /* in saved state */

static struct viv_netdev *devs; /* one VM a process; in creation order */

static const struct viv_netdev_type *const types[] = {
    &viv_netdev_user,
    &viv_netdev_tap,
    &viv_netdev_bridge,
    &viv_netdev_socket,
    NULL,
};

/* QEMU's other types: known, so that the refusal can say more than "unknown". */
static const struct {
    const char *name, *why;
} absent[] = {
    {"stream", "is not implemented yet"},
    {"dgram", "is not implemented yet"},
    {"l2tpv3", "is not implemented yet"},
    {"hubport", "is not implemented yet: each NIC has a back end of its own"},
    {"vde", "is not implemented"},
    {"netmap", "is not implemented"},
    {"af-xdp", "is not implemented"},
    {"passt", "is not implemented"},
    {"vhost-user", "is not implemented yet"},
    {"vhost-vdpa", "is not implemented yet"},
};

const struct viv_opt_def *viv_netdev_type_opts(unsigned i, const char **name)
{
    if (i >= G_N_ELEMENTS(types) || !types[i])
        return NULL;
    *name = types[i]->name;
    return types[i]->opts;
}

static int no_such_type(const char *name, struct viv_err *err)
{
    const char *names[G_N_ELEMENTS(types)], *near;
    unsigned n = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(absent); i++) {
        if (!strcmp(name, absent[i].name))
            return viv_fail(err, ENOTSUP,
                            "-netdev %s %s; `-netdev user` works without any set-up, with "
                            "hostfwd= for connections from the host",
                            name, absent[i].why);
    }
    for (; types[n]; n++)
        names[n] = types[n]->name;
    names[n] = NULL;
    near = viv_nearest(name, names);
    return viv_fail(err, EINVAL, "-netdev: there is no type '%s'%s%s%s; `-netdev help` lists them", name,
                    near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static const struct viv_netdev_type *find_type(const char *name)
{
    for (unsigned i = 0; types[i]; i++) {
        if (!strcmp(types[i]->name, name))
            return types[i];
    }
    return NULL;
}

static int make(const struct viv_netdev_type *t, const char *id, struct viv_raw_opts *raw,
                struct viv_netdev **out, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("-netdev %s", t->name);
    struct viv_opts *opts = NULL;
    struct viv_netdev *n;
    int rc = viv_opts_from_raw(what, t->opts, raw, &opts, err);

    if (rc < 0)
        return rc;
    n = g_malloc0(t->size);
    n->type = t;
    n->id = g_strdup(id);
    rc = t->create(n, opts, err);
    viv_opts_free(opts);
    if (rc < 0) {
        g_free(n->id);
        g_free(n);
        return rc;
    }
    *out = n;
    return 0;
}

int viv_netdev_new(struct viv_raw_opts *raw, struct viv_netdev **out, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(raw, "type"), *id = viv_raw_take(raw, "id");
    const struct viv_netdev_type *t;
    struct viv_netdev *n, **end = &devs;
    int rc;

    if (!type || !id)
        return viv_fail(err, EINVAL, "-netdev: %s is missing, as in `-netdev user,id=net0`",
                        type ? "id=" : "the type");
    if (!viv_is_id(id))
        return viv_fail(err, EINVAL, "-netdev: id='%.60s' is no identifier: " VIV_ID_FORM, id);
    t = find_type(type);
    if (!t)
        return no_such_type(type, err);
    if (viv_netdev_find(id))
        return viv_fail(err, EEXIST, "-netdev: there is a back end with the id '%s' already", id);
    rc = make(t, id, raw, &n, err);
    if (rc < 0)
        return rc;
    while (*end)
        end = &(*end)->next;
    *end = n;
    if (out)
        *out = n;
    return 0;
}

struct viv_netdev *viv_netdev_find(const char *id)
{
    struct viv_netdev *n = devs;

    while (n && strcmp(n->id, id))
        n = n->next;
    return n;
}

struct viv_netdev *viv_netdev_next(struct viv_netdev *n)
{
    return n ? n->next : devs;
}

const char *viv_netdev_id(const struct viv_netdev *n)
{
    return n->id;
}

const char *viv_netdev_type(const struct viv_netdev *n)
{
    return n->type->name;
}

bool viv_netdev_attached(const struct viv_netdev *n)
{
    return n->ops != NULL;
}

unsigned viv_netdev_tx_offloads(const struct viv_netdev *n)
{
    return n->tx_offloads;
}

unsigned viv_netdev_rx_offloads(const struct viv_netdev *n)
{
    return n->rx_offloads;
}

bool viv_netdev_rx_trusted(const struct viv_netdev *n)
{
    return n->rx_trusted;
}

unsigned viv_netdev_queues(const struct viv_netdev *n)
{
    return 1 + n->more_count;
}

struct viv_netdev *viv_netdev_queue(struct viv_netdev *n, unsigned i)
{
    return i ? n->more[i - 1] : n;
}

void viv_netdev_use_queues(struct viv_netdev *n, unsigned count)
{
    if (n->type->use_queues)
        n->type->use_queues(n, count);
}

/* Its NIC goes on without a cable. */
static void take_from_nic(struct viv_netdev *n)
{
    const struct viv_nic_ops *ops = n->ops;
    void *nic = n->nic;

    if (!ops)
        return;
    viv_netdev_detach(n);
    ops->link_changed(nic, false);
    ops->gone(nic);
}

void viv_netdev_free(struct viv_netdev *n)
{
    struct viv_netdev **at = &devs;

    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    for (unsigned i = viv_netdev_queues(n); i--;)
        take_from_nic(viv_netdev_queue(n, i));
    n->type->destroy(n);
    while (n->spies) {
        struct viv_net_spy *s = n->spies;

        n->spies = s->next;
        s->gone(s);
    }
    g_free(n->id);
    g_free(n);
}

void viv_netdev_free_all(void)
{
    while (devs)
        viv_netdev_free(devs);
}

bool viv_netdev_help(const char *type, FILE *to)
{
    for (unsigned i = 0; type && types[i]; i++) {
        if (!strcmp(types[i]->name, type)) {
            g_autofree char *what = g_strdup_printf("-netdev %s", type);

            viv_opts_print_help(what, types[i]->opts, to);
            return true;
        }
    }
    if (type)
        return false;
    fprintf(to, "Network back ends (-netdev TYPE,id=ID,...; `-netdev TYPE,help` lists options):\n");
    for (unsigned i = 0; types[i]; i++)
        fprintf(to, "  %-8s %s\n", types[i]->name, types[i]->desc);
    return true;
}

int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic,
                      struct viv_err *err)
{
    if (n->ops)
        return viv_fail(err, EBUSY, "back end '%s' has a NIC already; each needs one of its own", n->id);
    if (n->vhost && !ops->vhost)
        return viv_fail(err, ENOTSUP, "back end '%s' has vhost=on, which works with virtio-net cards only; leave it out, or take one (-nic tap,model=virtio,...)", n->id);
    n->ops = ops;
    n->nic = nic;
    n->type->attached(n);
    return 0;
}

void viv_netdev_detach(struct viv_netdev *n)
{
    viv_netdev_set_rx(n, 0);
    n->ops = NULL;
    n->nic = NULL;
    n->type->detached(n);
}

/* --- frames --- */

static void show(struct viv_netdev *n, bool to_host, const struct iovec *iov, int iovcnt)
{
    for (struct viv_net_spy *s = n->head ? n->head->spies : n->spies; s; s = s->next)
        s->frame(s, to_host, iov, iovcnt);
}

bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    if (n->link_down)
        return true;
    if (!n->type->send(n, hdr, iov, iovcnt))
        return false;
    if (n->spies || n->head)
        show(n, true, iov, iovcnt);
    return true;
}

bool viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt)
{
    return viv_netdev_send_hdr(n, NULL, iov, iovcnt);
}

bool viv_netdev_can_deliver(const struct viv_netdev *n)
{
    return n->ops && (n->link_down || n->ops->can_receive(n->nic));
}

bool viv_netdev_deliver(struct viv_netdev *n, const uint8_t *frame, size_t len, const struct viv_net_hdr *hdr)
{
    struct iovec iov = {(void *)frame, len};

    if (n->link_down)
        return true;
    if (!(hdr && n->ops->receive_hdr ? n->ops->receive_hdr(n->nic, frame, len, hdr)
                                     : n->ops->receive(n->nic, frame, len)))
        return false;
    if (n->spies || n->head)
        show(n, false, &iov, 1);
    return true;
}

void viv_netdev_deliver_done(struct viv_netdev *n)
{
    if (n->ops && n->ops->receive_done)
        n->ops->receive_done(n->nic);
}

struct viv_vhost *viv_netdev_vhost(struct viv_netdev *n)
{
    return n->vhost;
}

int viv_netdev_vhost_start(struct viv_netdev *n, uint64_t features, viv_vhost_fn fn, void *opaque, struct viv_err *err)
{
    return n->type->vhost_start(n, features, fn, opaque, err);
}

void viv_netdev_vhost_stop(struct viv_netdev *n)
{
    n->type->vhost_stop(n);
}

void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads)
{
    n->rx = n->ops && n->ops->receive_hdr ? offloads & n->rx_offloads : 0;
    if (n->type->rx_changed)
        n->type->rx_changed(n);
}

void viv_netdev_spy_add(struct viv_netdev *n, struct viv_net_spy *s)
{
    s->next = n->spies;
    n->spies = s;
}

void viv_netdev_spy_remove(struct viv_netdev *n, struct viv_net_spy *s)
{
    struct viv_net_spy **at = &n->spies;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

void viv_netdev_can_receive_changed(struct viv_netdev *n)
{
    n->type->can_receive_changed(n);
}

void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w)
{
    struct viv_state_writer *own = viv_state_writer_new();
    g_autofree uint8_t *bytes = NULL;
    char name[TYPE_NAME] = {0};
    size_t len;

    if (n->type->save)
        n->type->save(n, own);
    bytes = viv_state_writer_finish(own, &len);
    viv_state_writer_free(own);
    g_strlcpy(name, n->type->name, sizeof(name));
    viv_state_put(w, name, sizeof(name));
    viv_state_put_u32(w, bytes ? (uint32_t)len : 0);
    viv_state_put(w, bytes, bytes ? len : 0);
}

static int skip(struct viv_state_reader *r, uint32_t len, struct viv_err *err)
{
    uint8_t buf[4096];
    int rc = 0;

    for (uint32_t n; len && !rc; len -= n) {
        n = MIN(len, sizeof(buf));
        rc = viv_state_get(r, buf, n, err);
    }
    return rc;
}

int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, bool named, struct viv_err *err)
{
    char name[TYPE_NAME];
    uint32_t len;
    int rc;

    if (!named)
        return n->type->load ? n->type->load(n, r, err) : 0;
    rc = viv_state_get(r, name, sizeof(name), err);
    if (!rc)
        rc = viv_state_get_u32(r, &len, err);
    if (rc)
        return rc;
    name[sizeof(name) - 1] = '\0';
    if (strcmp(name, n->type->name))
        return skip(r, len, err);
    return n->type->load && len ? n->type->load(n, r, err) : skip(r, len, err);
}

static int hostfwd(struct viv_netdev *n, const char *rule, bool add, struct viv_err *err)
{
    if (!n->type->hostfwd)
        return viv_fail(err, ENOTSUP, "back end '%s' (%s) forwards no ports", n->id, n->type->name);
    return n->type->hostfwd(n, rule, add, err);
}

int viv_netdev_hostfwd_add(struct viv_netdev *n, const char *rule, struct viv_err *err)
{
    return hostfwd(n, rule, true, err);
}

int viv_netdev_hostfwd_remove(struct viv_netdev *n, const char *rule, struct viv_err *err)
{
    return hostfwd(n, rule, false, err);
}

char *viv_netdev_info(struct viv_netdev *n)
{
    return n->type->info ? n->type->info(n) : NULL;
}

char *viv_netdev_describe(struct viv_netdev *n)
{
    return n->type->describe ? n->type->describe(n) : NULL;
}

/* --- the cable --- */

bool viv_netdev_link_up(const struct viv_netdev *n)
{
    return !n->link_down;
}

void viv_netdev_restore_link(struct viv_netdev *n, bool up)
{
    for (unsigned i = 0; n && i < viv_netdev_queues(n); i++)
        viv_netdev_queue(n, i)->link_down = !up;
}

struct viv_netdev *viv_nic_backend(const struct viv_nic *n)
{
    struct viv_netdev *d = devs;

    while (d && d->nic != viv_nic_self(n))
        d = d->next;
    return d;
}

static void plug(struct viv_netdev *n, bool up)
{
    if (n->link_down == !up)
        return;
    for (unsigned i = 0; i < viv_netdev_queues(n); i++) {
        struct viv_netdev *q = viv_netdev_queue(n, i);

        q->link_down = !up;
        if (!q->ops)
            continue;
        q->ops->link_changed(q->nic, up);
        viv_netdev_can_receive_changed(q);
        if (q->ops->send_ready)
            q->ops->send_ready(q->nic);
    }
}

void viv_netdev_gone(struct viv_netdev *n)
{
    n->gone = true;
    plug(n, false);
}

int viv_netdev_set_link(const char *name, bool up, struct viv_err *err)
{
    struct viv_netdev *n = viv_netdev_find(name);
    struct viv_nic *nic = n ? NULL : viv_nic_find(name);

    if (nic)
        n = viv_nic_backend(nic);
    if (n && n->gone && up)
        return viv_fail(err, ENODEV, "what back end '%s' was connected to is gone; netdev_del takes it away, netdev_add brings another", n->id);
    if (n)
        plug(n, up);
    if (n || (nic && !up))
        return 0;
    return nic ? viv_fail(err, ENODEV, "network card '%s' has no back end (any more): there is no cable to plug in", name)
               : viv_fail(err, ENOENT, "there is no network card or back end '%s'; info network lists them", name);
}
