/* GnuTLS, loaded when it is first asked for: it and the eight libraries below it are a good part of a small program's
 * start, and most runs use no TLS. */
#ifndef VIV_CRYPTO_GNUTLS_API_H
#define VIV_CRYPTO_GNUTLS_API_H

#include "base/err.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define VIV_GNUTLS_FUNCTIONS(_)                                                                                        \
    _(strerror) _(init) _(deinit) _(handshake) _(handshake_set_timeout) _(bye) _(record_recv) _(record_send)          \
    _(record_check_pending) _(priority_set_direct) _(credentials_set) _(server_name_set) _(session_set_verify_cert)   \
    _(session_get_verify_cert_status) _(certificate_verification_status_print) _(certificate_type_get)                \
    _(certificate_server_set_request) _(transport_set_ptr) _(transport_set_pull_function)                             \
    _(transport_set_pull_timeout_function) _(transport_set_push_function) _(transport_set_errno)                      \
    _(certificate_allocate_credentials) _(certificate_free_credentials) _(certificate_set_x509_trust_file)            \
    _(certificate_set_x509_system_trust) _(certificate_set_x509_crl_file) _(certificate_set_x509_key_file2)           \
    _(psk_allocate_client_credentials) _(psk_free_client_credentials) _(psk_set_client_credentials)                   \
    _(psk_allocate_server_credentials) _(psk_free_server_credentials) _(psk_set_server_credentials_file)              \
    _(x509_crt_init) _(x509_crt_deinit) _(x509_crt_import) _(x509_crt_get_activation_time)                            \
    _(x509_crt_get_expiration_time) _(x509_crt_get_dn2) _(certificate_get_peers) _(alert_send_appropriate)            \
    _(anon_allocate_client_credentials) _(anon_free_client_credentials) _(anon_allocate_server_credentials)           \
    _(anon_free_server_credentials) _(anon_set_server_dh_params) _(anon_set_server_known_dh_params)                   \
    _(dh_params_init) _(dh_params_deinit) _(dh_params_import_pkcs3)

struct viv_gnutls {
#define VIV_GNUTLS_MEMBER(name) typeof(gnutls_##name) *name;
    VIV_GNUTLS_FUNCTIONS(VIV_GNUTLS_MEMBER)
#undef VIV_GNUTLS_MEMBER
};

/* NULL: the library is not there, err says which package has it. Any thread; may block the first time. */
const struct viv_gnutls *viv_gnutls(struct viv_err *err);

#endif
