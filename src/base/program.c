#include "base/program.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char *name = "viv";
static bool as_qemu;

static bool is_emulator(const char *base)
{
    return !strcmp(base, "kvm") || !strcmp(base, "qemu-kvm") || !strncmp(base, "qemu-system-", 12);
}

void viv_program_init(const char *argv0, const char *own_name)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *base = slash ? slash + 1 : argv0 ? argv0 : own_name;

    as_qemu = !strcmp(base, "kvm") || !strncmp(base, "qemu-", 5);
    name = as_qemu ? base : own_name;
    viv_log_set_program(name);
}

const char *viv_program_name(void)
{
    return name;
}

bool viv_program_as_qemu(void)
{
    return as_qemu;
}

int viv_program_print_version(void)
{
    if (!as_qemu)
        return printf("%s%s version " VIV_VERSION "\n", strcmp(name, "viv-vm") ? "" : "Vivarium ", name) < 0;
    return printf("%s%s %d.%d.%d (Vivarium " VIV_VERSION ")\n", is_emulator(name) ? "QEMU emulator" : name,
                  strcmp(name, "qemu-nbd") ? " version" : "", VIV_QEMU_MAJOR, VIV_QEMU_MINOR, VIV_QEMU_MICRO) < 0;
}
