/* The command language of viv-io, which the monitor's qemu-io speaks too. A command is a row of a table and returns 0, or 1 after it has said
 * what went wrong. One line at a time in all of the process (getopt's state); the requests of aio_* end in I/O threads, later. */
#ifndef VIV_BLKIO_BLKIO_H
#define VIV_BLKIO_BLKIO_H

#include "block/block.h"
#include "block/node.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct viv_blkio_command;

/* Who speaks it. */
struct viv_blkio {
    FILE *out, *err;      /* may be one */
    const char *program;  /* opens complaints: "viv-io: " */
    struct viv_blk *blk;  /* NULL: none open, */
    const char *none;     /* and what is said then of commands that want one */
    const struct viv_blkio_command *more; /* commands of its own; NULL: none */
    unsigned patience_ms; /* how long a command may stand still, and a breakpoint hold a request; 0: for ever */
    bool misalign;        /* buffers are off by one page's fraction */
    unsigned under_way;   /* requests of aio_*; aio.c's */
};

struct viv_blkio_command {
    const char *name, *alt;
    int (*run)(struct viv_blkio *f, int argc, char **argv);
    int min, max; /* arguments; max -1: any */
    bool anytime; /* also without an open file */
    const char *args, *summary;
    const char *help; /* below the summary; NULL: no more to say */
    unsigned perms;   /* beside reading */
};

/* One line: words between blanks. 0, or 1 after saying why. Blocks as long as it takes; not with the device lock held. */
int viv_blkio_run(struct viv_blkio *f, const char *line);
/* What its command has to be allowed on the node; 0 for one that there is not. */
unsigned viv_blkio_perms(const struct viv_blkio *f, const char *line);
/* Waits for what aio_* have under way: of f, or of all (NULL). */
void viv_blkio_aio_wait(const struct viv_blkio *f);
bool viv_blkio_is_busy(const struct viv_blkio *f);

/* --- for commands --- */

/* Tables; ends: name NULL. */
extern const struct viv_blkio_command viv_blkio_rw_commands[], viv_blkio_aio_commands[], viv_blkio_map_commands[], viv_blkio_basic_commands[],
    viv_blkio_break_commands[];

/* Prints "viv-io: text" and returns 1. */
int viv_blkio_error(const struct viv_blkio *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The command's usage line; returns 1. */
int viv_blkio_usage(const struct viv_blkio *f, const struct viv_blkio_command *c);

/* Numbers with suffixes; on failure says so. */
int viv_blkio_parse(const struct viv_blkio *f, const char *text, uint64_t *out);
/* The lengths of a request, argv[from] to the last: their sum, at most VIV_BLKIO_LEN_MAX. `vector`: there may be many. */
int viv_blkio_parse_lens(const struct viv_blkio *f, int argc, char **argv, int from, bool vector, uint64_t *sum);
#define VIV_BLKIO_LEN_MAX 2147483136u
int viv_blkio_parse_pattern(const struct viv_blkio *f, const char *text, int *out);

/* "64 KiB", "40 bytes", "1.812 MiB". */
void viv_blkio_size_text(double bytes, char *out, size_t size);
/* What was done, as two lines or (`machine`) one with commas. seconds: of the request. */
void viv_blkio_report(const struct viv_blkio *f, const char *op, uint64_t done, uint64_t total, uint64_t offset, double seconds, bool machine);
void viv_blkio_dump(const struct viv_blkio *f, const uint8_t *buf, uint64_t offset, size_t len);
double viv_blkio_now(void); /* seconds of the monotonic clock */

/* How a request on this range ended: 0, or 1 after saying so in the words that scripts look for. */
int viv_blkio_ended(const struct viv_blkio *f, const char *what, uint64_t offset, uint64_t len, int ret);

/* Buffers for requests: page-aligned, or just not. */
uint8_t *viv_blkio_alloc(const struct viv_blkio *f, size_t len, int fill);
void viv_blkio_free(const struct viv_blkio *f, uint8_t *buf);

#endif
