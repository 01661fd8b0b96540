/* What the process is asked for: -msg, -overcommit, and the sound of -audiodev, of which there is none. */
#include "cmd/vm_args.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

const struct viv_opt_def vm_msg_opts[] = {
    {.name = "timestamp", .type = VIV_OPT_BOOL, .help = "messages begin with the time (UTC)"},
    {.name = "guest-name", .type = VIV_OPT_BOOL, .help = "and with the guest's name"},
    VIV_OPT_END,
};

int vm_msg_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(option, vm_msg_opts, "timestamp", text, &o, err);

    if (rc < 0)
        return rc;
    a->msg_timestamp = viv_opts_bool(o, "timestamp");
    a->msg_guest_name = viv_opts_bool(o, "guest-name");
    viv_opts_free(o);
    viv_log_stamp(a->msg_timestamp, NULL);
    return 0;
}

static const char *const lock_values[] = {"off", "on", "on-fault", NULL};
const struct viv_opt_def vm_overcommit_opts[] = {
    {.name = "mem-lock", .type = VIV_OPT_ENUM, .values = lock_values, .def = "off", .help = "the process is never swapped out (mlockall)"},
    {.name = "cpu-pm", .type = VIV_OPT_BOOL, .help = "off only: the host sees when the guest is idle"},
    VIV_OPT_END,
};

int vm_overcommit_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(option, vm_overcommit_opts, NULL, text, &o, err);

    if (rc < 0)
        return rc;
    a->mem_lock = strcmp(viv_opts_str(o, "mem-lock"), "off") ? MCL_CURRENT | MCL_FUTURE : 0;
    if (!strcmp(viv_opts_str(o, "mem-lock"), "on-fault"))
        a->mem_lock |= MCL_ONFAULT;
    if (viv_opts_bool(o, "cpu-pm"))
        viv_warn("-overcommit cpu-pm=on has no effect: an idle guest gives its CPU back to the host");
    viv_opts_free(o);
    return 0;
}

int vm_process_start(const struct vm_args *a, struct viv_err *err)
{
    viv_log_stamp(a->msg_timestamp, a->msg_guest_name ? a->cfg.name : NULL);
    if (a->mem_lock && mlockall(a->mem_lock) < 0)
        return viv_fail_os(err, errno, "-overcommit mem-lock: cannot lock memory (ulimit -l says how much may be)");
    return 0;
}

static const struct viv_opt_def audiodev_opts[] = {
    {.name = "driver", .type = VIV_OPT_STR, .required = true},
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

int vm_audiodev_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    struct viv_raw_opts *r;
    struct viv_opts *o = NULL;
    int rc = viv_raw_parse(option, "driver", text, &r, err);

    if (rc < 0)
        return rc;
    if (g_strcmp0(viv_raw_get(r, "driver"), "none"))
        rc = viv_fail(err, ENOTSUP, "-audiodev: there is no sound yet: leave it out, or say driver none (-audiodev none,id=ID)");
    else
        rc = viv_opts_from_raw(option, audiodev_opts, r, &o, err);
    if (!rc) {
        if (!a->audiodevs)
            a->audiodevs = g_ptr_array_new();
        g_ptr_array_add(a->audiodevs, g_strdup(viv_opts_str(o, "id")));
    }
    viv_opts_free(o);
    viv_raw_free(r);
    return rc;
}

int vm_audiodev_check(const struct vm_args *a, const char *option, const char *id, struct viv_err *err)
{
    for (guint i = 0; a->audiodevs && i < a->audiodevs->len; i++) {
        if (!strcmp(a->audiodevs->pdata[i], id))
            return 0;
    }
    return viv_fail(err, ENOENT, "%s audiodev=%.60s: there is no -audiodev with that id, and no sound yet; leave it out", option, id);
}
