#include "mon/expr.h"

#include "mon/gdb/gdb_int.h"

#include <errno.h>
#include <string.h>

#define DEEP 64 /* parentheses and signs in each other */

struct parser {
    const struct viv_vcpu *v;
    const char *at;
    unsigned depth;
    struct viv_err *err;
};

static int sum(struct parser *p, uint64_t *value);

static char next(struct parser *p)
{
    while (g_ascii_isspace(*p->at))
        p->at++;
    return *p->at;
}

static int named(struct parser *p, uint64_t *value)
{
    const char *start = ++p->at;
    g_autofree char *name = NULL;

    while (g_ascii_isalnum(*p->at) || *p->at == '_' || *p->at == '.')
        p->at++;
    name = g_strndup(start, (gsize)(p->at - start));
    if (!gdb_value_of(p->v, name, value))
        return viv_fail(p->err, EINVAL, "there is no register '%s'", name);
    return 0;
}

static int literal(struct parser *p, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = g_ascii_strtoull(p->at, &end, 0);
    if (errno)
        return viv_fail(p->err, ERANGE, "'%.20s' has more than 64 bits", p->at);
    p->at = end;
    return 0;
}

static int unary(struct parser *p, uint64_t *value)
{
    char c = next(p);
    int rc;

    if (++p->depth > DEEP)
        return viv_fail(p->err, E2BIG, "more than %u parentheses and signs in each other", DEEP);
    if (c == '$') {
        rc = named(p, value);
    } else if (c == '\'' && p->at[1] && p->at[2] == '\'') {
        *value = (uint8_t)p->at[1];
        p->at += 3;
        rc = 0;
    } else if (g_ascii_isdigit(c)) {
        rc = literal(p, value);
    } else if (c && strchr("+-~", c)) {
        p->at++;
        rc = unary(p, value);
        *value = c == '-' ? -*value : c == '~' ? ~*value : *value;
    } else if (c == '(') {
        p->at++;
        rc = sum(p, value);
        if (!rc && next(p) != ')')
            rc = viv_fail(p->err, EINVAL, "a parenthesis is not closed");
        else if (!rc)
            p->at++;
    } else {
        rc = viv_fail(p->err, EINVAL, c ? "'%.20s' is no number: 16, 0x10, 020, $rip, 'A'" : "a number is missing%s", p->at);
    }
    p->depth--;
    return rc;
}

static int product(struct parser *p, uint64_t *value)
{
    int rc = unary(p, value);
    uint64_t right;
    char c;

    while (!rc && (c = next(p)) && strchr("*/%", c)) {
        p->at++;
        rc = unary(p, &right);
        if (rc)
            return rc;
        if (c != '*' && !right)
            return viv_fail(p->err, EDOM, "division by zero");
        *value = c == '*' ? *value * right : c == '/' ? *value / right : *value % right;
    }
    return rc;
}

static int logic(struct parser *p, uint64_t *value)
{
    int rc = product(p, value);
    uint64_t right;
    char c;

    while (!rc && (c = next(p)) && strchr("&|^", c)) {
        p->at++;
        rc = product(p, &right);
        if (!rc)
            *value = c == '&' ? *value & right : c == '|' ? *value | right : *value ^ right;
    }
    return rc;
}

static int sum(struct parser *p, uint64_t *value)
{
    int rc = logic(p, value);
    uint64_t right;
    char c;

    while (!rc && (c = next(p)) && strchr("+-", c)) {
        p->at++;
        rc = logic(p, &right);
        if (!rc)
            *value = c == '+' ? *value + right : *value - right;
    }
    return rc;
}

int viv_mon_expr(const struct viv_vcpu *v, const char *text, uint64_t *value, struct viv_err *err)
{
    struct parser p = {.v = v, .at = text, .err = err};
    int rc = sum(&p, value);

    if (!rc && next(&p))
        rc = viv_fail(err, EINVAL, "'%.20s' does not go on an expression", p.at);
    return rc;
}
