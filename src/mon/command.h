/* A command of the monitors: one row of a table. Programs choose their tables with viv_mon_use(). */
#ifndef VIV_MON_COMMAND_H
#define VIV_MON_COMMAND_H

#include "base/err.h"
#include "opt/opt.h"

#include <glib.h>
#include <jansson.h>

/* `fn` does it and sets *result to a new JSON value, or leaves it NULL (QMP: {}). `show` turns the
 * result into text for people; NULL: a string is shown as it is, nothing else is. */
struct viv_mon_cmd {
    const char *hmp; /* "info status"; NULL: not in HMP */
    const char *qmp; /* "query-status"; NULL: not in QMP */
    const char *hmp_args; /* as help shows them; words fill `args` in order, "-x" sets the switch with that letter,
                           * "-x VALUE" the choice */
    const struct viv_opt_def *args; /* NULL: takes none */
    const char *help;
    int (*fn)(struct viv_opts *o, json_t **result, struct viv_err *err);
    void (*show)(const json_t *result, GString *out);
    /* QMP only, in place of `fn` and `args`: for arguments whose schema depends on one of them. What is left in `raw` is
     * borrowed. */
    int (*raw)(struct viv_raw_opts *raw, json_t **result, struct viv_err *err);
    bool hmp_rest; /* the last of `args` gets all that is left of an HMP line, spaces and quotes too */
};

/* A table that ends with both names NULL; borrowed for ever. Before the first monitor is made. */
void viv_mon_use(const struct viv_mon_cmd *table);
/* query-version, query-commands, character back ends. */
extern const struct viv_mon_cmd viv_mon_common[];
/* help, and human-monitor-command for QMP: where there is HMP. */
extern const struct viv_mon_cmd viv_mon_people[];
/* Nodes, dirty bitmaps, block jobs with their events. */
void viv_mon_use_block(void);
/* The class of the error that the command which runs now is about to give ("DeviceNotActive"); static. Else it is GenericError. */
void viv_mon_error_class(const char *cls);
/* What drives and shows the machine; its events too. */
void viv_mon_use_machine(void);

/* Tells all QMP monitors that listen. json_data: the text of an object, or NULL. Device lock held. */
void viv_mon_event(const char *event, const char *json_data);

#endif
