#include "machine/machine.h"

#include <glib.h>
#include <stddef.h>
#include <string.h>

extern const struct viv_machine_class viv_machine_pc;
extern const struct viv_machine_class viv_machine_q35;
extern const struct viv_machine_class viv_machine_microvm;
extern const struct viv_machine_class viv_machine_none;

static const struct viv_machine_class *const machines[] = {&viv_machine_pc, &viv_machine_q35, &viv_machine_microvm, &viv_machine_none, NULL};

const struct viv_machine_class *const *viv_machines(void)
{
    return machines;
}

/* "pc-q35-" begins a version, and "q35+" Proxmox's ("q35+pve0"); "ubuntu" is a whole name. */
static bool is_version(const char *word, const char *name)
{
    return strchr("-+", word[strlen(word) - 1]) ? g_str_has_prefix(name, word) && name[strlen(word)] : !strcmp(word, name);
}

const struct viv_machine_class *viv_machine_of_version(const char *name)
{
    for (size_t i = 0; machines[i]; i++) {
        for (const char *const *v = machines[i]->versions; v && *v; v++)
            if (is_version(*v, name))
                return machines[i];
    }
    return NULL;
}

const struct viv_machine_class *viv_machine_find(const char *name)
{
    for (size_t i = 0; machines[i]; i++) {
        if (!strcmp(machines[i]->name, name))
            return machines[i];
        for (const char *const *a = machines[i]->aliases; a && *a; a++)
            if (!strcmp(*a, name))
                return machines[i];
    }
    return NULL;
}
