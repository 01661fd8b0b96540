/* Single values: numbers, sizes, switches. */
#include "opt/opt.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Decimal or 0x hex at p; returns where it ends, NULL when there is no number or it does not fit. */
static const char *scan_u64(const char *p, uint64_t *out, bool *overflow)
{
    unsigned base = 10;
    uint64_t v = 0;
    const char *start;

    *overflow = false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    }
    for (start = p; *p; p++) {
        unsigned d;

        if (*p >= '0' && *p <= '9')
            d = *p - '0';
        else if (base == 16 && ((*p | 32) >= 'a' && (*p | 32) <= 'f'))
            d = (*p | 32) - 'a' + 10;
        else
            break;
        if (!viv_mul_u64(v, base, &v) || !viv_add_u64(v, d, &v))
            *overflow = true;
    }
    if (p == start)
        return NULL;
    *out = v;
    return p;
}

int viv_parse_u64(const char *text, uint64_t *out, struct viv_err *err)
{
    bool overflow;
    uint64_t v;
    const char *end = scan_u64(text, &v, &overflow);

    if (!end || *end)
        return viv_fail(err, EINVAL, "'%.80s' is not a number (decimal or 0x hex, not negative)",
                        text);
    if (overflow)
        return viv_fail(err, ERANGE, "'%.80s' is too large: at most %" PRIu64, text, UINT64_MAX);
    *out = v;
    return 0;
}

int viv_parse_i64(const char *text, int64_t *out, struct viv_err *err)
{
    bool neg = text[0] == '-';
    bool overflow;
    uint64_t v;
    const char *end = scan_u64(text + neg, &v, &overflow);

    if (!end || *end)
        return viv_fail(err, EINVAL, "'%.80s' is not a number (decimal or 0x hex)", text);
    if (overflow || v > (neg ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX))
        return viv_fail(err, ERANGE, "'%.80s' does not fit in 64 bits", text);
    *out = neg ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static bool suffix_unit(char c, uint64_t *unit)
{
    static const char letters[] = "BKMGTPE";
    const char *at = (c | 32) >= 'a' && (c | 32) <= 'z' ? strchr(letters, c & ~32) : NULL;

    if (!at)
        return false;
    *unit = 1ull << (10 * (at - letters));
    return true;
}

/* The digits after a point, as a numerator over a power of ten; digits beyond the 18th cannot change a byte
 * count below 2^60 and are dropped. */
static const char *scan_fraction(const char *p, uint64_t *num, uint64_t *den)
{
    const char *start = p;

    *num = 0;
    *den = 1;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (*den >= 1000000000000000000ull)
            continue;
        *num = *num * 10 + (*p - '0');
        *den *= 10;
    }
    return p == start ? NULL : p;
}

bool viv_split_host_port(const char *text, char **host, char **port)
{
    const char *colon = strrchr(text, ':');

    if (!colon || !colon[1])
        return false;
    if (text[0] == '[' && colon > text + 1 && colon[-1] == ']')
        *host = g_strndup(text + 1, (size_t)(colon - text) - 2);
    else
        *host = g_strndup(text, (size_t)(colon - text));
    *port = g_strdup(colon + 1);
    return true;
}

int viv_check_port(const char *port, struct viv_err *err)
{
    bool number = *port && !port[strspn(port, "0123456789")];

    return number && g_ascii_strtoull(port, NULL, 10) > 65535 ? viv_fail(err, ERANGE, "port %.60s: they end at 65535", port) : 0;
}

int viv_parse_size(const char *text, uint64_t unit, uint64_t *out, struct viv_err *err)
{
    uint64_t whole, num = 0, den = 1, bytes;
    bool overflow, hex = text[0] == '0' && (text[1] | 32) == 'x';
    const char *p = scan_u64(text, &whole, &overflow);

    if (p && *p == '.' && !hex)
        p = scan_fraction(p + 1, &num, &den);
    if (p && *p && !hex && suffix_unit(*p, &unit))
        p++;
    if (!p || *p || (num && unit == 1))
        return viv_fail(err, EINVAL,
                        "'%.80s' is not a size: a number with an optional suffix k, M, G, T, P or E "
                        "(powers of 1024), as in 512M or 1.5G",
                        text);
    if (overflow || !viv_mul_u64(whole, unit, &bytes) ||
        !viv_add_u64(bytes, (uint64_t)((unsigned __int128)num * unit / den), &bytes))
        return viv_fail(err, ERANGE, "'%.80s' is too large: sizes end below 16E", text);
    *out = bytes;
    return 0;
}

int viv_parse_bool(const char *text, bool *out, struct viv_err *err)
{
    static const char *const yes[] = {"on", "yes", "true", "y", NULL};
    static const char *const no[] = {"off", "no", "false", "n", NULL};

    for (int i = 0; yes[i]; i++) {
        if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
            *out = text == yes[i] || !strcmp(text, yes[i]);
            return 0;
        }
    }
    return viv_fail(err, EINVAL, "'%.80s' is neither 'on' nor 'off'", text);
}

int viv_parse_uuid(const char *text, uint8_t out[16], struct viv_err *err)
{
    const char *p = text;
    uint8_t uuid[16];

    for (int i = 0; i < 16; i++, p += 2) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *p == '-')
            p++;
        if (!g_ascii_isxdigit(p[0]) || !g_ascii_isxdigit(p[1]))
            return viv_fail(err, EINVAL, "'%.60s' is not like 550e8400-e29b-41d4-a716-446655440000", text);
        uuid[i] = (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
    }
    if (*p)
        return viv_fail(err, EINVAL, "'%.60s' is longer than 550e8400-e29b-41d4-a716-446655440000", text);
    memcpy(out, uuid, 16);
    return 0;
}

bool viv_is_id(const char *text)
{
    return text && g_ascii_isalpha(*text) && !text[strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._")];
}
