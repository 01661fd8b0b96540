/* The option language: one schema for command line, QMP and the manager.
 *
 * A schema is an array of viv_opt_def. A set of options (struct viv_opts) is parsed against a schema from
 * "k=v,k=v" text (QEMU's rules: first bare word takes the implied key, `k` alone is k=on, `nok` alone is
 * k=off where the schema has a switch k and no `nok`, ",," is a comma in a value), or from JSON ({...}: typed,
 * nested objects flattened with dots, list items as "k.0"; null is the empty string).
 * After parsing every value is typed and checked; unknown keys are refused with the nearest valid one.
 * Nothing is parsed and ignored: a reader that has taken what it knows calls viv_opts_check_used().
 * Not thread-safe; used while the program is set up and by the monitor. */
#ifndef VIV_OPT_OPT_H
#define VIV_OPT_OPT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum viv_opt_type {
    VIV_OPT_STR,
    VIV_OPT_BOOL,  /* on/off, yes/no, true/false, y/n */
    VIV_OPT_INT,   /* signed or unsigned decimal, 0x hex; range min..max when max > min */
    VIV_OPT_SIZE,  /* bytes with k/M/G/T/P/E suffix (base 1024) */
    VIV_OPT_ENUM,  /* one of `values` */
    VIV_OPT_LIST,  /* may be given several times (hostfwd=...); each a string */
    VIV_OPT_REFUSED, /* QEMU has it, we do not yet: refused with `help` as the reason */
};

struct viv_opt_def {
    const char *name;
    enum viv_opt_type type;
    const char *help;          /* "X,help" prints "  name=<type> - help" */
    const char *def;           /* default as text, NULL: unset */
    const char *const *values; /* ENUM: NULL-terminated. STR: {"on", NULL}: the key alone is "on" */
    int64_t min, max;          /* INT, SIZE: checked when max > min */
    bool required;
};

#define VIV_OPT_END {.name = NULL}

struct viv_opts;

/* `what` opens every error ("-device virtio-net-pci"); copied. `implied`: key of a first bare word, or NULL.
 * `def` is borrowed for ever (static). Result owned by caller. */
int viv_opts_parse(const char *what, const struct viv_opt_def *def, const char *implied,
                   const char *text, struct viv_opts **out, struct viv_err *err);
/* Empty set: defaults only. */
struct viv_opts *viv_opts_new(const char *what, const struct viv_opt_def *def);
int viv_opts_set(struct viv_opts *o, const char *key, const char *value, struct viv_err *err);
void viv_opts_free(struct viv_opts *o); /* NULL allowed */

struct viv_opts *viv_opts_copy(const struct viv_opts *o); /* the schema is shared */

/* Was it given (not a default)? */
bool viv_opts_given(const struct viv_opts *o, const char *key);
/* Typed reads. The key must be in the schema with that type (asserted). Unset: NULL / false / 0. */
const char *viv_opts_str(struct viv_opts *o, const char *key); /* STR, ENUM; borrowed */
bool viv_opts_bool(struct viv_opts *o, const char *key);
int64_t viv_opts_int(struct viv_opts *o, const char *key);
uint64_t viv_opts_size(struct viv_opts *o, const char *key);
size_t viv_opts_list_len(struct viv_opts *o, const char *key);
const char *viv_opts_list_item(struct viv_opts *o, const char *key, size_t i);
/* Name used in errors. */
const char *viv_opts_what(const struct viv_opts *o);
/* Refuses an option that was given and that no typed read has looked at. */
int viv_opts_check_used(const struct viv_opts *o, struct viv_err *err);
/* "what options:" and one line an option, sorted as in the schema. */
void viv_opts_print_help(const char *what, const struct viv_opt_def *def, FILE *out);

/* "name = value" of what is set or has a default, as people read it ('drive = "d0"', 'lun = 5 (0x5)', 'share-rw = true'); g_strfreev. */
char **viv_opts_describe(const struct viv_opts *o);

/* Splits text into its raw key/value pairs without a schema: for options whose schema depends on one of
 * the keys (-device, -netdev, -chardev, -blockdev). Takes JSON text as well. Then viv_opts_from_raw
 * checks it against the schema. */
struct viv_raw_opts;
int viv_raw_parse(const char *what, const char *implied, const char *text, struct viv_raw_opts **out,
                  struct viv_err *err);
/* From a parsed JSON object (QMP arguments). */
struct json_t;
int viv_raw_from_json(const char *what, struct json_t *obj, struct viv_raw_opts **out,
                      struct viv_err *err);
const char *viv_raw_get(const struct viv_raw_opts *r, const char *key); /* last one; NULL: none */
/* Removes and returns it (g_free). */
char *viv_raw_take(struct viv_raw_opts *r, const char *key);
void viv_raw_set(struct viv_raw_opts *r, const char *key, const char *value);
size_t viv_raw_count(const struct viv_raw_opts *r);
void viv_raw_at(const struct viv_raw_opts *r, size_t i, const char **key, const char **value);
/* Those of `from` whose keys `to` has not. */
void viv_raw_add_absent(struct viv_raw_opts *to, const struct viv_raw_opts *from);
void viv_raw_free(struct viv_raw_opts *r); /* NULL allowed */
struct viv_raw_opts *viv_raw_new(const char *what);
struct viv_raw_opts *viv_raw_copy(const struct viv_raw_opts *r);
/* Moves pairs into a new set, named `what` in errors: those that the schema knows; those whose keys begin with "name.", without
 * that (NULL when there are none). */
struct viv_raw_opts *viv_raw_take_known(struct viv_raw_opts *r, const struct viv_opt_def *def);
struct viv_raw_opts *viv_raw_take_below(struct viv_raw_opts *r, const char *name, const char *what);
const char *viv_raw_what(const struct viv_raw_opts *r);
/* Was help asked for ("help" or "?" alone, anywhere)? */
bool viv_raw_help(const struct viv_raw_opts *r);
int viv_opts_from_raw(const char *what, const struct viv_opt_def *def, const struct viv_raw_opts *r,
                      struct viv_opts **out, struct viv_err *err);

/* "1G" -> 1073741824, "1.5G"; a bare number is in units of `unit` bytes. Rejects trailing junk, negatives,
 * overflow. The error is a clause ("'12Q' is not a size: ..."): the caller puts its option in front. */
int viv_parse_size(const char *text, uint64_t unit, uint64_t *out, struct viv_err *err);
/* "host:port" or "[v6]:port", in two (g_free). False: it is neither, or the port is missing; the host may be empty. */
bool viv_split_host_port(const char *text, char **host, char **port);
/* A port by its number or a service's name: -ERANGE for a number above 65535, of which getaddrinfo(3) takes the lower half. */
int viv_check_port(const char *port, struct viv_err *err);
int viv_parse_i64(const char *text, int64_t *out, struct viv_err *err);
int viv_parse_u64(const char *text, uint64_t *out, struct viv_err *err);
int viv_parse_bool(const char *text, bool *out, struct viv_err *err);
int viv_parse_uuid(const char *text, uint8_t out[16], struct viv_err *err); /* the dashes may be left out */

/* What may name something: a letter, then letters, digits, '-', '.', '_'. NULL is none. VIV_ID_FORM says so in errors. */
bool viv_is_id(const char *text);
#define VIV_ID_FORM "letters, digits, '-', '.', '_', starting with a letter"

/* The candidate nearest to `word` by edit distance, or NULL when none is near enough to suggest. */
const char *viv_nearest(const char *word, const char *const *candidates);

#endif
