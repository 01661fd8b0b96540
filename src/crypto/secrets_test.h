/* Test support: secrets for encrypted images. Not part of any program. */
#ifndef VIV_CRYPTO_SECRETS_TEST_H
#define VIV_CRYPTO_SECRETS_TEST_H

#include "crypto/secret.h"

#include <glib.h>

static inline void secrets_test_add(const char *id, const char *password)
{
    g_autofree char *text = g_strdup_printf("id=%s,data=%s", id, password);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o = NULL;

    if (viv_opts_parse("secret", viv_secret_opts, NULL, text, &o, &err) || viv_secret_add(o, &err))
        g_error("secret %s: %s", id, err.text);
    viv_opts_free(o);
}

#endif
