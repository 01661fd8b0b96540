/* -sandbox, -runas, -chroot: what the machine's process gives up once the machine is made. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "block/prepare.h"
#include "host/broker.h"
#include "host/loop.h"
#include "host/sandbox.h"
#include "machine/vm.h"
#include "net/net.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static const char *const allow_values[] = {"allow", "deny", NULL};
static const char *const elevate_values[] = {"allow", "deny", "children", NULL};

/* The words and what is without them are QEMU's. */
const struct viv_opt_def vm_sandbox_opts[] = {
    {.name = "enable", .type = VIV_OPT_BOOL, .def = "on", .help = "confine this process once the machine is made"},
    {.name = "obsolete", .type = VIV_OPT_ENUM, .values = allow_values, .def = "deny", .help = "obsolete system calls"},
    {.name = "elevateprivileges", .type = VIV_OPT_ENUM, .values = elevate_values, .def = "allow",
     .help = "helpers that are set-uid may have more rights than this process"},
    {.name = "spawn", .type = VIV_OPT_ENUM, .values = allow_values, .def = "allow", .help = "helpers (bridge helper, tap's scripts)"},
    {.name = "resourcecontrol", .type = VIV_OPT_ENUM, .values = allow_values, .def = "allow", .help = "processor affinity and priorities"},
    VIV_OPT_END,
};

static bool is_allowed(struct viv_opts *o, const char *name)
{
    return !strcmp(viv_opts_str(o, name), "allow");
}

/* Sanitizers open files, start programs and trace at times of their own choice: their builds are confined by -sandbox on alone. */
static bool is_instrumented(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

void vm_sandbox_defaults(struct vm_args *a)
{
    a->sandbox = (struct viv_sandbox){.on = !is_instrumented(), .optional = true, .elevateprivileges = true, .spawn = true, .resourcecontrol = true};
}

int vm_sandbox_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    static const char *const details[] = {"obsolete", "elevateprivileges", "spawn", "resourcecontrol"};
    struct viv_opts *o;
    int rc = viv_opts_parse(option, vm_sandbox_opts, "enable", text, &o, err);

    if (rc < 0)
        return rc;
    a->sandbox.on = viv_opts_bool(o, "enable");
    a->sandbox.optional = false;
    a->sandbox.obsolete = is_allowed(o, "obsolete");
    /* "children": this process may, what it starts may not. It has no use for it once the user of -runas is set. */
    a->sandbox.elevateprivileges = is_allowed(o, "elevateprivileges");
    a->sandbox.spawn = is_allowed(o, "spawn");
    a->sandbox.resourcecontrol = is_allowed(o, "resourcecontrol");
    for (size_t i = 0; i < G_N_ELEMENTS(details) && !a->sandbox.on && !rc; i++) {
        if (viv_opts_given(o, details[i]))
            rc = viv_fail(err, EINVAL, "-sandbox off: %s= says how much is allowed, and goes with on", details[i]);
    }
    viv_opts_free(o);
    return rc;
}

int vm_sandbox_start(struct vm_args *a, struct viv_err *err)
{
    return viv_sandbox_start(&a->sandbox, err);
}

/* Without it no file could be opened any more, and nobody would know why. */
static void on_broker_gone(void *opaque, int fd, short revents)
{
    static bool told;

    if (!told)
        viv_error("the process that opens files for the sandbox (viv-broker) was ended: the machine stops");
    told = true;
    viv_watch_free(*(struct viv_watch **)opaque);
    viv_vm_quit(1, "host-error");
}

int vm_sandbox_seal(const struct vm_args *a, struct viv_err *err)
{
    static struct viv_watch *watch;
    int rc;

    if (a->sandbox.on) {
        viv_net_note_programs();
        viv_ring_prepare();
        if (a->incoming && g_str_has_prefix(a->incoming, "file:"))
            viv_broker_note_file(a->incoming + strlen("file:"));
        watch = viv_watch_new(viv_broker_fd(), 0, on_broker_gone, &watch);
    }
    rc = viv_sandbox_seal(fileno(viv_log_file()), err);
    if (rc > 0) {
        viv_warn("%s", err->text);
        viv_err_clear(err);
    }
    return rc < 0 ? rc : 0;
}
