/* viv-vm's command line, taken apart: what was said, before anything is made of it. */
#ifndef VIV_CMD_VM_ARGS_H
#define VIV_CMD_VM_ARGS_H

#include "base/err.h"
#include "host/sandbox.h"
#include "machine/machine.h"
#include "machine/smbios.h"
#include "opt/opt.h"

#include <glib.h>

/* One -netdev, -nic, -device... with the option's name for errors. */
struct vm_item {
    const char *option; /* "-nic" */
    const char *text;
};

struct vm_args {
    struct viv_sandbox sandbox;
    bool snapshot; /* of every -drive that does not say otherwise */
    struct viv_machine_config cfg;
    const char *default_machine, *default_cpu;
    struct viv_raw_opts *machine; /* all -machine together, or NULL */
    const char *machine_version;  /* said instead of the machine's name, or NULL */
    struct viv_raw_opts *smp, *mem, *rtc, *boot;
    GPtrArray *option_roms, *fw_cfgs;
    GPtrArray *accels;         /* each -accel; ends with NULL once all is parsed */
    const char *default_accel; /* NULL: automatic */
    GArray *drives, *blockdevs, *nets, *devices, *chardevs, *serials, *parallels, *monitors, *mons, *objects,
        *globals, *usbdevices, *vncs, *add_fds; /* of struct vm_item */
    bool nodefaults, nographic, display_none, full_screen, no_quit, show_cursor, daemonize, paused, usb;
    GArray *fsdevs; /* of struct vm_item: -fsdev, -virtfs */
    GPtrArray *audiodevs; /* ids */
    const char *mem_path;
    bool mem_prealloc, mem_room; /* room: more can be added, -m said */
    int mem_lock; /* flags of mlockall(2), 0: is not locked */
    bool msg_timestamp, msg_guest_name;
    const char *pidfile, *incoming, *loadvm, *process_name;
    const char *gdb; /* -gdb, -s */
    const char *qtest, *qtest_log;
    const char *debugcon;
    struct viv_chr *debugcon_mux; /* shared with a monitor; or NULL */
    const char *vga; /* class of -vga, NULL: none */
    const char *layout; /* -k */
    const char *window; /* of -display sdl and the like, or the default; NULL: none */
    bool window_default; /* nobody asked for it */
    const char *window_options; /* of the default, or NULL */
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
bool vm_machine_off(const struct vm_args *a, const char *key); /* a BOOL of the machine's: it has it, and it is off */
void vm_config_warn(const struct vm_args *a); /* once drives are open: what was said and does nothing */
int vm_smp_parse(struct viv_raw_opts *r, struct viv_smp *out, struct viv_err *err);
int vm_mem_parse(struct viv_raw_opts *r, uint64_t *bytes, bool *room, struct viv_err *err);

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
/* vm_display.c: who shows the screens. First the choice: it says where serial port and monitor go. */
int vm_choose_display(struct vm_args *a, struct viv_err *err);
bool vm_has_screens(const struct vm_args *a); /* for text consoles to be shown on */
int vm_make_displays(struct vm_args *a, struct viv_err *err); /* once there are adapters */
bool vm_free_displays(void); /* false: the process must end by _exit() (viv_window_free) */
int vm_display_parse(struct vm_args *a, const char *text, struct viv_err *err); /* -display; 1: help was printed */
bool vm_expects_head(const struct vm_args *a); /* vm_devices.c: an adapter will be made */

/* vm_sandbox.c */
void vm_sandbox_defaults(struct vm_args *a);
int vm_sandbox_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err);
int vm_sandbox_start(struct vm_args *a, struct viv_err *err);      /* before threads */
int vm_sandbox_seal(const struct vm_args *a, struct viv_err *err); /* before the guest runs */

/* vm_nets.c: network back ends and the cards that -nic and -net stand for (device lock held). */
int vm_make_nets(struct vm_args *a, struct viv_err *err);
bool vm_nic_help(const char *option, const char *text); /* model=help: printed */
bool vm_nic_help_asked(const char *option, const struct viv_raw_opts *r); /* of cards, not of back ends */

/* vm_process.c: -msg, -overcommit, -audiodev. */
int vm_msg_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err);
int vm_overcommit_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err);
int vm_audiodev_parse(struct vm_args *a, const char *option, const char *text, struct viv_err *err);
int vm_audiodev_check(const struct vm_args *a, const char *option, const char *id, struct viv_err *err); /* was it made? */
int vm_process_start(const struct vm_args *a, struct viv_err *err); /* in the process that stays, before its memory is made */

/* vm_usb.c: the controllers of -usb, and after all -device what -usbdevice asks for (device lock held). */
int vm_make_usb(struct vm_args *a, struct viv_err *err);
int vm_make_usb_devices(struct vm_args *a, struct viv_err *err);

/* vm_share.c: folders of -fsdev and -virtfs, before devices are made. */
int vm_add_virtfs(struct vm_args *a, const char *text, struct viv_err *err); /* its device */
int vm_make_fsdevs(struct vm_args *a, struct viv_err *err);
bool vm_fsdev_help(const char *driver);

/* vm_readconfig.c: `take` gets each section, as an option (without '-') and what stands after it. */
int vm_readconfig(struct vm_args *a, const char *file, int (*take)(struct vm_args *, const char *, const char *, struct viv_err *),
                  struct viv_err *err);

/* vm_fds.c: before any file is opened. */
int vm_add_fds(struct vm_args *a, struct viv_err *err);

/* vm_objects.c */
/* Who needs an object says when it is made: disks (before vm_open_storage(); all that objects.c has), the machine's memory (before
 * vm_config_fill()), devices, or it is made after network back ends. */
enum vm_object_phase { VM_OBJECTS_DISKS, VM_OBJECTS_MEMORY, VM_OBJECTS_DEVICES, VM_OBJECTS_NETWORK };
void vm_objects_use(void); /* before any option is looked at */
int vm_make_objects(struct vm_args *a, enum vm_object_phase phase, struct viv_err *err);

/* vm_help.c: the implied key of an option that explains itself, NULL for others; prints a->help_about
 * (an error: it asks about something that is not there). */
const char *vm_help_about(const char *option);
int vm_help_print(const struct vm_args *a, struct viv_err *err);

/* The options of command line option i ("smp") that has always the same; NULL: there are no more. */
const struct viv_opt_def *vm_option_table(unsigned i, const char **name);

/* vm_monitor.c: the commands of this program's monitors. */
void vm_use_monitor(void);
/* vm_hung.c: ends the process, with status 1; device lock held. */
G_NORETURN void vm_leave_hung(void);

/* Schemas of options that are no device's, for help. */
extern const struct viv_opt_def vm_smp_opts[], vm_rtc_opts[], vm_name_opts[], vm_mon_opts[], vm_sandbox_opts[], vm_add_fd_opts[],
    vm_msg_opts[], vm_overcommit_opts[];

#endif
