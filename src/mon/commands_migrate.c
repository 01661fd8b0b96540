/* Saving the machine to a file, in the words of migration: migrate, what it can do (capabilities) and how (parameters). */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "machine/vm.h"
#include "net/announce.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- capabilities --- */

static const char live[] = "memory is not sent while the guest runs: it stands while it is saved";
static const char alone[] = "nobody is at the other end of a file";
static const char disks[] = "disks stay where they are: they are not part of what is saved";
static const char experimental[] = "experimental in QEMU";

/* All that QEMU 7.2 knows: programs look whether one is in the list. */
static struct {
    const char *name, *refused; /* NULL: we have it */
    bool on;
} capabilities[] = {
    {"xbzrle", live}, {"rdma-pin-all", alone}, {"auto-converge", live}, {"zero-blocks", disks},
    {"compress", "pages are written as they are, those of zeroes not at all"}, {"events", NULL}, {"postcopy-ram", live}, {"x-colo", experimental},
    {"release-ram", "memory is kept: the guest may go on"}, {"block", disks}, {"return-path", alone}, {"pause-before-switchover", live}, {"multifd", alone},
    {"dirty-bitmaps", "bitmaps that are to stay are persistent ones, in their images"}, {"postcopy-blocktime", live}, {"late-block-activate", live},
    {"x-ignore-shared", experimental}, {"validate-uuid", "a UUID is not part of what is saved"}, {"background-snapshot", live},
    {"zero-copy-send", alone}, {"postcopy-preempt", live},
};
enum { EVENTS = 5 };

static void tell(const char *status)
{
    g_autofree char *data = g_strdup_printf("{\"status\": \"%s\"}", status);

    if (capabilities[EVENTS].on)
        viv_mon_event("MIGRATION", data);
}

static int find_capability(const char *name, struct viv_err *err)
{
    for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++)
        if (!strcmp(capabilities[i].name, name))
            return (int)i;
    return viv_fail(err, EINVAL, "invalid parameter value: %.60s (info migrate_capabilities lists them)", name);
}

static int check_capability(const char *name, bool on, struct viv_err *err)
{
    int i = find_capability(name, err);

    if (i >= 0 && on && capabilities[i].refused)
        return viv_fail(err, ENOTSUP, "capability '%s' cannot be turned on: %s", name, capabilities[i].refused);
    return i;
}

COMMAND(query_capabilities)
{
    *result = json_array();
    for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++)
        json_array_append_new(*result, json_pack("{s:s, s:b}", "capability", capabilities[i].name, "state", capabilities[i].on));
    return 0;
}

static void show_capabilities(const json_t *r, GString *out)
{
    for (size_t i = 0; i < json_array_size(r); i++) {
        const json_t *c = json_array_get(r, i);

        g_string_append_printf(out, "%s: %s\n", json_string_value(json_object_get(c, "capability")),
                               json_is_true(json_object_get(c, "state")) ? "on" : "off");
    }
}

/* First all are checked, then all are set. */
static int set_capabilities(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    bool next[G_N_ELEMENTS(capabilities)];
    char *name;

    for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++)
        next[i] = capabilities[i].on;
    for (size_t i = 0; i <= viv_raw_count(raw); i++) {
        g_autofree char *name_key = g_strdup_printf("capabilities.%zu.capability", i), *state_key = g_strdup_printf("capabilities.%zu.state", i);
        g_autofree char *state = viv_raw_take(raw, state_key);
        bool on = false;
        int n;

        name = viv_raw_take(raw, name_key);
        if (!name)
            break;
        n = viv_parse_bool(state, &on, err);
        if (!n)
            n = check_capability(name, on, err);
        g_free(name);
        if (n < 0)
            return n;
        next[n] = on;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++)
        capabilities[i].on = next[i];
    return 0;
}

static const struct viv_opt_def capability_args[] = {
    {.name = "capability", .type = VIV_OPT_STR, .required = true},
    {.name = "state", .type = VIV_OPT_BOOL, .required = true},
    VIV_OPT_END,
};

COMMAND(set_capability)
{
    bool on = viv_opts_bool(o, "state");
    int i = check_capability(viv_opts_str(o, "capability"), on, err);

    if (i < 0)
        return i;
    capabilities[i].on = on;
    return 0;
}

/* --- parameters --- */

#define NO_LIMIT (1ll << 60) /* bytes a second: more than any file takes */

static int64_t max_bandwidth = INT64_MAX;

static const char no_live[] = "the machine stands while it is saved, for as long as that takes";
static const char no_compression[] = "pages are written as they are";
static const char no_peer[] = "nobody is at the other end of a file";
#define REFUSED(n, why) {.name = n, .type = VIV_OPT_REFUSED, .help = why}
#define NUMBER(n, most, text) {.name = n, .type = VIV_OPT_INT, .min = 0, .max = most, .help = text}

static const struct viv_opt_def parameters[] = {
    NUMBER("announce-initial", 100000, "ms between the first two frames by which network cards say where they are, once a saved machine runs"),
    NUMBER("announce-max", 100000, "ms between two of them at most"),
    NUMBER("announce-rounds", 1000, "how many"),
    NUMBER("announce-step", 10000, "ms more each time"),
    NUMBER("max-bandwidth", INT64_MAX, "bytes a second; the machine stands meanwhile, so there is no limit but that of the file"),
    REFUSED("compress-level", no_compression), REFUSED("compress-threads", no_compression), REFUSED("compress-wait-thread", no_compression),
    REFUSED("decompress-threads", no_compression), REFUSED("throttle-trigger-threshold", no_live), REFUSED("cpu-throttle-initial", no_live),
    REFUSED("cpu-throttle-increment", no_live), REFUSED("cpu-throttle-tailslow", no_live), REFUSED("max-cpu-throttle", no_live),
    REFUSED("tls-creds", no_peer), REFUSED("tls-hostname", no_peer), REFUSED("tls-authz", no_peer), REFUSED("downtime-limit", no_live),
    REFUSED("x-checkpoint-delay", no_live), REFUSED("block-incremental", no_live), REFUSED("multifd-channels", no_peer),
    REFUSED("multifd-compression", no_peer), REFUSED("multifd-zlib-level", no_peer), REFUSED("multifd-zstd-level", no_peer),
    REFUSED("xbzrle-cache-size", no_live), REFUSED("max-postcopy-bandwidth", no_live), REFUSED("block-bitmap-mapping", no_live),
    VIV_OPT_END,
};

/* The places of the numbers, in their order. */
static int64_t *place(size_t i)
{
    int64_t *const places[] = {&viv_announce_defaults.initial_ms, &viv_announce_defaults.max_ms, &viv_announce_defaults.rounds,
                               &viv_announce_defaults.step_ms, &max_bandwidth};

    return i < G_N_ELEMENTS(places) ? places[i] : NULL;
}

COMMAND(set_parameters)
{
    if (viv_opts_given(o, "max-bandwidth") && viv_opts_int(o, "max-bandwidth") < NO_LIMIT)
        return viv_fail(err, ENOTSUP, "max-bandwidth: the machine stands while it is saved, which goes as fast as the file takes it; what means that "
                        "there is no limit can be set: %lld and more", NO_LIMIT);
    for (size_t i = 0; place(i); i++)
        if (viv_opts_given(o, parameters[i].name))
            *place(i) = viv_opts_int(o, parameters[i].name);
    return 0;
}

COMMAND(query_parameters)
{
    *result = json_object();
    for (size_t i = 0; place(i); i++)
        json_object_set_new(*result, parameters[i].name, json_integer(*place(i)));
    return 0;
}

static void show_parameters(const json_t *r, GString *out)
{
    for (size_t i = 0; place(i); i++) {
        const char *name = parameters[i].name, *unit = !strcmp(name, "announce-rounds") ? "" : !strcmp(name, "max-bandwidth") ? " bytes/second" : " ms";

        g_string_append_printf(out, "%s: %" JSON_INTEGER_FORMAT "%s\n", name, json_integer_value(json_object_get(r, name)), unit);
    }
}

static const struct viv_opt_def parameter_args[] = {
    {.name = "parameter", .type = VIV_OPT_STR, .required = true},
    {.name = "value", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

/* People say bandwidths in MiB, or with a suffix. */
static int number_text(const char *name, const char *text, char **out, struct viv_err *err)
{
    uint64_t bytes;
    int rc = strcmp(name, "max-bandwidth") ? 1 : viv_parse_size(text, 1 << 20, &bytes, err);

    if (rc >= 0)
        *out = rc ? g_strdup(text) : g_strdup_printf("%" PRIu64, MIN(bytes, (uint64_t)INT64_MAX));
    return rc < 0 ? rc : 0;
}

COMMAND(set_parameter)
{
    struct viv_opts *one = viv_opts_new("migrate_set_parameter", parameters);
    const char *name = viv_opts_str(o, "parameter");
    g_autofree char *value = NULL;
    int rc = number_text(name, viv_opts_str(o, "value"), &value, err);

    if (!rc)
        rc = viv_opts_set(one, name, value, err);
    if (!rc)
        rc = set_parameters(one, result, err);
    viv_opts_free(one);
    return rc;
}

/* --- save and load --- */

static const char *const status_names[] = {[VIV_SAVE_ACTIVE] = "active", [VIV_SAVE_COMPLETED] = "completed", [VIV_SAVE_FAILED] = "failed",
                                            [VIV_SAVE_CANCELLED] = "cancelled"};
/* The last one did not begin. */
static struct viv_err refused;

static const struct viv_opt_def migrate_args[] = {
    {.name = "uri", .type = VIV_OPT_STR, .required = true, .help = "file:PATH or fd:NAME"},
    {.name = "detach", .type = VIV_OPT_BOOL, .help = "do not wait"},
    {.name = "blk", .type = VIV_OPT_BOOL, .help = "off: disks stay where they are"},
    {.name = "inc", .type = VIV_OPT_BOOL, .help = "off"},
    {.name = "resume", .type = VIV_OPT_BOOL, .help = "off: what failed is begun anew"},
    VIV_OPT_END,
};

static int check_args(struct viv_opts *o, struct viv_err *err)
{
    static const char *const off[] = {"blk", "inc", "resume"};

    for (size_t i = 0; i < G_N_ELEMENTS(off); i++)
        if (viv_opts_bool(o, off[i]))
            return viv_fail(err, ENOTSUP, "migrate: %s=on: %s; leave it out", off[i], i < 2 ? disks : "a save that failed is begun anew");
    return 0;
}

static void on_ended(void)
{
    struct viv_save_progress p;

    viv_vm_save_get(&p);
    tell(status_names[p.status]);
}

COMMAND(do_migrate)
{
    struct viv_save_progress p;
    int rc = check_args(o, err);

    viv_vm_save_get(&p);
    if (!rc && p.status == VIV_SAVE_ACTIVE) /* of which query-migrate tells */
        rc = viv_fail(err, EBUSY, "the machine is being saved already; migrate_cancel ends that");
    if (rc < 0)
        return rc;
    tell("setup");
    tell("active");
    rc = viv_vm_save_start(viv_opts_str(o, "uri"), on_ended, err);
    viv_err_clear(&refused);
    if (rc < 0) {
        refused = *err;
        tell("failed");
    }
    return rc || viv_opts_bool(o, "detach") ? rc : viv_vm_save_wait(err);
}

COMMAND(migrate_cancel)
{
    viv_vm_save_cancel();
    return 0;
}

/* "duplicate" and the like count pages of a transfer to a machine that runs; of those that a save has there is the one pass. */
static json_t *ram_json(const struct viv_save_progress *p)
{
    return json_pack("{s:I, s:I, s:I}", "transferred", (json_int_t)p->sent, "remaining", (json_int_t)(p->ram - p->ram_done), "total",
                     (json_int_t)p->ram);
}

COMMAND(query_migrate)
{
    struct viv_save_progress p;
    const struct viv_err *why = &refused;

    viv_vm_save_get(&p);
    *result = json_object();
    if (!refused.code) {
        if (p.status == VIV_SAVE_NONE)
            return 0;
        why = &p.err;
        json_object_set_new(*result, "total-time", json_integer(p.ms));
        json_object_set_new(*result, "ram", ram_json(&p));
    }
    json_object_set_new(*result, "status", json_string(refused.code ? "failed" : status_names[p.status]));
    if (refused.code || p.status == VIV_SAVE_FAILED)
        json_object_set_new(*result, "error-desc", viv_mon_text(why->text));
    return 0;
}

static void show_migrate(const json_t *r, GString *out)
{
    const char *status = json_string_value(json_object_get(r, "status"));
    const char *why = json_string_value(json_object_get(r, "error-desc"));
    const json_t *ram = json_object_get(r, "ram");

    if (!status)
        return;
    g_string_append_printf(out, "Migration status: %s%s%s%s\n", status, why ? " (" : "", why ? why : "", why ? ")" : "");
    if (!ram)
        return;
    g_string_append_printf(out, "total time: %lld ms\n", (long long)json_integer_value(json_object_get(r, "total-time")));
    for (const char *const *key = (const char *const[]){"transferred", "remaining", "total", NULL}; *key; key++)
        g_string_append_printf(out, "%s ram: %lld kbytes\n", *key, (long long)json_integer_value(json_object_get(ram, *key)) >> 10);
}

static const struct viv_opt_def incoming_args[] = {
    {.name = "uri", .type = VIV_OPT_STR, .required = true, .help = "file:PATH or fd:NAME"},
    VIV_OPT_END,
};

COMMAND(migrate_incoming)
{
    int rc;

    if (viv_vm_state() != VIV_RUN_INMIGRATE)
        return viv_fail(err, EBUSY, "'-incoming defer' was not given, or the state is loaded already");
    tell("setup");
    tell("active");
    rc = viv_vm_load(viv_opts_str(o, "uri"), err);
    tell(rc < 0 ? "failed" : "completed");
    return rc < 0 ? rc : viv_vm_cont_loaded(err);
}

const struct viv_mon_cmd viv_mon_migrate[] = {
    {"migrate", "migrate", "[-d] uri", migrate_args, "save the machine (\"file:PATH\", \"fd:NAME\") and stop it", do_migrate},
    {"migrate_cancel", "migrate_cancel", NULL, NULL, "end a migrate that is under way; the machine goes on as before", migrate_cancel},
    {"migrate_incoming", "migrate-incoming", "uri", incoming_args, "load what -incoming defer waits for", migrate_incoming},
    {"info migrate", "query-migrate", NULL, NULL, "show how the last migrate went", query_migrate, show_migrate, .returns = "MigrationInfo"},
    {"info migrate_capabilities", "query-migrate-capabilities", NULL, NULL, "show which capabilities are on", query_capabilities, show_capabilities,
     .returns = "[MigrationCapabilityStatus]"},
    {.qmp = "migrate-set-capabilities", .help = "switch capabilities: only 'events' can be turned on", .raw = set_capabilities,
     .takes = "MigrateSetCapabilitiesArguments"},
    {"migrate_set_capability", NULL, "capability state:switch", capability_args, "switch a capability: only 'events' can be turned on", set_capability},
    {"info migrate_parameters", "query-migrate-parameters", NULL, NULL, "show the parameters", query_parameters, show_parameters,
     .returns = "MigrationParameters"},
    {NULL, "migrate-set-parameters", NULL, parameters, "set parameters: those of the announcement when a saved machine runs", set_parameters},
    {"migrate_set_parameter", NULL, "parameter value", parameter_args, "set a parameter: those of the announcement when a saved machine runs", set_parameter},
    {0},
};

const struct viv_mon_event_def viv_mon_migrate_events[] = {
    {"MIGRATION", "status: MigrationStatus", "migrate or migrate-incoming has come so far, with capability 'events'"},
    {0},
};
