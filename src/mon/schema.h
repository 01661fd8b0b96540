/* What commands take and return and what events say, as types: the truth behind query-qmp-schema, the check of QMP's arguments and
 * the manual's page. Loop thread, device lock held.
 *
 * A type is named in text: str, int, number, bool, null, any, a name out of schema/types.def, or one of these in brackets (a list of it).
 * The arguments of most commands come from their option tables. */
#ifndef VIV_MON_SCHEMA_H
#define VIV_MON_SCHEMA_H

#include "mon/command.h"

enum viv_type_kind { VIV_TYPE_BUILTIN, VIV_TYPE_ENUM, VIV_TYPE_STRUCT, VIV_TYPE_ALTERNATE, VIV_TYPE_LIST };

struct viv_member {
    char *name; /* NULL: of an alternate */
    char *type; /* NULL: of an enum */
    bool optional;
    const char *help; /* borrowed, or NULL */
};

struct viv_type {
    char *name;
    enum viv_type_kind kind;
    const char *json;    /* BUILTIN: JSON's name of it */
    char *element;       /* LIST */
    GPtrArray *members;  /* ENUM, STRUCT, ALTERNATE: of struct viv_member */
    char *tag;           /* STRUCT: the member that decides, or NULL */
    GPtrArray *variants; /* of struct viv_member: what else there is when the tag is `name` */
};

/* NULL: no such. */
const struct viv_type *viv_schema_find(const char *name);
/* An object's type; never NULL. */
const struct viv_type *viv_schema_args(const struct viv_mon_cmd *c);
const struct viv_type *viv_schema_event(const struct viv_mon_event_def *e);

/* A union: `fields` as in types.def (with `tag`), and a table of options for each case. `next` returns the table of case i, which
 * lives as long as the program, or NULL behind the last; what is in `fields` too is left out of it. */
void viv_schema_use_union(const char *name, const char *fields, const char *tag,
                          const struct viv_opt_def *(*next)(unsigned i, const char **name));

/* From code, for what types.def cannot know: an enum; another type for a member that an option table calls a string. */
void viv_schema_use_enum(const char *name, const char *values);
void viv_schema_retype(const char *name, const char *member, const char *type, bool optional);

/* Is each argument of the JSON type that it should have? What is missing or too much the option tables know. */
int viv_schema_check(const struct viv_mon_cmd *c, json_t *args, struct viv_err *err);
/* query-qmp-schema. */
json_t *viv_schema_query(void);
/* Markdown: commands, events, types. */
void viv_schema_manual(GString *out);
/* What does not fit together, a line each: for a test. */
void viv_schema_problems(GString *out);

#endif
