/* The commands about a machine. */
#include "mon/command.h"
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "accel/accel.h"
#include "machine/vm.h"
#include "net/net.h"
#include "ui/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- run state --- */

COMMAND(query_status)
{
    enum viv_run_state s = viv_vm_state();

    *result = json_pack("{s:b, s:b, s:s}", "running", s == VIV_RUN_RUNNING, "singlestep", 0, "status",
                        viv_run_state_name(s));
    return 0;
}

static void show_status(const json_t *r, GString *out)
{
    const char *status = json_string_value(json_object_get(r, "status"));

    if (json_is_true(json_object_get(r, "running")))
        g_string_append(out, "VM status: running\n");
    else
        g_string_append_printf(out, "VM status: paused%s%s%s\n", strcmp(status, "paused") ? " (" : "",
                               strcmp(status, "paused") ? status : "", strcmp(status, "paused") ? ")" : "");
}

COMMAND(do_stop)
{
    bool ran = viv_vm_state() == VIV_RUN_RUNNING;

    viv_vm_pause();
    if (ran)
        viv_vm_settle();
    return 0;
}

COMMAND(do_cont)
{
    return viv_vm_cont(err);
}

COMMAND(do_reset)
{
    return viv_vm_ask_reset("host-qmp-system-reset", err);
}

COMMAND(do_powerdown)
{
    return viv_vm_powerdown(err);
}

COMMAND(inject_nmi)
{
    viv_vm_nmi();
    return 0;
}

COMMAND(set_action)
{
    viv_vm_set_actions(o);
    return 0;
}

/* One word of set-action by a command of its own. */
COMMAND(set_watchdog)
{
    struct viv_opts *actions = viv_opts_new("watchdog_action", viv_vm_action_opts);
    int rc = viv_opts_set(actions, "watchdog", viv_opts_str(o, "action"), err);

    if (!rc)
        viv_vm_set_actions(actions);
    viv_opts_free(actions);
    return rc;
}

COMMAND(wakeup)
{
    return viv_fail(err, EINVAL, "Unable to wake up: guest is not in suspended state");
}

COMMAND(do_quit)
{
    viv_vm_quit(0, "host-qmp-quit");
    return 0;
}

/* --- what this is --- */

COMMAND(query_name)
{
    const char *name = viv_vm_config()->name;

    *result = name ? json_pack("{s:s}", "name", name) : json_object();
    return 0;
}

static void show_name(const json_t *r, GString *out)
{
    const char *name = json_string_value(json_object_get(r, "name"));

    if (name)
        g_string_append_printf(out, "%s\n", name);
}

COMMAND(query_uuid)
{
    const uint8_t *u = viv_vm_config()->uuid;
    GString *s = g_string_new(NULL);

    for (int i = 0; i < 16; i++)
        g_string_append_printf(s, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    *result = json_pack("{s:s}", "UUID", s->str);
    g_string_free(s, TRUE);
    return 0;
}

static void show_uuid(const json_t *r, GString *out)
{
    g_string_append_printf(out, "%s\n", json_string_value(json_object_get(r, "UUID")));
}

COMMAND(query_kvm)
{
    *result = json_pack("{s:b, s:b}", "enabled", !strcmp(viv_vm_accel()->name, "kvm"), "present",
                        access("/dev/kvm", F_OK) == 0);
    return 0;
}

static void show_kvm(const json_t *r, GString *out)
{
    g_string_append_printf(out, "kvm support: %s (the CPU runs on: %s)\n",
                           json_is_true(json_object_get(r, "enabled")) ? "enabled" : "disabled",
                           viv_vm_accel()->name);
}

COMMAND(query_cpus)
{
    const struct viv_smp *s = &viv_vm_config()->smp;

    *result = json_array();
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        unsigned core = i / s->threads, die = core / s->cores;
        g_autofree char *path = g_strdup_printf("/machine/cpu[%u]", i);

        json_array_append_new(
            *result, json_pack("{s:i, s:s, s:i, s:s, s:{s:i, s:i, s:i, s:i}}", "cpu-index", i, "target",
                               viv_vm_config()->cpu_32bit ? "i386" : "x86_64", "thread-id", viv_vcpus[i]->tid, "qom-path", path, "props", "socket-id",
                               die / s->dies, "die-id", die % s->dies, "core-id", core % s->cores,
                               "thread-id", i % s->threads));
    }
    return 0;
}

static void show_cpus(const json_t *r, GString *out)
{
    for (size_t i = 0; i < json_array_size(r); i++)
        g_string_append_printf(out, "%s CPU #%zu: thread_id=%d apic id %u\n", i ? " " : "*", i, viv_vcpus[i]->tid,
                               viv_vcpus[i]->apic_id);
}

COMMAND(query_memory)
{
    *result = json_pack("{s:I, s:I}", "base-memory", (json_int_t)viv_vm_config()->ram_bytes,
                        "plugged-memory", (json_int_t)0);
    return 0;
}

static void show_memory(const json_t *r, GString *out)
{
    g_string_append_printf(out, "base memory: %lld\nplugged memory: 0\n",
                           (long long)json_integer_value(json_object_get(r, "base-memory")));
}

/* --- back ends --- */

static void show_text(const json_t *r, GString *out)
{
    g_string_append(out, json_string_value(json_object_get(r, "human-readable-text")));
}

/* --- what there is little to tell about --- */

static const struct viv_opt_def device_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static const struct viv_opt_def mtree_args[] = {
    {.name = "flatview", .type = VIV_OPT_BOOL},
    {.name = "dispatch-tree", .type = VIV_OPT_REFUSED, .help = "a range leads straight to its region, there is no tree in between; -f has the ranges"},
    {.name = "owner", .type = VIV_OPT_REFUSED, .help = "regions are named, not owned; info pci has who has which"},
    {.name = "Disabled", .type = VIV_OPT_REFUSED, .help = "what is not mapped is not kept"},
    VIV_OPT_END,
};
static const struct viv_opt_def lapic_args[] = {
    {.name = "apic-id", .type = VIV_OPT_INT, .min = 0, .max = UINT32_MAX, .help = "as info cpus says"},
    VIV_OPT_END,
};

static const struct viv_opt_def registers_args[] = {
    {.name = "all", .type = VIV_OPT_BOOL},
    {.name = "vcpu", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    VIV_OPT_END,
};

COMMAND(info_numa)
{
    *result = json_string("0 nodes\n");
    return 0;
}

COMMAND(info_roms)
{
    g_autoptr(GString) s = g_string_new(NULL);
    size_t n;
    g_autofree struct viv_space_range *r = viv_space_ranges(viv_vm_board()->mem, &n);

    for (size_t i = 0; i < n; i++)
        if (r[i].kind == VIV_REGION_ROM)
            g_string_append_printf(s, "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=rom name=\"%s\"\n", r[i].start,
                                   r[i].last - r[i].start + 1, viv_region_name(r[i].region));
    *result = json_string(s->len ? s->str : "no ROM is mapped\n");
    return 0;
}

COMMAND(info_usbhost)
{
    return viv_fail(err, ENOTSUP, "no USB device of the host can be given to the guest yet; on the host, lsusb lists them");
}

static const struct viv_opt_def watchdog_args[] = {
    {.name = "action", .type = VIV_OPT_ENUM, .values = viv_vm_watchdog_actions, .required = true},
    VIV_OPT_END,
};

static const struct viv_mon_cmd machine_cmds[] = {
    {"quit", "quit", NULL, NULL, "quit the emulator", do_quit},
    {"q", NULL, NULL, NULL, "quit the emulator", do_quit},
    {"stop", "stop", NULL, NULL, "stop emulation", do_stop},
    {"s", NULL, NULL, NULL, "stop emulation", do_stop},
    {"cont", "cont", NULL, NULL, "resume emulation", do_cont},
    {"c", NULL, NULL, NULL, "resume emulation", do_cont},
    {"system_reset", "system_reset", NULL, NULL, "reset the system", do_reset},
    {"system_powerdown", "system_powerdown", NULL, NULL, "send system power down event", do_powerdown},
    {"system_wakeup", "system_wakeup", NULL, NULL, "wake a suspended machine up", wakeup},
    {NULL, "set-action", NULL, viv_vm_action_opts, "say what happens when the guest reboots, shuts down, or does not serve its watchdog, as -action does", set_action},
    {"watchdog_action", "watchdog-set-action", "action", watchdog_args, "say what happens when the guest's watchdog runs out", set_watchdog},
    {"nmi", "inject-nmi", NULL, NULL, "send a non-maskable interrupt to all CPUs", inject_nmi},
    {"info status", "query-status", NULL, NULL, "show the current VM status", query_status, show_status, .returns = "StatusInfo"},
    {"info name", "query-name", NULL, NULL, "show the current VM name", query_name, show_name, .returns = "NameInfo"},
    {"info uuid", "query-uuid", NULL, NULL, "show the current VM UUID", query_uuid, show_uuid, .returns = "UuidInfo"},
    {"info kvm", "query-kvm", NULL, NULL, "show who runs the CPU", query_kvm, show_kvm, .returns = "KvmInfo"},
    {"info cpus", "query-cpus-fast", NULL, NULL, "show the CPUs", query_cpus, show_cpus, .returns = "[CpuInfoFast]"},
    {"info memory_size_summary", "query-memory-size-summary", NULL, NULL, "show the amount of memory",
     query_memory, show_memory, .returns = "MemoryInfo"},
    {"info usb", NULL, NULL, NULL, "show the USB devices", viv_mon_info_usb},
    {"info qtree", NULL, NULL, NULL, "show the devices on their buses, with their properties", viv_mon_info_qtree},
    {"info qom-tree", NULL, NULL, NULL, "show the objects that qom-list knows", viv_mon_info_qom_tree},
    {"info mtree", NULL, "[-f]", mtree_args, "show the memory map; -f: as flat views", viv_mon_info_mtree},
    {"info jit", "x-query-jit", NULL, NULL, "show the translator's figures", viv_mon_info_jit, show_text, .returns = "HumanReadableText"},
    {"info mem", NULL, NULL, NULL, "show what the current CPU's page tables map, as ranges", viv_mon_info_mem},
    {"info tlb", NULL, NULL, NULL, "show the pages of the current CPU's page tables", viv_mon_info_tlb},
    {"info pic", NULL, NULL, NULL, "show the state of 8259s and I/O APIC", viv_mon_info_pic},
    {"info irq", NULL, NULL, NULL, "show how often each interrupt line was raised", viv_mon_info_irq},
    {"info lapic", NULL, "[apic-id]", lapic_args, "show the local APIC of the current CPU, or of that one", viv_mon_info_lapic},
    {"info device", NULL, "id:device", device_args, "show the registers of a device, by its id or path", viv_mon_info_device},
    {"info numa", NULL, NULL, NULL, "show the NUMA nodes: none", info_numa},
    {"info roms", NULL, NULL, NULL, "show the firmware that is mapped", info_roms},
    {"info usbhost", NULL, NULL, NULL, "show the host's USB devices: refused", info_usbhost},
    {"info registers", NULL, "[-a] [vcpu]", registers_args, "show the registers of the current CPU, of another one, or (-a) of all", viv_mon_info_registers},
    {0},
};

static const struct viv_mon_event_def machine_events[] = {
    {"STOP", "", "the machine stands still"},
    {"RESUME", "", "the machine runs on"},
    {"RESET", "guest: bool, reason: ShutdownCause", "the machine was reset"},
    {"WATCHDOG", "action: WatchdogAction", "the guest did not serve its watchdog", .slow = true},
    {"SHUTDOWN", "guest: bool, reason: ShutdownCause", "the machine is off, or about to be"},
    {"POWERDOWN", "", "the power button was pressed (system_powerdown)"},
    {"RTC_CHANGE", "offset: int, qom-path: str", "the guest has set its clock, to so many seconds beside what -rtc base= says; once a second at most", .slow = true},
    {"BLOCK_IO_ERROR", "device: str, node-name?: str, operation: IoOperationType, action: BlockErrorAction, nospace?: bool, reason: str",
     "a disk could not be read or written"},
    {"DEVICE_TRAY_MOVED", "device: str, id: str, tray-open: bool", "a drive's tray opened or closed"},
    {"VSERPORT_CHANGE", "id: str, open: bool", "a program in the guest has opened or closed a virtio-serial port; once a second at most for each",
     .slow = true},
    {"NIC_RX_FILTER_CHANGED", "name?: str, path: str", "a driver has changed what its network card lets through; once until query-rx-filter"},
    {"VNC_CONNECTED", "server: VncServerInfo, client: VncBasicInfo", "a VNC client has connected"},
    {"VNC_INITIALIZED", "server: VncServerInfo, client: VncClientInfo", "a VNC client is let in"},
    {"VNC_DISCONNECTED", "server: VncServerInfo, client: VncClientInfo", "a VNC client has gone"},
    {0},
};

/* --- types that tables elsewhere know --- */

static void machine_types(void)
{
    g_autoptr(GString) keys = g_string_new(NULL);
    const struct viv_opt_def *opts;
    const char *name;

    for (unsigned i = 0; (name = viv_key_at(i)) != NULL; i++)
        g_string_append_printf(keys, "%s%s", i ? " " : "", name);
    viv_schema_use_enum("QKeyCode", keys->str);
    viv_schema_use_union("Netdev", "id: str, type: cases", "type", viv_netdev_type_opts);
    for (unsigned i = 0; (opts = viv_netdev_type_opts(i, &name)) != NULL; i++) {
        g_autofree char *type = g_strdup_printf("Netdev %s", name);

        for (; opts->name; opts++)
            if (opts->type == VIV_OPT_LIST)
                viv_schema_retype(type, opts->name, "[String]", !opts->required);
    }
}

static void pass_on(void *unused, const char *event, const char *json_data)
{
    viv_mon_event(event, json_data);
}

void viv_mon_use_machine(void)
{
    viv_mon_use(machine_cmds);
    viv_mon_use(viv_mon_about);
    viv_mon_use(viv_mon_memdev);
    viv_mon_use(viv_mon_pci);
    viv_mon_use(viv_mon_qom);
    viv_mon_use(viv_mon_vnc);
    viv_mon_use(viv_mon_fds);
    viv_mon_use(viv_mon_screen);
    viv_mon_use(viv_mon_media);
    viv_mon_use(viv_mon_io);
    viv_mon_use(viv_mon_limits);
    viv_mon_use(viv_mon_snapshots);
    viv_mon_use_balloon();
    viv_mon_use_block();
    viv_mon_use(viv_mon_people_block);
    viv_chr_on_save(viv_mon_commit_all);
    viv_mon_use_events(machine_events);
    viv_mon_use_types(machine_types);
    viv_mon_use(viv_mon_debug);
    viv_mon_use(viv_mon_examine);
    viv_mon_use(viv_mon_addresses);
    viv_mon_use(viv_mon_migrate);
    viv_mon_use_events(viv_mon_migrate_events);
    viv_mon_use(viv_mon_dump);
    viv_mon_use_events(viv_mon_dump_events);
    viv_mon_use(viv_mon_network);
    viv_mon_use(viv_mon_devices);
    viv_mon_use_events(viv_mon_device_events);
    viv_vm_listen(pass_on, NULL);
}
