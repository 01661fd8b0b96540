/* The commands that every program with a monitor has, and the list of all commands: each program puts its own together at
 * its start, from tables. */
#include "mon/command.h"
#include "mon/form.h"
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "base/base64.h"
#include "base/program.h"
#include "chr/chr.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- which commands there are --- */

#define TABLES_MAX 48

static const struct viv_mon_cmd *tables[TABLES_MAX];
static const struct viv_mon_event_def *event_tables[TABLES_MAX];
static void (*type_makers[TABLES_MAX])(void);
static unsigned table_count, event_table_count, type_maker_count;

void viv_mon_use(const struct viv_mon_cmd *table)
{
    g_assert(table_count < TABLES_MAX);
    tables[table_count++] = table;
}

void viv_mon_use_events(const struct viv_mon_event_def *table)
{
    g_assert(event_table_count < TABLES_MAX);
    event_tables[event_table_count++] = table;
}

void viv_mon_use_types(void (*define)(void))
{
    g_assert(type_maker_count < TABLES_MAX);
    type_makers[type_maker_count++] = define;
}

void viv_mon_define_types(void)
{
    for (unsigned i = 0; i < type_maker_count; i++)
        type_makers[i]();
}

static bool is_end(const struct viv_mon_cmd *c)
{
    return !c->hmp && !c->qmp;
}

void viv_mon_iter_init(struct viv_mon_iter *it)
{
    *it = (struct viv_mon_iter){0};
}

const struct viv_mon_cmd *viv_mon_next(struct viv_mon_iter *it)
{
    while (it->table < table_count) {
        const struct viv_mon_cmd *c = &tables[it->table][it->row++];

        if (!is_end(c))
            return c;
        it->table++;
        it->row = 0;
    }
    return NULL;
}

const struct viv_mon_event_def *viv_mon_next_event(struct viv_mon_iter *it)
{
    while (it->table < event_table_count) {
        const struct viv_mon_event_def *e = &event_tables[it->table][it->row++];

        if (e->name)
            return e;
        it->table++;
        it->row = 0;
    }
    return NULL;
}

/* --- what this is --- */

COMMAND(query_version)
{
    /* Programs look at the version of QEMU whose interface this is. */
    *result = json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", VIV_QEMU_MICRO, "minor", VIV_QEMU_MINOR, "major", VIV_QEMU_MAJOR,
                        "package", "Vivarium " VIV_VERSION);
    return 0;
}

static void show_version(const json_t *r, GString *out)
{
    g_string_append(out, "Vivarium " VIV_VERSION "\n");
}

COMMAND(query_commands)
{
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    *result = json_array();
    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (c->qmp)
            json_array_append_new(*result, json_pack("{s:s}", "name", c->qmp));
    }
    return 0;
}

COMMAND(query_schema)
{
    *result = viv_schema_query();
    return 0;
}

/* --- back ends --- */

COMMAND(query_chardev)
{
    *result = json_array();
    for (struct viv_chr *c = viv_chr_next(NULL); c; c = viv_chr_next(c))
        json_array_append_new(*result, json_pack("{s:b, s:s, s:o}", "frontend-open", viv_chr_front_open(c),
                                                 "label", viv_chr_id(c), "filename",
                                                 viv_mon_text(viv_chr_filename(c))));
    return 0;
}

static void show_chardev(const json_t *r, GString *out)
{
    size_t i;
    json_t *c;

    json_array_foreach((json_t *)r, i, c)
        g_string_append_printf(out, "%s: filename=%s\n", json_string_value(json_object_get(c, "label")),
                               json_string_value(json_object_get(c, "filename")));
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
    g_autofree uint8_t *raw = NULL;
    size_t len = strlen(data);
    int rc = 0;

    if (!c)
        return viv_fail(err, ENOENT, "Device '%s' not found", viv_opts_str(o, "device"));
    if (!strcmp(viv_opts_str(o, "format"), "base64"))
        rc = viv_base64_decode(data, len, &raw, &len, err);
    return rc < 0 ? rc : viv_chr_ringbuf_write(c, raw ? raw : (const uint8_t *)data, len, err);
}

/* --- HMP inside QMP --- */

static const struct viv_opt_def hmp_args[] = {
    {.name = "command-line", .type = VIV_OPT_STR, .required = true},
    {.name = "cpu-index", .type = VIV_OPT_INT, .help = "the CPU that it is about"},
    VIV_OPT_END,
};

COMMAND(human_command)
{
    unsigned was = viv_mon_current_cpu();
    int rc = viv_opts_given(o, "cpu-index") ? viv_mon_choose_cpu(viv_opts_int(o, "cpu-index"), err) : 0;
    GString *out;

    if (rc < 0)
        return rc;
    out = g_string_new(NULL);
    viv_hmp_run(viv_opts_str(o, "command-line"), out);
    if (viv_opts_given(o, "cpu-index"))
        viv_mon_choose_cpu(was, err);
    g_string_replace(out, "\n", "\r\n", 0);
    *result = viv_mon_text(out->str);
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
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it))) {
        if (!c->hmp || (about && strcmp(c->hmp, about) &&
                        (strcmp(about, "info") || strncmp(c->hmp, "info ", 5))))
            continue;
        viv_form_usage(c, out);
        g_string_append_printf(out, " -- %s\n", c->help);
    }
    if (!out->len)
        g_string_append_printf(out, "unknown command: '%s'\n", about);
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

const struct viv_mon_cmd viv_mon_common[] = {
    {"ringbuf_read", "ringbuf-read", "device:chardev size", ring_read_args, "read from a ring buffer character device", ringbuf_read,
     .returns = "str"},
    {"ringbuf_write", "ringbuf-write", "device:chardev data", ring_write_args, "write to a ring buffer character device", ringbuf_write},
    {"info version", "query-version", NULL, NULL, "show the version", query_version, show_version, .returns = "VersionInfo"},
    {"info chardev", "query-chardev", NULL, NULL, "show the character devices", query_chardev, show_chardev, .returns = "[ChardevInfo]"},
    {NULL, "query-commands", NULL, NULL, "list the commands", query_commands, .returns = "[CommandInfo]"},
    {NULL, "query-qmp-schema", NULL, NULL, "describe commands, events and their types", query_schema, .returns = "[SchemaInfo]"},
    {0},
};

COMMAND(info_history)
{
    GString *out = g_string_new(NULL);

    viv_hmp_history(out);
    *result = viv_mon_text(out->str);
    g_string_free(out, TRUE);
    return 0;
}

const struct viv_mon_cmd viv_mon_people[] = {
    {"help", NULL, "[command:command]", help_args, "show the help", do_help, .hmp_rest = true},
    {"?", NULL, "[command:command]", help_args, "show the help", do_help, .hmp_rest = true},
    {"info history", NULL, NULL, NULL, "show the lines that were entered before", info_history},
    {NULL, "human-monitor-command", NULL, hmp_args, "run an HMP command", human_command, .returns = "str"},
    {0},
};
