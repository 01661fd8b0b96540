/* Network back ends and cards from what the command line said: -netdev, -nic, -net. */
#include "cmd/vm_args.h"

#include "bus/dev.h"
#include "net/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Of -nic and -net, which need not give an id. */
static int add_back_end(struct viv_raw_opts *r, struct viv_netdev **out, struct viv_err *err)
{
    static unsigned count;

    if (!viv_raw_get(r, "id")) {
        g_autofree char *id = g_strdup_printf("nic%u", count++);

        viv_raw_set(r, "id", id);
    }
    return viv_netdev_new(r, out, err);
}

/* `netdev` NULL: a card without a cable. */
static int add_card(struct vm_args *a, const char *model, const char *netdev, const char *props, struct viv_err *err)
{
    const char *cls = model ? model : a->cfg.cls->default_nic;
    g_autofree char *text = NULL;

    if (cls && !strcmp(cls, "e1000-82540em"))
        cls = "e1000";
    /* "virtio" is what -nic and -net call the virtio card. */
    if (!cls || !strcmp(cls, "virtio") || !strcmp(cls, "virtio-net"))
        cls = vm_has_pci(a) ? "virtio-net-pci" : "virtio-net-device";
    text = g_strdup_printf("%s%s%s%s", cls, netdev ? ",netdev=" : "", netdev ? netdev : "", props);
    return vm_make_device(a, text, err);
}

/* Card properties out of `r`, as the tail of a -device text. */
static char *take_card(struct viv_raw_opts *r)
{
    g_autofree char *mac = viv_raw_take(r, "mac"), *macaddr = viv_raw_take(r, "macaddr");
    g_autofree char *addr = viv_raw_take(r, "addr");

    if (!mac)
        mac = g_steal_pointer(&macaddr);
    return g_strdup_printf("%s%s%s%s", mac ? ",mac=" : "", mac ? mac : "", addr ? ",addr=" : "",
                           addr ? addr : "");
}

static int one_nic(struct vm_args *a, const char *text, struct viv_err *err)
{
    g_autofree char *model = NULL, *card = NULL;
    struct viv_raw_opts *r;
    struct viv_netdev *n;
    int rc = viv_raw_parse("-nic", "type", text, &r, err);

    if (rc < 0)
        return rc;
    if (!viv_raw_get(r, "type")) /* as in QEMU */
        viv_raw_set(r, "type", "user");
    if (strcmp(viv_raw_get(r, "type"), "none")) {
        model = viv_raw_take(r, "model");
        card = take_card(r);
        rc = add_back_end(r, &n, err);
        if (!rc)
            rc = add_card(a, model, viv_netdev_id(n), card, err);
    }
    viv_raw_free(r);
    return rc;
}

static int one_netdev(const char *text, struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc = viv_raw_parse("-netdev", "type", text, &r, err);

    if (rc < 0)
        return rc;
    rc = viv_netdev_new(r, NULL, err);
    viv_raw_free(r);
    return rc;
}

/* A -net nic: with its own netdev=, else with the next of the back ends of -net, else without a cable, which
 * the card tells. */
static int old_card(struct vm_args *a, struct viv_raw_opts *card, GPtrArray *backs, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(card, "type"), *model = viv_raw_take(card, "model");
    g_autofree char *netdev = viv_raw_take(card, "netdev"), *props = take_card(card);
    const char *key, *value;

    if (viv_raw_count(card)) {
        viv_raw_at(card, 0, &key, &value);
        return viv_fail(err, EINVAL, "-net nic: unknown option '%.60s'; it takes model, macaddr, addr, netdev", key);
    }
    if (!netdev && backs->len)
        netdev = g_strdup(viv_netdev_id(g_ptr_array_steal_index(backs, 0)));
    return add_card(a, model, netdev, props, err);
}

/* What old texts say, and nobody takes any more. */
static int check_old(const struct viv_raw_opts *r, struct viv_err *err)
{
    if (viv_raw_get(r, "vlan"))
        return viv_fail(err, EINVAL, "-net: vlan= is gone, from QEMU too: leave it out; the first -net nic goes with the first of the other -net, "
                        "the second with the second");
    if (!g_strcmp0(viv_raw_get(r, "type"), "dump"))
        return viv_fail(err, EINVAL, "-net dump is gone, from QEMU too: -object filter-dump,id=d,netdev=nic0,file=F writes the frames of the first -net user or tap");
    return 0;
}

/* -net nic and -net user: the n-th card is for the n-th back end. */
static int old_nets(struct vm_args *a, struct viv_err *err)
{
    g_autoptr(GPtrArray) cards = g_ptr_array_new_with_free_func((GDestroyNotify)viv_raw_free);
    g_autoptr(GPtrArray) backs = g_ptr_array_new(); /* of struct viv_netdev */
    int rc = 0;

    FOR_ITEMS(a->nets, it) {
        struct viv_raw_opts *r;
        struct viv_netdev *n;

        if (rc || strcmp(it->option, "-net") || !strcmp(it->text, "none"))
            continue;
        rc = viv_raw_parse("-net", "type", it->text, &r, err);
        if (rc)
            continue;
        rc = check_old(r, err);
        if (rc < 0) {
            viv_raw_free(r);
            continue;
        }
        if (!g_strcmp0(viv_raw_get(r, "type"), "nic")) {
            g_ptr_array_add(cards, r);
            continue;
        }
        rc = add_back_end(r, &n, err);
        viv_raw_free(r);
        if (!rc)
            g_ptr_array_add(backs, n);
    }
    for (guint i = 0; i < cards->len && !rc; i++)
        rc = old_card(a, g_ptr_array_index(cards, i), backs, err);
    return rc;
}

int vm_make_nets(struct vm_args *a, struct viv_err *err)
{
    int rc = 0;

    FOR_ITEMS(a->nets, it) {
        if (!rc && !strcmp(it->option, "-nic"))
            rc = one_nic(a, it->text, err);
        else if (!rc && !strcmp(it->option, "-netdev"))
            rc = one_netdev(it->text, err);
    }
    if (!rc)
        rc = old_nets(a, err);
    /* A machine without a word about networks has a card on user networking, as in QEMU. */
    if (!rc && !a->given_net && !a->nodefaults && a->cfg.cls->default_nic && vm_has_pci(a))
        rc = one_nic(a, "user", err);
    return rc;
}

static bool is_card(const struct viv_dev_class *c)
{
    for (const struct viv_opt_def *d = c->props; d && d->name; d++) {
        if (!strcmp(d->name, "netdev"))
            return !c->internal;
    }
    return false;
}

bool vm_nic_help_asked(const char *option, const struct viv_raw_opts *r)
{
    bool nic = !strcmp(option, "-nic") || !strcmp(option, "-net");
    const char *model = nic ? viv_raw_get(r, "model") : NULL;

    return model && (!strcmp(model, "help") || !strcmp(model, "?"));
}

bool vm_nic_help(const char *option, const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    bool asked;

    if (viv_raw_parse(option, "type", text, &r, &err) < 0) { /* told when it is made */
        viv_err_clear(&err);
        return false;
    }
    asked = vm_nic_help_asked(option, r);
    viv_raw_free(r);
    if (!asked)
        return false;
    printf("Available NIC models:\nvirtio\n");
    for (const struct viv_dev_class *const *c = viv_dev_classes(); *c; c++) {
        if (is_card(*c))
            printf("%s\n", (*c)->name);
    }
    return true;
}
