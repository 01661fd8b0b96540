#include "cmd/objects.h"

#include "crypto/secret.h"
#include "crypto/tlscreds.h"

#include <errno.h>
#include <glib.h>

static const struct {
    const char *type;
    const struct viv_opt_def *opts;
    int (*add)(struct viv_opts *o, struct viv_err *err);
} kinds[] = {
    {"secret", viv_secret_opts, viv_secret_add},
    {"tls-creds-x509", viv_tls_x509_opts, viv_tls_x509_add},
    {"tls-creds-psk", viv_tls_psk_opts, viv_tls_psk_add},
};

static int add_kind(const char *type, struct viv_raw_opts *raw, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("--object %s", type ? type : "");
    struct viv_opts *o = NULL;
    unsigned i = 0;
    int ret;

    while (i < G_N_ELEMENTS(kinds) && g_strcmp0(type, kinds[i].type) != 0)
        i++;
    if (i == G_N_ELEMENTS(kinds))
        return viv_fail(err, EINVAL, "invalid object type: %s (secret, tls-creds-x509 and tls-creds-psk work)",
                        type ? type : "none is given");
    ret = viv_opts_from_raw(what, kinds[i].opts, raw, &o, err);
    if (!ret)
        ret = kinds[i].add(o, err);
    viv_opts_free(o);
    return ret;
}

int cmd_object_add(const char *text, struct viv_err *err)
{
    struct viv_raw_opts *raw = NULL;
    g_autofree char *type = NULL;
    int ret = viv_raw_parse("--object", "qom-type", text, &raw, err);

    if (!ret) {
        type = viv_raw_take(raw, "qom-type");
        ret = add_kind(type, raw, err);
    }
    viv_raw_free(raw);
    return ret;
}

void cmd_objects_free(void)
{
    viv_tls_creds_free_all();
    viv_secret_free_all();
}
