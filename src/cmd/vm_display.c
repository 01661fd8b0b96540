/* -vnc and -display: who shows the screens that devices have made. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "ui/console.h"
#include "ui/keymap.h"
#include "ui/vnc/vnc.h"

#include <errno.h>
#include <jansson.h>

/* -k is checked even where nobody uses it. */
static int check_layout(const char *layout, struct viv_err *err)
{
    struct viv_keymap *m;
    int rc = viv_keymap_load(layout, &m, err);

    if (!rc)
        viv_keymap_free(m);
    return rc;
}

static int serve(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(option, viv_vnc_opts, "vnc", text, &o, err);

    if (rc < 0)
        return rc;
    rc = viv_vnc_new(o, a->layout, a->cfg.name, err);
    viv_opts_free(o);
    return rc;
}

/* Nobody said where the screen goes, and there are no windows yet: to VNC viewers on this host. Without that the machine runs as
 * well. */
static void serve_by_default(struct vm_args *a)
{
    struct viv_err err = VIV_ERR_INIT;
    json_t *about;

    if (a->given_display || a->nodefaults || !viv_console_at(0))
        return;
    if (serve(a, "-vnc", "127.0.0.1:0,to=99", &err) < 0) {
        viv_warn("the screen cannot be seen: %s; -display none says that it need not", err.text);
        viv_err_clear(&err);
        return;
    }
    about = viv_vnc_query();
    viv_info("the screen is at 127.0.0.1:%s, for VNC viewers of this host (there are no windows yet)",
             json_string_value(json_object_get(about, "service")));
    json_decref(about);
}

int vm_make_displays(struct vm_args *a, struct viv_err *err)
{
    int rc = a->layout && !a->vncs ? check_layout(a->layout, err) : 0;

    FOR_ITEMS(a->vncs, it) {
        if (!rc)
            rc = serve(a, it->option, it->text, err);
    }
    if (!rc)
        serve_by_default(a);
    return rc;
}
