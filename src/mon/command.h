/* A command of the monitors: one row of a table. Programs choose their tables with viv_mon_use(). docs/monitor.md "Adding a command". */
#ifndef VIV_MON_COMMAND_H
#define VIV_MON_COMMAND_H

#include "base/err.h"
#include "opt/opt.h"

#include <glib.h>
#include <jansson.h>
#include <stdio.h>

/* `fn` does it and sets *result to a new JSON value, or leaves it NULL (QMP: {}). `show` turns the
 * result into text for people; NULL: a string is shown as it is, nothing else is. */
struct viv_mon_cmd {
    const char *hmp; /* "info status"; NULL: not in HMP */
    const char *qmp; /* "query-status"; NULL: not in QMP */
    /* As help shows them: "[-f] device:drive filename [-m mode]". Words are names out of `args`, which a line's words fill in this
     * order; "-f" is the switch that begins so; "-m mode" has a value. Behind a colon: what Tab offers (complete.c). */
    const char *hmp_args;
    const struct viv_opt_def *args; /* NULL: takes none */
    const char *help;
    int (*fn)(struct viv_opts *o, json_t **result, struct viv_err *err);
    void (*show)(const json_t *result, GString *out);
    /* QMP only, in place of `fn` and `args`: for arguments whose schema depends on one of them. What is left in `raw` is
     * borrowed. */
    int (*raw)(struct viv_raw_opts *raw, json_t **result, struct viv_err *err);
    bool hmp_rest; /* the last of hmp_args gets all that is left of an HMP line, spaces and quotes too */
    const char *returns; /* the type of QMP's answer (schema.h); NULL: {} */
    const char *takes;   /* that of its arguments, where `args` cannot say it (always with `raw`) */
};

/* What QMP monitors are told. */
struct viv_mon_event_def {
    const char *name, *fields, *help; /* fields as in schema/types.def */
    bool slow; /* once a second at most: of several, the last one is told */
};

/* A table that ends with both names NULL; borrowed for ever. Before the first monitor is made. */
void viv_mon_use(const struct viv_mon_cmd *table);
/* Likewise. */
void viv_mon_use_events(const struct viv_mon_event_def *table);
/* Called when the first one asks about types: for viv_schema_use_union(). */
void viv_mon_use_types(void (*define)(void));
/* query-version, query-commands, query-qmp-schema, character back ends. */
extern const struct viv_mon_cmd viv_mon_common[];
/* Character back ends that come, go and change. */
extern const struct viv_mon_cmd viv_mon_chardev[];
/* help, and human-monitor-command for QMP: where there is HMP. */
extern const struct viv_mon_cmd viv_mon_people[];
/* Nodes, dirty bitmaps, block jobs with their events. */
void viv_mon_use_block(void);
void viv_mon_use_exports(void); /* for programs that link export/ */
/* The class of the error that the command which runs now is about to give ("DeviceNotActive"); static. Else it is GenericError. */
void viv_mon_error_class(const char *cls);
/* Does `text`, an argument as of -device, ask for help ("help", "e1000,help")? Then *result is what `print` prints about it. */
bool viv_mon_choices(const char *command, const char *implied, const char *text, bool (*print)(const char *name, FILE *to), json_t **result);
bool viv_mon_choice_list(const char *text, void (*print)(FILE *to), json_t **result); /* "help" alone */
/* What drives and shows the machine; its events too. */
void viv_mon_use_machine(void);

/* Tells all QMP monitors that listen. json_data: the text of an object, or NULL. Device lock held. */
void viv_mon_event(const char *event, const char *json_data);

#endif
