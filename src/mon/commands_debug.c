/* Commands of those who look into a guest. */
#include "mon/gdb/gdb.h"
#include "mon/mon_int.h"

#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const struct viv_opt_def gdbserver_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .def = "tcp::1234", .help = "as for -gdb; none ends it"},
    VIV_OPT_END,
};

COMMAND(gdbserver)
{
    const char *dev = viv_opts_str(o, "device");
    int rc = viv_gdb_start(dev, err);

    if (!rc && strcmp(dev, "none")) {
        g_autofree char *text = g_strdup_printf("Waiting for gdb connection on device '%s'\n", dev);

        *result = json_string(text);
    }
    return rc;
}

const struct viv_mon_cmd viv_mon_debug[] = {
    {"gdbserver", NULL, "[device]", gdbserver_args, "start a gdb server (default: tcp::1234), or end it with 'none'", gdbserver},
    {0},
};
