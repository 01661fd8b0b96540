/* Numbers as people type them to a monitor: C's integers, + - * / % & | ^ ~ and parentheses, and a CPU's registers ($rip). */
#ifndef VIV_MON_EXPR_H
#define VIV_MON_EXPR_H

#include "base/err.h"

#include <stdint.h>

struct viv_vcpu;

/* All of text. Device lock held, vCPUs stopped. */
int viv_mon_expr(const struct viv_vcpu *v, const char *text, uint64_t *value, struct viv_err *err);

#endif
