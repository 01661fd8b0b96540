/* The rules of viv-bridge-helper: what is meant, what is refused, and that no random text allows what no line of it allows. */
#include "cmd/bridge_acl.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int parse(struct acl *a, const char *text)
{
    g_autofree char *copy = g_strdup(text);

    *a = (struct acl){.bridge = "br0", .owner = getuid()};
    return acl_parse(a, "conf", copy, strlen(text), 0);
}

static void test_rules(void)
{
    static const struct {
        const char *text;
        int rc;
        bool allows;
    } cases[] = {
        {"", 0, false},
        {"allow br0", 0, true},
        {"allow br0\n", 0, true},
        {"\n\n  \t# allow br0\n", 0, false},
        {"  allow \t br0 \r\n", 0, true},
        {"allow br00\nallow br\nallow BR0\n", 0, false},
        {"allow all\n", 0, true},
        {"allow all\ndeny br0\n", 0, false},
        {"deny br0\nallow br0\n", 0, false},
        {"deny all\nallow br0\n", 0, false},
        {"deny br1\nallow br0\n", 0, true},
        {"allow\n", -EINVAL, false},
        {"allow br0 br1\n", -EINVAL, false},
        {"allow br0 # why\n", -EINVAL, false},
        {"allowed br0\n", -EINVAL, false},
        {"allow br0\nfoo bar\n", -EINVAL, false},
        {"allow br0\nallow a-name-that-is-too-long\n", -EINVAL, false},
        {"allow br0\ninclude other.conf\n", -EINVAL, false},
        {"allow br0\ninclude /nowhere/x.conf\n", -ENOENT, false},
    };
    struct acl a;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].text);
        g_assert_cmpint(parse(&a, cases[i].text), ==, cases[i].rc);
        g_assert_cmpint(acl_allows(&a), ==, cases[i].allows);
        g_assert_cmpint(cases[i].rc != 0, ==, a.wrong[0] != 0);
    }
    a = (struct acl){.bridge = "br0"};
    g_assert_cmpint(acl_parse(&a, "conf", (char[]){"allow br0\n\0deny br0\n"}, 20, 0), ==, -EINVAL);
}

static char *dir;

static char *put(const char *name, const char *text, mode_t mode)
{
    char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, mode), ==, 0);
    return path;
}

static int ask(const char *path, struct acl *a)
{
    *a = (struct acl){.bridge = "br0", .owner = getuid()};
    return acl_read(a, path);
}

static void test_files(void)
{
    g_autofree char *one = put("one", "allow br0\n", 0644), *text = g_strdup_printf("include %s\n", one);
    g_autofree char *main = put("main", text, 0640), *loop, *self = g_strdup_printf("include %s/loop\n", dir);
    g_autofree char *big = g_strnfill(ACL_FILE_MAX + 1, '\n'), *big_path = put("big", big, 0600);
    struct acl a;

    g_assert_cmpint(ask(main, &a), ==, 0);
    g_assert_true(acl_allows(&a));
    g_assert_cmpint(chmod(one, 0646), ==, 0); /* anybody may write it */
    g_assert_cmpint(ask(main, &a), ==, -EPERM);
    g_assert_false(acl_allows(&a));
    g_assert_cmpint(chmod(one, 0644), ==, 0);
    a = (struct acl){.bridge = "br0", .owner = getuid() + 1};
    g_assert_cmpint(acl_read(&a, main), ==, -EPERM);
    g_assert_cmpint(ask(dir, &a), ==, -EINVAL);
    g_assert_cmpint(ask("/nowhere", &a), ==, -ENOENT);
    g_assert_cmpint(ask(big_path, &a), ==, -EFBIG);
    loop = put("loop", self, 0644);
    g_assert_cmpint(ask(loop, &a), ==, -ELOOP);
    if (getuid()) { /* root reads everything */
        g_assert_cmpint(chmod(one, 0), ==, 0);
        g_assert_cmpint(ask(main, &a), ==, 0);
        g_assert_false(acl_allows(&a));
        g_assert_cmpint(ask(one, &a), ==, -EACCES);
        g_assert_cmpint(chmod(one, 0644), ==, 0);
    }
}

/* What the rules mean, said a second way: over whole lines, without looking at how they were split. */
static bool some_line(const char *text, const char *verb, const char *what)
{
    g_autofree char *pattern = g_strdup_printf("^[ \t\r\v\f]*%s[ \t\r\v\f]+%s[ \t\r\v\f]*$", verb, what);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **l = lines; *l; l++) {
        if (g_regex_match_simple(pattern, *l, G_REGEX_RAW | G_REGEX_DOLLAR_ENDONLY, 0))
            return true;
    }
    return false;
}

static void test_random(void)
{
    static const char *const pieces[] = {"allow", "deny", "include", "all", "br0", "br1", " ", " ", " ", "\t", "\n", "\n", "\n",
                                         "#", "/nowhere", "\r", "x", "\xff"};
    unsigned allowed = 0, refused = 0;
    struct acl a;

    for (int round = 0; round < 60000; round++) {
        GString *s = g_string_new(NULL);
        bool want;

        for (int n = g_test_rand_int_range(1, 12); n; n--)
            g_string_append(s, pieces[g_test_rand_int_range(0, G_N_ELEMENTS(pieces))]);
        refused += parse(&a, s->str) < 0;
        want = (some_line(s->str, "allow", "br0") || some_line(s->str, "allow", "all")) &&
               !some_line(s->str, "deny", "br0") && !some_line(s->str, "deny", "all") && !a.wrong[0];
        if (acl_allows(&a) != want)
            g_error("'%s': %d, not %d", s->str, acl_allows(&a), want);
        allowed += want;
        g_string_free(s, TRUE);
    }
    g_assert_cmpuint(allowed, >, 20);
    g_assert_cmpuint(refused, >, 1000);
}

/* Bytes of any kind, in a buffer without room behind it. */
static void test_bytes(void)
{
    struct acl a;

    for (int round = 0; round < 20000; round++) {
        size_t len = g_test_rand_int_range(0, 64);
        char *buf = g_malloc(len + !len);

        for (size_t i = 0; i < len; i++)
            buf[i] = (char)g_test_rand_int_range(0, 256);
        a = (struct acl){.bridge = "br0", .owner = getuid()};
        acl_parse(&a, "conf", buf, len, 0);
        g_assert_false(acl_allows(&a));
        g_free(buf);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *cleanup = NULL;
    int rc;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-acl-XXXXXX", NULL);
    g_test_add_func("/bridge-acl/rules", test_rules);
    g_test_add_func("/bridge-acl/files", test_files);
    g_test_add_func("/bridge-acl/random", test_random);
    g_test_add_func("/bridge-acl/bytes", test_bytes);
    rc = g_test_run();
    for (const char *const *n = (const char *const[]){"one", "main", "loop", "big", NULL}; *n; n++) {
        g_free(cleanup);
        cleanup = g_build_filename(dir, *n, NULL);
        g_unlink(cleanup);
    }
    g_rmdir(dir);
    g_free(dir);
    return rc;
}
