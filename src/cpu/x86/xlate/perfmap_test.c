#include "cpu/x86/xlate/perfmap.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_of_ours(void)
{
    return g_strdup_printf("/tmp/perf-%d.map", (int)getpid());
}

/* Somebody who guesses the name makes a link: what it points to is not ours to write. */
static void test_link(void)
{
    g_autofree char *path = path_of_ours(), *dir = g_dir_make_tmp("perfmap-XXXXXX", NULL);
    g_autofree char *victim = g_build_filename(dir, "victim", NULL), *text = NULL;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_true(g_file_set_contents(victim, "precious", -1, NULL));
    g_assert_cmpint(symlink(victim, path), ==, 0);
    g_assert_cmpint(viv_xlate_perfmap_open(&err), ==, -EEXIST);
    g_assert_nonnull(strstr(err.text, path));
    viv_xlate_perfmap_add((void *)0x1000, 1, 1); /* nothing is open: nothing happens */
    g_assert_true(g_file_get_contents(victim, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
    g_unlink(path);
    g_unlink(victim);
    g_rmdir(dir);
}

/* What an earlier process of the same id left is replaced; only its owner reads the new one. */
static void test_lines(void)
{
    g_autofree char *path = path_of_ours(), *text = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct stat st;

    g_assert_true(g_file_set_contents(path, "stale\n", -1, NULL));
    g_assert_cmpint(viv_xlate_perfmap_open(&err), ==, 0);
    viv_xlate_perfmap_add((void *)0x7f0000001000, 0x40, 0xffffffff81000000);
    viv_xlate_perfmap_add((void *)0x7f0000001040, 5, 0x7c00);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "7f0000001000 40 guest:0xffffffff81000000\n7f0000001040 5 guest:0x7c00\n");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmphex(st.st_mode & 0777, ==, 0600);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/perfmap/link", test_link);
    g_test_add_func("/perfmap/lines", test_lines);
    return g_test_run();
}
