/* The files are named as QEMU's users have them: ca-cert.pem, ca-crl.pem, {client,server}-{cert,key}.pem, keys.psk, dh-params.pem. */
#include "crypto/tlscreds_int.h"
#include "crypto/secret.h"

#include "host/broker.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list and the counts */
static struct viv_tls_creds *all;

static const char *const endpoints[] = {"client", "server", NULL};

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

#define COMMON_OPTS                                                                                                    \
    {"id", VIV_OPT_STR, "name for tls-creds=ID", .required = true},                                                    \
        {"endpoint", VIV_OPT_ENUM, "which side of the connection this is", "client", endpoints},                       \
        {"dir", VIV_OPT_STR, "folder with the files"},                                                                 \
    {                                                                                                                  \
        "priority", VIV_OPT_STR, "GnuTLS priority string", PRIORITY                                                    \
    }

const struct viv_opt_def viv_tls_x509_opts[] = {
    COMMON_OPTS,
    {"verify-peer", VIV_OPT_BOOL, "check the other side's certificate (a server then requires one)", "on"},
    {"sanity-check", VIV_OPT_BOOL, "refuse certificates that are not valid now", "on"},
    {"passwordid", VIV_OPT_STR, "id of the secret that opens the private key"},
    VIV_OPT_END,
};

const struct viv_opt_def viv_tls_psk_opts[] = {
    COMMON_OPTS,
    {"username", VIV_OPT_STR, "client: whose key of keys.psk", "qemu"},
    VIV_OPT_END,
};

const struct viv_opt_def viv_tls_anon_opts[] = {
    COMMON_OPTS,
    {"verify-peer", VIV_OPT_BOOL, "off: nobody shows a certificate here, so nobody's is checked", "off"},
    VIV_OPT_END,
};

static void free_gnutls(struct viv_tls_creds *c)
{
    const struct viv_gnutls *tls = c->tls;

    if (c->kind == TLS_X509)
        tls->certificate_free_credentials(c->x509);
    else if (c->kind == TLS_PSK && c->server)
        tls->psk_free_server_credentials(c->psk_server);
    else if (c->kind == TLS_PSK)
        tls->psk_free_client_credentials(c->psk_client);
    else if (c->server)
        tls->anon_free_server_credentials(c->anon_server);
    else
        tls->anon_free_client_credentials(c->anon_client);
}

static void creds_free(struct viv_tls_creds *c)
{
    if (c->tls && c->x509)
        free_gnutls(c);
    if (c->dh)
        c->tls->dh_params_deinit(c->dh);
    g_free(c->id);
    g_free(c->priority);
    g_free(c->dir);
    g_free(c->passwordid);
    g_free(c);
}

static int tls_fail(const struct viv_tls_creds *c, int code, const char *what, const char *path, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "%s '%s': %s", what, path, c->tls->strerror(code));
}

/* A certificate that is not valid yet, or no longer, is better told here than by the peer's refusal. */
static int check_dates(const struct viv_tls_creds *c, const char *path, struct viv_err *err)
{
    gnutls_datum_t pem = {0};
    gnutls_x509_crt_t crt;
    time_t now = time(NULL), from = 0, to = 0;
    char *text = NULL;
    gsize len = 0;
    int r;

    if (!g_file_get_contents(path, &text, &len, NULL))
        return viv_fail_os(err, errno ? errno : EIO, "cannot read '%s'", path);
    pem.data = (unsigned char *)text;
    pem.size = len;
    r = c->tls->x509_crt_init(&crt);
    if (r >= 0) {
        r = c->tls->x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM);
        if (r >= 0) {
            from = c->tls->x509_crt_get_activation_time(crt);
            to = c->tls->x509_crt_get_expiration_time(crt);
        }
        c->tls->x509_crt_deinit(crt);
    }
    g_free(text);
    if (r < 0)
        return tls_fail(c, r, "certificate", path, err);
    if (now < from)
        return viv_fail(err, EINVAL, "certificate '%s' is not valid yet (is this host's clock right?)", path);
    if (now > to)
        return viv_fail(err, EINVAL, "certificate '%s' has expired", path);
    return 0;
}

static int load_own(struct viv_tls_creds *c, struct viv_err *err)
{
    const char *side = c->server ? "server" : "client";
    g_autofree char *cert = g_strdup_printf("%s/%s-cert.pem", c->dir, side);
    g_autofree char *key = g_strdup_printf("%s/%s-key.pem", c->dir, side);
    char *password = NULL;
    int r;

    if (!g_file_test(cert, G_FILE_TEST_EXISTS)) {
        if (c->server)
            return viv_fail(err, ENOENT, "there is no '%s'", cert);
        return 0; /* a client may be nobody in particular */
    }
    if (c->check_dates) {
        r = check_dates(c, cert, err);
        if (r)
            return r;
    }
    if (c->passwordid) {
        r = viv_secret_get_text(c->passwordid, &password, err);
        if (r)
            return r;
    }
    r = c->tls->certificate_set_x509_key_file2(c->x509, cert, key, GNUTLS_X509_FMT_PEM, password, 0);
    viv_secret_free_text(password);
    return r < 0 ? tls_fail(c, r, "certificate and key", cert, err) : 0;
}

/* A server's may be read again when the process has given up opening files by itself (the folder may hold the CA's key, too). */
static void note_files(const struct viv_tls_creds *c)
{
    static const char *const names[] = {"ca-cert.pem", "ca-crl.pem", "server-cert.pem", "server-key.pem"};

    for (size_t i = 0; c->server && i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", c->dir, names[i]);

        if (g_file_test(path, G_FILE_TEST_EXISTS))
            viv_broker_note_file(path);
    }
}

static int load_x509(struct viv_tls_creds *c, struct viv_err *err)
{
    g_autofree char *ca = g_strdup_printf("%s/ca-cert.pem", c->dir);
    g_autofree char *crl = g_strdup_printf("%s/ca-crl.pem", c->dir);
    int r = c->tls->certificate_allocate_credentials(&c->x509);

    if (r < 0)
        return viv_fail(err, ENOMEM, "%s", c->tls->strerror(r));
    if (g_file_test(ca, G_FILE_TEST_EXISTS)) {
        r = c->tls->certificate_set_x509_trust_file(c->x509, ca, GNUTLS_X509_FMT_PEM);
        if (r < 0)
            return tls_fail(c, r, "CA certificate", ca, err);
        r = c->check_dates ? check_dates(c, ca, err) : 0;
        if (r)
            return r;
    } else if (c->verify_peer) {
        return viv_fail(err, ENOENT, "there is no '%s' to check the other side's certificate with (verify-peer=off does without)",
                        ca);
    }
    if (g_file_test(crl, G_FILE_TEST_EXISTS)) {
        r = c->tls->certificate_set_x509_crl_file(c->x509, crl, GNUTLS_X509_FMT_PEM);
        if (r < 0)
            return tls_fail(c, r, "revocation list", crl, err);
    }
    return load_own(c, err);
}

/* The line "user:hexkey" of keys.psk. */
static int load_psk_client(struct viv_tls_creds *c, const char *path, const char *user, struct viv_err *err)
{
    g_autofree char *prefix = g_strdup_printf("%s:", user);
    char *text = NULL, **lines;
    int r = -ENOENT;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return viv_fail_os(err, errno ? errno : EIO, "cannot read '%s'", path);
    lines = g_strsplit(text, "\n", -1);
    for (char **l = lines; *l && r == -ENOENT; l++) {
        gnutls_datum_t key;

        if (!g_str_has_prefix(*l, prefix))
            continue;
        key.data = (unsigned char *)g_strstrip(*l + strlen(prefix));
        key.size = strlen((char *)key.data);
        r = c->tls->psk_set_client_credentials(c->psk_client, user, &key, GNUTLS_PSK_KEY_HEX);
        if (r < 0)
            r = tls_fail(c, r, "key of this user in", path, err);
    }
    if (r == -ENOENT)
        viv_fail(err, ENOENT, "'%s' has no key for user '%s' (username=... says which)", path, user);
    g_strfreev(lines);
    explicit_bzero(text, strlen(text));
    g_free(text);
    return r;
}

static int load_psk(struct viv_tls_creds *c, const char *dir, struct viv_opts *o, struct viv_err *err)
{
    g_autofree char *keys = g_strdup_printf("%s/keys.psk", dir);
    int r;

    if (!g_file_test(keys, G_FILE_TEST_EXISTS))
        return viv_fail(err, ENOENT, "there is no '%s' (psktool makes one)", keys);
    if (c->server && viv_opts_given(o, "username"))
        return viv_fail(err, EINVAL, "username is for clients: a server takes every user of '%s'", keys);
    if (c->server) {
        r = c->tls->psk_allocate_server_credentials(&c->psk_server);
        if (r >= 0)
            r = c->tls->psk_set_server_credentials_file(c->psk_server, keys);
        return r < 0 ? tls_fail(c, r, "keys", keys, err) : 0;
    }
    r = c->tls->psk_allocate_client_credentials(&c->psk_client);
    if (r < 0)
        return tls_fail(c, r, "keys", keys, err);
    return load_psk_client(c, keys, viv_opts_str(o, "username"), err);
}

/* An old client wants a group of numbers that the server chooses: that of the folder, or one of RFC 7919. */
static int load_dh(struct viv_tls_creds *c, const char *dir, struct viv_err *err)
{
    g_autofree char *path = dir ? g_strdup_printf("%s/dh-params.pem", dir) : NULL, *text = NULL;
    gnutls_datum_t pem;
    gsize len = 0;
    int r;

    if (!path || !g_file_test(path, G_FILE_TEST_EXISTS)) {
        r = c->tls->anon_set_server_known_dh_params(c->anon_server, GNUTLS_SEC_PARAM_MEDIUM);
        return r < 0 ? viv_fail(err, EINVAL, "Diffie-Hellman parameters: %s", c->tls->strerror(r)) : 0;
    }
    if (!g_file_get_contents(path, &text, &len, NULL))
        return viv_fail_os(err, errno ? errno : EIO, "cannot read '%s'", path);
    pem = (gnutls_datum_t){(unsigned char *)text, (unsigned)len};
    r = c->tls->dh_params_init(&c->dh);
    if (r >= 0)
        r = c->tls->dh_params_import_pkcs3(c->dh, &pem, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return tls_fail(c, r, "Diffie-Hellman parameters", path, err);
    c->tls->anon_set_server_dh_params(c->anon_server, c->dh);
    return 0;
}

static int load_anon(struct viv_tls_creds *c, const char *dir, struct viv_opts *o, struct viv_err *err)
{
    int r = c->server ? c->tls->anon_allocate_server_credentials(&c->anon_server)
                      : c->tls->anon_allocate_client_credentials(&c->anon_client);

    if (r < 0)
        return viv_fail(err, ENOMEM, "%s", c->tls->strerror(r));
    if (viv_opts_bool(o, "verify-peer"))
        return viv_fail(err, EINVAL, "verify-peer=on: in an anonymous session nobody shows a certificate that could be checked; "
                        "tls-creds-x509 has them");
    return c->server ? load_dh(c, dir, err) : 0;
}

/* Lock held. */
static struct viv_tls_creds **find(const char *id)
{
    struct viv_tls_creds **p = &all;

    while (*p && strcmp((*p)->id, id) != 0)
        p = &(*p)->next;
    return p;
}

/* TLS 1.3 knows no session without certificate or key. */
static const char *const more_priority[] = {"", ":+ECDHE-PSK:+DHE-PSK:+PSK", ":-VERS-TLS1.3:+ANON-ECDH:+ANON-DH"};

static int load(struct viv_tls_creds *c, struct viv_opts *o, struct viv_err *err)
{
    const char *dir = viv_opts_str(o, "dir");

    if (c->kind == TLS_ANON)
        return load_anon(c, dir, o, err);
    if (!dir)
        return viv_fail(err, EINVAL, "%s: dir=FOLDER is missing", viv_opts_what(o));
    if (c->kind == TLS_PSK)
        return load_psk(c, dir, o, err);
    c->dir = g_canonicalize_filename(dir, NULL); /* -daemonize leaves this folder */
    c->passwordid = g_strdup(viv_opts_str(o, "passwordid"));
    c->check_dates = viv_opts_bool(o, "sanity-check");
    note_files(c);
    return load_x509(c, err);
}

static int add(int kind, struct viv_opts *o, struct viv_err *err)
{
    struct viv_tls_creds *c = g_new0(struct viv_tls_creds, 1), **end;
    int ret;

    c->id = g_strdup(viv_opts_str(o, "id"));
    c->refs = 1;
    c->kind = kind;
    c->server = strcmp(viv_opts_str(o, "endpoint"), "server") == 0;
    c->verify_peer = c->kind == TLS_X509 && viv_opts_bool(o, "verify-peer");
    c->priority = g_strdup_printf("%s%s", viv_opts_str(o, "priority"), more_priority[kind]);
    c->tls = viv_gnutls(err);
    ret = c->tls ? load(c, o, err) : -ENOENT;
    pthread_mutex_lock(&lock);
    end = find(c->id);
    if (!ret && *end)
        ret = viv_fail(err, EEXIST, "there is a tls-creds object '%s' already", c->id);
    if (!ret)
        *end = c;
    pthread_mutex_unlock(&lock);
    if (ret) {
        viv_err_prefix(err, "TLS credentials '%s'", c->id);
        creds_free(c);
    }
    return ret;
}

int viv_tls_x509_add(struct viv_opts *o, struct viv_err *err)
{
    return add(TLS_X509, o, err);
}

int viv_tls_psk_add(struct viv_opts *o, struct viv_err *err)
{
    return add(TLS_PSK, o, err);
}

int viv_tls_anon_add(struct viv_opts *o, struct viv_err *err)
{
    return add(TLS_ANON, o, err);
}

int viv_tls_creds_reload(struct viv_tls_creds *old, struct viv_tls_creds **out, struct viv_err *err)
{
    struct viv_tls_creds *c, **at;
    int rc;

    if (old->kind != TLS_X509)
        return viv_fail(err, ENOTSUP, "tls-creds-%s doesn't support to reload TLS credential", viv_tls_creds_kind(old));
    c = g_new0(struct viv_tls_creds, 1);
    c->id = g_strdup(old->id);
    c->refs = 1;
    c->kind = TLS_X509;
    c->server = old->server;
    c->verify_peer = old->verify_peer;
    c->priority = g_strdup(old->priority);
    c->dir = g_strdup(old->dir);
    c->passwordid = g_strdup(old->passwordid);
    c->check_dates = old->check_dates;
    c->tls = old->tls;
    rc = load_x509(c, err);
    if (rc < 0) {
        viv_err_prefix(err, "TLS credentials '%s'", c->id);
        creds_free(c);
        return rc;
    }
    *out = c;
    pthread_mutex_lock(&lock);
    at = find(c->id);
    if (*at == old) { /* else it was deleted meanwhile, and lives for its users */
        c->refs++;
        c->next = old->next;
        *at = c;
    } else {
        old = NULL;
    }
    pthread_mutex_unlock(&lock);
    viv_tls_creds_put(&old);
    return 0;
}

int viv_tls_creds_del(const char *id, struct viv_err *err)
{
    struct viv_tls_creds **p, *c;

    pthread_mutex_lock(&lock);
    p = find(id);
    c = *p;
    if (c)
        *p = c->next;
    pthread_mutex_unlock(&lock);
    if (!c)
        return viv_fail(err, ENOENT, "there is no tls-creds object '%s'", id);
    viv_tls_creds_put(&c);
    return 0;
}

void viv_tls_creds_free_all(void)
{
    struct viv_tls_creds *c;

    while ((c = all) != NULL) {
        all = c->next;
        viv_tls_creds_put(&c);
    }
}

int viv_tls_creds_get(const char *id, bool server, struct viv_tls_creds **out, struct viv_err *err)
{
    struct viv_tls_creds *c;

    pthread_mutex_lock(&lock);
    c = *find(id);
    if (c && c->server == server)
        c->refs++;
    pthread_mutex_unlock(&lock);
    if (!c)
        return viv_fail(err, ENOENT, "there is no tls-creds object '%s'; make it with --object tls-creds-x509,id=%s,endpoint=%s,"
                        "dir=FOLDER (or tls-creds-psk)", id, id, server ? "server" : "client");
    if (c->server != server)
        return viv_fail(err, EINVAL, "tls-creds object '%s' is a %s's; here endpoint=%s is needed", id,
                        c->server ? "server" : "client", server ? "server" : "client");
    *out = c;
    return 0;
}

int viv_tls_creds_system(struct viv_tls_creds **out, struct viv_err *err)
{
    const struct viv_gnutls *tls = viv_gnutls(err);
    struct viv_tls_creds *c;
    int r;

    if (!tls)
        return -ENOENT;
    c = g_new0(struct viv_tls_creds, 1);
    c->refs = 1;
    c->verify_peer = true;
    c->priority = g_strdup(PRIORITY);
    c->tls = tls;
    r = tls->certificate_allocate_credentials(&c->x509);
    if (r >= 0)
        r = tls->certificate_set_x509_system_trust(c->x509);
    if (r < 0) {
        viv_fail(err, EINVAL, "cannot load the CA certificates that this system trusts: %s", tls->strerror(r));
        creds_free(c);
        return -EINVAL;
    }
    *out = c;
    return 0;
}

struct viv_tls_creds *viv_tls_creds_ref(struct viv_tls_creds *c)
{
    if (c) {
        pthread_mutex_lock(&lock);
        c->refs++;
        pthread_mutex_unlock(&lock);
    }
    return c;
}

void viv_tls_creds_put(struct viv_tls_creds **cp)
{
    struct viv_tls_creds *c = *cp;
    bool last;

    if (!c)
        return;
    *cp = NULL;
    pthread_mutex_lock(&lock);
    last = --c->refs == 0;
    pthread_mutex_unlock(&lock);
    if (last)
        creds_free(c);
}

bool viv_tls_creds_wants_hostname(const struct viv_tls_creds *c)
{
    return c->kind == TLS_X509 && !c->server && c->verify_peer;
}

const char *viv_tls_creds_kind(const struct viv_tls_creds *c)
{
    static const char *const names[] = {"x509", "psk", "anon"};

    return names[c->kind];
}

bool viv_tls_creds_knows_peer(const struct viv_tls_creds *c)
{
    return c->kind == TLS_PSK || c->verify_peer;
}
