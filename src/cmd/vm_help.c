/* "-X help": what an option takes, from the tables that parse it. */
#include "cmd/vm_args.h"

#include "opt/object.h"

#include "accel/accel.h"
#include "block/options.h"
#include "chr/chr.h"
#include "cpu/x86/cpuid.h"
#include "machine/bios.h"
#include "machine/device_add.h"
#include "machine/vm.h"
#include "mon/schema.h"
#include "net/net.h"
#include "ui/vnc/vnc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool machine_help(const char *name)
{
    const struct viv_machine_class *cls = name ? viv_machine_find(name) : NULL;

    if (name && !cls)
        cls = viv_machine_of_version(name);
    if (cls)
        viv_opts_print_help(name, cls->props, stdout);
    if (name)
        return cls != NULL;
    printf("Supported machines are:\n");
    for (const struct viv_machine_class *const *m = viv_machines(); *m; m++) {
        printf("%-20s %s%s\n", (*m)->name, (*m)->desc, m == viv_machines() ? " (default)" : "");
        for (const char *const *alias = (*m)->aliases; alias && *alias; alias++)
            printf("%-20s %s (alias of %s)\n", *alias, (*m)->desc, (*m)->name);
    }
    return true;
}

/* All models take the same features. */
static bool cpu_help(const char *model)
{
    viv_cpuid_help(stdout);
    return true;
}

/* What a drive has, then what images have; "driver=qcow2,help": of that one. */
static bool drive_help(const char *driver)
{
    if (!driver)
        viv_opts_print_help("-drive", viv_drive_opts, stdout);
    return viv_node_print_help(driver);
}

static bool monitor_help(const char *name)
{
    GString *text = g_string_new(NULL);

    vm_use_monitor();
    viv_schema_manual(text);
    fputs(text->str, stdout);
    g_string_free(text, TRUE);
    return true;
}

static bool device_help(const char *name)
{
    return viv_device_help(name, false, stdout);
}

static bool object_help(const char *type)
{
    return viv_object_help(type, stdout);
}

static bool netdev_help(const char *type)
{
    return viv_netdev_help(type, stdout);
}

static bool chardev_help(const char *backend)
{
    return viv_chr_help(backend, stdout);
}

/* One of `print` and `schema`. */
static const struct {
    const char *option, *implied;
    bool (*print)(const char *name); /* "X,help": X; NULL: "help" alone. False: there is no X. */
    const struct viv_opt_def *schema;
} topics[] = {
    {"-machine", "type", machine_help},
    {"-M", "type", machine_help},
    {"-cpu", "model", cpu_help},
    {"-accel", "accel", viv_accel_help},
    {"-device", "driver", device_help},
    {"-object", "qom-type", object_help},
    {"-netdev", "type", netdev_help},
    {"-nic", "type", netdev_help},
    {"-net", "type", netdev_help},
    {"-chardev", "backend", chardev_help},
    {"-drive", "driver", drive_help},
    {"-blockdev", "driver", viv_node_print_help},
    {"-fsdev", "fsdriver", vm_fsdev_help},
    {"-virtfs", "fsdriver", vm_fsdev_help},
    {"-smp", "cpus", NULL, vm_smp_opts},
    {"-rtc", "base", NULL, vm_rtc_opts},
    {"-boot", "order", NULL, viv_boot_opts},
    {"-fw_cfg", "name", NULL, viv_fw_cfg_opts},
    {"-name", "guest", NULL, vm_name_opts},
    {"-action", "help", NULL, viv_vm_action_opts},
    {"-mon", "chardev", NULL, vm_mon_opts},
    {"-monitor", "help", monitor_help},
    {"-vnc", "vnc", NULL, viv_vnc_opts},
    {"-msg", "timestamp", NULL, vm_msg_opts},
    {"-overcommit", "help", NULL, vm_overcommit_opts},
    {"-add-fd", "help", NULL, vm_add_fd_opts},
};

const struct viv_opt_def *vm_option_table(unsigned i, const char **name)
{
    for (size_t k = 0; k < G_N_ELEMENTS(topics); k++) {
        if (topics[k].schema && i-- == 0) {
            *name = topics[k].option + 1;
            return topics[k].schema;
        }
    }
    return NULL;
}

const char *vm_help_about(const char *option)
{
    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        if (!strcmp(topics[i].option, option))
            return topics[i].implied;
    }
    return NULL;
}

/* The X of "-device X,help" and of "-device driver=X,help"; NULL: help alone. */
static char *asked_about(const char *option, const char *implied, const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    const char *name;
    char *copy;

    if (viv_raw_parse(option, implied, text, &r, &err) < 0)
        return NULL;
    name = viv_raw_get(r, implied);
    copy = name && strcmp(name, "help") && strcmp(name, "?") ? g_strdup(name) : NULL;
    viv_raw_free(r);
    return copy;
}

/* -drive format=help */
static bool asks_for_formats(const struct vm_args *a)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    const char *format;
    bool asked;

    if (strcmp(a->help_about, "-drive") || viv_raw_parse("-drive", "file", a->help_text, &r, &err) < 0)
        return false;
    format = viv_raw_get(r, "format");
    asked = format && (!strcmp(format, "help") || !strcmp(format, "?"));
    viv_raw_free(r);
    return asked;
}

int vm_help_print(const struct vm_args *a, struct viv_err *err)
{
    if (asks_for_formats(a)) {
        viv_blk_print_drivers();
        return 0;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        g_autofree char *name = NULL;

        if (strcmp(topics[i].option, a->help_about))
            continue;
        name = asked_about(a->help_about, topics[i].implied, a->help_text);
        if (!topics[i].print)
            viv_opts_print_help(a->help_about, topics[i].schema, stdout);
        else if (!topics[i].print(name))
            return viv_fail(err, EINVAL, "%s: there is no '%.100s' to give help about; '%s help' lists what there is",
                            a->help_about, name, a->help_about);
    }
    return 0;
}
