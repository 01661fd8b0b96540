/* How a line for people fills a command's options: the text of viv_mon_cmd.hmp_args. */
#ifndef VIV_MON_FORM_H
#define VIV_MON_FORM_H

#include "mon/command.h"

#define VIV_FORM_MAX 12

struct viv_slot {
    char letter; /* "-x"; 0: a word; '/': a format */
    bool value;  /* "-x VALUE" */
    const struct viv_opt_def *def;
    char kind[12]; /* what completes it ("drive"); "": nothing */
};

/* Returns how many. A name that is not among the options has def NULL. */
unsigned viv_form_read(const struct viv_mon_cmd *c, struct viv_slot slots[VIV_FORM_MAX]);
/* Words into options. -EINVAL and err. */
int viv_form_fill(const struct viv_mon_cmd *c, char **words, struct viv_opts *o, struct viv_err *err);
/* "change [-f] device filename": without the kinds. */
void viv_form_usage(const struct viv_mon_cmd *c, GString *out);
void viv_form_problems(const struct viv_mon_cmd *c, GString *out);

/* complete.c: is there something of this kind to offer? */
bool viv_complete_knows(const char *kind);

#endif
