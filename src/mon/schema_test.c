/* The tables of the machine's monitor: they fit together, and what they say of themselves is right. */
#include "mon/form.h"
#include "mon/mon_int.h"
#include "mon/schema.h"

#include <string.h>

static void test_tables(void)
{
    GString *out = g_string_new(NULL);

    viv_schema_problems(out);
    g_assert_cmpstr(out->str, ==, "");
    g_string_free(out, TRUE);
}

/* What a guest can cause as often as it likes is told once a second at most. */
static void test_slow_events(void)
{
    static const char *const at_will[] = {"RTC_CHANGE", "BALLOON_CHANGE", "VSERPORT_CHANGE"};

    for (size_t i = 0; i < G_N_ELEMENTS(at_will); i++) {
        const struct viv_mon_event_def *e;
        struct viv_mon_iter it;

        viv_mon_iter_init(&it);
        do {
            e = viv_mon_next_event(&it);
        } while (e && strcmp(e->name, at_will[i]) != 0);
        if (!e || !e->slow)
            g_error("%s: %s", at_will[i], e ? "not limited" : "in no table");
    }
}

static const struct viv_opt_def opts[] = {
    {.name = "force", .type = VIV_OPT_BOOL},
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = (const char *const[]){"a", "b", NULL}},
    {.name = "cache.direct", .type = VIV_OPT_BOOL},
    {.name = "old", .type = VIV_OPT_REFUSED, .help = "it is gone"},
    VIV_OPT_END,
};

static int nothing(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    return 0;
}

static const struct viv_mon_cmd good = {"t", "t", "[-f] device:drive [-m mode]", opts, "a test", nothing};
static const struct viv_mon_cmd bad[] = {
    {"no_word", NULL, "device what", opts, "a test", nothing},
    {"no_kind", NULL, "device:nonsense", opts, "a test", nothing},
    {"not_said", NULL, "[-f]", opts, "a test", nothing},
    {"no_help", NULL, "device", opts, "", nothing},
    {NULL, "no_type", NULL, NULL, "a test", nothing, .returns = "[Nonsense]"},
    {NULL, "no_handler", NULL, NULL, "a test"},
    {"stop", NULL, NULL, NULL, "a second one", nothing},
    {0},
};

/* A test that cannot fail is none: each mistake is found. */
static void test_mistakes(void)
{
    GString *out = g_string_new(NULL);

    viv_mon_use(bad);
    viv_schema_problems(out);
    for (const struct viv_mon_cmd *c = bad; c->hmp || c->qmp; c++) {
        g_autofree char *line = g_strdup_printf("%s: ", c->hmp ? c->hmp : c->qmp);

        g_assert_nonnull(strstr(out->str, line));
    }
    g_string_free(out, TRUE);
}

static int fill(struct viv_opts *o, const char *line, struct viv_err *err)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);

    *err = (struct viv_err)VIV_ERR_INIT;
    return viv_form_fill(&good, words, o, err);
}

static void test_form(void)
{
    static const struct { const char *line, *part; } wrong[] = {
        {"", "usage: t [-f] device [-m mode]"}, {"x y", "extra argument 'y'"}, {"-z x", "unknown switch '-z'"},
        {"x -m", "its value is missing"}, {"x -m c", "possible: a, b"}, {"-o x", "it is gone"}, {"-force x", "unknown switch"},
    };
    struct viv_opts *o = viv_opts_new("t", opts);
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(fill(o, "-f cd0 -m b", &err), ==, 0);
    g_assert_true(viv_opts_bool(o, "force"));
    g_assert_cmpstr(viv_opts_str(o, "device"), ==, "cd0");
    g_assert_cmpstr(viv_opts_str(o, "mode"), ==, "b");
    viv_opts_free(o);
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        o = viv_opts_new("t", opts);
        g_assert_cmpint(fill(o, wrong[i].line, &err), <, 0);
        g_assert_nonnull(strstr(err.text, wrong[i].part));
        viv_opts_free(o);
    }
}

static void test_check(void)
{
    static const struct { const char *json, *part; } cases[] = {
        {"{}", NULL}, {"{\"device\": \"x\", \"force\": true, \"cache\": {\"direct\": false}}", NULL}, {"{\"unknown\": 1}", NULL},
        {"{\"device\": 5}", "Invalid parameter type for 'device', expected: string"},
        {"{\"force\": \"on\"}", "Invalid parameter type for 'force', expected: boolean"},
        {"{\"mode\": null}", "Invalid parameter type for 'mode', expected: string"},
        {"{\"cache\": true}", "Invalid parameter type for 'cache', expected: object"},
        {"{\"cache\": {\"direct\": 1}}", "Invalid parameter type for 'cache.direct', expected: boolean"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_t *v = json_loads(cases[i].json, 0, NULL);
        struct viv_err err = VIV_ERR_INIT;
        int rc = viv_schema_check(&good, v, &err);

        g_assert_cmpint(rc == 0, ==, cases[i].part == NULL);
        if (cases[i].part)
            g_assert_cmpstr(err.text, ==, cases[i].part);
        json_decref(v);
    }
}

/* Each name that the schema uses it explains, once; tags are members of enums, with a case for each value. */
static void test_query(void)
{
    json_t *all = viv_schema_query(), *t, *x, *by_name = json_object();
    size_t i, k;

    json_array_foreach(all, i, t) {
        g_assert_null(json_object_get(by_name, json_string_value(json_object_get(t, "name"))));
        json_object_set(by_name, json_string_value(json_object_get(t, "name")), t);
    }
    json_array_foreach(all, i, t) {
        static const char *const refs[] = {"arg-type", "ret-type", "element-type"}, *const lists[] = {"members", "variants"};

        for (k = 0; k < G_N_ELEMENTS(refs); k++)
            if ((x = json_object_get(t, refs[k])))
                g_assert_nonnull(json_object_get(by_name, json_string_value(x)));
        for (unsigned l = 0; l < 2; l++)
            json_array_foreach(json_object_get(t, lists[l]), k, x)
                if (strcmp(json_string_value(json_object_get(t, "meta-type")), "enum"))
                    g_assert_nonnull(json_object_get(by_name, json_string_value(json_object_get(x, "type"))));
        if (json_object_get(t, "tag"))
            g_assert_cmpuint(json_array_size(json_object_get(t, "variants")), >, 0);
    }
    json_decref(by_name);
    json_decref(all);
}

static void expect(const char *line, const char *const *answers)
{
    GPtrArray *found = viv_hmp_complete(line);

    for (guint i = 0; i < found->len && answers[i]; i++)
        g_assert_cmpstr(g_ptr_array_index(found, i), ==, answers[i]);
    g_assert_cmpuint(found->len, ==, g_strv_length((char **)answers));
    g_ptr_array_unref(found);
}

static void test_complete(void)
{
    g_autofree char *dir = g_dir_make_tmp(NULL, NULL), *file = g_build_filename(dir, "picture.png", NULL);
    g_autofree char *line = g_strdup_printf("screendump %s/pic", dir), *want = g_strdup_printf("screendump %s", file);

    expect("system_", (const char *[]){"system_powerdown", "system_reset", "system_wakeup", NULL});
    expect("info  ver", (const char *[]){NULL}); /* as typed: one space */
    expect("info ver", (const char *[]){"info version", NULL});
    expect("help info ver", (const char *[]){NULL});
    expect("sendkey ctrl-al", (const char *[]){"sendkey ctrl-alt", "sendkey ctrl-alt_r", NULL});
    expect("sendkey ctrl-alt-f12", (const char *[]){"sendkey ctrl-alt-f12", NULL});
    expect("sendkey ret ", (const char *[]){NULL});
    expect("screendump x.png -f ", (const char *[]){"screendump x.png -f png", "screendump x.png -f ppm", NULL});
    expect("set_link e o", (const char *[]){"set_link e off", "set_link e on", NULL});
    expect("x/4", (const char *[]){NULL});
    expect("nonsense ", (const char *[]){NULL});
    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    expect(line, (const char *[]){want, NULL});
    remove(file);
    remove(dir);
}

static void test_manual(void)
{
    GString *out = g_string_new(NULL);

    viv_schema_manual(out);
    g_assert_nonnull(strstr(out->str, "- `screendump filename [device [head]] [-f format]`: "));
    g_assert_nonnull(strstr(out->str, "### DEVICE_TRAY_MOVED\n"));
    g_assert_nonnull(strstr(out->str, "### StatusInfo\n"));
    g_string_free(out, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    viv_mon_use(viv_mon_people);
    viv_mon_use(viv_mon_common);
    viv_mon_use(viv_mon_chardev);
    viv_mon_use_machine();
    g_test_add_func("/schema/tables", test_tables);
    g_test_add_func("/schema/slow-events", test_slow_events);
    g_test_add_func("/schema/form", test_form);
    g_test_add_func("/schema/check", test_check);
    g_test_add_func("/schema/query", test_query);
    g_test_add_func("/schema/complete", test_complete);
    g_test_add_func("/schema/manual", test_manual);
    g_test_add_func("/schema/mistakes", test_mistakes); /* spoils the tables: last */
    return g_test_run();
}
