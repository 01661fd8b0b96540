/* VNC servers: options, sockets, passwords, what monitors ask. Loop thread. */
#include "ui/vnc/vnc_int.h"

#include "base/log.h"
#include "base/units.h"
#include "crypto/secret.h"
#include "crypto/authz.h"
#include "crypto/tlscreds.h"
#include "host/broker.h"
#include "host/loop.h"
#include "ui/vnc/address.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const alone[] = {"on", NULL};
static const char *const share_values[] = {"allow-exclusive", "force-shared", "ignore", NULL};
const struct viv_opt_def viv_vnc_opts[] = {
    {.name = "vnc", .type = VIV_OPT_STR, .help = "[host]:display, unix:path or none"},
    {.name = "id", .type = VIV_OPT_STR, .help = "name for monitors (default: default)"},
    {.name = "to", .type = VIV_OPT_INT, .min = 0, .max = 59635, .help = "the last display to try when others are taken"},
    {.name = "ipv4", .type = VIV_OPT_BOOL, .help = "IPv4 addresses"},
    {.name = "ipv6", .type = VIV_OPT_BOOL, .help = "IPv6 addresses"},
    {.name = "websocket", .type = VIV_OPT_STR, .values = alone, .help = "on (port 5700 + display), or [host:]port, for browsers"},
    {.name = "reverse", .type = VIV_OPT_BOOL, .help = "connect to a viewer that listens at host:port"},
    {.name = "password", .type = VIV_OPT_BOOL, .help = "wants one, which the monitor sets (change vnc password)"},
    {.name = "password-secret", .type = VIV_OPT_STR, .help = "id of a -object secret that is the password"},
    {.name = "share", .type = VIV_OPT_ENUM, .values = share_values, .def = "allow-exclusive", .help = "several clients at once"},
    {.name = "connections", .type = VIV_OPT_INT, .min = 1, .max = 1024, .def = "32", .help = "clients at a time"},
    {.name = "lossy", .type = VIV_OPT_BOOL, .help = "JPEG for clients that want it"},
    {.name = "non-adaptive", .type = VIV_OPT_BOOL, .help = "encodings do not change with how often the picture does; they never do"},
    {.name = "key-delay-ms", .type = VIV_OPT_INT, .min = 0, .max = 10000, .def = "10", .help = "between two keys"},
    {.name = "display", .type = VIV_OPT_STR, .help = "id of the adapter (default: the first)"},
    {.name = "head", .type = VIV_OPT_INT, .min = 0, .max = 63, .help = "of its screens"},
    {.name = "tls-creds", .type = VIV_OPT_STR, .help = "id of a -object tls-creds-x509 or tls-creds-anon: TLS (VeNCrypt, wss:) and nothing else"},
    {.name = "tls-authz", .type = VIV_OPT_STR, .help = "id of a -object authz-simple or authz-list-file: who may come, by certificate"},
    {.name = "sasl", .type = VIV_OPT_BOOL, .help = "off: there is no SASL; password=on wants a password"},
    {.name = "sasl-authz", .type = VIV_OPT_REFUSED, .help = "there is no SASL; password=on wants a password"},
    {.name = "audiodev", .type = VIV_OPT_STR, .help = "id of a -audiodev none: there is no sound yet"},
    {.name = "power-control", .type = VIV_OPT_BOOL, .help = "off: clients cannot; the monitor has system_powerdown and system_reset"},
    VIV_OPT_END,
};

static GPtrArray *servers; /* in order of their making */

static struct vnc_server *find(const char *id, struct viv_err *err)
{
    for (guint i = 0; servers && i < servers->len; i++) {
        struct vnc_server *s = servers->pdata[i];

        if (!id || !strcmp(s->id, id))
            return s;
    }
    if (id && servers)
        viv_fail(err, ENODEV, "there is no VNC server '%.60s'", id);
    else
        viv_fail(err, ENODEV, "there is no VNC server; -vnc :0 makes one");
    return NULL;
}

unsigned viv_vnc_count(void)
{
    return servers ? servers->len : 0;
}

/* ---- passwords ---- */

static void put_password(struct vnc_server *s, const char *password)
{
    char *old;

    pthread_mutex_lock(&s->lock);
    old = s->password;
    s->password = g_strdup(password);
    pthread_mutex_unlock(&s->lock);
    viv_secret_free_text(old);
}

int viv_vnc_set_password(const char *id, const char *password, struct viv_err *err)
{
    struct vnc_server *s = find(id, err);

    if (!s)
        return -ENODEV;
    if (!s->needs_password)
        return viv_fail(err, EINVAL, "If you want to use passwords start it with -vnc %s,password=on", s->said);
    put_password(s, password);
    return 0;
}

int viv_vnc_set_expiry(const char *id, int64_t when, struct viv_err *err)
{
    struct vnc_server *s = find(id, err);

    if (!s)
        return -ENODEV;
    pthread_mutex_lock(&s->lock);
    s->expires = when;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* ---- certificates ---- */

static void renew(struct vnc_server *s, struct viv_tls_creds *creds)
{
    struct viv_tls_creds *old;

    pthread_mutex_lock(&s->lock);
    old = s->renewed;
    s->renewed = viv_tls_creds_ref(creds);
    pthread_mutex_unlock(&s->lock);
    viv_tls_creds_put(&old);
}

/* The loop thread alone changes it. */
static struct viv_tls_creds *creds_now(const struct vnc_server *s)
{
    return s->renewed ? s->renewed : s->creds;
}

int viv_vnc_reload_certs(struct viv_err *err)
{
    struct vnc_server *first = servers ? servers->pdata[0] : NULL;
    struct viv_tls_creds *old, *creds;
    int rc;

    if (!first)
        return viv_fail(err, ENODEV, "Can not find vnc display");
    if (!first->creds)
        return viv_fail(err, EINVAL, "vnc tls is not enabled");
    old = viv_tls_creds_ref(creds_now(first));
    rc = viv_tls_creds_reload(old, &creds, err);
    for (guint i = 0; !rc && i < servers->len; i++) {
        if (creds_now(servers->pdata[i]) == old)
            renew(servers->pdata[i], creds);
    }
    if (!rc)
        viv_tls_creds_put(&creds);
    viv_tls_creds_put(&old);
    return rc;
}

/* ---- making one ---- */

static int read_password(struct vnc_server *s, struct viv_opts *o, struct viv_err *err)
{
    const char *secret = viv_opts_str(o, "password-secret");
    char *text;
    int rc;

    s->needs_password = viv_opts_bool(o, "password") || secret;
    s->expires = INT64_MAX;
    if (!secret)
        return 0;
    rc = viv_secret_get_text(secret, &text, err);
    if (rc < 0)
        return rc;
    put_password(s, text);
    viv_secret_free_text(text);
    return 0;
}

/* Keys that both sides know (psk) are no part of VeNCrypt: viewers have no way to say them. */
static int read_creds(struct vnc_server *s, struct viv_opts *o, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "tls-creds"), *authz = viv_opts_str(o, "tls-authz"), *kind;
    int rc = id ? viv_tls_creds_get(id, true, &s->creds, err) : 0;

    if (!rc && authz)
        rc = viv_authz_get(authz, s->creds, &s->authz, err);
    if (rc < 0 || !id)
        return rc < 0 ? viv_err_prefix(err, "-vnc"), rc : 0;
    kind = viv_tls_creds_kind(s->creds);
    s->x509 = !strcmp(kind, "x509");
    if (!strcmp(kind, "psk"))
        return viv_fail(err, EINVAL, "-vnc: tls-creds=%.60s is a tls-creds-psk; VNC takes tls-creds-x509 and tls-creds-anon", id);
    return 0;
}

/* What QEMU has and we do not: managers say "off" of it. */
static int refuse_missing(struct viv_opts *o, struct viv_err *err)
{
    if (viv_opts_bool(o, "sasl"))
        return viv_fail(err, EINVAL, "-vnc: sasl=on is not supported; password=on wants a password, tls-creds= a certificate");
    if (viv_opts_bool(o, "power-control"))
        return viv_fail(err, EINVAL, "-vnc: power-control=on is not supported; the monitor has system_powerdown and system_reset");
    return 0;
}

static int find_console(struct vnc_server *s, struct viv_opts *o, struct viv_console **out, struct viv_err *err)
{
    const char *device = viv_opts_str(o, "display");
    int64_t head = viv_opts_int(o, "head");

    if (!device && head)
        return viv_fail(err, EINVAL, "-vnc: head=%lld of which device? display= names it", (long long)head);
    *out = device ? viv_console_find(device, (unsigned)head) : viv_console_at(0);
    if (device && !*out)
        return viv_fail(err, ENODEV, "-vnc: there is no screen '%.60s', head %lld", device, (long long)head);
    return 0;
}

static enum vnc_share share_of(const char *text)
{
    unsigned i = 0;

    while (strcmp(share_values[i], text))
        i++;
    return (enum vnc_share)i;
}

static int configure(struct vnc_server *s, struct viv_opts *o, const char *layout, struct viv_err *err)
{
    struct viv_console *console = NULL;
    int rc = refuse_missing(o, err);

    if (!rc)
        rc = read_password(s, o, err);
    s->share = share_of(viv_opts_str(o, "share"));
    s->lossy = viv_opts_bool(o, "lossy");
    s->connections_max = (unsigned)viv_opts_int(o, "connections");
    viv_opts_bool(o, "non-adaptive");
    if (!rc)
        rc = read_creds(s, o, err);
    if (!rc && s->lossy && !vnc_jpeg_works(err))
        rc = -ENOENT;
    if (!rc)
        rc = find_console(s, o, &console, err);
    if (!rc)
        rc = vnc_thread_start(err);
    if (rc < 0)
        return rc;
    s->fixed = viv_opts_given(o, "display");
    s->console_number = console ? (int)viv_console_number(console) : -1;
    rc = vnc_input_init(s, layout, (unsigned)viv_opts_int(o, "key-delay-ms"), err);
    if (!rc)
        vnc_screen_attach(s, console);
    return rc;
}

void vnc_server_free(struct vnc_server *s)
{
    vnc_screen_detach(s);
    vnc_input_fini(s);
    while (s->clients) {
        struct vnc_client *c = s->clients;

        s->clients = c->next;
        vnc_client_free(c);
    }
    for (unsigned i = 0; i < s->listeners; i++) {
        close(s->listener[i].fd);
        if (s->listener[i].path)
            viv_broker_unlink(s->listener[i].path);
        g_free(s->listener[i].path);
    }
    vnc_screen_drop(s);
    viv_secret_free_text(s->password);
    viv_tls_creds_put(&s->creds);
    viv_tls_creds_put(&s->renewed);
    viv_authz_put(&s->authz);
    g_array_free(s->events, TRUE);
    pthread_mutex_destroy(&s->lock);
    g_free(s->clip);
    g_free(s->said);
    g_free(s->name);
    g_free(s->id);
    g_free(s);
}

static void serve(void *opaque)
{
    vnc_serve(opaque);
}

struct handed {
    struct vnc_server *server;
    int fd;
    bool skip_auth;
};

static void take_handed(void *opaque)
{
    struct handed *h = opaque;

    vnc_accept_fd(h->server, h->fd, false, h->skip_auth);
    g_free(h);
}

static void hand_over(struct vnc_server *s, int fd, bool skip_auth)
{
    struct handed *h = g_new0(struct handed, 1);

    *h = (struct handed){s, fd, skip_auth};
    vnc_post(take_handed, h);
}

static char *free_id(void)
{
    struct viv_err ignored = VIV_ERR_INIT;

    if (!find("default", &ignored))
        return g_strdup("default");
    return g_strdup_printf("vnc%u", servers->len);
}

struct vnc_server *vnc_server_new(const char *id, const char *name, const char *said)
{
    struct vnc_server *s = g_new0(struct vnc_server, 1);

    s->id = id ? g_strdup(id) : free_id();
    s->name = g_strdup(name);
    s->said = g_strdup(said);
    s->events = g_array_new(FALSE, FALSE, sizeof(struct vnc_event));
    s->mail.first = UINT_MAX;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

int viv_vnc_new(struct viv_opts *o, const char *layout, const char *name, struct viv_err *err)
{
    const char *where = viv_opts_str(o, "vnc"), *id = viv_opts_str(o, "id");
    g_autofree char *title = name ? g_strdup_printf("Vivarium (%s)", name) : g_strdup("Vivarium");
    struct viv_err ignored = VIV_ERR_INIT;
    struct vnc_server *s;
    int rc, fd = -1;

    if (!where)
        return viv_fail(err, EINVAL, "-vnc: where? It takes :0 (port 5900), ADDRESS:0, unix:PATH or none");
    if (!strcmp(where, "none"))
        return 0;
    if (id && find(id, &ignored))
        return viv_fail(err, EEXIST, "-vnc: there are two with id=%.60s", id);
    s = vnc_server_new(id, title, where);
    rc = viv_opts_bool(o, "reverse") ? vnc_address_connect(s, o, &fd, err) : vnc_address_listen(s, o, err);
    if (!rc)
        rc = configure(s, o, layout, err);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        vnc_server_free(s);
        return rc;
    }
    if (s->everybody && !s->needs_password && !(s->creds && viv_tls_creds_knows_peer(s->creds)))
        viv_warn("-vnc %s: everybody who reaches this host sees and controls the guest; 127.0.0.1%s is for this host alone, and "
                 "password=on wants a password", where, strrchr(where, ':'));
    if (!servers)
        servers = g_ptr_array_new();
    g_ptr_array_add(servers, s);
    vnc_post(serve, s);
    if (fd >= 0)
        hand_over(s, fd, false);
    return 0;
}

void viv_vnc_free_all(void)
{
    vnc_thread_stop();
    for (guint i = 0; servers && i < servers->len; i++) {
        viv_loop_forget(servers->pdata[i]); /* events and looks that the thread has asked for */
        vnc_server_free(servers->pdata[i]);
    }
    if (servers)
        g_ptr_array_free(servers, TRUE);
    servers = NULL;
}

int viv_vnc_add_client_take(const char *id, int fd, bool skip_auth, struct viv_err *err)
{
    struct vnc_server *s = find(id, err);
    int type = 0;
    socklen_t len = sizeof(type);

    if (s && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        hand_over(s, fd, skip_auth);
        return 0;
    }
    close(fd);
    return s ? viv_fail(err, EINVAL, "this is not a stream socket") : -ENODEV;
}

/* ---- for people and programs ---- */

static json_t *clients_json(struct vnc_server *s)
{
    json_t *list = json_array();

    pthread_mutex_lock(&s->lock);
    for (const struct vnc_client *c = s->clients; c; c = c->next)
        json_array_append_new(list, vnc_client_json(c));
    pthread_mutex_unlock(&s->lock);
    return list;
}

const char *vnc_auth_name(const struct vnc_server *s)
{
    if (!s->creds)
        return s->needs_password ? "vnc" : "none";
    if (s->x509)
        return s->needs_password ? "vencrypt+x509+vnc" : "vencrypt+x509+none";
    return s->needs_password ? "vencrypt+tls+vnc" : "vencrypt+tls+none";
}

/* As query-vnc-servers splits it. A WebSocket's TLS is below RFB, which has no VeNCrypt then. */
static void tell_auth(json_t *o, const struct vnc_server *s, bool websocket)
{
    bool vencrypt = s->creds && !websocket;

    json_object_set_new(o, "auth", json_string(vencrypt ? "vencrypt" : s->needs_password ? "vnc" : "none"));
    if (vencrypt)
        json_object_set_new(o, "vencrypt", json_string(vnc_vencrypt_name(s)));
}

json_t *viv_vnc_query(void)
{
    struct vnc_server *s = servers ? servers->pdata[0] : NULL;
    json_t *o;

    if (!s || !s->listeners)
        return json_pack("{s:b}", "enabled", false);
    o = vnc_address_json(s->listener[0].fd, false, false);
    json_object_del(o, "websocket");
    json_object_set_new(o, "enabled", json_true());
    json_object_set_new(o, "auth", json_string(vnc_auth_name(s)));
    json_object_set_new(o, "clients", clients_json(s));
    return o;
}

json_t *viv_vnc_query_servers(void)
{
    json_t *list = json_array();

    for (guint i = 0; servers && i < servers->len; i++) {
        struct vnc_server *s = servers->pdata[i];
        json_t *where = json_array(), *o;

        for (unsigned n = 0; n < s->listeners; n++) {
            json_t *l = vnc_address_json(s->listener[n].fd, false, s->listener[n].websocket);

            tell_auth(l, s, s->listener[n].websocket);
            json_array_append_new(where, l);
        }
        o = json_pack("{s:s, s:o, s:o}", "id", s->id, "server", where, "clients", clients_json(s));
        tell_auth(o, s, false);
        if (s->console)
            json_object_set_new(o, "display", json_string(viv_console_name(s->console)));
        json_array_append_new(list, o);
    }
    return list;
}
