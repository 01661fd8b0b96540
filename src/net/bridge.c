/* `-netdev bridge`: a TAP interface on a bridge of the host, made by a helper that has the privilege this takes. */
#include "net/tap.h"

#include <glib.h>

static const struct viv_opt_def bridge_opts[] = {
    {.name = "br", .type = VIV_OPT_STR, .def = "br0", .help = "the bridge"},
    {.name = "helper", .type = VIV_OPT_STR, .help = "program that makes the interface (viv-bridge-helper)"},
    VIV_OPT_END,
};

static int bridge_create(struct viv_netdev *n, struct viv_opts *o, struct viv_err *err)
{
    struct tap_net *t = (struct tap_net *)n;
    const char *br = viv_opts_str(o, "br"), *helper = viv_opts_str(o, "helper");
    int fd = tap_from_helper(helper, br, err), rc = fd < 0 ? fd : tap_adopt(t, fd, err);

    if (rc < 0)
        viv_err_prefix(err, "%s", viv_opts_what(o));
    else
        t->how = g_strdup_printf("br=%s%s%s", br, helper ? ",helper=" : "", helper ? helper : "");
    return rc;
}

const struct viv_netdev_type viv_netdev_bridge = {
    .name = "bridge",
    .desc = "a bridge of the host, through a helper with the privilege for it",
    .opts = bridge_opts,
    .size = sizeof(struct tap_net),
    .create = bridge_create,
    .destroy = tap_destroy,
    .attached = tap_attached,
    .detached = tap_detached,
    .send = tap_send,
    .rx_changed = tap_rx_changed,
    .can_receive_changed = tap_can_receive_changed,
    .describe = tap_describe,
};
