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
#include <getopt.h>
#include <glib.h>

int img_amend(int argc, char **argv);
int img_bench(int argc, char **argv);
int img_bitmap(int argc, char **argv);
int img_check(int argc, char **argv);
int img_commit(int argc, char **argv);
int img_compare(int argc, char **argv);
int img_convert(int argc, char **argv);
int img_create(int argc, char **argv);
int img_dd(int argc, char **argv);
int img_grow(int argc, char **argv);
int img_info(int argc, char **argv);
int img_map(int argc, char **argv);
int img_measure(int argc, char **argv);
int img_rebase(int argc, char **argv);
int img_resize(int argc, char **argv);
int img_snapshot(int argc, char **argv);

/* --- options (img_args.c) --- */

/* What most verbs take. */
struct img_common {
    const char *format;  /* -f */
    bool quiet, progress; /* -q, -p */
    bool json;           /* --output=json */
    bool image_opts;     /* --image-opts: names are sets of options */
    struct viv_node_opts o; /* -U; the verb's own flags */
    GString *create;     /* -o, joined by commas; NULL: the verb has no -o, or another one */
};

/* Letters of long options that have no short one. Those of single verbs start at IMG_OPT_OWN. */
enum { IMG_OPT_OBJECT = 256, IMG_OPT_IMAGE_OPTS, IMG_OPT_OUTPUT, IMG_OPT_OWN };

/* How a verb's options are written. Those of struct img_common are read without `take` when their letter is in `shorts`;
 * --object and --image-opts are always there, --output where `output` says so. */
struct img_syntax {
    const char *shorts;          /* as getopt has them, opening ':' included */
    const struct option *longs;  /* the verb's own, ended by zeroes; NULL: none */
    bool output;
    int bad_value; /* exit code when an option's argument is refused; 0: 1, as for all that is not understood */
    /* One of the verb's own: its letter, argument in optarg. 0, or an exit code after a message. */
    int (*take)(void *args, int c);
};

/* Reads all options. 0: go on at argv[optind]. Else the exit code plus 1: all has been said. */
int img_read_options(struct img_common *common, const struct img_syntax *syntax, void *args, int argc, char **argv);

/* Opens what the command line calls `name`; text in err. */
int img_open(const struct img_common *common, const char *name, const char *format, const struct viv_node_opts *o,
             struct viv_node **out, struct viv_err *err);
/* Puts a node that was written. `ret` (kept when not 0) or the close's own error. */
int img_close(struct viv_node **n, int ret, struct viv_err *err);

/* The program's help; 0. */
int img_print_help(void);

/* --- words (img_util.c) --- */

/* Prints "viv-img: text" and returns 1. */
int img_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int img_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* and where help is */
/* "human" or "json" for --output. */
int img_parse_output(const char *text, bool *json);
/* A size with its suffix; `what` names it in the complaint: "Invalid bs specified". */
int img_parse_size(const char *what, const char *text, uint64_t *out);
/* "none", "writeback" ... as qemu-img's -t and -T name them; `what` opens the complaint ("Invalid cache option"). */
int img_parse_cache(const char *what, const char *text, struct viv_node_opts *o, bool *writethrough);
/* "+1G", "-1G" or "1G", counted from `old`: a multiple of 512. */
int img_new_size(const char *text, uint64_t old, uint64_t *out, struct viv_err *err);
/* Do the names mean one file? */
bool img_same_file(const char *a, const char *b);
const char *img_bool(bool b); /* "true" or "false" */
void img_json_string(FILE *f, const char *text);
/* img_facts.c: what the format tells; JSON with `in` in front of each line and a comma behind. */
void img_facts_json(const struct viv_img_info *i, const char *type, const char *in);

/* -o options of a format, over those given by flags. */
struct img_create_opts {
    const GString *text; /* "k=v,k=v" */
    const char *backing_file, *backing_fmt;
    bool unsafe; /* -u */
};
/* A new image, or one over an existing file. */
struct img_target {
    struct viv_file_new *file; /* NULL: it existed */
    struct viv_file_new **more_file; /* the image's other files, likewise */
    struct viv_node **more;
    unsigned more_count;
    struct viv_node *node;
    struct viv_create spec;
    struct viv_opts *opts; /* owns what spec points at */
    char *backing_fmt;
    uint64_t object_size; /* of a raw image in a Ceph cluster; 0: as that is set */
};
/* Prints the options of a format: for new images, and for those that exist. */
int img_option_help(const char *format);
int img_amend_help(const char *format);
bool img_wants_help(const GString *text);
/* Reads options into t->spec; size UINT64_MAX: from size= or the backing file. Opens the backing file to look at
 * its size and format. */
int img_target_plan(struct img_target *t, const char *path, const char *format,
                    const struct img_create_opts *co, uint64_t size, struct viv_err *err);
void img_target_describe(const struct img_target *t, const char *path, const char *format);
/* Makes the image; t->node stays NULL unless `open`. */
int img_target_make(struct img_target *t, const char *path, const char *format,
                    const struct viv_node_opts *o, bool open, struct viv_err *err);
/* Will it be encrypted? After img_target_plan(). */
bool img_target_encrypted(const struct img_target *t, const struct viv_blk_driver *drv);
/* Does all of the new image, open, read as zeroes? */
bool img_target_is_zero(const struct img_target *t);
/* Gives a new file its name. */
int img_target_publish(struct img_target *t, struct viv_err *err);
/* What was written into `n` (t's own node, or an image that existed) without flushes is on the disk before it gets its name.
 * no_flush: -t unsafe, not even now. */
int img_target_finish(struct img_target *t, struct viv_node *n, bool no_flush, struct viv_err *err);
void img_target_fini(struct img_target *t);

#endif
