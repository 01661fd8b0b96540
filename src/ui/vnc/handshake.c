/* From the version to ServerInit (RFC 6143 section 7.1 to 7.3). VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"
#include "host/clock.h"
#include "host/random.h"

#include <string.h>

#define TLS_HANDSHAKE 22 /* its records' type: what a connection of TLS begins with */

void vnc_handshake_begin(struct vnc_client *c)
{
    vnc_put(c, "RFB 003.008\n", 12);
    c->state = VNC_VERSION;
    c->deadline = viv_clock_ns(VIV_CLOCK_HOST) + VNC_HANDSHAKE_NS;
}

static void refuse(struct vnc_client *c, const char *why)
{
    vnc_put_u32(c, (uint32_t)strlen(why));
    vnc_put(c, why, strlen(why));
    vnc_client_end(c, why);
}

/* ---- version, security ---- */

static void send_challenge(struct vnc_client *c)
{
    if (viv_random_read(NULL, c->challenge, sizeof(c->challenge)) != sizeof(c->challenge)) {
        vnc_client_end(c, "no random numbers");
        return;
    }
    vnc_put(c, c->challenge, sizeof(c->challenge));
    c->state = VNC_RESPONSE;
}

bool vnc_wants_tls(const struct vnc_client *c)
{
    return c->server->creds && !c->skip_auth;
}

static unsigned security_type(const struct vnc_client *c)
{
    if (vnc_wants_tls(c) && !c->under_http)
        return RFB_SECURITY_VENCRYPT;
    return c->server->needs_password && !c->skip_auth ? RFB_SECURITY_VNC : RFB_SECURITY_NONE;
}

static size_t on_version(struct vnc_client *c, const uint8_t *p, size_t len)
{
    unsigned major, minor;
    char text[13];

    if (len < 12)
        return 0;
    memcpy(text, p, 12);
    text[12] = 0;
    if (sscanf(text, "RFB %03u.%03u\n", &major, &minor) != 2 || major < 3 || (major == 3 && minor < 3)) {
        vnc_client_end(c, "not RFB");
        return 12;
    }
    /* Section 7.1.1: what is not 3.7 and not 3.8 is to be taken for 3.3. Later ones (Apple's 3.889, 4.1, 5.0) speak 3.8. */
    c->minor = major > 3 || minor >= 8 ? 8 : minor == 7 ? 7 : 3;
    if (c->minor >= 7) {
        vnc_put_u8(c, 1);
        vnc_put_u8(c, security_type(c));
        c->state = VNC_SECURITY;
        return 12;
    }
    if (security_type(c) == RFB_SECURITY_VENCRYPT) { /* 3.3 knows no type above 2 */
        vnc_put_u32(c, RFB_SECURITY_INVALID);
        refuse(c, "this server wants TLS (VeNCrypt)");
        return 12;
    }
    vnc_put_u32(c, security_type(c));
    if (security_type(c) == RFB_SECURITY_NONE)
        c->state = VNC_INIT;
    else
        send_challenge(c);
    return 12;
}

static void pass(struct vnc_client *c)
{
    if (c->minor >= 8 || security_type(c) != RFB_SECURITY_NONE)
        vnc_put_u32(c, 0);
    c->state = VNC_INIT;
    c->deadline = viv_clock_ns(VIV_CLOCK_HOST) + VNC_HANDSHAKE_NS;
}

static void reject(struct vnc_client *c, const char *why)
{
    vnc_put_u32(c, 1);
    if (c->minor >= 8)
        refuse(c, why);
    else
        vnc_client_end(c, why);
}

static size_t on_security(struct vnc_client *c, uint8_t chosen)
{
    if (chosen != security_type(c))
        reject(c, "that security type was not offered");
    else if (chosen == RFB_SECURITY_VENCRYPT)
        vnc_vencrypt_begin(c);
    else if (chosen == RFB_SECURITY_NONE)
        pass(c);
    else
        send_challenge(c);
    return 1;
}

void vnc_secured(struct vnc_client *c)
{
    if (c->under_http)
        c->state = VNC_HTTP;
    else if (c->server->needs_password)
        send_challenge(c);
    else
        pass(c);
}

/* ---- the password ---- */

static size_t on_response(struct vnc_client *c, const uint8_t *p, size_t len)
{
    if (len < 16)
        return 0;
    memcpy(c->response, p, 16);
    c->state = VNC_JUDGE;
    if (!c->server->unix_only && !vnc_auth_wait(c))
        reject(c, "Too many from this host wait for their passwords to be judged");
    else if (c->server->unix_only || c->deadline <= viv_clock_ns(VIV_CLOCK_HOST))
        vnc_judge(c);
    return 16;
}

/* The same time for right and wrong bytes. */
static bool is_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    unsigned diff = 0;

    for (size_t i = 0; i < len; i++)
        diff |= a[i] ^ b[i];
    return diff == 0;
}

void vnc_judge(struct vnc_client *c)
{
    struct vnc_server *s = c->server;
    uint8_t want[16];
    bool ok = false;

    pthread_mutex_lock(&s->lock);
    if (s->password && viv_clock_wall_ns() / 1000000000 < s->expires) {
        vnc_des_response(s->password, c->challenge, want);
        ok = is_equal(want, c->response, sizeof(want));
    }
    pthread_mutex_unlock(&s->lock);
    vnc_auth_result(c->host, ok);
    vnc_auth_leave(c);
    if (ok)
        pass(c);
    else
        reject(c, "Authentication failed");
}

/* ---- ClientInit, ServerInit ---- */

/* What the policy makes of a client that wants to share, or does not. */
static bool may_come(struct vnc_client *c, bool shared)
{
    struct vnc_server *s = c->server;
    unsigned others = 0;

    for (struct vnc_client *o = s->clients; o; o = o->next) {
        if (o == c || o->state != VNC_NORMAL)
            continue;
        others++;
        if (s->share == VNC_SHARE_ALLOW_EXCLUSIVE && shared && o->exclusive)
            return false;
        if (s->share == VNC_SHARE_ALLOW_EXCLUSIVE && !shared)
            vnc_client_end(o, "somebody wants the screen alone");
    }
    if (s->share == VNC_SHARE_FORCE_SHARED && !shared)
        return false;
    c->exclusive = s->share == VNC_SHARE_ALLOW_EXCLUSIVE && !shared;
    return others < s->connections_max || c->exclusive;
}

static size_t on_init(struct vnc_client *c, bool shared)
{
    struct vnc_server *s = c->server;
    uint8_t format[16];

    if (!may_come(c, shared)) {
        vnc_client_end(c, "the screen is not to be shared like that");
        return 1;
    }
    vnc_screen_collect(s);
    c->state = VNC_NORMAL;
    vnc_view_resize(c);
    vnc_format_write(&c->format, format);
    vnc_put_u16(c, c->width);
    vnc_put_u16(c, c->height);
    vnc_put(c, format, sizeof(format));
    vnc_put_u32(c, (uint32_t)strlen(s->name));
    vnc_put(c, s->name, strlen(s->name));
    c->told_initialized = true;
    vnc_client_tell(c, "VNC_INITIALIZED");
    return 1;
}

/* A browser says GET first, or begins with TLS; everybody else waits for us. */
static size_t on_peek(struct vnc_client *c, const uint8_t *p, size_t len)
{
    if (p[0] == TLS_HANDSHAKE && vnc_wants_tls(c)) {
        c->deadline = viv_clock_ns(VIV_CLOCK_HOST) + VNC_HANDSHAKE_NS;
        c->under_http = true;
        vnc_tls_start(c, p, len);
        return len;
    }
    if (memcmp(p, "GET ", MIN(len, 4)) != 0) {
        vnc_handshake_begin(c);
        return on_version(c, p, len);
    }
    if (len >= 4) {
        c->state = VNC_HTTP;
        c->deadline = viv_clock_ns(VIV_CLOCK_HOST) + VNC_HANDSHAKE_NS;
        return vnc_ws_handshake(c, p, len);
    }
    return 0;
}

size_t vnc_handshake(struct vnc_client *c, const uint8_t *p, size_t len)
{
    switch (c->state) {
    case VNC_PEEK:
        return on_peek(c, p, len);
    case VNC_HTTP:
        return vnc_ws_handshake(c, p, len);
    case VNC_VERSION:
        return on_version(c, p, len);
    case VNC_SECURITY:
        return on_security(c, p[0]);
    case VNC_VENCRYPT:
    case VNC_SUBTYPE:
        return vnc_vencrypt(c, p, len);
    case VNC_RESPONSE:
        return on_response(c, p, len);
    case VNC_INIT:
        return on_init(c, p[0] != 0);
    case VNC_JUDGE: /* what comes early waits; who sends much before it is told, is no client */
        if (len > 65536)
            vnc_client_end(c, "talks before it may");
        return 0;
    default:
        return len;
    }
}
