/* Objects: one registry of ids, changes that are taken or refused whole, what is hidden. */
#include "opt/object.h"

#include <errno.h>
#include <glib.h>

static int made, deleted, changed_to, fail;

static int add(struct viv_opts *o, struct viv_err *err)
{
    made += !fail;
    return fail ? viv_fail(err, EIO, "no") : 0;
}

static int del(const char *id, struct viv_err *err)
{
    deleted += !fail;
    return fail ? viv_fail(err, EBUSY, "in use") : 0;
}

static int change(struct viv_opts *o, struct viv_err *err)
{
    if (fail)
        return viv_fail(err, EINVAL, "no");
    changed_to = (int)viv_opts_int(o, "n") * 100 + viv_opts_bool(o, "b");
    return 0;
}

static const struct viv_opt_def opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    {.name = "n", .type = VIV_OPT_INT, .min = 0, .max = 9},
    {.name = "b", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};
static const struct viv_object_class plain = {.type = "plain", .opts = opts, .add = add, .del = del, .change = change},
                                     stays = {.type = "stays", .opts = opts, .add = add, .hidden = true},
                                     fixed = {.type = "fixed", .opts = opts, .add = add, .fixed = "later is too late"};
static const struct viv_object_class *const classes[] = {&plain, &stays, &fixed, NULL};

static int try(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    int rc = viv_object_add_text("test", text, &err);

    g_assert_true(!rc == !*err.text);
    return rc;
}

static int set(const char *id, const char *text)
{
    struct viv_raw_opts *r = NULL;
    int rc;

    g_assert_cmpint(viv_raw_parse("test", NULL, text, &r, NULL), ==, 0);
    rc = viv_object_change(viv_object_find(id), r, NULL);
    viv_raw_free(r);
    return rc;
}

static void test_ids(void)
{
    g_assert_cmpint(try("plain,id=a"), ==, 0);
    g_assert_cmpint(try("stays,id=a"), ==, -EEXIST);
    for (const char *const *id = (const char *const[]){"", "1", "a b", "a/b", "-a", NULL}; *id; id++) {
        g_autofree char *text = g_strconcat("plain,id=", *id, NULL);

        g_assert_cmpint(try(text), ==, -EINVAL);
    }
    g_assert_cmpint(try("plian,id=b"), ==, -EINVAL);
    g_assert_cmpint(try("fixed,id=b"), ==, -ENOTSUP);
    fail = 1;
    g_assert_cmpint(try("plain,id=b"), ==, -EIO);
    g_assert_null(viv_object_find("b"));
    g_assert_cmpint(viv_object_del("a", NULL), ==, -EBUSY);
    g_assert_nonnull(viv_object_find("a"));
    fail = 0;
    g_assert_cmpint(viv_object_del("a", NULL), ==, 0);
    g_assert_cmpint(viv_object_del("a", NULL), ==, -ENOENT);
    g_assert_cmpint(try("stays,id=a"), ==, 0);
    g_assert_cmpint(viv_object_del("a", NULL), ==, -EBUSY);
    g_assert_null(viv_object_options(viv_object_find("a")));
    viv_object_gone("a");
    g_assert_null(viv_object_next(NULL));
    g_assert_cmpint(made * 10 + deleted, ==, 21);
}

static int value_of(const char *id)
{
    struct viv_opts *o = viv_object_options(viv_object_find(id));
    int n = (int)viv_opts_int(o, "n");

    viv_opts_free(o);
    return n;
}

static void test_change(void)
{
    g_assert_cmpint(try("plain,id=c,b=on,n=1"), ==, 0);
    g_assert_cmpint(set("c", "n=5"), ==, 0);
    g_assert_cmpint(changed_to, ==, 501);
    g_assert_cmpint(value_of("c"), ==, 5);
    g_assert_cmpint(set("c", "n=10"), ==, -ERANGE);
    g_assert_cmpint(set("c", "bogus=1"), ==, -EINVAL);
    fail = 1;
    g_assert_cmpint(set("c", "n=7"), ==, -EINVAL);
    fail = 0;
    g_assert_cmpint(value_of("c"), ==, 5);
    g_assert_cmpint(set("c", "id=d"), ==, 0); /* it stays who it is */
    g_assert_nonnull(viv_object_find("c"));
    g_assert_null(viv_object_find("d"));
    g_assert_cmpint(try("stays,id=s"), ==, 0);
    g_assert_cmpint(set("s", "n=1"), ==, -ENOTSUP);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    viv_objects_use(classes);
    g_test_add_func("/object/ids", test_ids);
    g_test_add_func("/object/change", test_change);
    rc = g_test_run();
    viv_objects_forget();
    return rc;
}
