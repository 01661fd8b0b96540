/* viv-vm: one virtual machine, one process, QEMU's command line. */
#include "cmd/daemon.h"
#include "cmd/objects.h"
#include "cmd/vm_args.h"

#include "accel/accel.h"
#include "base/log.h"
#include "base/program.h"
#include "block/job.h"
#include "block/options.h"
#include "block/registry.h"
#include "chr/chr.h"
#include "dev/devices.h"
#include "export/export.h"
#include "host/iothread.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/signals.h"
#include "host/thread.h"
#include "machine/vm.h"
#include "mem/backend.h"
#include "mem/ram.h"
#include "machine/vm_snapshot.h"
#include "mon/gdb/gdb.h"
#include "mon/mon.h"
#include "mon/qtest.h"
#include "net/dump.h"
#include "net/announce.h"
#include "net/net.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the program is by the name it was called. */
static const struct {
    const char *name, *machine, *cpu, *accel;
    bool cpu_32bit;
} personalities[] = {
    {.name = "qemu-system-x86_64-microvm", .machine = "microvm"},
    {.name = "qemu-system-i386", .cpu = "qemu32", .cpu_32bit = true},
    {.name = "viv-vm-i386", .cpu = "qemu32", .cpu_32bit = true},
    {.name = "qemu-kvm", .accel = "kvm:tcg"},
    {.name = "kvm", .accel = "kvm:tcg"},
};

static void set_personality(struct vm_args *a, const char *argv0)
{
    g_autofree char *base = g_path_get_basename(argv0);

    g_set_prgname(base);
    a->default_machine = viv_machines()[0]->name;
    a->default_cpu = "qemu64";
    for (size_t i = 0; i < G_N_ELEMENTS(personalities); i++) {
        if (strcmp(personalities[i].name, base))
            continue;
        if (personalities[i].machine)
            a->default_machine = personalities[i].machine;
        if (personalities[i].cpu)
            a->default_cpu = personalities[i].cpu;
        a->default_accel = personalities[i].accel;
        a->cfg.cpu_32bit = personalities[i].cpu_32bit;
    }
}

static int check_daemon(const struct vm_args *a, struct viv_err *err)
{
    if (!a->daemonize)
        return 0;
    if (a->nographic)
        return viv_fail(err, EINVAL, "-daemonize and -nographic exclude each other: use -display none and -serial "
                                     "file:F or unix:P,server,nowait");
    viv_chr_stdio_refuse("-daemonize: stdio is not possible in the background; use file:F, pty or "
                         "unix:P,server,nowait");
    return 0;
}

static void on_signal(int signo, pid_t from)
{
    if (from)
        viv_info("terminating on signal %d (%s) from process %d", signo, strsignal(signo), (int)from);
    viv_vm_quit(0, "host-signal");
}

/* Puts the machine together; device lock held. */
static int assemble(struct vm_args *a, struct viv_err *err)
{
    int rc = vm_set_globals(a, err);

    if (a->incoming)
        viv_net_mac_keep();
    if (!rc)
        rc = vm_make_objects(a, VM_OBJECTS_DEVICES, err);
    if (!rc)
        rc = vm_choose_display(a, err);
    if (!rc)
        rc = vm_make_chardevs(a, err);
    if (!rc)
        rc = viv_vm_create(&a->cfg, err);
    if (!rc) {
        viv_mem_backends_warn();
        rc = vm_make_devices(a, err);
    }
    if (!rc)
        rc = vm_make_displays(a, err);
    if (!rc)
        rc = vm_make_objects(a, VM_OBJECTS_NETWORK, err);
    if (!rc)
        rc = vm_make_monitors(a, err);
    if (!rc)
        rc = viv_vm_finish(err);
    if (rc < 0)
        return rc;
    if (a->gdb && (rc = viv_gdb_start(a->gdb, err)) < 0)
        return rc;
    if (a->qtest && (rc = viv_qtest_start(a->qtest, a->qtest_log, err)) < 0)
        return rc;
    viv_signals_started(); /* there is nothing to wait for any more, and who waits for us to be ready may end us */
    rc = vm_sandbox_seal(a, err); /* saved states are other people's bytes, too */
    if (rc < 0)
        return rc;
    if (a->incoming) {
        viv_vm_set_state(VIV_RUN_INMIGRATE);
        if (!strcmp(a->incoming, "defer")) {
            if (a->paused)
                viv_vm_pause();
            viv_log_release(true);
            return cmd_daemon_ready(err);
        }
        rc = viv_vm_load(a->incoming, err);
    }
    if (a->loadvm)
        rc = viv_vm_snapshot_load(a->loadvm, NULL, err);
    viv_log_release(rc >= 0); /* -daemonize closes stderr now */
    if (!rc)
        rc = cmd_daemon_ready(err);
    if (!rc && !a->paused)
        rc = viv_vm_cont(err);
    return rc;
}

static void end_block_work(void)
{
    struct viv_err err = VIV_ERR_INIT;

    viv_mon_end_io();
    viv_jobs_finish();
    if (viv_exports_finish(&err) < 0)
        viv_error("%s", err.text);
}

/* False: vm_free_displays(). */
static bool take_apart(void)
{
    struct viv_err err = VIV_ERR_INIT;
    bool ok;

    viv_dev_lock();
    end_block_work();
    ok = vm_free_displays();
    if (!viv_vm_destroy())
        vm_leave_hung();
    viv_gdb_free();
    viv_qtest_free();
    viv_mon_free_all();
    end_block_work(); /* what a monitor has begun while the guest's last requests were waited for */
    viv_announce_free_all();
    viv_netdev_free_all();
    viv_dump_free_all();
    viv_chr_free_all();
    viv_dev_unlock();
    viv_iothread_free_all();
    if (viv_drive_free_all(&err) < 0 || viv_blockdev_close_all(&err) < 0)
        viv_error("%s", err.text);
    cmd_objects_free();
    cmd_pidfile_remove();
    return ok;
}

static int run(struct vm_args *a, struct viv_err *err)
{
    int rc = vm_add_fds(a, err);

    if (!rc)
        rc = vm_make_objects(a, VM_OBJECTS_MEMORY, err);
    if (!rc)
        rc = vm_config_fill(a, err);
    if (!rc)
        rc = check_daemon(a, err);
    if (!rc && a->daemonize)
        rc = cmd_daemon_start("-daemonize", err);
    if (!rc)
        rc = vm_sandbox_start(a, err);
    /* Before anything of the other machine's is touched. */
    if (!rc && a->pidfile)
        rc = cmd_pidfile_write("-pidfile", a->pidfile, err);
    if (rc < 0)
        return rc;
    rc = vm_process_start(a, err);
    if (rc < 0)
        return rc;
    viv_thread_name(a->process_name ? a->process_name : "viv-vm");
    viv_signals_init(on_signal);
    viv_ram_early();
    viv_log_hold();
    rc = vm_make_objects(a, VM_OBJECTS_DISKS, err);
    if (!rc)
        rc = vm_open_storage(a, err);
    if (rc < 0) {
        viv_log_release(false);
        return rc;
    }
    vm_config_warn(a);
    vm_use_monitor();
    viv_dev_lock();
    rc = assemble(a, err);
    viv_dev_unlock();
    viv_log_release(rc >= 0);
    if (rc < 0) {
        viv_mem_backends_abandon();
        return rc;
    }
    viv_loop_run();
    return viv_vm_exit_code();
}

int main(int argc, char **argv)
{
    static struct vm_args args;
    struct viv_err err = VIV_ERR_INIT;
    int rc;

    viv_program_init(argv[0], "viv-vm");
    vm_objects_use();
    viv_dev_set_classes(viv_devices);
    set_personality(&args, argv[0]);
    vm_sandbox_defaults(&args);
    rc = vm_args_parse(&args, argc, argv, &err);
    if (rc > 0)
        return 0;
    if (!rc && args.help_about)
        rc = vm_help_print(&args, &err);
    else if (!rc)
        rc = run(&args, &err);
    if (rc < 0)
        viv_error("%s", err.text);
    rc = rc < 0 ? 1 : rc;
    if (!take_apart()) {
        fflush(NULL);
        _exit(rc);
    }
    return rc;
}
