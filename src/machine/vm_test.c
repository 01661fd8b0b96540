/* What a guest asked for and did not get before it was saved; the files that state is saved to. */
#include "machine/vm.h"
#include "machine/vm_stream.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <unistd.h>

static void test_wishes(void)
{
    const unsigned reset = 1u << VIV_VM_RESET, off = 1u << VIV_VM_SHUTDOWN;

    g_assert_cmphex(viv_vm_guest_wishes(), ==, 0);
    g_assert_cmpint(viv_vm_set_guest_wishes(reset | off), ==, 0);
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset | off);
    g_assert_cmpint(viv_vm_set_guest_wishes(VIV_VM_WISH_CPUS), ==, -EINVAL);
    g_assert_cmpint(viv_vm_set_guest_wishes(off | VIV_VM_WISH_CPUS), ==, -EINVAL);
    g_assert_cmpint(viv_vm_set_guest_wishes(1u << VIV_VM_QUIT), ==, -EINVAL);
    /* A reset of the CPUs alone stays one; nobody has acted on it yet. */
    g_assert_cmpint(viv_vm_set_guest_wishes(reset | VIV_VM_WISH_CPUS), ==, 0);
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset | VIV_VM_WISH_CPUS);
    g_assert_cmpint(viv_vm_set_guest_wishes(0), ==, 0);
    viv_vm_request(VIV_VM_RESET, VIV_VM_RESET_CPUS, "test");
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset | VIV_VM_WISH_CPUS);
    g_assert_cmpint(viv_vm_set_guest_wishes(reset), ==, 0); /* the first one counts */
    g_assert_cmphex(viv_vm_guest_wishes(), ==, reset);
    viv_vm_requests_drop(reset);
}

/* --- saved state's file --- */

static char *folder;

static guint in_folder(void)
{
    g_autoptr(GDir) d = g_dir_open(folder, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(d))
        n++;
    return n;
}

static void expect_text(const char *path, const char *want)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, want);
}

/* A save over "earlier": one that is given up before, or after, bytes have gone to the file; and one that ends. */
static void save_over(const char *path, bool in_place)
{
    g_autofree uint8_t *much = g_malloc0(1 << 20);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_vm_stream *s;

    for (int i = 0; i < 3; i++) {
        FILE *f = fopen(path, "w");

        g_assert_true(f && fputs("earlier", f) >= 0 && !fclose(f));
        if (viv_vm_stream_open(path, true, &s, &err))
            g_error("%s", err.text);
        viv_vm_stream_put(s, "new", 3);
        expect_text(path, "earlier");
        if (i == 2) {
            g_assert_cmpint(viv_vm_stream_close(s, &err), ==, 0);
            expect_text(path, "new");
            break;
        }
        if (i)
            viv_vm_stream_put(s, much, 1 << 20);
        viv_vm_stream_drop(s);
        if (!i || !in_place)
            expect_text(path, "earlier");
    }
}

static void test_file(void)
{
    g_autofree char *path = NULL, *real = NULL, *link = NULL, *longest = NULL, *name = g_strnfill(250, 'x');
    struct viv_vm_stream *s;

    folder = g_dir_make_tmp("viv-vm-test-XXXXXX", NULL);
    path = g_build_filename(folder, "state", NULL);
    g_assert_cmpint(viv_vm_stream_open(path, true, &s, NULL), ==, 0);
    viv_vm_stream_put(s, "x", 1);
    viv_vm_stream_drop(s);
    g_assert_cmpuint(in_folder(), ==, 0);
    save_over(path, false);
    g_assert_cmpuint(in_folder(), ==, 1);
    longest = g_build_filename(folder, name, NULL); /* no room for a temporary name */
    save_over(longest, true);
    g_assert_cmpint(g_unlink(longest), ==, 0);
    link = g_build_filename(folder, "link", NULL);
    real = g_build_filename(folder, "real", NULL);
    g_assert_cmpint(rename(path, real), ==, 0);
    g_assert_cmpint(symlink("real", link), ==, 0);
    g_assert_cmpint(viv_vm_stream_open(link, true, &s, NULL), ==, 0);
    viv_vm_stream_put(s, "by link", 7);
    expect_text(real, "new");
    g_assert_cmpint(viv_vm_stream_close(s, NULL), ==, 0);
    expect_text(real, "by link");
    g_assert_cmpuint(in_folder(), ==, 2);
    g_unlink(link);
    g_unlink(real);
    g_rmdir(folder);
    g_free(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm/wishes", test_wishes);
    g_test_add_func("/vm/save/file", test_file);
    return g_test_run();
}
