/* -vnc and -display: who shows the screens that devices have made. */
#include "cmd/vm_args.h"

#include "ui/keymap.h"
#include "ui/vnc/vnc.h"

#include <errno.h>

/* -k is checked even where nobody uses it. */
static int check_layout(const char *layout, struct viv_err *err)
{
    struct viv_keymap *m;
    int rc = viv_keymap_load(layout, &m, err);

    if (!rc)
        viv_keymap_free(m);
    return rc;
}

int vm_make_displays(struct vm_args *a, struct viv_err *err)
{
    int rc = a->layout && !a->vncs ? check_layout(a->layout, err) : 0;

    FOR_ITEMS(a->vncs, it) {
        struct viv_opts *o;

        if (rc < 0)
            return rc;
        rc = viv_opts_parse(it->option, viv_vnc_opts, "vnc", it->text, &o, err);
        if (rc < 0)
            return rc;
        rc = viv_vnc_new(o, a->layout, a->cfg.name, err);
        viv_opts_free(o);
    }
    return rc;
}
