/* The commands of both monitors: one row each. */
#include "mon/mon_int.h"

#include "accel/accel.h"
#include "block/registry.h"
#include "chr/chr.h"
#include "host/clock.h"
#include "machine/vm.h"
#include "net/net.h"

#include <errno.h>
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
    if (viv_vm_state() == VIV_RUN_RUNNING)
        viv_vm_stop(VIV_RUN_PAUSED);
    return 0;
}

COMMAND(do_cont)
{
    return viv_vm_cont(err);
}

COMMAND(do_reset)
{
    if (viv_vm_state() == VIV_RUN_SAVE || viv_vm_state() == VIV_RUN_INMIGRATE)
        return viv_fail(err, EBUSY, "the machine is in state '%s'", viv_run_state_name(viv_vm_state()));
    viv_vm_reset("host-qmp-system-reset");
    return 0;
}

COMMAND(do_powerdown)
{
    return viv_vm_powerdown(err);
}

COMMAND(do_quit)
{
    viv_vm_quit(0, "host-qmp-quit");
    return 0;
}

/* --- what this is --- */

COMMAND(query_version)
{
    /* Programs look at the version of QEMU whose interface this is. */
    *result = json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", 0, "minor", 2, "major", 7,
                        "package", "Vivarium " VIV_VERSION);
    return 0;
}

static void show_version(const json_t *r, GString *out)
{
    g_string_append(out, "Vivarium " VIV_VERSION "\n");
}

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

        json_array_append_new(
            *result, json_pack("{s:i, s:s, s:i, s:s, s:{s:i, s:i, s:i, s:i}}", "cpu-index", i, "target",
                               "x86_64", "thread-id", viv_vcpus[i]->tid, "qom-path", "", "props", "socket-id",
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

COMMAND(query_commands)
{
    *result = json_array();
    for (const struct viv_mon_cmd *c = viv_mon_cmds; c->hmp || c->qmp; c++) {
        if (c->qmp)
            json_array_append_new(*result, json_pack("{s:s}", "name", c->qmp));
    }
    return 0;
}

/* --- back ends --- */

COMMAND(query_chardev)
{
    *result = json_array();
    for (struct viv_chr *c = viv_chr_next(NULL); c; c = viv_chr_next(c))
        json_array_append_new(*result, json_pack("{s:b, s:s, s:s}", "frontend-open", viv_chr_attached(c),
                                                 "label", viv_chr_id(c), "filename",
                                                 viv_chr_filename(c)));
    return 0;
}

static void show_text(const json_t *r, GString *out)
{
    g_string_append(out, json_string_value(json_object_get(r, "human-readable-text")));
}

static void show_chardev(const json_t *r, GString *out)
{
    size_t i;
    json_t *c;

    json_array_foreach((json_t *)r, i, c)
        g_string_append_printf(out, "%s: filename=%s\n", json_string_value(json_object_get(c, "label")),
                               json_string_value(json_object_get(c, "filename")));
}

COMMAND(query_block)
{
    *result = json_array();
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d)) {
        json_t *row = json_pack("{s:s, s:s, s:b, s:b}", "device", d->id, "type", "unknown", "locked", 0,
                                "removable", 0);

        if (d->blk)
            json_object_set_new(
                row, "inserted",
                json_pack("{s:s, s:s, s:b, s:{s:I}}", "file", viv_blk_filename(d->blk), "drv",
                          viv_blk_format(d->blk), "ro", !viv_blk_writable(d->blk), "image",
                          "virtual-size", (json_int_t)viv_blk_size(d->blk)));
        json_array_append_new(*result, row);
    }
    return 0;
}

static void show_block(const json_t *r, GString *out)
{
    size_t i;
    json_t *d;

    json_array_foreach((json_t *)r, i, d) {
        json_t *in = json_object_get(d, "inserted");

        g_string_append_printf(out, "%s: ", json_string_value(json_object_get(d, "device")));
        if (in)
            g_string_append_printf(out, "%s (%s%s)\n", json_string_value(json_object_get(in, "file")),
                                   json_string_value(json_object_get(in, "drv")),
                                   json_is_true(json_object_get(in, "ro")) ? ", read-only" : "");
        else
            g_string_append(out, "[not inserted]\n");
    }
}

static const char *const ring_formats[] = {"utf8", "base64", NULL};
static const struct viv_opt_def ring_read_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "size", .type = VIV_OPT_INT, .required = true, .min = 1, .max = 64 << 20},
    {.name = "format", .type = VIV_OPT_ENUM, .values = ring_formats, .def = "utf8"},
    VIV_OPT_END,
};

COMMAND(ringbuf_read)
{
    struct viv_chr *c = viv_chr_find(viv_opts_str(o, "device"));
    size_t size = (size_t)viv_opts_int(o, "size"), got = 0;
    g_autofree uint8_t *buf = g_try_malloc(size);
    int rc;

    if (!c)
        return viv_fail(err, ENOENT, "Device '%s' not found", viv_opts_str(o, "device"));
    if (!buf)
        return viv_fail(err, ENOMEM, "no memory for %zu bytes", size);
    rc = viv_chr_ringbuf_read(c, buf, size, &got, err);
    if (rc < 0)
        return rc;
    if (!strcmp(viv_opts_str(o, "format"), "base64")) {
        g_autofree char *text = g_base64_encode(buf, got);

        *result = json_string(text);
    } else {
        g_autofree char *text = g_utf8_make_valid((const char *)buf, (gssize)got);

        *result = json_string(text);
    }
    return 0;
}

static const struct viv_opt_def ring_write_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "data", .type = VIV_OPT_STR, .required = true},
    {.name = "format", .type = VIV_OPT_ENUM, .values = ring_formats, .def = "utf8"},
    VIV_OPT_END,
};

COMMAND(ringbuf_write)
{
    struct viv_chr *c = viv_chr_find(viv_opts_str(o, "device"));
    const char *data = viv_opts_str(o, "data");
    g_autofree guchar *raw = NULL;
    gsize len = strlen(data);

    if (!c)
        return viv_fail(err, ENOENT, "Device '%s' not found", viv_opts_str(o, "device"));
    if (!strcmp(viv_opts_str(o, "format"), "base64"))
        data = (const char *)(raw = g_base64_decode(data, &len));
    return viv_chr_ringbuf_write(c, (const uint8_t *)data, len, err);
}

static const struct viv_opt_def hostfwd_args[] = {
    {.name = "netdev", .type = VIV_OPT_STR, .required = true},
    {.name = "rule", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

/* "hostfwd_add RULE" means the only back end there is, "hostfwd_add ID RULE" names one. */
static int hostfwd(struct viv_opts *o, int (*fn)(struct viv_netdev *, const char *, struct viv_err *),
                   struct viv_err *err)
{
    const char *rule = viv_opts_str(o, "rule"), *id = viv_opts_str(o, "netdev");
    struct viv_netdev *n = rule ? viv_netdev_find(id) : viv_netdev_next(NULL);

    if (!n)
        return viv_fail(err, ENOENT, "there is no netdev%s%s%s", rule ? " '" : "", rule ? id : "",
                        rule ? "'" : "");
    return fn(n, rule ? rule : id, err);
}

COMMAND(hostfwd_add)
{
    return hostfwd(o, viv_netdev_hostfwd_add, err);
}

COMMAND(hostfwd_remove)
{
    return hostfwd(o, viv_netdev_hostfwd_remove, err);
}

/* --- save and load --- */

static struct {
    const char *status; /* NULL: never tried */
    int64_t ms;
    struct viv_err err;
} last_migration;

static const struct viv_opt_def migrate_args[] = {
    {.name = "uri", .type = VIV_OPT_STR, .required = true, .help = "file:PATH"},
    {.name = "detach", .type = VIV_OPT_BOOL, .help = "do not wait"},
    {.name = "blk", .type = VIV_OPT_REFUSED},
    {.name = "inc", .type = VIV_OPT_REFUSED},
    {.name = "resume", .type = VIV_OPT_REFUSED},
    VIV_OPT_END,
};

COMMAND(do_migrate)
{
    int64_t start = viv_clock_ns(VIV_CLOCK_HOST);
    int rc;

    viv_err_clear(&last_migration.err);
    last_migration.status = "active";
    rc = viv_vm_save(viv_opts_str(o, "uri"), &last_migration.err);
    last_migration.status = rc < 0 ? "failed" : "completed";
    last_migration.ms = (viv_clock_ns(VIV_CLOCK_HOST) - start) / 1000000;
    if (rc < 0)
        *err = last_migration.err;
    return rc;
}

COMMAND(query_migrate)
{
    *result = json_object();
    if (!last_migration.status)
        return 0;
    json_object_set_new(*result, "status", json_string(last_migration.status));
    json_object_set_new(*result, "total-time", json_integer(last_migration.ms));
    if (last_migration.err.code)
        json_object_set_new(*result, "error-desc", json_string(last_migration.err.text));
    return 0;
}

static void show_migrate(const json_t *r, GString *out)
{
    const char *status = json_string_value(json_object_get(r, "status"));
    const char *why = json_string_value(json_object_get(r, "error-desc"));

    if (status)
        g_string_append_printf(out, "Migration status: %s%s%s%s\ntotal time: %lld ms\n", status,
                               why ? " (" : "", why ? why : "", why ? ")" : "",
                               (long long)last_migration.ms);
}

static const struct viv_opt_def incoming_args[] = {
    {.name = "uri", .type = VIV_OPT_STR, .required = true, .help = "file:PATH"},
    VIV_OPT_END,
};

COMMAND(migrate_incoming)
{
    int rc;

    if (viv_vm_state() != VIV_RUN_INMIGRATE)
        return viv_fail(err, EBUSY, "'-incoming defer' was not given, or the state is loaded already");
    rc = viv_vm_load(viv_opts_str(o, "uri"), err);
    return rc < 0 ? rc : viv_vm_cont(err);
}

/* --- HMP inside QMP --- */

static const struct viv_opt_def hmp_args[] = {
    {.name = "command-line", .type = VIV_OPT_STR, .required = true},
    {.name = "cpu-index", .type = VIV_OPT_INT, .max = 0},
    VIV_OPT_END,
};

COMMAND(human_command)
{
    GString *out = g_string_new(NULL);

    viv_hmp_run(viv_opts_str(o, "command-line"), out);
    g_string_replace(out, "\n", "\r\n", 0);
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

static const struct viv_opt_def help_args[] = {
    {.name = "command", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

COMMAND(do_help)
{
    const char *about = viv_opts_str(o, "command");
    GString *out = g_string_new(NULL);

    for (const struct viv_mon_cmd *c = viv_mon_cmds; c->hmp || c->qmp; c++) {
        if (!c->hmp || (about && strcmp(c->hmp, about) &&
                        (strcmp(about, "info") || strncmp(c->hmp, "info ", 5))))
            continue;
        g_string_append_printf(out, "%s%s%s -- %s\n", c->hmp, c->hmp_args ? " " : "",
                               c->hmp_args ? c->hmp_args : "", c->help);
    }
    if (!out->len)
        g_string_append_printf(out, "unknown command: '%s'\n", about);
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

const struct viv_mon_cmd viv_mon_cmds[] = {
    {"help", NULL, "[cmd]", help_args, "show the help", do_help},
    {"?", NULL, "[cmd]", help_args, "show the help", do_help},
    {"quit", "quit", NULL, NULL, "quit the emulator", do_quit},
    {"q", NULL, NULL, NULL, "quit the emulator", do_quit},
    {"stop", "stop", NULL, NULL, "stop emulation", do_stop},
    {"s", NULL, NULL, NULL, "stop emulation", do_stop},
    {"cont", "cont", NULL, NULL, "resume emulation", do_cont},
    {"c", NULL, NULL, NULL, "resume emulation", do_cont},
    {"system_reset", "system_reset", NULL, NULL, "reset the system", do_reset},
    {"system_powerdown", "system_powerdown", NULL, NULL, "send system power down event", do_powerdown},
    {"migrate", "migrate", "[-d] uri", migrate_args, "save the machine (\"file:PATH\") and stop it", do_migrate},
    {"migrate_incoming", "migrate-incoming", "uri", incoming_args, "load what -incoming defer waits for",
     migrate_incoming},
    {"ringbuf_read", "ringbuf-read", "device size", ring_read_args, "read from a ring buffer character device",
     ringbuf_read},
    {"ringbuf_write", "ringbuf-write", "device data", ring_write_args,
     "write to a ring buffer character device", ringbuf_write},
    {"hostfwd_add", NULL, "[netdev] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport", hostfwd_args,
     "redirect connections from the host to the guest", hostfwd_add},
    {"hostfwd_remove", NULL, "[netdev] [tcp|udp]:[hostaddr]:hostport", hostfwd_args, "remove a redirection",
     hostfwd_remove},
    {"info status", "query-status", NULL, NULL, "show the current VM status", query_status, show_status},
    {"info version", "query-version", NULL, NULL, "show the version", query_version, show_version},
    {"info name", "query-name", NULL, NULL, "show the current VM name", query_name, show_name},
    {"info uuid", "query-uuid", NULL, NULL, "show the current VM UUID", query_uuid, show_uuid},
    {"info kvm", "query-kvm", NULL, NULL, "show who runs the CPU", query_kvm, show_kvm},
    {"info cpus", "query-cpus-fast", NULL, NULL, "show the CPUs", query_cpus, show_cpus},
    {"info memory_size_summary", "query-memory-size-summary", NULL, NULL, "show the amount of memory",
     query_memory, show_memory},
    {"info block", "query-block", NULL, NULL, "show the disks", query_block, show_block},
    {"info chardev", "query-chardev", NULL, NULL, "show the character devices", query_chardev,
     show_chardev},
    {"info migrate", "query-migrate", NULL, NULL, "show how the last migrate went", query_migrate,
     show_migrate},
    {"info network", NULL, NULL, NULL, "show the network back ends", viv_mon_info_network},
    {"info usernet", NULL, NULL, NULL, "show user network connections", viv_mon_info_usernet},
    {"info qtree", NULL, NULL, NULL, "show the devices", viv_mon_info_qtree},
    {"info mtree", NULL, NULL, NULL, "show the memory map", viv_mon_info_mtree},
    {"info jit", "x-query-jit", NULL, NULL, "show the translator's figures", viv_mon_info_jit, show_text},
    {"info registers", NULL, NULL, NULL, "show the CPU registers", viv_mon_info_registers},
    {NULL, "query-commands", NULL, NULL, "list the commands", query_commands},
    {NULL, "human-monitor-command", NULL, hmp_args, "run an HMP command", human_command},
    {0},
};
