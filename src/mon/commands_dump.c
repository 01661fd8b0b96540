/* dump-guest-memory: the guest's memory in a file, for gdb and crash. */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "host/fdname.h"
#include "machine/memdump.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const char *const status_names[] = {
    [VIV_MEMDUMP_NONE] = "none", [VIV_MEMDUMP_ACTIVE] = "active", [VIV_MEMDUMP_COMPLETED] = "completed", [VIV_MEMDUMP_FAILED] = "failed"};
static const char *const formats[] = {[VIV_MEMDUMP_ELF] = "elf", [VIV_MEMDUMP_KDUMP_ZLIB] = "kdump-zlib", NULL};

static json_t *state_json(const struct viv_memdump_state *s)
{
    return json_pack("{s:s, s:I, s:I}", "status", status_names[s->status], "completed", (json_int_t)s->completed, "total", (json_int_t)s->total);
}

static void on_ended(void)
{
    struct viv_memdump_state s;
    g_autofree char *text = NULL;
    json_t *data;

    viv_memdump_get(&s);
    data = json_pack("{s:o}", "result", state_json(&s));
    if (s.status == VIV_MEMDUMP_FAILED)
        json_object_set_new(data, "error", viv_mon_text(s.err.text));
    text = json_dumps(data, 0);
    json_decref(data);
    viv_mon_event("DUMP_COMPLETED", text);
}

static int start(const struct viv_memdump_params *p, bool detach, struct viv_err *err)
{
    int rc = viv_memdump_start(p, on_ended, err);

    return rc || detach ? rc : viv_memdump_wait(err);
}

/* Both or none, and nothing behind the last address. */
static int take_filter(struct viv_opts *o, struct viv_memdump_params *p, struct viv_err *err)
{
    bool begin = viv_opts_given(o, "begin"), length = viv_opts_given(o, "length");

    if (begin != length)
        return viv_fail(err, EINVAL, "Parameter '%s' is missing: begin and length belong together", begin ? "length" : "begin");
    if (!begin)
        return 0;
    p->filter = true;
    p->begin = (uint64_t)viv_opts_int(o, "begin");
    p->length = (uint64_t)viv_opts_int(o, "length");
    return 0;
}

static int check(const struct viv_memdump_params *p, struct viv_err *err)
{
    if (p->format == VIV_MEMDUMP_KDUMP_ZLIB && (p->paging || p->filter))
        return viv_fail(err, EINVAL, "kdump-compressed format doesn't support paging or filter; format 'elf' does");
    return 0;
}

/* --- QMP --- */

static const struct viv_opt_def qmp_args[] = {
    {.name = "paging", .type = VIV_OPT_BOOL, .required = true, .help = "at the addresses that page tables map"},
    {.name = "protocol", .type = VIV_OPT_STR, .required = true, .help = "file:PATH or fd:NAME"},
    {.name = "detach", .type = VIV_OPT_BOOL, .help = "do not wait"},
    {.name = "begin", .type = VIV_OPT_INT, .min = 0, .max = INT64_MAX, .help = "first physical address"},
    {.name = "length", .type = VIV_OPT_INT, .min = 1, .max = INT64_MAX},
    {.name = "format", .type = VIV_OPT_ENUM, .values = formats, .def = "elf", .help = "no kdump-lzo, kdump-snappy, win-dmp"},
    VIV_OPT_END,
};

/* The descriptor is taken last: what is refused leaves it where it was. */
static int take_target(const char *protocol, struct viv_memdump_params *p, struct viv_err *err)
{
    p->path = NULL;
    if (g_str_has_prefix(protocol, "file:")) {
        p->path = protocol + 5;
        return 0;
    }
    if (!g_str_has_prefix(protocol, "fd:"))
        return viv_fail(err, EINVAL, "Invalid parameter 'protocol': '%.60s' is neither file:PATH nor fd:NAME", protocol);
    p->fd_take = viv_fdname_take(protocol + 3, err);
    return p->fd_take < 0 ? p->fd_take : 0;
}

COMMAND(dump_guest_memory)
{
    struct viv_memdump_params p = {.paging = viv_opts_bool(o, "paging"), .fd_take = -1};
    int rc = take_filter(o, &p, err);

    p.format = !strcmp(viv_opts_str(o, "format"), "elf") ? VIV_MEMDUMP_ELF : VIV_MEMDUMP_KDUMP_ZLIB;
    if (!rc)
        rc = check(&p, err);
    if (!rc)
        rc = take_target(viv_opts_str(o, "protocol"), &p, err);
    return rc ? rc : start(&p, viv_opts_bool(o, "detach"), err);
}

COMMAND(query_dump)
{
    struct viv_memdump_state s;

    viv_memdump_get(&s);
    *result = state_json(&s);
    return 0;
}

static void show_dump(const json_t *r, GString *out)
{
    const char *status = json_string_value(json_object_get(r, "status"));
    double total = json_number_value(json_object_get(r, "total"));

    g_string_append_printf(out, "Status: %s\n", status);
    if (!strcmp(status, "active"))
        g_string_append_printf(out, "Finished: %.2f %%\n", total ? 100 * json_number_value(json_object_get(r, "completed")) / total : 0.0);
}

COMMAND(query_capability)
{
    json_t *list = json_array();

    for (size_t i = 0; formats[i]; i++)
        json_array_append_new(list, json_string(formats[i]));
    *result = json_pack("{s:o}", "formats", list);
    return 0;
}

/* --- HMP --- */

static const struct viv_opt_def hmp_args[] = {
    {.name = "paging", .type = VIV_OPT_BOOL},
    {.name = "detach", .type = VIV_OPT_BOOL},
    {.name = "zlib", .type = VIV_OPT_BOOL},
    {.name = "lzo", .type = VIV_OPT_REFUSED, .help = "kdump-lzo is not available; -z compresses with zlib"},
    {.name = "snappy", .type = VIV_OPT_REFUSED, .help = "kdump-snappy is not available; -z compresses with zlib"},
    {.name = "windmp", .type = VIV_OPT_REFUSED, .help = "win-dmp is not available: no guest has a vmcoreinfo device to say where Windows keeps what belongs into it"},
    {.name = "filename", .type = VIV_OPT_STR, .required = true},
    {.name = "begin", .type = VIV_OPT_INT, .min = 0, .max = INT64_MAX},
    {.name = "length", .type = VIV_OPT_INT, .min = 1, .max = INT64_MAX},
    VIV_OPT_END,
};

COMMAND(hmp_dump)
{
    struct viv_memdump_params p = {.path = viv_opts_str(o, "filename"), .paging = viv_opts_bool(o, "paging"), .fd_take = -1,
                                   .format = viv_opts_bool(o, "zlib") ? VIV_MEMDUMP_KDUMP_ZLIB : VIV_MEMDUMP_ELF};
    int rc = take_filter(o, &p, err);

    if (!rc)
        rc = check(&p, err);
    return rc ? rc : start(&p, viv_opts_bool(o, "detach"), err);
}

const struct viv_mon_cmd viv_mon_dump[] = {
    {NULL, "dump-guest-memory", NULL, qmp_args, "write the guest's memory to a file, for gdb and crash", dump_guest_memory},
    {"dump-guest-memory", NULL, "[-p] [-d] [-z] filename:file [begin [length]]", hmp_args,
     "write the guest's memory to a file, for gdb and crash; -p: at the addresses that page tables map, -d: do not wait, -z: compressed, for crash", hmp_dump},
    {"info dump", "query-dump", NULL, NULL, "show how far the last dump has come", query_dump, show_dump, .returns = "DumpQueryResult"},
    {NULL, "query-dump-guest-memory-capability", NULL, NULL, "list the formats of dump-guest-memory", query_capability,
     .returns = "DumpGuestMemoryCapability"},
    {0},
};

const struct viv_mon_event_def viv_mon_dump_events[] = {
    {"DUMP_COMPLETED", "result: DumpQueryResult, error?: str", "dump-guest-memory has ended; error: it has failed"},
    {0},
};
