#include "dev/net/nic.h"

#include "base/log.h"
#include "bus/bootorder.h"

#include <errno.h>
#include <glib.h>

int nic_take_backend(struct viv_opts *opts, const struct viv_nic_ops *ops, void *nic, struct viv_netdev **out,
                     struct viv_err *err)
{
    const char *id = viv_opts_str(opts, "netdev");
    int rc;

    *out = NULL;
    if (!id) {
        viv_warn("%s: no netdev= given: the network card has no cable", viv_opts_what(opts));
        return 0;
    }
    *out = viv_netdev_find(id);
    if (!*out)
        return viv_fail(err, ENOENT, "%s: there is no back end '%s'; make it with -netdev user,id=%s", viv_opts_what(opts), id,
                        id);
    rc = viv_netdev_attach(*out, ops, nic, err);
    if (rc < 0)
        *out = NULL;
    return rc;
}

enum { SAVED_NONE, SAVED_UNNAMED /* by older programs */, SAVED_NAMED };

void nic_save_backend(struct viv_state_writer *w, struct viv_netdev *n)
{
    viv_state_put_u32(w, n ? SAVED_NAMED : SAVED_NONE);
    if (n)
        viv_netdev_save(n, w);
}

int nic_load_backend(struct viv_state_reader *r, struct viv_netdev *n, struct viv_err *err)
{
    uint32_t there;
    int rc = viv_state_get_u32(r, &there, err);

    if (!rc && there > SAVED_NAMED)
        rc = viv_fail(err, EINVAL, "the saved network card has a back end of an unknown kind");
    if (!rc && !!there != !!n)
        rc = viv_fail(err, EINVAL, "the saved network card has %s, this one %s", there ? "a back end" : "none",
                      there ? "none" : "one");
    return rc || !there ? rc : viv_netdev_load(n, r, there == SAVED_NAMED, err);
}

static void save_netdev(struct viv_state_writer *w, const void *obj)
{
    nic_save_backend(w, ((const struct nic *)obj)->netdev);
}

static int load_netdev(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    return nic_load_backend(r, ((struct nic *)obj)->netdev, err);
}

static const struct viv_field fields[] = {
    VIV_F_CUSTOM(nic, netdev, save_netdev, load_netdev),
    VIV_F_CONFIG(nic, mac),
    VIV_F_CONFIG(nic, fw_path),
    VIV_F_END,
};

const struct viv_state_table nic_state = {
    .name = "nic",
    .ctype = "nic",
    .version = 1,
    .min_version = 1,
    .fields = fields,
};

static int add_boot(struct nic *n, struct viv_pci_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    g_autofree char *at = NULL;

    if (!viv_opts_given(opts, "bootindex"))
        return 0;
    at = viv_pci_fw_path(d, "ethernet");
    n->fw_path = g_strconcat(at, "/ethernet-phy@0", NULL);
    if (viv_bootorder_add(&d->dev, viv_opts_int(opts, "bootindex"), n->fw_path, err) == 0)
        return 0;
    g_clear_pointer(&n->fw_path, g_free);
    viv_err_prefix(err, "%s", viv_opts_what(opts));
    return -EBUSY;
}

int nic_init(struct nic *n, struct viv_pci_dev *d, struct viv_opts *opts, const struct viv_nic_ops *ops, struct viv_err *err)
{
    int rc = viv_net_mac(viv_opts_str(opts, "mac"), d->dev.board->vm_identity, n->mac, err);

    if (rc < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(opts));
        return rc;
    }
    rc = nic_take_backend(opts, ops, d, &n->netdev, err);
    viv_nic_add(ops, d);
    if (!rc)
        rc = add_boot(n, d, opts, err);
    if (rc < 0)
        nic_fini(n, d);
    return rc;
}

void nic_fini(struct nic *n, struct viv_pci_dev *d)
{
    viv_nic_remove(d);
    if (n->netdev)
        viv_netdev_detach(n->netdev);
    n->netdev = NULL;
    if (n->fw_path)
        viv_bootorder_remove(&d->dev);
    g_clear_pointer(&n->fw_path, g_free);
    viv_net_mac_release(n->mac);
}
