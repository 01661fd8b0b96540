/* Between tlscreds.c and tls.c. */
#ifndef VIV_CRYPTO_TLSCREDS_INT_H
#define VIV_CRYPTO_TLSCREDS_INT_H

#include "crypto/gnutls_api.h"
#include "crypto/tlscreds.h"

struct viv_tls_creds {
    char *id;
    int refs; /* under the list's lock */
    enum { TLS_X509, TLS_PSK, TLS_ANON } kind;
    bool server, verify_peer;
    char *priority;
    char *dir, *passwordid; /* x509: where its files are read again */
    bool check_dates;
    const struct viv_gnutls *tls;
    union {
        gnutls_certificate_credentials_t x509;
        gnutls_psk_client_credentials_t psk_client;
        gnutls_psk_server_credentials_t psk_server;
        gnutls_anon_client_credentials_t anon_client;
        gnutls_anon_server_credentials_t anon_server;
    };
    gnutls_dh_params_t dh; /* of anon_server; NULL: well-known ones */
    struct viv_tls_creds *next;
};

#endif
