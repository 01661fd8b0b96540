/* The VM's life: making it, starting, stopping, resetting, ending it.
 *
 * All of it happens on the loop thread. A device that wants something of the VM asks through bus/vmreq.h, because it
 * runs on a vCPU's thread, and a vCPU cannot wait for itself to stop. */
#include "machine/vm.h"
#include "machine/vm_accel.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/vmevent.h"
#include "bus/vmreq.h"
#include "cpu/x86/cpuid.h"
#include "dev/storage/front.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"
#include "machine/bios.h"
#include "machine/memdump.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define PHYS_BITS 52
#define IO_BITS   16
#define LOOK_NS   (5 * 1000 * 1000)

struct listener {
    viv_vm_event_fn fn;
    void *opaque;
};

enum watchdog_action {
    WATCHDOG_RESET,
    WATCHDOG_SHUTDOWN,
    WATCHDOG_POWEROFF,
    WATCHDOG_PAUSE,
    WATCHDOG_DEBUG,
    WATCHDOG_NONE,
    WATCHDOG_NMI,
};

static struct {
    enum viv_run_state state;
    const struct viv_machine_config *cfg;
    const struct viv_accel *accel;
    struct viv_cpuid *cpuid;
    struct viv_board board;
    bool made, no_reboot, no_shutdown;
    enum watchdog_action watchdog;
    struct {
        struct viv_timer *look;
        const char *reason;
        enum viv_run_state then;
        bool waits, stop, go; /* stop, cont: what was asked for meanwhile */
    } reset; /* one that waits for disks: the state is VIV_RUN_RESTORE meanwhile */
    bool stays; /* what -incoming waits for will not run by itself */
    int exit_code;
    unsigned deferred; /* viv_vm_guest_wishes(): asked for by a guest that does not run now */
    GSList *listeners;
} vm;

static const char *const state_names[] = {
    [VIV_RUN_PRELAUNCH] = "prelaunch",
    [VIV_RUN_RUNNING] = "running",
    [VIV_RUN_PAUSED] = "paused",
    [VIV_RUN_SHUTDOWN] = "shutdown",
    [VIV_RUN_INMIGRATE] = "inmigrate",
    [VIV_RUN_SAVE] = "save-vm",
    [VIV_RUN_RESTORE] = "restore-vm",
    [VIV_RUN_POSTMIGRATE] = "postmigrate",
    [VIV_RUN_INTERNAL_ERROR] = "internal-error",
    [VIV_RUN_IO_ERROR] = "io-error",
    [VIV_RUN_DEBUG] = "debug",
    [VIV_RUN_WATCHDOG] = "watchdog",
};

const char *viv_run_state_name(enum viv_run_state s)
{
    return state_names[s];
}

enum viv_run_state viv_vm_state(void)
{
    return vm.state;
}

void viv_vm_set_state(enum viv_run_state s)
{
    vm.state = s;
}

struct viv_board *viv_vm_board(void)
{
    return &vm.board;
}

const struct viv_machine_config *viv_vm_config(void)
{
    return vm.cfg;
}

const struct viv_accel *viv_vm_accel(void)
{
    return vm.accel;
}

const struct viv_cpuid *viv_vm_cpuid(void)
{
    return vm.cpuid;
}

/* --- events --- */

void viv_vm_listen(viv_vm_event_fn fn, void *opaque)
{
    struct listener *l = g_new(struct listener, 1);

    *l = (struct listener){fn, opaque};
    vm.listeners = g_slist_append(vm.listeners, l);
}

void viv_vm_unlisten(viv_vm_event_fn fn, void *opaque)
{
    for (GSList *i = vm.listeners; i; i = i->next) {
        struct listener *l = i->data;

        if (l->fn == fn && l->opaque == opaque) {
            vm.listeners = g_slist_delete_link(vm.listeners, i);
            g_free(l);
            return;
        }
    }
}

static void emit(const char *event, const char *json_data)
{
    for (GSList *i = vm.listeners; i; i = i->next) {
        struct listener *l = i->data;

        l->fn(l->opaque, event, json_data);
    }
}

static void emit_cause(const char *event, const char *reason)
{
    g_autofree char *data =
        g_strdup_printf("{\"guest\": %s, \"reason\": \"%s\"}",
                        g_str_has_prefix(reason, "guest") ? "true" : "false", reason);

    emit(event, data);
}

/* --- making --- */

/* Each level of the topology takes whole bits of the APIC ID, of which xAPIC mode has eight; FFH means all. */
static int check_apic_ids(const struct viv_smp *s, struct viv_err *err)
{
    uint32_t highest = s->cpus ? viv_cpuid_apic_id(vm.cpuid, s->cpus - 1) : 0;

    if (highest > 254)
        return viv_fail(err, EINVAL, "-smp %u,sockets=%u,dies=%u,cores=%u,threads=%u: the last CPU's APIC ID would be %u, and 254 is "
                        "the highest: dies, cores and threads are rounded up to powers of 2 in it", s->cpus, s->sockets,
                        s->dies, s->cores, s->threads, highest);
    return 0;
}

static int make_cpus(const struct viv_machine_config *cfg, const struct viv_accel_env *env,
                     struct viv_err *err)
{
    const struct viv_smp *s = &cfg->smp;
    int rc = viv_cpuid_parse(cfg->cpu, &vm.cpuid, err);

    if (rc < 0)
        return rc;
    viv_cpuid_set_topology(vm.cpuid, s->sockets, s->dies, s->cores, s->threads);
    rc = check_apic_ids(s, err);
    if (rc < 0)
        return rc;
    if (s->threads > 1 && vm.cpuid->kind == VIV_VENDOR_AMD && !viv_cpuid_has(vm.cpuid, VIV_FT_TOPOEXT))
        viv_warn("-smp threads=%u: guests take an AMD CPU's threads for cores unless it has topoext: -cpu %s,+topoext",
                 s->threads, cfg->cpu);
    if (cfg->cpu_is_default)
        vm.cpuid->check = false;
    rc = cfg->cpu_32bit ? viv_cpuid_drop_long_mode(vm.cpuid, err) : 0;
    if (rc < 0)
        return rc;
    rc = vm.accel->filter_cpuid ? vm.accel->filter_cpuid(vm.cpuid, err) : 0;
    if (rc < 0)
        return rc;
    return viv_vcpus_create(vm.accel, env, vm.cpuid, err);
}

static uint32_t hash(uint32_t h, const void *data, size_t len)
{
    for (const uint8_t *p = data; len--; p++)
        h = (h ^ *p) * 16777619u;
    return h;
}

/* FNV-1a of what tells this VM from its neighbours: its uuid, else its name, else this host and the VM's disks. */
static uint32_t identity(const struct viv_machine_config *cfg)
{
    g_autofree char *host = NULL;
    uint32_t h = 2166136261u;

    if (cfg->uuid_set)
        return hash(h, cfg->uuid, sizeof(cfg->uuid)) | 1u << 31;
    if (cfg->name)
        return hash(h, cfg->name, strlen(cfg->name)) | 1u << 31;
    if (g_file_get_contents("/etc/machine-id", &host, NULL, NULL))
        h = hash(h, host, strlen(host));
    if (cfg->disks)
        h = hash(h, cfg->disks, strlen(cfg->disks));
    return h | 1u << 31; /* 24 bits are used; not 0 */
}

static void on_request(enum viv_vm_request what, int code, const char *who);

/* On the thread of the CPU that made the access; a monitor's goes to the first one. */
static void send_smi(void *opaque, int all, int level)
{
    struct viv_vcpu *one = viv_vcpu_self ? viv_vcpu_self : viv_vcpus[0];

    for (unsigned i = 0; level && i < viv_vcpu_count; i++) {
        if (all || viv_vcpus[i] == one)
            viv_vcpu_request(viv_vcpus[i], VIV_REQ_SMI);
    }
}

/* Of no use without firmware, and a second map to keep: only there by itself where one runs. */
static int add_smm(const struct viv_machine_config *cfg, struct viv_err *err)
{
    const char *v = cfg->machine_opts ? viv_opts_str(cfg->machine_opts, "smm") : NULL;
    bool on = v && !strcmp(v, "on"), able = cfg->cls->smm && vm.accel->smm;

    if (on && !cfg->cls->smm)
        return viv_fail(err, ENOTSUP, "-machine smm=on: machine %s has no chipset that would use it; pc and q35 have", cfg->cls->name);
    if (on && !able)
        return viv_fail(err, ENOTSUP, "-machine smm=on: there is no system management mode with -accel %s; -accel xlate has it", vm.accel->name);
    if (!able || (!on && v && !strcmp(v, "off")) || (!on && !viv_bios_wanted(cfg)))
        return 0;
    vm.board.smm = viv_space_new_over("smm", vm.board.mem);
    vm.board.smi = (struct viv_irq){send_smi, NULL, 0};
    vm.board.smi_all = (struct viv_irq){send_smi, NULL, 1};
    return 0;
}

int viv_vm_create(const struct viv_machine_config *cfg, struct viv_err *err)
{
    struct viv_accel_env env = {.vcpus = cfg->smp.cpus};
    int rc;

    VIV_ASSERT_DEV_LOCKED();
    vm.cfg = cfg;
    rc = viv_vm_choose_accel(cfg->accels, &vm.accel, &env, err);
    if (rc < 0) {
        viv_opts_free(env.opts);
        return rc;
    }
    vm.board.mem = env.mem = viv_space_new("memory", PHYS_BITS);
    vm.board.io = env.io = viv_space_new("io", IO_BITS);
    vm.board.vm_identity = identity(cfg);
    rc = add_smm(cfg, err);
    env.smm = vm.board.smm;
    if (!rc)
        rc = vm.accel->create(&env, &vm.board.intc, err);
    if (!rc)
        rc = make_cpus(cfg, &env, err);
    if (!rc)
        rc = cfg->cls->build(cfg, &vm.board, err);
    viv_opts_free(env.opts);
    if (rc < 0)
        return rc;
    vm.made = true;
    viv_vm_request_set_handler(on_request);
    viv_vm_event_set_handler(emit);
    return 0;
}

void viv_vm_reset_all(void)
{
    viv_dev_reset_all();
    viv_vcpus_reset();
    if (vm.cfg->cls->reset)
        vm.cfg->cls->reset(vm.cfg, &vm.board);
}

int viv_vm_finish(struct viv_err *err)
{
    int rc = vm.cfg->cls->finish ? vm.cfg->cls->finish(vm.cfg, &vm.board, err) : 0;

    if (!rc)
        rc = viv_machine_add_fw_cfg(vm.cfg, err);
    if (rc < 0)
        return rc;
    vm.board.made = true;
    viv_vm_reset_all();
    return 0;
}

bool viv_vm_exists(void)
{
    return vm.made;
}

static bool halt(enum viv_run_state why)
{
    bool was_running = vm.state == VIV_RUN_RUNNING;

    if (was_running) {
        viv_vcpus_stop();
        viv_guest_clock_stop();
        viv_dev_set_running_all(false);
    }
    vm.state = why;
    return was_running;
}

static bool all_idle(void *unused)
{
    viv_dev_reap();
    return viv_dev_idle_all();
}

bool viv_vm_destroy(void)
{
    if (!vm.made)
        return true;
    viv_memdump_finish();
    viv_vm_save_finish();
    if (vm.state == VIV_RUN_RUNNING)
        halt(VIV_RUN_SHUTDOWN); /* said already: SHUTDOWN */
    viv_timer_free(vm.reset.look);
    vm.reset.look = NULL;
    /* A disk that hangs must not keep the process for ever; nor can its device go. */
    if (!viv_loop_wait_for(all_idle, NULL, 30 * (int64_t)VIV_NS_PER_SEC)) {
        viv_warn("a disk or network request did not end within 30 seconds; leaving it");
        return false;
    }
    viv_vm_request_set_handler(NULL);
    viv_vm_event_set_handler(NULL);
    viv_dev_free_all();
    vm.made = false;
    return true;
}

/* --- running --- */

int viv_vm_cont(struct viv_err *err)
{
    if (vm.state == VIV_RUN_RUNNING)
        return 0;
    if (vm.state == VIV_RUN_SHUTDOWN || vm.state == VIV_RUN_INTERNAL_ERROR)
        return viv_fail(err, EBUSY, "the machine is in state '%s': a system_reset must come first",
                        viv_run_state_name(vm.state));
    if (vm.state == VIV_RUN_INMIGRATE) {
        vm.stays = false;
        return 0;
    }
    if (vm.reset.waits) {
        vm.reset.go = true;
        vm.reset.stop = false;
        return 0;
    }
    /* Another monitor can ask while a save waits for disks. */
    if (vm.state == VIV_RUN_SAVE || vm.state == VIV_RUN_RESTORE)
        return viv_fail(err, EBUSY, "the machine is being saved or loaded");
    vm.state = VIV_RUN_RUNNING;
    emit("RESUME", NULL);
    viv_guest_clock_start();
    viv_dev_set_running_all(true);
    viv_vcpus_start();
    for (int i = VIV_VM_RESET; i <= VIV_VM_SHUTDOWN; i++) {
        if (vm.deferred >> i & 1)
            viv_vm_request(i, i == VIV_VM_RESET && vm.deferred & VIV_VM_WISH_CPUS ? VIV_VM_RESET_CPUS : 0,
                           "asked for before the machine was stopped");
    }
    vm.deferred = 0;
    return 0;
}

void viv_vm_stop(enum viv_run_state why)
{
    if (halt(why))
        emit("STOP", NULL);
}

/* Nothing runs. */
static void reset_now(const char *reason)
{
    bool was_running = vm.state == VIV_RUN_RUNNING;

    emit_cause("RESET", reason);
    viv_dev_unplug_asked();
    vm.deferred = 0;
    viv_vm_requests_drop(1u << VIV_VM_RESET | 1u << VIV_VM_INTERNAL_ERROR);
    viv_vm_reset_all();
    if (was_running) {
        viv_dev_set_running_all(true);
        viv_vcpus_start();
    }
}

static void look(void *unused)
{
    if (!viv_front_idle_all()) {
        viv_timer_set(vm.reset.look, viv_clock_ns(VIV_CLOCK_HOST) + LOOK_NS);
        return;
    }
    vm.reset.waits = false;
    vm.state = vm.reset.then;
    reset_now(vm.reset.reason);
    if (vm.reset.stop)
        viv_vm_pause();
    else if (vm.reset.go)
        viv_vm_cont(NULL);
}

/* Devices wait in their reset for their requests, and nobody is served then. Storage may take its time, or hang: that is waited for
 * first, and meanwhile monitors answer, and the process can be ended. */
void viv_vm_reset(const char *reason)
{
    if (vm.state == VIV_RUN_RUNNING) {
        viv_vcpus_stop();
        viv_dev_set_running_all(false);
    } else if (vm.state == VIV_RUN_SHUTDOWN || vm.state == VIV_RUN_INTERNAL_ERROR) {
        vm.state = VIV_RUN_PAUSED;
    }
    if (viv_front_idle_all()) {
        reset_now(reason);
        return;
    }
    vm.reset.then = vm.state;
    vm.reset.reason = reason;
    vm.reset.waits = true;
    vm.reset.stop = vm.reset.go = false;
    vm.state = VIV_RUN_RESTORE;
    if (!vm.reset.look)
        vm.reset.look = viv_timer_new(VIV_CLOCK_HOST, look, NULL);
    viv_timer_set(vm.reset.look, viv_clock_ns(VIV_CLOCK_HOST) + LOOK_NS);
}

void viv_vm_pause(void)
{
    if (vm.state == VIV_RUN_RUNNING)
        viv_vm_stop(VIV_RUN_PAUSED);
    else if (vm.state == VIV_RUN_INMIGRATE)
        vm.stays = true;
    vm.reset.stop = vm.reset.waits;
    vm.reset.go = false;
}

int viv_vm_cont_loaded(struct viv_err *err)
{
    return vm.stays ? 0 : viv_vm_cont(err);
}

/* A pulse on the CPUs' reset line that the firmware answers by going on where the guest said: chips and memory stay. */
static bool reset_cpus_only(int code)
{
    if (code != VIV_VM_RESET_CPUS || !vm.cfg->cls->resumes || !vm.cfg->cls->resumes(&vm.board))
        return false;
    viv_vcpus_stop();
    viv_vm_requests_drop(1u << VIV_VM_RESET | 1u << VIV_VM_INTERNAL_ERROR); /* of CPUs that should have stood by then */
    viv_vcpus_init();
    viv_vcpus_start();
    return true;
}

int viv_vm_powerdown(struct viv_err *err)
{
    int rc = vm.cfg->cls->powerdown ? vm.cfg->cls->powerdown(&vm.board) : -ENOTSUP;

    if (rc < 0)
        return viv_fail(err, -rc, "machine '%s' has no power button here (it needs ACPI)",
                        vm.cfg->cls->name);
    emit("POWERDOWN", NULL);
    return 0;
}

void viv_vm_quit(int code, const char *reason)
{
    vm.exit_code = code;
    viv_memdump_cancel();
    viv_vm_save_finish();
    emit_cause("SHUTDOWN", reason);
    viv_loop_quit();
}

int viv_vm_exit_code(void)
{
    return vm.exit_code;
}

static const char *const reboot_values[] = {"reset", "shutdown", NULL};
static const char *const shutdown_values[] = {"poweroff", "pause", NULL};
const char *const viv_vm_watchdog_actions[] = {
    [WATCHDOG_RESET] = "reset",
    [WATCHDOG_SHUTDOWN] = "shutdown",
    [WATCHDOG_POWEROFF] = "poweroff",
    [WATCHDOG_PAUSE] = "pause",
    [WATCHDOG_DEBUG] = "debug",
    [WATCHDOG_NONE] = "none",
    [WATCHDOG_NMI] = "inject-nmi",
    NULL,
};
const struct viv_opt_def viv_vm_action_opts[] = {
    {.name = "reboot", .type = VIV_OPT_ENUM, .values = reboot_values},
    {.name = "shutdown", .type = VIV_OPT_ENUM, .values = shutdown_values},
    {.name = "panic", .type = VIV_OPT_REFUSED, .help = "there is no pvpanic device yet"},
    {.name = "watchdog", .type = VIV_OPT_ENUM, .values = viv_vm_watchdog_actions},
    VIV_OPT_END,
};

void viv_vm_set_actions(struct viv_opts *o)
{
    if (viv_opts_given(o, "reboot"))
        vm.no_reboot = !strcmp(viv_opts_str(o, "reboot"), "shutdown");
    if (viv_opts_given(o, "shutdown"))
        vm.no_shutdown = !strcmp(viv_opts_str(o, "shutdown"), "pause");
    if (viv_opts_given(o, "watchdog")) {
        for (int i = 0; viv_vm_watchdog_actions[i]; i++) {
            if (!strcmp(viv_opts_str(o, "watchdog"), viv_vm_watchdog_actions[i]))
                vm.watchdog = i;
        }
    }
}

/* The guest is done: `reason` says how. First SHUTDOWN, then STOP: programs take a STOP by itself for a pause. */
static void guest_ends(const char *reason)
{
    if (!vm.no_shutdown) {
        viv_vm_quit(0, reason);
        return;
    }
    emit_cause("SHUTDOWN", reason);
    viv_vm_stop(VIV_RUN_SHUTDOWN);
}

static void reset_or_end(const char *reason)
{
    if (vm.no_reboot)
        guest_ends(reason);
    else
        viv_vm_reset(reason);
}

int viv_vm_ask_reset(const char *reason, struct viv_err *err)
{
    if (vm.reset.waits)
        return 0; /* it comes */
    if (vm.state == VIV_RUN_SAVE || vm.state == VIV_RUN_RESTORE || vm.state == VIV_RUN_INMIGRATE)
        return viv_fail(err, EBUSY, "the machine is in state '%s'", viv_run_state_name(vm.state));
    reset_or_end(reason);
    return 0;
}

/* The first one counts: a reset that follows another is of CPUs that should have stood by then. */
static unsigned wish(unsigned wishes, enum viv_vm_request what, int code)
{
    if (wishes >> what & 1)
        return wishes;
    return wishes | 1u << what | (what == VIV_VM_RESET && code == VIV_VM_RESET_CPUS ? VIV_VM_WISH_CPUS : 0);
}

/* A message to all CPUs, as the button on a server makes one. */
void viv_vm_nmi(void)
{
    viv_msi_send(vm.board.intc, 0xfee00000u | 0xff << 12, 4 << 8); /* SDM 3A 11.11: destination FFH, delivery mode NMI */
}

/* The power button is pressed where there is one; a guest that hangs will hardly see it. */
static void press_power_button(const char *who)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_vm_powerdown(&err) < 0)
        viv_warn("%s: %s", who, err.text);
    viv_err_clear(&err);
}

/* The event comes before what it tells of. */
static void watchdog_expired(const char *who)
{
    g_autofree char *data = g_strdup_printf("{\"action\": \"%s\"}", viv_vm_watchdog_actions[vm.watchdog]);

    emit("WATCHDOG", data);
    switch (vm.watchdog) {
    case WATCHDOG_RESET: reset_or_end("guest-reset"); break;
    case WATCHDOG_SHUTDOWN: press_power_button(who); break;
    case WATCHDOG_POWEROFF: viv_vm_quit(0, "host-error"); break;
    case WATCHDOG_PAUSE: viv_vm_stop(VIV_RUN_WATCHDOG); break;
    case WATCHDOG_DEBUG: viv_warn("%s: the guest does not serve its watchdog", who); break;
    case WATCHDOG_NMI: viv_vm_nmi(); break;
    case WATCHDOG_NONE: break;
    }
}

/* One that ran out in the last moment before a stop: of what it does, that is a wish of the guest's which saved states know. */
static unsigned watchdog_wish(unsigned wishes)
{
    return vm.watchdog == WATCHDOG_RESET ? wish(wishes, VIV_VM_RESET, VIV_VM_RESET_ALL) : wishes;
}

unsigned viv_vm_guest_wishes(void)
{
    unsigned wishes = vm.deferred, pending = viv_vm_requests_pending();

    for (int i = VIV_VM_RESET; i <= VIV_VM_SHUTDOWN; i++) {
        if (pending >> i & 1)
            wishes = wish(wishes, i, viv_vm_request_code(i));
    }
    if (pending >> VIV_VM_WATCHDOG & 1)
        wishes = watchdog_wish(wishes);
    return wishes;
}

bool viv_vm_knows_wishes(unsigned bits)
{
    return !(bits & ~(VIV_VM_WISHES | VIV_VM_WISH_CPUS)) && (!(bits & VIV_VM_WISH_CPUS) || bits >> VIV_VM_RESET & 1);
}

int viv_vm_set_guest_wishes(unsigned bits)
{
    if (!viv_vm_knows_wishes(bits))
        return -EINVAL;
    vm.deferred = bits;
    return 0;
}

static void on_request(enum viv_vm_request what, int code, const char *who)
{
    /* What a guest asked for in its last moment before a stop belongs to its state: it happens when it runs again,
     * here or where it was loaded. */
    if ((1u << what & VIV_VM_WISHES) && vm.state != VIV_RUN_RUNNING) {
        vm.deferred = wish(vm.deferred, what, code);
        return;
    }
    switch (what) {
    case VIV_VM_RESET:
        if (reset_cpus_only(code))
            break;
        reset_or_end("guest-reset");
        break;
    case VIV_VM_SHUTDOWN:
        guest_ends("guest-shutdown");
        break;
    case VIV_VM_IO_ERROR:
        if (vm.state == VIV_RUN_RUNNING)
            viv_vm_stop(VIV_RUN_IO_ERROR);
        break;
    case VIV_VM_DEBUG:
        if (vm.state == VIV_RUN_RUNNING)
            viv_vm_stop(VIV_RUN_DEBUG);
        break;
    case VIV_VM_INTERNAL_ERROR:
        viv_vm_stop(VIV_RUN_INTERNAL_ERROR);
        break;
    case VIV_VM_WATCHDOG:
        if (vm.state == VIV_RUN_RUNNING)
            watchdog_expired(who);
        else
            vm.deferred = watchdog_wish(vm.deferred);
        break;
    case VIV_VM_QUIT:
        viv_vm_quit(code, !g_strcmp0(who, "isa-debug-exit") ? "guest-shutdown" : "host-ui");
        break;
    }
}
