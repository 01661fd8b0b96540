#include "opt/opt.h"

#include <glib.h>
#include <string.h>

static const char *const modes[] = {"on", "off", "auto", NULL};
static const struct viv_opt_def schema[] = {
    {.name = "type", .type = VIV_OPT_STR},
    {.name = "file", .type = VIV_OPT_STR, .help = "path"},
    {.name = "server", .type = VIV_OPT_BOOL},
    {.name = "wait", .type = VIV_OPT_BOOL, .def = "on"},
    {.name = "count", .type = VIV_OPT_INT, .min = 1, .max = 16, .def = "4"},
    {.name = "wide", .type = VIV_OPT_INT},
    {.name = "size", .type = VIV_OPT_SIZE},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = modes, .def = "auto"},
    {.name = "hostfwd", .type = VIV_OPT_LIST},
    {.name = "cache.direct", .type = VIV_OPT_BOOL},
    {.name = "later", .type = VIV_OPT_REFUSED, .help = "wait for it"},
    VIV_OPT_END,
};

static struct viv_opts *good(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = NULL;

    if (viv_opts_parse("-x", schema, "type", text, &o, &err) < 0)
        g_error("'%s': %s", text, err.text);
    return o;
}

static void bad(const char *text, const char *want)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = NULL;

    g_assert_cmpint(viv_opts_parse("-x", schema, "type", text, &o, &err), <, 0);
    g_assert_null(o);
    g_assert_null(strchr(err.text, '\n'));
    if (!strstr(err.text, want))
        g_error("'%s' gave '%s', wanted '%s'", text, err.text, want);
}

static void test_text(void)
{
    struct viv_opts *o = good("a,,b,file=x,,y=z,server,nowait,count=0x10,size=1.5k,mode=off");

    g_assert_cmpstr(viv_opts_str(o, "type"), ==, "a,b");
    g_assert_cmpstr(viv_opts_str(o, "file"), ==, "x,y=z");
    g_assert_true(viv_opts_bool(o, "server"));
    g_assert_false(viv_opts_bool(o, "wait"));
    g_assert_cmpint(viv_opts_int(o, "count"), ==, 16);
    g_assert_cmpuint(viv_opts_size(o, "size"), ==, 1536);
    g_assert_cmpstr(viv_opts_str(o, "mode"), ==, "off");
    viv_opts_free(o);

    o = good("");
    g_assert_null(viv_opts_str(o, "type"));
    g_assert_true(viv_opts_bool(o, "wait"));
    g_assert_cmpint(viv_opts_int(o, "count"), ==, 4);
    g_assert_cmpstr(viv_opts_str(o, "mode"), ==, "auto");
    g_assert_false(viv_opts_given(o, "count"));
    viv_opts_free(o);

    o = good("file=,file=b,mode,hostfwd=1,hostfwd=2,wide=0xffffffffffffffff");
    g_assert_cmpstr(viv_opts_str(o, "file"), ==, "b");
    g_assert_cmpstr(viv_opts_str(o, "mode"), ==, "on");
    g_assert_cmpuint(viv_opts_list_len(o, "hostfwd"), ==, 2);
    g_assert_cmpstr(viv_opts_list_item(o, "hostfwd", 1), ==, "2");
    g_assert_null(viv_opts_list_item(o, "hostfwd", 2));
    g_assert_cmpint(viv_opts_int(o, "wide"), ==, -1);
    viv_opts_free(o);
}

static void test_json(void)
{
    struct viv_opts *o = good("{\"type\":\"a,b\",\"server\":true,\"count\":3,\"cache\":{\"direct\":true},"
                              "\"hostfwd\":[{\"str\":\"p\"},\"q\"],\"file\":null}");

    g_assert_cmpstr(viv_opts_str(o, "type"), ==, "a,b");
    g_assert_true(viv_opts_bool(o, "server"));
    g_assert_true(viv_opts_bool(o, "cache.direct"));
    g_assert_cmpint(viv_opts_int(o, "count"), ==, 3);
    g_assert_cmpstr(viv_opts_list_item(o, "hostfwd", 0), ==, "p");
    g_assert_cmpstr(viv_opts_list_item(o, "hostfwd", 1), ==, "q");
    g_assert_cmpstr(viv_opts_str(o, "file"), ==, "");
    viv_opts_free(o);
    bad("{\"type\":", "not JSON");
    bad("{\"count\":1.5}", "fraction");
    bad("{\"tipe\":1}", "did you mean 'type'");
}

static void test_errors(void)
{
    bad("t,fiel=x", "-x: unknown option 'fiel'; did you mean 'file'?");
    bad("t,zzzzzzzz=x", "it takes: type, file,");
    bad("t,count=17", "out of range: 1 to 16");
    bad("t,count=-1", "out of range");
    bad("t,count=x", "'x' is not a number");
    bad("t,count=4k", "'4k' is not a number");
    bad("t,size=1Q", "'1Q' is not a size");
    bad("t,size=-1", "'-1' is not a size");
    bad("t,size=16E", "too large");
    bad("t,server=maybe", "neither 'on' nor 'off'");
    bad("t,mode=atuo", "did you mean 'auto'?; possible: on, off, auto");
    bad("t,later=1", "not supported yet: wait for it");
    bad("t,file", "'file' needs a value");
    bad("t,=x", "a name is missing");
    bad("t,noserv", "unknown option 'noserv'");
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t unit, want;
    } ok[] = {
        {"0", 1, 0}, {"512", 1 << 20, 512ull << 20}, {"8G", 1 << 20, 8ull << 30}, {"1.5G", 1, 3ull << 29},
        {"1b", 1 << 20, 1}, {"0x10", 1, 16}, {"7E", 1, 7ull << 60}, {"0.5", 1 << 20, 1 << 19},
        {"1.0000000000000000000000001k", 1, 1024}, {"15.9999E", 1, 0},
    };
    static const char *const no[] = {"", "k", "1kk", "1GB", "0x1k", "1.5", ".5G", "1.", "1e3", " 1", "1 ",
                                     "+1", "18446744073709551616", "16E", "99999999999999999999T", NULL};
    uint64_t v;

    for (size_t i = 0; i < G_N_ELEMENTS(ok); i++) {
        struct viv_err err = VIV_ERR_INIT;

        g_assert_cmpint(viv_parse_size(ok[i].text, ok[i].unit, &v, &err), ==, 0);
        if (ok[i].want || !strcmp(ok[i].text, "0"))
            g_assert_cmpuint(v, ==, ok[i].want);
    }
    for (size_t i = 0; no[i]; i++)
        g_assert_cmpint(viv_parse_size(no[i], 1, &v, NULL), <, 0);
}

static void test_numbers(void)
{
    int64_t i;
    uint64_t u;

    g_assert_cmpint(viv_parse_i64("-9223372036854775808", &i, NULL), ==, 0);
    g_assert_cmpint(i, ==, INT64_MIN);
    g_assert_cmpint(viv_parse_i64("-9223372036854775809", &i, NULL), <, 0);
    g_assert_cmpint(viv_parse_i64("9223372036854775808", &i, NULL), <, 0);
    g_assert_cmpint(viv_parse_u64("18446744073709551615", &u, NULL), ==, 0);
    g_assert_cmpuint(u, ==, UINT64_MAX);
    g_assert_cmpint(viv_parse_u64("18446744073709551616", &u, NULL), <, 0);
    g_assert_cmpint(viv_parse_u64("-1", &u, NULL), <, 0);
    g_assert_cmpint(viv_parse_u64("0x", &u, NULL), <, 0);
}

static void test_nearest(void)
{
    static const char *const words[] = {"-kernel", "-initrd", "-append", "-serial", "-m", "-smp", NULL};

    g_assert_cmpstr(viv_nearest("-kernal", words), ==, "-kernel");
    g_assert_cmpstr(viv_nearest("-apend", words), ==, "-append");
    g_assert_cmpstr(viv_nearest("-smpp", words), ==, "-smp");
    g_assert_cmpstr(viv_nearest("-seiral", words), ==, "-serial");
    g_assert_null(viv_nearest("-frobnicate", words));
    g_assert_null(viv_nearest("", words));
}

static void test_raw(void)
{
    struct viv_raw_opts *r;
    const char *k, *v;
    char *taken;

    g_assert_cmpint(viv_raw_parse("-d", "driver", "e1000,mac=1,mac=2,id=x", &r, NULL), ==, 0);
    g_assert_cmpstr(viv_raw_get(r, "mac"), ==, "2");
    taken = viv_raw_take(r, "mac");
    g_assert_cmpstr(taken, ==, "2");
    g_free(taken);
    g_assert_null(viv_raw_get(r, "mac"));
    g_assert_cmpuint(viv_raw_count(r), ==, 2);
    viv_raw_at(r, 1, &k, &v);
    g_assert_cmpstr(k, ==, "id");
    g_assert_cmpstr(v, ==, "x");
    viv_raw_set(r, "id", "y");
    g_assert_cmpstr(viv_raw_get(r, "id"), ==, "y");
    g_assert_false(viv_raw_help(r));
    viv_raw_free(r);
    g_assert_cmpint(viv_raw_parse("-d", "driver", "e1000,help", &r, NULL), ==, 0);
    g_assert_true(viv_raw_help(r));
    viv_raw_free(r);
}

static void test_used(void)
{
    struct viv_opts *o = good("t,file=x");
    struct viv_err err = VIV_ERR_INIT;

    viv_opts_str(o, "type");
    g_assert_cmpint(viv_opts_check_used(o, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "'file'"));
    viv_opts_str(o, "file");
    g_assert_cmpint(viv_opts_check_used(o, NULL), ==, 0);
    viv_opts_free(o);
}

/* Random text of the grammar's own characters: never a crash, always one line. */
static void test_fuzz(void)
{
    static const char *const bits[] = {"type", "file", "count", "size", "mode", "hostfwd", "on", "=", "=",
                                       ",", ",", ",,", "1", "0x", "G", "{", "}", "\"", ":", "[", "]", "no",
                                       "server", ".", "-", "null", "\x01", "\xff", "cache.direct", "later"};
    GString *s = g_string_new(NULL);

    for (int n = 0; n < 100000; n++) {
        struct viv_err err = VIV_ERR_INIT;
        struct viv_opts *o = NULL;

        g_string_truncate(s, 0);
        for (int k = g_test_rand_int_range(0, 14); k-- > 0;)
            g_string_append(s, bits[g_test_rand_int_range(0, G_N_ELEMENTS(bits))]);
        if (viv_opts_parse("-x", schema, "type", s->str, &o, &err) < 0)
            g_assert_true(err.text[0] && !strchr(err.text, '\n'));
        viv_opts_free(o);
    }
    g_string_free(s, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/opt/text", test_text);
    g_test_add_func("/opt/json", test_json);
    g_test_add_func("/opt/errors", test_errors);
    g_test_add_func("/opt/sizes", test_sizes);
    g_test_add_func("/opt/numbers", test_numbers);
    g_test_add_func("/opt/nearest", test_nearest);
    g_test_add_func("/opt/raw", test_raw);
    g_test_add_func("/opt/used", test_used);
    g_test_add_func("/opt/fuzz", test_fuzz);
    return g_test_run();
}
