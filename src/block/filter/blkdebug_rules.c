/* blkdebug's rules, from a configuration file or from options. */
#include "block/filter/blkdebug_int.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define CONFIG_MAX (1u << 20)

const char *const viv_event_names[] = {
    "none",          "l1_update",        "l2_load",       "l2_update",       "read_aio",       "read_backing_aio",
    "read_compressed", "write_aio",      "write_compressed", "cow_read",     "cow_write",      "reftable_load",
    "reftable_update", "refblock_load",  "refblock_update", "refblock_alloc", "cluster_alloc", "cluster_free",
    "flush_to_os",   "flush_to_disk",    "pwritev",       "pwritev_done",    NULL,
};
G_STATIC_ASSERT(G_N_ELEMENTS(viv_event_names) == VIV_EVENTS + 1);

static const char *const io_names[] = {"read", "write", "write-zeroes", "discard", "flush", NULL};

static const struct viv_opt_def inject_opts[] = {
    {"event", VIV_OPT_ENUM, "after which", NULL, viv_event_names, .required = true},
    {"state", VIV_OPT_INT, "in which; 0: in any", "0", .min = 0, .max = INT32_MAX},
    {"errno", VIV_OPT_INT, "what requests fail with (5: EIO)", "5", .min = 1, .max = 4095},
    {"sector", VIV_OPT_INT, "only requests with this sector; -1: all", "-1", .min = -1, .max = INT64_MAX / 512},
    {"once", VIV_OPT_BOOL, "only the first one", "off"},
    {"immediately", VIV_OPT_BOOL, "before anything else is done (always so)", "off"},
    {"iotype", VIV_OPT_ENUM, "only requests of this kind", NULL, io_names},
    VIV_OPT_END,
};

static const struct viv_opt_def state_opts[] = {
    {"event", VIV_OPT_ENUM, "at which", NULL, viv_event_names, .required = true},
    {"state", VIV_OPT_INT, "in which; 0: in any", "0", .min = 0, .max = INT32_MAX},
    {"new_state", VIV_OPT_INT, "the state from then on; it begins with 1", NULL, .min = 1, .max = INT32_MAX, .required = true},
    VIV_OPT_END,
};

int viv_event_find(const char *name)
{
    for (int i = 0; viv_event_names[i]; i++)
        if (!strcmp(viv_event_names[i], name))
            return i;
    return -1;
}

void viv_debug_rules_free(struct debug_rule *r)
{
    while (r) {
        struct debug_rule *next = r->next;

        g_free(r->tag);
        g_free(r);
        r = next;
    }
}

static int add_rule(const char *section, const struct viv_raw_opts *pairs, struct debug_rule **rules, struct viv_err *err)
{
    bool inject = !strcmp(section, "inject-error");
    g_autofree char *what = g_strdup_printf("%s, %s", viv_raw_what(pairs), section);
    struct viv_opts *o = NULL;
    struct debug_rule *r;
    int ret = viv_opts_from_raw(what, inject ? inject_opts : state_opts, pairs, &o, err);

    if (ret)
        return ret;
    r = g_new0(struct debug_rule, 1);
    r->what = inject ? DEBUG_INJECT : DEBUG_SET_STATE;
    r->event = viv_event_find(viv_opts_str(o, "event"));
    r->state = viv_opts_int(o, "state");
    r->io = DEBUG_IO_ALL;
    if (inject) {
        const char *io = viv_opts_str(o, "iotype");

        r->error = viv_opts_int(o, "errno");
        r->sector = viv_opts_int(o, "sector");
        r->once = viv_opts_bool(o, "once");
        for (int i = 0; io && io_names[i]; i++)
            if (!strcmp(io, io_names[i]))
                r->io = i;
    } else {
        r->new_state = viv_opts_int(o, "new_state");
    }
    viv_opts_free(o);
    while (*rules) /* in order: of two set-state rules the later one has the last word */
        rules = &(*rules)->next;
    *rules = r;
    return 0;
}

/* --- the file --- */

/* key = "value", the quotes are optional. */
static int parse_line(char *line, struct viv_raw_opts *pairs, struct viv_err *err)
{
    char *eq = strchr(line, '='), *value;
    size_t len;

    if (!eq)
        return viv_fail(err, EINVAL, "%s: '%.80s' is not key = \"value\"", viv_raw_what(pairs), line);
    *eq = 0;
    value = g_strstrip(eq + 1);
    len = strlen(value);
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value[len - 1] = 0;
        value++;
    }
    viv_raw_set(pairs, g_strstrip(line), value);
    return 0;
}

static int parse_config(const char *path, char **lines, struct debug_rule **rules, struct viv_err *err)
{
    g_autofree char *section = NULL;
    struct viv_raw_opts *pairs = NULL;
    int ret = 0;

    for (; !ret && *lines; lines++) {
        char *line = g_strstrip(*lines);

        if (!*line || *line == '#')
            continue;
        if (*line == '[') {
            ret = section ? add_rule(section, pairs, rules, err) : 0;
            g_free(section);
            viv_raw_free(pairs);
            section = g_strndup(line + 1, strcspn(line + 1, "]"));
            pairs = viv_raw_new(path);
            if (!ret && strcmp(section, "inject-error") && strcmp(section, "set-state"))
                ret = viv_fail(err, EINVAL, "%s: there is no section [%.80s]: inject-error and set-state work", path, section);
        } else {
            ret = section ? parse_line(line, pairs, err)
                          : viv_fail(err, EINVAL, "%s: '%.80s' stands before any section", path, line);
        }
    }
    if (!ret && section)
        ret = add_rule(section, pairs, rules, err);
    viv_raw_free(pairs);
    return ret;
}

int viv_debug_rules_load(const char *path, struct debug_rule **rules, struct viv_err *err)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    GError *why = NULL;
    gsize len;
    int ret;

    if (!g_file_get_contents(path, &text, &len, &why)) {
        ret = viv_fail(err, ENOENT, "Could not read blkdebug config file: %s", why->message);
        g_error_free(why);
        return ret;
    }
    if (len > CONFIG_MAX || strlen(text) != len)
        return viv_fail(err, EINVAL, "blkdebug config file '%s' is no text of at most 1 MiB", path);
    lines = g_strsplit(text, "\n", -1);
    return parse_config(path, lines, rules, err);
}

/* --- options --- */

static int parse_list(struct viv_raw_opts *all, const char *section, struct debug_rule **rules, struct viv_err *err)
{
    int ret = 0;

    for (unsigned i = 0; !ret; i++) {
        g_autofree char *name = g_strdup_printf("%s.%u", section, i);
        struct viv_raw_opts *pairs = viv_raw_take_below(all, name, viv_raw_what(all));

        if (!pairs)
            break;
        ret = add_rule(section, pairs, rules, err);
        viv_raw_free(pairs);
    }
    return ret;
}

int viv_debug_rules_parse(struct viv_raw_opts *all, struct debug_rule **rules, struct viv_err *err)
{
    const char *key, *value;
    int ret = parse_list(all, "inject-error", rules, err);

    if (!ret)
        ret = parse_list(all, "set-state", rules, err);
    if (ret || !viv_raw_count(all))
        return ret;
    viv_raw_at(all, 0, &key, &value);
    return viv_fail(err, EINVAL, "%s: '%.80s' is not inject-error.N.OPTION or set-state.N.OPTION with N from 0 on", viv_raw_what(all), key);
}
