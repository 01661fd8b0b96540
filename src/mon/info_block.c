/* info block: what query-block and query-named-block-nodes tell, as text in QEMU's layout. */
#include "mon/mon_int.h"

#include "block/image.h"

#include <string.h>

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static bool true_of(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

/* --- images --- */

static void show_facts(const json_t *facts, unsigned indent, GString *out);

static void show_fact(const char *label, const json_t *v, unsigned indent, GString *out)
{
    g_string_append_printf(out, "%*s%s:", indent, "", label);
    if (json_is_object(v) || json_is_array(v)) {
        g_string_append_c(out, '\n');
        show_facts(v, indent + 4, out);
    } else if (json_is_string(v)) {
        g_string_append_printf(out, " %s\n", json_string_value(v));
    } else if (json_is_integer(v)) {
        g_string_append_printf(out, " %lld\n", (long long)json_integer_value(v));
    } else {
        g_string_append(out, json_is_true(v) ? " true\n" : " false\n");
    }
}

static void show_facts(const json_t *facts, unsigned indent, GString *out)
{
    const char *key;
    json_t *v;

    for (size_t i = 0; i < json_array_size(facts); i++) {
        g_autofree char *label = g_strdup_printf("[%zu]", i);

        show_fact(label, json_array_get(facts, i), indent, out);
    }
    json_object_foreach((json_t *)facts, key, v) {
        g_autofree char *label = g_strdelimit(g_strdup(key), "-", ' ');

        show_fact(label, v, indent, out);
    }
}

static void show_size(const char *label, const json_t *v, bool bytes, GString *out)
{
    char text[32] = "unavailable";

    if (v)
        viv_size_text((uint64_t)json_integer_value(v), text, sizeof(text));
    g_string_append_printf(out, "%s: %s", label, text);
    if (bytes)
        g_string_append_printf(out, " (%lld bytes)", (long long)json_integer_value(v));
    g_string_append_c(out, '\n');
}

static void show_image(const json_t *i, GString *out)
{
    const char *backing = text_of(i, "backing-filename"), *full = text_of(i, "full-backing-filename");
    const json_t *facts = json_object_get(json_object_get(i, "format-specific"), "data");

    g_string_append_printf(out, "image: %s\nfile format: %s\n", text_of(i, "filename"), text_of(i, "format"));
    show_size("virtual size", json_object_get(i, "virtual-size"), true, out);
    show_size("disk size", json_object_get(i, "actual-size"), false, out);
    if (true_of(i, "encrypted"))
        g_string_append(out, "encrypted: yes\n");
    if (true_of(i, "dirty-flag"))
        g_string_append(out, "cleanly shut down: no\n");
    if (json_object_get(i, "cluster-size"))
        g_string_append_printf(out, "cluster_size: %lld\n", (long long)json_integer_value(json_object_get(i, "cluster-size")));
    if (backing)
        g_string_append_printf(out, full && strcmp(full, backing) ? "backing file: %s (actual path: %s)\n" : "backing file: %s\n", backing, full);
    if (backing && text_of(i, "backing-filename-format"))
        g_string_append_printf(out, "backing file format: %s\n", text_of(i, "backing-filename-format"));
    if (facts) {
        g_string_append(out, "Format specific information:\n");
        show_facts(facts, 4, out);
    }
}

/* --- disks and nodes --- */

/* BlockDeviceInfo. */
static void show_medium(const json_t *in, bool verbose, GString *out)
{
    const json_t *cache = json_object_get(in, "cache");

    g_string_append_printf(out, "    Cache mode:       %s%s%s\n", true_of(cache, "writeback") ? "writeback" : "writethrough",
                           true_of(cache, "direct") ? ", direct" : "", true_of(cache, "no-flush") ? ", ignore flushes" : "");
    if (text_of(in, "backing_file"))
        g_string_append_printf(out, "    Backing file:     %s (chain depth: %lld)\n", text_of(in, "backing_file"),
                               (long long)json_integer_value(json_object_get(in, "backing_file_depth")));
    if (strcmp(text_of(in, "detect_zeroes"), "off"))
        g_string_append_printf(out, "    Detect zeroes:    %s\n", text_of(in, "detect_zeroes"));
    viv_mon_show_limits(in, out);
    if (!verbose)
        return;
    g_string_append(out, "\nImages:\n");
    for (const json_t *i = json_object_get(in, "image"); i; i = json_object_get(i, "backing-image"))
        show_image(i, out);
}

static void show_file(const json_t *in, GString *out)
{
    g_string_append_printf(out, ": %s (%s%s%s)\n", text_of(in, "file"), text_of(in, "drv"), true_of(in, "ro") ? ", read-only" : "",
                           true_of(in, "encrypted") ? ", encrypted" : "");
}

/* BlockInfo. */
static void show_disk(const json_t *d, bool verbose, GString *out)
{
    const json_t *in = json_object_get(d, "inserted");
    const char *device = text_of(d, "device"), *status = text_of(d, "io-status");

    if (*device && in)
        g_string_append_printf(out, "%s (%s)", device, text_of(in, "node-name"));
    else
        g_string_append(out, *device ? device : in ? text_of(in, "node-name") : text_of(d, "qdev"));
    if (in)
        show_file(in, out);
    else
        g_string_append(out, ": [not inserted]\n");
    if (text_of(d, "qdev"))
        g_string_append_printf(out, "    Attached to:      %s\n", text_of(d, "qdev"));
    if (status && strcmp(status, "ok"))
        g_string_append_printf(out, "    I/O status:       %s\n", status);
    if (true_of(d, "removable"))
        g_string_append_printf(out, "    Removable device: %slocked, tray %s\n", true_of(d, "locked") ? "" : "not ",
                               true_of(d, "tray_open") ? "open" : "closed");
    if (in)
        show_medium(in, verbose, out);
}

static void show_node(const json_t *n, bool verbose, GString *out)
{
    g_string_append(out, text_of(n, "node-name"));
    show_file(n, out);
    show_medium(n, verbose, out);
}

int viv_mon_info_block(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const char *wanted = viv_opts_str(o, "device");
    bool nodes = viv_opts_bool(o, "nodes"), verbose = viv_opts_bool(o, "verbose");
    g_autoptr(GString) out = g_string_new(NULL);
    json_t *rows = NULL, *row;
    size_t i;

    if (nodes)
        rows = viv_mon_nodes_json(false);
    else
        viv_mon_query_block(NULL, &rows, err);
    json_array_foreach(rows, i, row) {
        if (wanted && strcmp(wanted, text_of(row, nodes ? "node-name" : "device")))
            continue;
        if (out->len)
            g_string_append_c(out, '\n');
        if (nodes)
            show_node(row, verbose, out);
        else
            show_disk(row, verbose, out);
    }
    json_decref(rows);
    *result = json_string(out->str);
    return 0;
}
