/* Commands of those who look into a guest. */
#include "mon/gdb/gdb.h"
#include "mon/mon_int.h"

#include "base/log.h"
#include "host/open.h"
#include "machine/bios.h"

#include <fcntl.h>
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

static const struct viv_opt_def log_args[] = {
    {.name = "items", .type = VIV_OPT_STR, .required = true, .help = "names as of -d, with commas; none"},
    VIV_OPT_END,
};

COMMAND(log_items)
{
    return viv_mon_choice_list(viv_opts_str(o, "items"), viv_log_help, result) ? 0 : viv_log_set(viv_opts_str(o, "items"), err);
}

static const struct viv_opt_def logfile_args[] = {
    {.name = "filename", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(logfile)
{
    int fd = viv_open(viv_opts_str(o, "filename"), O_WRONLY | O_CREAT | O_TRUNC, 0666, err);

    return fd < 0 ? fd : viv_log_switch(fd, err);
}

static const struct viv_opt_def boot_args[] = {
    {.name = "bootdevice", .type = VIV_OPT_STR, .required = true, .help = "letters as of -boot: a, c, d, n"},
    VIV_OPT_END,
};

COMMAND(boot_set)
{
    const char *letters = viv_opts_str(o, "bootdevice");
    int rc = viv_bios_set_boot(letters, err);

    if (!rc)
        *result = json_sprintf("boot device list now set to %s\n", letters);
    return rc;
}

const struct viv_mon_cmd viv_mon_debug[] = {
    {"log", NULL, "items", log_args, "log these (names as of -d, with commas) and no others; 'none'", log_items},
    {"logfile", NULL, "filename:file", logfile_args, "write the log (-d) to this file from now on", logfile},
    {"boot_set", NULL, "bootdevice", boot_args, "what firmware tries first, from the next reset on: letters as of -boot", boot_set},
    {"gdbserver", NULL, "[device]", gdbserver_args, "start a gdb server (default: tcp::1234), or end it with 'none'", gdbserver},
    {0},
};
