/* "-X help": what an option takes, from the tables that parse it. */
#include "cmd/vm_args.h"

#include "accel/accel.h"
#include "block/options.h"
#include "chr/chr.h"
#include "cpu/x86/cpuid.h"
#include "net/net.h"

#include <stdio.h>
#include <string.h>

static void machine_help(const char *name)
{
    const struct viv_machine_class *cls = viv_machine_find(name);

    if (cls) {
        viv_opts_print_help(name, cls->props, stdout);
        return;
    }
    printf("Supported machines are:\n");
    for (const struct viv_machine_class *const *m = viv_machines(); *m; m++) {
        printf("%-20s %s%s\n", (*m)->name, (*m)->desc, m == viv_machines() ? " (default)" : "");
        for (const char *const *alias = (*m)->aliases; alias && *alias; alias++)
            printf("%-20s %s (alias of %s)\n", *alias, (*m)->desc, (*m)->name);
    }
}

static void cpu_help(const char *text)
{
    viv_cpuid_help(stdout);
}

static void accel_help(const char *text)
{
    viv_accel_help();
}

/* One of `print` and `schema`. */
static const struct {
    const char *option, *implied;
    void (*print)(const char *text); /* gets what stands before the first comma */
    const struct viv_opt_def *schema;
} topics[] = {
    {"-machine", "type", machine_help},
    {"-M", "type", machine_help},
    {"-cpu", "model", cpu_help},
    {"-accel", "accel", accel_help},
    {"-device", "driver", vm_device_help},
    {"-object", "qom-type", vm_object_help},
    {"-netdev", "type", viv_netdev_help},
    {"-nic", "type", viv_netdev_help},
    {"-net", "type", viv_netdev_help},
    {"-chardev", "backend", viv_chr_help},
    {"-drive", "help", NULL, viv_drive_opts},
    {"-blockdev", "driver", NULL, viv_blockdev_opts},
    {"-smp", "cpus", NULL, vm_smp_opts},
    {"-rtc", "base", NULL, vm_rtc_opts},
    {"-name", "guest", NULL, vm_name_opts},
    {"-action", "help", NULL, vm_action_opts},
    {"-mon", "chardev", NULL, vm_mon_opts},
};

const char *vm_help_about(const char *option)
{
    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        if (!strcmp(topics[i].option, option))
            return topics[i].implied;
    }
    return NULL;
}

void vm_help_print(const struct vm_args *a)
{
    g_autofree char *first = g_strndup(a->help_text, strcspn(a->help_text, ","));

    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        if (strcmp(topics[i].option, a->help_about))
            continue;
        if (topics[i].print)
            topics[i].print(first);
        else
            viv_opts_print_help(a->help_about, topics[i].schema, stdout);
    }
}
