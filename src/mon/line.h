/* Line editing: history, cursor keys, completion of command names. Knows a sink for output, no terminal. */
#ifndef VIV_MON_LINE_H
#define VIV_MON_LINE_H

#include <stddef.h>

struct viv_line;

struct viv_line *viv_line_new(const char *prompt, void (*put)(void *opaque, const char *, size_t),
                              void (*done)(void *opaque, const char *line), void *opaque);
void viv_line_free(struct viv_line *l);
void viv_line_input(struct viv_line *l, const char *bytes, size_t len);
void viv_line_begin(struct viv_line *l); /* on a line that is empty: the prompt, or the question, and nothing else */
void viv_line_show(struct viv_line *l);  /* over a line: prompt and what was typed so far */
void viv_line_clear(struct viv_line *l);
/* What was entered, from 0 (the oldest that is kept) on; borrowed. NULL: there are no more. */
const char *viv_line_history(const struct viv_line *l, size_t i);
/* The next line is an answer to this (borrowed): shown as asterisks, not kept in the history. */
void viv_line_ask(struct viv_line *l, const char *question);

#endif
