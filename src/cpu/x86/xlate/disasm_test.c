#include "cpu/x86/xlate/disasm.h"

#include "cpu/x86/state.h"

#include <glib.h>
#include <string.h>

/* One byte sequence is three programs. */
static const uint8_t bytes[] = {0x48, 0x89, 0xe5, 0x06};

static char *guest_text(unsigned mode)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    viv_xlate_log_in(f, 0x1000, bytes, sizeof(bytes), mode);
    fclose(f);
    return text;
}

/* First, because loading is for good. */
static void test_silent_before_load(void)
{
    g_autofree char *text = guest_text(VIV_MODE_LONG);

    g_assert_cmpstr(text, ==, "");
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("'%s' is not in:\n%s", part, text);
}

static void test_modes(void)
{
    struct viv_err err = VIV_ERR_INIT;
    g_autofree char *real = NULL, *prot = NULL, *lng = NULL;

    g_assert_cmpint(viv_xlate_disasm_load(&err), ==, 0);
    g_assert_cmpint(viv_xlate_disasm_load(&err), ==, 0);
    real = guest_text(VIV_MODE_REAL);
    prot = guest_text(VIV_MODE_COMPAT32);
    lng = guest_text(VIV_MODE_LONG);
    assert_has(real, "IN: CPU 0, real mode\n0x0000000000001000:  48 ");
    assert_has(real, "dec ax\n0x0000000000001001:  89 e5 ");
    assert_has(real, "mov bp, sp\n");
    assert_has(prot, "dec eax\n");
    assert_has(prot, "mov ebp, esp\n");
    assert_has(prot, "push es\n\n");
    assert_has(lng, "mov rbp, rsp\n");
    /* 06 is no instruction in 64-bit mode. */
    assert_has(lng, "0x0000000000001003:  06 ");
    assert_has(lng, "(bad)\n\n");
}

static void test_out(void)
{
    g_autofree char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    viv_xlate_log_out(f, bytes, 3, 0x7f0000000000);
    fclose(f);
    assert_has(text, "OUT: CPU 0, 3 bytes\n0x00007f0000000000:  48 89 e5 ");
}

static gpointer writer(gpointer f)
{
    for (int i = 0; i < 500; i++)
        viv_xlate_log_in(f, 0x2000, bytes, sizeof(bytes), VIV_MODE_LONG);
    return NULL;
}

/* Entries of two threads into one file stay whole. */
static void test_threads(void)
{
    g_autofree char *text = NULL, *one = NULL;
    size_t len = 0, entry;
    FILE *f = open_memstream(&text, &len);
    GThread *t[2];

    for (int i = 0; i < 2; i++)
        t[i] = g_thread_new("writer", writer, f);
    for (int i = 0; i < 2; i++)
        g_thread_join(t[i]);
    fclose(f);
    entry = len / 1000;
    one = g_strndup(text, entry);
    g_assert_cmpuint(len, ==, entry * 1000);
    for (int i = 0; i < 1000; i++)
        g_assert_cmpmem(text + i * entry, entry, one, entry);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate-log/silent-before-load", test_silent_before_load);
    g_test_add_func("/xlate-log/modes", test_modes);
    g_test_add_func("/xlate-log/out", test_out);
    g_test_add_func("/xlate-log/threads", test_threads);
    return g_test_run();
}
