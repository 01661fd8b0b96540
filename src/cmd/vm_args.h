/* viv-vm's command line, taken apart: what was said, before anything is made of it. */
#ifndef VIV_CMD_VM_ARGS_H
#define VIV_CMD_VM_ARGS_H

#include "base/err.h"
#include "machine/machine.h"
#include "opt/opt.h"

#include <glib.h>

/* One -netdev, -nic, -device... with the option's name for errors. */
struct vm_item {
    const char *option; /* "-nic" */
    const char *text;
};

struct vm_args {
    bool snapshot; /* of every -drive that does not say otherwise */
    struct viv_machine_config cfg;
    const char *default_machine, *default_cpu;
    struct viv_raw_opts *machine; /* all -machine together, or NULL */
    struct viv_raw_opts *smp, *mem, *rtc, *boot;
    GPtrArray *option_roms, *fw_cfgs;
    GPtrArray *accels;         /* each -accel; ends with NULL once all is parsed */
    const char *default_accel; /* NULL: automatic */
    GArray *drives, *blockdevs, *nets, *devices, *chardevs, *serials, *monitors, *mons, *objects,
        *globals, *usbdevices, *vncs; /* of struct vm_item */
    bool nodefaults, nographic, display_none, daemonize, paused, no_reboot, no_shutdown, usb;
    const char *pidfile, *incoming, *loadvm, *process_name;
    const char *gdb; /* -gdb, -s */
    const char *vga; /* class of -vga, NULL: none */
    const char *layout; /* -k */
    bool given_vga, given_net, given_serial, given_monitor, given_display;
    /* Printed once everything is known, instead of running: "-machine help" and the like. */
    const char *help_about; /* "-machine"; NULL: nothing */
    const char *help_text;
};

/* Parses argv into a (zeroed). Returns 0, a negative errno, or 1 when help was printed and the process is to
 * end well. */
int vm_args_parse(struct vm_args *a, int argc, char **argv, struct viv_err *err);

/* vm_config.c: fills a->cfg from what was parsed. */
int vm_config_fill(struct vm_args *a, struct viv_err *err);
void vm_config_warn(const struct vm_args *a); /* once drives are open: what was said and does nothing */
int vm_smp_parse(struct viv_raw_opts *r, struct viv_smp *out, struct viv_err *err);
int vm_mem_parse(struct viv_raw_opts *r, uint64_t *bytes, struct viv_err *err);

#define FOR_ITEMS(list, it)                                                                        \
    for (guint i_ = 0; (list) && i_ < (list)->len; i_++)                                           \
        for (const struct vm_item *it = &g_array_index(list, struct vm_item, i_); it; it = NULL)

/* vm_drives.c: drives and block nodes (no lock held), and the devices that drives stand for. */
int vm_open_storage(struct vm_args *a, struct viv_err *err);
bool vm_has_pci(const struct vm_args *a);
void vm_add_device(struct vm_args *a, const char *text); /* takes text, as after -device */

/* vm_devices.c: back ends and devices (device lock held). */
int vm_set_globals(struct vm_args *a, struct viv_err *err); /* before any device is made */
int vm_make_chardevs(struct vm_args *a, struct viv_err *err);
int vm_make_devices(struct vm_args *a, struct viv_err *err);
int vm_make_monitors(struct vm_args *a, struct viv_err *err);
int vm_make_device(struct vm_args *a, const char *text, struct viv_err *err); /* as after -device */
/* vm_display.c: VNC servers, once there are screens. */
int vm_make_displays(struct vm_args *a, struct viv_err *err);
bool vm_device_help(const char *name); /* NULL: all; false: there is no such device */

/* vm_usb.c: the controllers of -usb, and after all -device what -usbdevice asks for (device lock held). */
int vm_make_usb(struct vm_args *a, struct viv_err *err);
int vm_make_usb_devices(struct vm_args *a, struct viv_err *err);

/* vm_objects.c */
/* Who needs an object says when it is made: disks (before vm_open_storage()), devices, or it is made after network back ends. */
enum vm_object_phase { VM_OBJECTS_DISKS, VM_OBJECTS_DEVICES, VM_OBJECTS_NETWORK };
int vm_make_objects(struct vm_args *a, enum vm_object_phase phase, struct viv_err *err);
bool vm_object_help(const char *type); /* NULL: all; false: there is no such type */

/* vm_help.c: the implied key of an option that explains itself, NULL for others; prints a->help_about
 * (an error: it asks about something that is not there). */
const char *vm_help_about(const char *option);
int vm_help_print(const struct vm_args *a, struct viv_err *err);

/* Schemas of options that are no device's, for help. */
extern const struct viv_opt_def vm_smp_opts[], vm_rtc_opts[], vm_name_opts[], vm_action_opts[], vm_mon_opts[];

#endif
