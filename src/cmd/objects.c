#include "cmd/objects.h"

#include "block/throttle.h"
#include "crypto/authz.h"
#include "crypto/secret.h"
#include "crypto/tlscreds.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>

static const struct {
    const char *type;
    const struct viv_opt_def *opts;
    int (*add)(struct viv_opts *o, struct viv_err *err);
    int (*del)(const char *id, struct viv_err *err);
} kinds[] = {
    {"authz-list-file", viv_authz_list_file_opts, viv_authz_list_file_add, viv_authz_del},
    {"authz-simple", viv_authz_simple_opts, viv_authz_simple_add, viv_authz_del},
    {"secret", viv_secret_opts, viv_secret_add, viv_secret_del},
    {"tls-creds-x509", viv_tls_x509_opts, viv_tls_x509_add, viv_tls_creds_del},
    {"tls-creds-psk", viv_tls_psk_opts, viv_tls_psk_add, viv_tls_creds_del},
    {"tls-creds-anon", viv_tls_anon_opts, viv_tls_anon_add, viv_tls_creds_del},
    {"throttle-group", viv_throttle_group_opts, viv_throttle_group_add, viv_throttle_group_del},
};

static int find_kind(const char *type, unsigned *out, struct viv_err *err)
{
    unsigned i = 0;

    while (i < G_N_ELEMENTS(kinds) && g_strcmp0(type, kinds[i].type) != 0)
        i++;
    *out = i;
    if (i == G_N_ELEMENTS(kinds))
        return viv_fail(err, EINVAL, "invalid object type: %s (authz-list-file, authz-simple, secret, tls-creds-x509, tls-creds-psk, tls-creds-anon and throttle-group work)",
                        type ? type : "none is given");
    return 0;
}

const struct viv_opt_def *cmd_object_opts(unsigned i, const char **name)
{
    if (i >= G_N_ELEMENTS(kinds))
        return NULL;
    *name = kinds[i].type;
    return kinds[i].opts;
}

int cmd_object_add_raw(struct viv_raw_opts *raw, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(raw, "qom-type");
    g_autofree char *what = g_strdup_printf("%s %s", viv_raw_what(raw), type ? type : "");
    struct viv_opts *o = NULL;
    unsigned kind;
    int ret = find_kind(type, &kind, err);

    if (!ret)
        ret = viv_opts_from_raw(what, kinds[kind].opts, raw, &o, err);
    if (!ret)
        ret = kinds[kind].add(o, err);
    viv_opts_free(o);
    return ret;
}

int cmd_object_add(const char *text, struct viv_err *err)
{
    struct viv_raw_opts *raw = NULL;
    int ret = viv_raw_parse("--object", "qom-type", text, &raw, err);

    if (!ret)
        ret = cmd_object_add_raw(raw, err);
    viv_raw_free(raw);
    return ret;
}

int cmd_object_del(const char *id, struct viv_err *err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        struct viv_err why = VIV_ERR_INIT;
        int ret = kinds[i].del(id, &why);

        if (ret != -ENOENT)
            return ret ? viv_fail(err, -ret, "%s", why.text) : 0;
    }
    return viv_fail(err, ENOENT, "object '%s' not found", id);
}

bool cmd_object_help(const char *text)
{
    struct viv_raw_opts *raw = NULL;
    bool wanted = viv_raw_parse("--object", "qom-type", text, &raw, NULL) == 0 && viv_raw_help(raw);
    const char *type = wanted ? viv_raw_get(raw, "qom-type") : NULL;

    for (unsigned i = 0; wanted && i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *what = g_strdup_printf("--object %s", kinds[i].type);

        if (g_strcmp0(type, kinds[i].type) == 0)
            viv_opts_print_help(what, kinds[i].opts, stdout);
        else if (!type || g_str_equal(type, "help") || g_str_equal(type, "?"))
            printf("%s\n", kinds[i].type);
    }
    viv_raw_free(raw);
    return wanted;
}

void cmd_objects_free(void)
{
    viv_throttle_groups_free();
    viv_tls_creds_free_all();
    viv_authz_free_all();
    viv_secret_free_all();
}
