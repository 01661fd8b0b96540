/* viv-img's verbs and what they share. Each verb is img_<verb>.c and returns the exit code. */
#ifndef VIV_CMD_IMG_H
#define VIV_CMD_IMG_H

#include "base/err.h"
#include "block/image.h"
#include "block/node.h"
#include "block/proto/file/file.h"
#include "opt/opt.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <glib.h>

int img_check(int argc, char **argv);
int img_compare(int argc, char **argv);
int img_convert(int argc, char **argv);
int img_create(int argc, char **argv);
int img_info(int argc, char **argv);
int img_map(int argc, char **argv);
int img_measure(int argc, char **argv);
int img_resize(int argc, char **argv);

/* Prints "viv-img: text" and returns 1. */
int img_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int img_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* and where help is */
/* An option that qemu-img has and this verb does not yet: says so, returns 1. `c` from getopt_long. */
int img_refuse(const char *verb, int c, const char *why);
/* "human" or "json" for --output. */
int img_parse_output(const char *text, bool *json);
/* "none", "writeback" ... as qemu-img's -t and -T name them. */
int img_parse_cache(const char *text, struct viv_node_opts *o, bool *writethrough);
/* "196 KiB": three digits. */
void img_size_text(uint64_t bytes, char *out, size_t size);
void img_json_string(FILE *f, const char *text);
/* img_facts.c: what the format tells; JSON with `in` in front of each line and a comma behind. */
void img_facts_human(const struct viv_img_info *i);
void img_facts_json(const struct viv_img_info *i, const char *type, const char *in);

/* -o options of a format, joined from several -o, over those given by flags. */
struct img_create_opts {
    GString *text; /* "k=v,k=v" */
    const char *backing_file, *backing_fmt;
    bool unsafe; /* -u */
};
/* A new image, or one over an existing file. */
struct img_target {
    struct viv_file_new *file; /* NULL: it existed */
    struct viv_node *node;
    struct viv_create spec;
    struct viv_opts *opts; /* owns what spec points at */
    char *backing_fmt;
};
/* Prints the options of a format. */
int img_option_help(const char *format);
bool img_wants_help(const GString *text);
/* Reads options into t->spec; size UINT64_MAX: from size= or the backing file. Opens the backing file to look at
 * its size and format. */
int img_target_plan(struct img_target *t, const char *path, const char *format,
                    const struct img_create_opts *co, uint64_t size, struct viv_err *err);
void img_target_describe(const struct img_target *t, const char *path, const char *format);
/* Makes the image; t->node stays NULL unless `open`. */
int img_target_make(struct img_target *t, const char *path, const char *format,
                    const struct viv_node_opts *o, bool open, struct viv_err *err);
/* Gives a new file its name. */
int img_target_publish(struct img_target *t, struct viv_err *err);
void img_target_fini(struct img_target *t);

#endif
