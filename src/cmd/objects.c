#include "cmd/objects.h"

#include "block/throttle.h"
#include "crypto/authz.h"
#include "crypto/secret.h"
#include "crypto/tlscreds.h"

#include <glib.h>
#include <stdio.h>

static const struct viv_object_class list_file = {
    .type = "authz-list-file",
    .desc = "who may come by TLS: rules in a file, for tls-authz=",
    .parent = "authz",
    .opts = viv_authz_list_file_opts,
    .add = viv_authz_list_file_add,
    .del = viv_authz_del,
}, simple = {
    .type = "authz-simple",
    .desc = "who may come by TLS: one name, for tls-authz=",
    .parent = "authz",
    .opts = viv_authz_simple_opts,
    .add = viv_authz_simple_add,
    .del = viv_authz_del,
}, secret = {
    .type = "secret",
    .desc = "a password or a key, for key-secret= of encrypted images",
    .parent = "secret_common",
    .opts = viv_secret_opts,
    .add = viv_secret_add,
    .del = viv_secret_del,
    .hidden = true,
}, tls_anon = {
    .type = "tls-creds-anon",
    .desc = "TLS that hides what is said but not from whom: for tls-creds= of -vnc",
    .parent = "tls-creds",
    .opts = viv_tls_anon_opts,
    .add = viv_tls_anon_add,
    .del = viv_tls_creds_del,
}, tls_psk = {
    .type = "tls-creds-psk",
    .desc = "TLS with keys that both sides know, for tls-creds= of nbd",
    .parent = "tls-creds",
    .opts = viv_tls_psk_opts,
    .add = viv_tls_psk_add,
    .del = viv_tls_creds_del,
}, tls_x509 = {
    .type = "tls-creds-x509",
    .desc = "TLS with certificates, for tls-creds= of nbd and -vnc",
    .parent = "tls-creds",
    .opts = viv_tls_x509_opts,
    .add = viv_tls_x509_add,
    .del = viv_tls_creds_del,
}, throttle_group = {
    .type = "throttle-group",
    .desc = "limits that disks share, for throttle-group= of driver=throttle",
    .opts = viv_throttle_group_opts,
    .add = viv_throttle_group_add,
    .del = viv_throttle_group_del,
    .change = viv_throttle_group_change,
    .now = viv_throttle_group_now,
};

void cmd_objects_use(void)
{
    static const struct viv_object_class *const classes[] = {&list_file, &simple, &secret, &tls_anon, &tls_psk, &tls_x509, &throttle_group, NULL};

    viv_objects_use(classes);
}

const struct viv_opt_def *cmd_object_opts(unsigned i, const char **name)
{
    const struct viv_object_class *c;

    for (unsigned k = 0; (c = viv_object_class_at(k)) != NULL; k++) {
        if (c->fixed || i-- > 0)
            continue;
        *name = c->type;
        return c->opts;
    }
    return NULL;
}

bool cmd_object_help(const char *text)
{
    struct viv_raw_opts *raw = NULL;
    bool wanted = viv_raw_parse("--object", "qom-type", text, &raw, NULL) == 0 && viv_raw_help(raw);
    const char *type = wanted ? viv_raw_get(raw, "qom-type") : NULL;

    if (wanted && !(type && viv_object_help(type, stdout)))
        viv_object_help(NULL, stdout);
    viv_raw_free(raw);
    return wanted;
}

void cmd_objects_free(void)
{
    viv_objects_forget();
    viv_throttle_groups_free();
    viv_tls_creds_free_all();
    viv_authz_free_all();
    viv_secret_free_all();
}
