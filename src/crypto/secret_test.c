/* Secrets: forms, encrypted ones (made by openssl enc), and what is refused. */
#include "crypto/secret.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

static int add(const char *text, struct viv_err *err)
{
    struct viv_opts *o = NULL;
    int ret = viv_opts_parse("secret", viv_secret_opts, NULL, text, &o, err);

    if (!ret)
        ret = viv_secret_add(o, err);
    viv_opts_free(o);
    return ret;
}

/* `want` NULL: refused, and the error says `says`. */
static void expect(const char *text, const char *want, size_t want_len, const char *says)
{
    struct viv_err err = VIV_ERR_INIT;
    int ret = add(text, &err);
    uint8_t *got;
    size_t len;

    if (!want) {
        g_assert_cmpint(ret, <, 0);
        if (!strstr(err.text, says))
            g_error("'%s' gave '%s', wanted '%s'", text, err.text, says);
        return;
    }
    if (ret)
        g_error("'%s': %s", text, err.text);
    g_assert_cmpint(viv_secret_get("s", &got, &len, &err), ==, 0);
    g_assert_cmpmem(got, len, want, want_len);
    g_assert_cmpint(got[len], ==, 0);
    viv_secret_free(got, len);
    g_assert_cmpint(viv_secret_del("s", &err), ==, 0);
    g_assert_cmpint(viv_secret_del("s", &err), ==, -ENOENT);
}

static void test_forms(void)
{
    expect("id=s,data=let,,me=in", "let,me=in", 9, NULL);
    expect("id=s,data=", "", 0, NULL);
    expect("id=s,data= x\n,format=raw", " x\n", 3, NULL);
    expect("id=s,format=base64,data=AP8A\nAQ==\n", "\0\377\0\1", 4, NULL);
    expect("id=s,format=base64,data=", "", 0, NULL);
    expect("id=s,format=base64,data=\n", "", 0, NULL);
    expect("id=s", NULL, 0, "Either 'file' or 'data'");
    expect("data=x", NULL, 0, "id");
    expect("id=s,data=x,file=y", NULL, 0, "mutually exclusive");
    expect("id=s,data=x,format=hex", NULL, 0, "hex");
    expect("id=s,data=x!!y,format=base64", NULL, 0, "invalid characters (byte 1)");
    expect("id=s,data=AAA,format=base64", NULL, 0, "cut off");
    expect("id=s,data=A===,format=base64", NULL, 0, "two at most");
    expect("id=s,data=AA==AAAA,format=base64", NULL, 0, "after its padding");
    expect("id=s,file=/nonexistent/x", NULL, 0, "/nonexistent/x");
}

static void test_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-secret-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL), *big = g_malloc0((1 << 20) + 1);
    g_autofree char *text = g_strdup_printf("id=s,file=%s", path);
    g_autofree char *coded = g_strdup_printf("id=s,format=base64,file=%s", path);

    g_assert_true(g_file_set_contents(path, "letmein\n\0x", 10, NULL));
    expect(text, "letmein\n\0x", 10, NULL); /* as it is */
    g_assert_true(g_file_set_contents(path, "bGV0bWVpbg==\n", -1, NULL));
    expect(coded, "letmein", 7, NULL);
    g_assert_true(g_file_set_contents(path, big, 1 << 20, NULL));
    expect(text, big, 1 << 20, NULL);
    g_assert_true(g_file_set_contents(path, big, (1 << 20) + 1, NULL));
    expect(text, NULL, 0, "no secret is");
    g_unlink(path);
    g_rmdir(dir);
}

/* printf letmein | openssl enc -aes-256-cbc -a -K 000102...1e1f -iv f0f1...feff */
#define KEY    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define IV     "8PHy8/T19vf4+fr7/P3+/w=="
#define CODED  "yCQNd5rVsSt/rF//LDxyMg=="
#define CODED2 "zZURRsx0BGpWyTow5KfNUOVkSxR0IMsJAinWx7kO1hY="

static void test_encrypted(void)
{
    struct viv_err err = VIV_ERR_INIT;

    expect("id=s,format=base64,data=" CODED ",keyid=key,iv=" IV, NULL, 0, "No secret with id 'key'");
    g_assert_cmpint(add("id=key,format=base64,data=" KEY, &err), ==, 0);
    g_assert_cmpint(add("id=short,data=x", &err), ==, 0);
    expect("id=s,format=base64,data=" CODED ",keyid=key,iv=" IV, "letmein", 7, NULL);
    expect("id=s,format=base64,data=" CODED2 ",keyid=key,iv=" IV, "0123456789abcdef", 16, NULL);
    expect("id=s,format=base64,data=" CODED ",keyid=key", NULL, 0, "IV is required");
    expect("id=s,format=base64,data=" CODED ",iv=" IV, NULL, 0, "keyid= is missing");
    expect("id=s,format=base64,data=" CODED ",keyid=key,iv=AAAA", NULL, 0, "not 3");
    expect("id=s,format=base64,data=" CODED ",keyid=short,iv=" IV, NULL, 0, "32 bytes");
    expect("id=s,format=base64,data=AAAA,keyid=key,iv=" IV, NULL, 0, "no multiple of 16");
    expect("id=s,format=base64,data=,keyid=key,iv=" IV, NULL, 0, "padding");
    expect("id=s,format=base64,data=AAAAAAAAAAAAAAAAAAAAAA==,keyid=key,iv=" IV, NULL, 0, "padding");
    g_assert_cmpint(add("id=key,data=x", &err), ==, -EEXIST);
    viv_secret_free_all();
}

static void test_text(void)
{
    struct viv_err err = VIV_ERR_INIT;
    char *text;

    g_assert_cmpint(viv_secret_get_text("a", &text, &err), ==, -ENOENT);
    g_assert_nonnull(strstr(err.text, "--object secret,id=a"));
    viv_err_clear(&err);
    g_assert_cmpint(add("id=a,data=pässword", &err), ==, 0);
    g_assert_cmpint(add("id=b,format=base64,data=/w==", &err), ==, 0);
    g_assert_cmpint(add("id=c,format=base64,data=YQBi", &err), ==, 0);
    g_assert_cmpint(viv_secret_get_text("a", &text, &err), ==, 0);
    g_assert_cmpstr(text, ==, "pässword");
    viv_secret_free_text(text);
    g_assert_cmpint(viv_secret_get_text("b", &text, &err), ==, -EINVAL);
    g_assert_cmpint(viv_secret_get_text("c", &text, &err), ==, -EINVAL);
    viv_secret_free_all();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crypto/secret/forms", test_forms);
    g_test_add_func("/crypto/secret/file", test_file);
    g_test_add_func("/crypto/secret/encrypted", test_encrypted);
    g_test_add_func("/crypto/secret/text", test_text);
    return g_test_run();
}
