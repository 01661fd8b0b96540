/* The table of viv-vm's options, and the walk over argv.
 *
 * One row an option: its name, whether it takes an argument, what -help says, and what is done with it. An option of
 * QEMU's that does not work yet has a row too, with the reason: it is refused by name, never skipped. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "base/program.h"
#include "accel/accel.h"
#include "chr/chr.h"
#include "cpu/x86/cpuid.h"
#include "host/datadir.h"
#include "machine/device_add.h"
#include "machine/vm.h"
#include "net/net.h"
#include "ui/keymap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct option {
    const char *name;     /* without '-' */
    const char *arg;      /* as -help shows it; NULL: takes none */
    const char *help;     /* NULL: alias, not shown */
    int (*fn)(struct vm_args *a, const char *option, const char *text, struct viv_err *err);
    const char *refusal; /* fn NULL */
};

static bool is_help(const char *text)
{
    return !strcmp(text, "help") || !strcmp(text, "?");
}

/* "-X help" and "-X y,help": the choices are printed instead of running, once all is parsed. */
static bool help_asked(struct vm_args *a, const char *option, const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    bool asked;

    if (!text || !vm_help_about(option) || viv_raw_parse(option, vm_help_about(option), text, &r, &err) < 0)
        return false;
    asked = viv_raw_help(r) && !vm_nic_help_asked(option, r);
    viv_raw_free(r);
    if (asked) {
        a->help_about = option;
        a->help_text = text;
    }
    return asked;
}

static int merge(struct viv_raw_opts **into, const char *option, const char *implied,
                 const char *text, struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc = viv_raw_parse(option, implied, text, &r, err);

    if (rc < 0)
        return rc;
    if (!*into) {
        *into = r;
        return 0;
    }
    for (size_t i = 0; i < viv_raw_count(r); i++) {
        const char *key, *value;

        viv_raw_at(r, i, &key, &value);
        viv_raw_set(*into, key, value);
    }
    viv_raw_free(r);
    return 0;
}

static int add_item(GArray **list, const char *option, const char *text)
{
    struct vm_item item = {option, text};

    if (!*list)
        *list = g_array_new(FALSE, FALSE, sizeof(item));
    g_array_append_val(*list, item);
    return 0;
}

#define HANDLER(name)                                                                              \
    static int name(struct vm_args *a, const char *option, const char *text, struct viv_err *err)

/* --- the machine --- */

HANDLER(on_machine)
{
    return merge(&a->machine, option, "type", text, err);
}

HANDLER(on_cpu)
{
    a->cfg.cpu = text;
    return 0;
}

HANDLER(on_smp)
{
    return merge(&a->smp, option, "cpus", text, err);
}

HANDLER(on_mem)
{
    return merge(&a->mem, option, "size", text, err);
}

HANDLER(on_accel)
{
    /* Several: the first that works. */
    if (!a->accels)
        a->accels = g_ptr_array_new();
    g_ptr_array_add(a->accels, (gpointer)text);
    return 0;
}

HANDLER(on_enable_kvm)
{
    return on_accel(a, option, "kvm", err);
}

#define STRING_HANDLER(fn, field)                                                                  \
    HANDLER(fn)                                                                                    \
    {                                                                                              \
        a->field = text;                                                                           \
        return 0;                                                                                  \
    }
#define FLAG_HANDLER(fn, field)                                                                    \
    HANDLER(fn)                                                                                    \
    {                                                                                              \
        a->field = true;                                                                           \
        return 0;                                                                                  \
    }
#define LIST_HANDLER(fn, field)                                                                    \
    HANDLER(fn)                                                                                    \
    {                                                                                              \
        return add_item(&a->field, option, text);                                                  \
    }

STRING_HANDLER(on_kernel, cfg.kernel)
STRING_HANDLER(on_initrd, cfg.initrd)
STRING_HANDLER(on_append, cfg.append)
STRING_HANDLER(on_bios, cfg.bios)
STRING_HANDLER(on_pidfile, pidfile)
STRING_HANDLER(on_mem_path, mem_path)

HANDLER(on_boot)
{
    return merge(&a->boot, option, "order", text, err);
}

HANDLER(on_option_rom)
{
    if (!a->option_roms)
        a->option_roms = g_ptr_array_new();
    g_ptr_array_add(a->option_roms, (gpointer)text);
    return 0;
}

HANDLER(on_fw_cfg)
{
    if (!a->fw_cfgs)
        a->fw_cfgs = g_ptr_array_new();
    g_ptr_array_add(a->fw_cfgs, (gpointer)text);
    return 0;
}

HANDLER(on_smbios)
{
    if (!a->cfg.smbios)
        a->cfg.smbios = viv_smbios_given_new();
    return viv_smbios_given_add(a->cfg.smbios, text, err);
}

HANDLER(on_datadir)
{
    if (is_help(text)) {
        g_autofree const char **dirs = viv_datadir_list();

        for (const char **d = dirs; *d; d++)
            printf("%s\n", *d);
        return 1;
    }
    viv_datadir_add(text);
    return 0;
}

HANDLER(on_incoming)
{
    if (strcmp(text, "defer") && !viv_vm_uri_is_known(text))
        return viv_fail(err, ENOTSUP, "-incoming %.80s: only file:PATH, fd:N and defer are supported; a program's output comes through a named "
                        "pipe (mkfifo P; PROGRAM >P &) as file:P", text);
    a->incoming = text;
    return 0;
}

FLAG_HANDLER(on_nodefaults, nodefaults)
FLAG_HANDLER(on_full_screen, full_screen)
FLAG_HANDLER(on_no_quit, no_quit)
FLAG_HANDLER(on_show_cursor, show_cursor)
FLAG_HANDLER(on_snapshot, snapshot)
FLAG_HANDLER(on_mem_prealloc, mem_prealloc)
FLAG_HANDLER(on_paused, paused)
FLAG_HANDLER(on_daemonize, daemonize)
FLAG_HANDLER(on_no_hpet, cfg.no_hpet)
FLAG_HANDLER(on_no_acpi, cfg.no_acpi)
FLAG_HANDLER(on_no_fd_bootchk, cfg.no_fd_bootchk)
LIST_HANDLER(on_drive, drives)
LIST_HANDLER(on_blockdev, blockdevs)
LIST_HANDLER(on_device, devices)
LIST_HANDLER(on_chardev, chardevs)
LIST_HANDLER(on_object, objects)
LIST_HANDLER(on_global, globals)
LIST_HANDLER(on_mon, mons)
LIST_HANDLER(on_usbdevice, usbdevices)
FLAG_HANDLER(on_usb, usb)

HANDLER(on_nothing)
{
    return 0; /* what it asks for is so */
}

HANDLER(on_uuid)
{
    int r = viv_parse_uuid(text, a->cfg.uuid, err);

    if (r)
        viv_err_prefix(err, "-uuid");
    a->cfg.uuid_set = !r;
    return r;
}

const struct viv_opt_def vm_name_opts[] = {
    {.name = "guest", .type = VIV_OPT_STR},
    {.name = "process", .type = VIV_OPT_STR},
    {.name = "debug-threads", .type = VIV_OPT_BOOL, .def = "on"},
    VIV_OPT_END,
};

HANDLER(on_name)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(option, vm_name_opts, "guest", text, &o, err);

    if (rc < 0)
        return rc;
    a->cfg.name = g_strdup(viv_opts_str(o, "guest"));
    a->process_name = g_strdup(viv_opts_str(o, "process"));
    if (!viv_opts_bool(o, "debug-threads"))
        rc = viv_fail(err, EINVAL, "-name: debug-threads=off is not possible: threads have names");
    viv_opts_free(o);
    return rc;
}

HANDLER(on_rtc)
{
    return merge(&a->rtc, option, "base", text, err);
}

HANDLER(on_localtime)
{
    return merge(&a->rtc, option, "base", "localtime", err);
}

static int act(const char *option, const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(option, viv_vm_action_opts, NULL, text, &o, err);

    if (rc < 0)
        return rc;
    viv_vm_set_actions(o);
    viv_opts_free(o);
    return 0;
}

HANDLER(on_action)
{
    return act(option, text, err);
}

HANDLER(on_watchdog_action)
{
    g_autofree char *action = g_strconcat("watchdog=", text, NULL);

    return act(option, action, err);
}

HANDLER(on_no_reboot)
{
    return act(option, "reboot=shutdown", err);
}

HANDLER(on_no_shutdown)
{
    return act(option, "shutdown=pause", err);
}

/* --- devices and back ends --- */

HANDLER(on_fsdev)
{
    int rc = strcmp(option, "-virtfs") ? 0 : vm_add_virtfs(a, text, err);

    return rc < 0 ? rc : add_item(&a->fsdevs, option, text);
}

HANDLER(on_net)
{
    if (strcmp(option, "-netdev") && vm_nic_help(option, text))
        return 1;
    a->given_net = true;
    return add_item(&a->nets, option, text);
}

HANDLER(on_serial)
{
    a->given_serial = true;
    if (g_str_has_prefix(text, "mon:"))
        a->given_monitor = true;
    return add_item(&a->serials, option, text);
}

LIST_HANDLER(on_parallel, parallels)

/* virtio[,property=value...] or none */
HANDLER(on_balloon)
{
    if (!strcmp(text, "none"))
        return 0;
    if (strncmp(text, "virtio", 6) || (text[6] && text[6] != ','))
        return viv_fail(err, EINVAL, "-balloon %.60s: it takes virtio, or none; -device virtio-balloon is the newer form", text);
    vm_add_device(a, g_strconcat("virtio-balloon", text + 6, NULL));
    return 0;
}

/* What is said once for all iscsi:// disks, of which there are none. */
HANDLER(on_iscsi)
{
    static const struct viv_opt_def words[] = {
        {.name = "initiator-name", .type = VIV_OPT_STR}, {.name = "user", .type = VIV_OPT_STR}, {.name = "password", .type = VIV_OPT_STR},
        {.name = "password-secret", .type = VIV_OPT_STR}, {.name = "header-digest", .type = VIV_OPT_STR}, {.name = "timeout", .type = VIV_OPT_INT, .max = UINT32_MAX},
        VIV_OPT_END,
    };
    struct viv_opts *o;
    int rc = viv_opts_parse(option, words, NULL, text, &o, err);

    if (rc < 0)
        return rc;
    viv_opts_free(o);
    viv_warn("-iscsi has no effect: it is for iscsi:// disks, and there are none; log in with the host's iscsiadm and use the disk that it makes");
    return 0;
}

HANDLER(on_debugcon)
{
    if (a->debugcon)
        return viv_fail(err, EEXIST, "-debugcon %.60s: there is one already; -device isa-debugcon,iobase=P,chardev=ID adds another", text);
    if (g_str_has_prefix(text, "mon:"))
        a->given_monitor = true;
    a->debugcon = text;
    return 0;
}

HANDLER(on_monitor)
{
    if (!strcmp(option, "-monitor"))
        a->given_monitor = true;
    return add_item(&a->monitors, option, text);
}

HANDLER(on_loadvm)
{
    a->loadvm = text;
    return 0;
}

HANDLER(on_gdb)
{
    a->gdb = text ? text : "tcp::1234";
    return 0;
}

HANDLER(on_qtest)
{
    a->qtest = text;
    return 0;
}

HANDLER(on_qtest_log)
{
    a->qtest_log = text;
    return 0;
}

HANDLER(on_nographic)
{
    a->nographic = a->given_display = true;
    return 0;
}

HANDLER(on_vnc)
{
    a->given_display = true;
    return add_item(&a->vncs, option, text);
}

HANDLER(on_display)
{
    if (g_str_has_prefix(text, "vnc="))
        return on_vnc(a, option, text + 4, err);
    return vm_display_parse(a, text, err);
}

/* -sdl, -curses */
HANDLER(on_old_display)
{
    return vm_display_parse(a, option + 1, err);
}

HANDLER(on_layout)
{
    if (is_help(text)) {
        viv_keymap_help(stdout);
        return 1;
    }
    a->layout = text;
    return 0;
}

HANDLER(on_vga)
{
    static const struct {
        const char *name, *device, *desc;
    } cards[] = {
        {"none", NULL, "no graphics card"},
        {"std", "VGA", "standard VGA"},
        {"cirrus", "cirrus-vga", "Cirrus Logic GD5446"},
        {"virtio", "virtio-vga", "virtio display that is a VGA, too"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cards); i++) {
        if (is_help(text)) {
            printf("%-20s %s\n", cards[i].name, cards[i].desc);
        } else if (!strcmp(text, cards[i].name)) {
            a->given_vga = true;
            a->vga = cards[i].device;
            return 0;
        }
    }
    if (is_help(text))
        return 1;
    if (!strcmp(text, "qxl") || !strcmp(text, "vmware"))
        return viv_fail(err, ENOTSUP, "-vga %s: there is no such graphics card; 'virtio' does what guests want of it", text);
    return viv_fail(err, ENOTSUP, "-vga %.60s: there is no such graphics card; '-vga help' lists them", text);
}

HANDLER(on_sandbox)
{
    return vm_sandbox_parse(a, option, text, err);
}

LIST_HANDLER(on_add_fd, add_fds)
STRING_HANDLER(on_runas, sandbox.user)
STRING_HANDLER(on_chroot, sandbox.root)

HANDLER(on_echr)
{
    uint64_t v;
    struct viv_err why = VIV_ERR_INIT;

    if (viv_parse_u64(text, &v, &why) < 0 || v > 255)
        return viv_fail(err, EINVAL, "-echr: '%.60s' is not a character code from 0 to 255", text);
    viv_chr_set_escape((uint8_t)v);
    return 0;
}

HANDLER(on_msg)
{
    return vm_msg_parse(a, option, text, err);
}

HANDLER(on_overcommit)
{
    return vm_overcommit_parse(a, option, text, err);
}

HANDLER(on_audiodev)
{
    return vm_audiodev_parse(a, option, text, err);
}

/* --- logs --- */

HANDLER(on_log)
{
    if (is_help(text)) {
        viv_log_help(stdout);
        return 1;
    }
    return viv_log_enable(text, err);
}

HANDLER(on_log_file)
{
    return viv_log_open(text, err);
}

HANDLER(on_version)
{
    viv_program_print_version();
    return 1;
}

HANDLER(on_help);
HANDLER(on_readconfig);

static const struct option options[] = {
    {"help", NULL, "display this help and exit", on_help},
    {"h", NULL, NULL, on_help},
    {"version", NULL, "display version information and exit", on_version},
    {"machine", "[type=]name[,prop[=value][,...]]", "selects the machine ('-machine help' lists them); "
     "accel= as -accel", on_machine},
    {"M", "name[,...]", NULL, on_machine},
    {"cpu", "cpu[,+feature][,-feature]", "selects the CPU model ('-cpu help' lists them)", on_cpu},
    {"accel", "name[,prop[=value][,...]]", "who runs the CPU: kvm, xlate, interp, or a list kvm:xlate "
     "(default: the fastest that works here)", on_accel},
    {"enable-kvm", NULL, "the same as -accel kvm", on_enable_kvm},
    {"smp", "[cpus=]n[,sockets=s][,dies=d][,cores=c][,threads=t]", "number of CPUs and their topology",
     on_smp},
    {"m", "[size=]megs", "guest memory: MiB, or with a suffix k, M, G, T (default: 128M)", on_mem},
    {"mem-path", "path", "guest memory in this file, or in one made in this folder (hugetlbfs)", on_mem_path},
    {"mem-prealloc", NULL, "takes all guest memory from the host at once", on_mem_prealloc},
    {"name", "string[,process=name]", "name of the guest", on_name},
    {"uuid", "uuid", "machine UUID", on_uuid},
    {"smbios", "type=0|1|2|3|4|8|11|17,field=value[,...] or file=binary", "what the machine's DMI tables say of it", on_smbios},
    {"rtc", "[base=utc|localtime|date][,clock=host|rt|vm]", "what the battery clock shows", on_rtc},
    {"localtime", NULL, NULL, on_localtime},
    {"startdate", "date", NULL, on_rtc},
    {"no-acpi", NULL, "no ACPI tables and power management", on_no_acpi},
    {"no-hpet", NULL, "no HPET", on_no_hpet},
    {"global", "driver.property=value, or driver=D,property=P,value=V", "sets a property of all such devices", on_global},
    {"nodefaults", NULL, "no devices but those asked for", on_nodefaults},
    {"no-user-config", NULL, "read no configuration files (none are read anyway)", on_nothing},

    {"kernel", "bzImage", "starts this kernel (bzImage, ELF with PVH note, multiboot)", on_kernel},
    {"append", "cmdline", "the kernel's command line", on_append},
    {"initrd", "file", "the kernel's initial RAM disk", on_initrd},
    {"bios", "file", "firmware image (default without -kernel: SeaBIOS, bios-256k.bin)", on_bios},
    {"pflash", "file", "a flash chip: firmware first, then its variables", on_drive},
    {"boot", "[order=drives][,once=drives][,menu=on|off]...", "what the firmware boots: a floppy, c disk, d CD, n network",
     on_boot},
    {"no-fd-bootchk", NULL, "the firmware boots diskettes without a boot signature too", on_no_fd_bootchk},
    {"readconfig", "file", "options from a file: [device \"id\"], and lines key = \"value\"", on_readconfig},
    {"option-rom", "file", "a ROM that the firmware runs", on_option_rom},
    {"fw_cfg", "[name=]name,file=f|string=s", "an item for firmware and guest", on_fw_cfg},
    {"L", "dir", "where firmware and ROMs are looked for first", on_datadir},

    {"hda", "file", "IDE disk 0 (also -hdb, -hdc, -hdd)", on_drive},
    {"hdb", "file", NULL, on_drive},
    {"hdc", "file", NULL, on_drive},
    {"hdd", "file", NULL, on_drive},
    {"fda", "file", "diskette in drive A: (also -fdb)", on_drive},
    {"fdb", "file", NULL, on_drive},
    {"cdrom", "file", "CD image, in IDE drive 2", on_drive},
    {"drive", "[file=f][,if=ide|scsi|virtio|pflash|none][,media=disk|cdrom][,index=i][,format=f][,cache=...]...", "defines a disk", on_drive},
    {"snapshot", NULL, "write to temporary files, gone at the end; the images stay as they are", on_snapshot},
    {"blockdev", "[driver=]d[,node-name=n]...", "defines a node of the block graph", on_blockdev},
    {"device", "driver[,prop[=value][,...]]", "adds a device ('-device help', '-device D,help')", on_device},
    {"usb", NULL, "gives the machine its USB controller", on_usb},
    {"usbdevice", "tablet|mouse|keyboard", "plugs a USB device in", on_usbdevice},
    {"netdev", "user|tap|bridge|socket,id=str[,...]", "defines a network back end ('-netdev help')", on_net},
    {"nic", "user|tap|bridge|socket|none[,model=m][,mac=addr]...", "a network card with its back end", on_net},
    {"net", "nic|user|tap|bridge|socket|none[,...]", "the same in the old form", on_net},
    {"chardev", "backend,id=id[,mux=on][,logfile=f]...", "defines a character back end "
     "('-chardev help')", on_chardev},
    {"serial", "dev", "where the serial port goes: stdio, mon:stdio, vc, pty, file:F, unix:P,server, "
     "tcp:H:P, telnet:..., null, none", on_serial},
    {"parallel", "dev", "a parallel port, and who prints (forms as for -serial)", on_parallel},
    {"debugcon", "dev", "where bytes written to port 0xe9 go (an isa-debugcon; forms as for -serial)", on_debugcon},
    {"object", "type,id=id[,prop=value]...", "makes an object for devices to use ('-object help' lists them)", on_object},

    {"virtfs", "local,path=folder,mount_tag=tag,security_model=mapped|mapped-file|passthrough|none[,id=id][,readonly=on]...",
     "shares a folder with the guest: mount -t 9p -o trans=virtio tag /mnt", on_fsdev},
    {"fsdev", "local,id=id,path=folder,security_model=...[,readonly=on][,fmode=mode][,dmode=mode][,multidevs=...]",
     "a folder for -device virtio-9p-pci,fsdev=id,mount_tag=tag", on_fsdev},

    {"nographic", NULL, "no screen; serial port and monitor on this terminal", on_nographic},
    {"display", "sdl|gtk|curses|vnc=...|none[,option=value]...", "where the screen is shown ('-display help')", on_display},
    {"sdl", NULL, NULL, on_old_display},
    {"curses", NULL, NULL, on_old_display},
    {"full-screen", NULL, "begins with a window as large as the screen", on_full_screen},
    {"show-cursor", NULL, NULL, on_show_cursor},
    {"no-quit", NULL, "closing the window does not end the machine", on_no_quit},
    {"vnc", "[host]:display|unix:path|none[,websocket=on][,password=on]...", "shows the screen to VNC clients ('-vnc help')", on_vnc},
    {"k", "layout", "the guest's keyboard layout, where keys are known by what they mean ('-k help' lists them)", on_layout},
    {"vga", "std|none", "selects the graphics card (default: std, with -nodefaults none)", on_vga},

    {"monitor", "dev", "where the monitor goes (forms as for -serial)", on_monitor},
    {"qmp", "dev", "where the machine protocol (QMP) goes", on_monitor},
    {"qmp-pretty", "dev", "the same, with indented answers", on_monitor},
    {"mon", "[chardev=]name[,mode=readline|control][,pretty=on]", "a monitor on a chardev", on_mon},
    {"echr", "code", "escape character instead of Ctrl-A", on_echr},

    {"S", NULL, "do not start the CPUs ('c' in the monitor does)", on_paused},
    {"gdb", "dev", "waits there for gdb (forms as for -serial): tcp::1234, unix:PATH", on_gdb},
    {"s", NULL, "shorthand for -gdb tcp::1234", on_gdb},
    {"qtest", "dev", "a program there drives devices by QEMU's qtest protocol (forms as for -serial); with -accel qtest no CPU runs", on_qtest},
    {"qtest-log", "file", "writes what it says there (default: stderr; none)", on_qtest_log},
    {"no-reboot", NULL, "exit instead of rebooting", on_no_reboot},
    {"no-shutdown", NULL, "stop before shutdown", on_no_shutdown},
    {"balloon", "virtio[,property=value]|none", "the older form of -device virtio-balloon", on_balloon},
    {"watchdog", "i6300esb", "the older form of -device i6300esb", on_device},
    {"watchdog-action", "reset|shutdown|poweroff|pause|debug|none|inject-nmi", "the older form of -action watchdog=", on_watchdog_action},
    {"action", "reboot=reset|shutdown,shutdown=poweroff|pause,watchdog=reset|...", "what to do on guest events", on_action},
    {"incoming", "file:path|fd:n|defer", "starts from a saved state", on_incoming},
    {"loadvm", "tag", "starts from a snapshot that savevm made", on_loadvm},
    {"add-fd", "fd=fd,set=set[,opaque=text]", "descriptor fd is one of set N: a file named /dev/fdset/N", on_add_fd},
    {"daemonize", NULL, "goes to the background once the machine is made", on_daemonize},
    {"pidfile", "file", "writes the process id to a file", on_pidfile},
    {"sandbox", "on|off[,obsolete=allow|deny][,elevateprivileges=allow|deny|children][,spawn=allow|deny][,resourcecontrol=allow|deny]",
     "confines the process once the machine is made (default: on); files are opened by another one then", on_sandbox},
    {"runas", "user|uid:gid", "becomes that user once the machine is made", on_runas},
    {"chroot", "dir", "has that folder as / once the machine is made", on_chroot},
    {"overcommit", "mem-lock=on|off|on-fault", "locks all of the process in the host's memory", on_overcommit},
    {"iscsi", "initiator-name=iqn", "taken for the sake of command lines that say it always: there are no iscsi:// disks", on_iscsi},
    {"audiodev", "none,id=id", "taken for the sake of command lines that say that there is no sound", on_audiodev},
    {"msg", "[timestamp=on|off][,guest-name=on|off]", "what messages begin with", on_msg},
    {"d", "item1,...", "enables logging of items ('-d help' lists them)", on_log},
    {"D", "logfile", "writes the log to a file (default: stderr)", on_log_file},

    /* What QEMU had once, and old texts use. */
    {"redir", "tcp:port::port", NULL, NULL, "QEMU has it no more, either: -nic user,hostfwd=tcp::HOSTPORT-:GUESTPORT, or the same after -net user"},
    {"no-kvm", NULL, NULL, NULL, "-accel tcg is its newer form"},
    {"tdf", NULL, NULL, NULL, "-global kvm-pit.lost_tick_policy=delay is its newer form"},

    /* What QEMU has and we do not have yet. */
    {"dtb", "f", NULL, NULL, "x86 machines have no device tree"},
    {"sd", "f", NULL, NULL, "there is no SD card yet"},
    {"mtdblock", "f", NULL, NULL, "that is a flash chip of ARM boards; -drive if=virtio is a disk, -pflash is for firmware"},
    {"spice", "o", NULL, NULL, "there is no SPICE yet; -vnc :0 shows the screen to clients"},
    {"g", "wxh", NULL, NULL, "a PC's guest chooses its mode itself; a virtio-gpu is told how large the window is"},
    {"tpmdev", "o", NULL, NULL, VIV_NO_TPM},
    {"audio", "o", NULL, NULL, "there is no sound yet"},
    {"soundhw", "o", NULL, NULL, "there is no sound yet"},
    {"acpitable", "o", NULL, NULL, "the tables are those of the machine; -smbios and -fw_cfg add what guests look for there"},
    {"numa", "o", NULL, NULL, "there are no NUMA nodes yet: RAM is one; for that of a memory-backend object use -machine memory-backend=ID"},
    {"singlestep", NULL, NULL, NULL, "it is an option of the translator: -accel xlate,one-insn-per-tb=on"},
    {"icount", "o", NULL, NULL, "time follows the host's clock, not the count of instructions; leave it out"},
    {"trace", "o", NULL, NULL, "-d has what is there"},
    {"dfilter", "o", NULL, NULL, "-d in_asm and out_asm write all blocks"},
    {"plugin", "o", NULL, NULL, "there are no plugins"},
    {"writeconfig", "f", NULL, NULL, "put the options on the command line"},
    {"run-with", "o", NULL, NULL, "-chroot DIR and -runas USER are options of their own"},
    {"set", "o", NULL, NULL, "give the property where the device is defined"},
    {"preconfig", NULL, NULL, NULL, "-S waits before the first instruction, with all devices made"},
    {"compat", "o", NULL, NULL, "leave it out: what QEMU calls deprecated is refused or works, with a line that says so"},
    {"seed", "n", NULL, NULL, "random numbers are the host's; -object rng-random,filename=F gives the guest fixed ones"},
    {"win2k-hack", NULL, NULL, NULL, "disks do not answer slower for Windows 2000's installer; leave it out, or install on -drive if=scsi"},
    {"tb-size", "n", NULL, NULL, "it is an option of the translator: -accel xlate,tb-size=N"},
    {"smb", "dir", NULL, NULL, "-virtfs shares a folder"},
    {"only-migratable", NULL, NULL, NULL, "leave it out: a device that cannot be saved says so when the machine is saved"},
    {"rotate", "n", NULL, NULL, "that turns the screen of handheld boards; a PC's guest does it itself"},
    {"async-teardown", NULL, NULL, NULL, "leave it out: the kernel takes the memory back when the process ends"},
    {"enable-sync-profile", NULL, NULL, NULL, "perf on this process shows its locks"},
    {"semihosting", NULL, NULL, NULL, "x86 has none"},
    {"xen-domid", "i", NULL, NULL, "Xen is not supported"},
};

HANDLER(on_help)
{
    viv_program_print_version();
    printf("usage: %s [options]\n\nOptions:\n", g_get_prgname());
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const struct option *o = &options[i];
        int used;

        if (!o->help)
            continue;
        used = printf("-%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        if (used >= 16)
            printf("\n%16s%s\n", "", o->help);
        else
            printf("%*s%s\n", 16 - used, "", o->help);
    }
    printf("\nOn the terminal Ctrl-A X ends the machine, Ctrl-A C is the monitor, Ctrl-A H help.\n");
    return 1;
}

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        if (!strcmp(options[i].name, name))
            return &options[i];
    }
    return NULL;
}

static int fail_unknown(const char *arg, struct viv_err *err)
{
    const char *names[G_N_ELEMENTS(options) + 1];
    const char *near;
    size_t n = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        if (options[i].fn)
            names[n++] = options[i].name;
    }
    names[n] = NULL;
    near = viv_nearest(arg + strspn(arg, "-"), names);
    if (near)
        return viv_fail(err, EINVAL, "%.80s: no such option; did you mean '-%s'?", arg, near);
    return viv_fail(err, EINVAL, "%.80s: no such option; -help lists them", arg);
}

static int take(struct vm_args *a, const struct option *o, const char *text, struct viv_err *err)
{
    g_autofree char *shown = g_strdup_printf("-%s", o->name);

    if (!o->fn)
        return viv_fail(err, ENOTSUP, "%s%s%.100s is not supported: %s", shown, text ? " " : "",
                        text ? text : "", o->refusal);
    /* A script's variable that was never set. Only no kernel command line is one. */
    if (text && !*text && o->fn != on_append)
        return viv_fail(err, EINVAL, "%s: its argument is empty; it takes %s", shown, o->arg);
    return help_asked(a, g_intern_string(shown), text) ? 0 : o->fn(a, g_intern_string(shown), text, err);
}

static int take_section(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    return take(a, find_option(option), text, err);
}

HANDLER(on_readconfig)
{
    return vm_readconfig(a, text, take_section, err);
}

int vm_args_parse(struct vm_args *a, int argc, char **argv, struct viv_err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *text = NULL;
        bool bare = arg[0] != '-' || !arg[1]; /* the first disk's image */
        const struct option *o = find_option(bare ? "hda" : arg + 1 + (arg[1] == '-'));
        int rc;

        if (!o)
            return fail_unknown(arg, err);
        if (bare) {
            text = arg;
        } else if (o->arg) {
            if (++i >= argc)
                return viv_fail(err, EINVAL, "-%s: needs an argument: %s", o->name, o->arg);
            text = argv[i];
        }
        rc = take(a, o, text, err);
        if (rc)
            return rc;
    }
    return 0;
}
