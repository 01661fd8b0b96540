/* VeNCrypt, version 0.2 (security type 19 of "The RFB Protocol", community version): TLS, then what authentication there is. One subtype is
 * offered, which credentials and password decide. VNC thread. */
#include "ui/vnc/vnc_int.h"

#include "base/bytes.h"

static uint32_t subtype(const struct vnc_server *s)
{
    if (s->x509)
        return s->needs_password ? RFB_VENCRYPT_X509_VNC : RFB_VENCRYPT_X509_NONE;
    return s->needs_password ? RFB_VENCRYPT_TLS_VNC : RFB_VENCRYPT_TLS_NONE;
}

const char *vnc_vencrypt_name(const struct vnc_server *s)
{
    if (s->x509)
        return s->needs_password ? "x509-vnc" : "x509-none";
    return s->needs_password ? "tls-vnc" : "tls-none";
}

void vnc_vencrypt_begin(struct vnc_client *c)
{
    vnc_put_u8(c, 0);
    vnc_put_u8(c, 2);
    c->state = VNC_VENCRYPT;
}

static size_t on_version(struct vnc_client *c, const uint8_t *p, size_t len)
{
    if (len < 2)
        return 0;
    if (p[0] != 0 || p[1] != 2) {
        vnc_put_u8(c, 0xff);
        vnc_client_end(c, "another version of VeNCrypt");
        return 2;
    }
    vnc_put_u8(c, 0);
    vnc_put_u8(c, 1);
    vnc_put_u32(c, subtype(c->server));
    c->state = VNC_SUBTYPE;
    return 2;
}

/* What has come behind it is TLS's already: nothing said in the clear is taken for something said under TLS. */
static size_t on_subtype(struct vnc_client *c, const uint8_t *p, size_t len)
{
    if (len < 4)
        return 0;
    if (viv_ld_be32(p) != subtype(c->server)) {
        vnc_put_u8(c, 0);
        vnc_client_end(c, "that VeNCrypt subtype was not offered");
        return len;
    }
    vnc_put_u8(c, 1);
    vnc_tls_start(c, p + 4, len - 4);
    return len;
}

size_t vnc_vencrypt(struct vnc_client *c, const uint8_t *p, size_t len)
{
    return c->state == VNC_VENCRYPT ? on_version(c, p, len) : on_subtype(c, p, len);
}
