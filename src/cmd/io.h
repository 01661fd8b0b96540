/* viv-io's commands and what they share. A command is a row of a table (io_*.c) and returns 0, or 1 after it has said what
 * went wrong. One thread; the requests of aio_* end in I/O threads. */
#ifndef VIV_CMD_IO_H
#define VIV_CMD_IO_H

#include "block/block.h"
#include "block/node.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct io_file {
    struct viv_blk *blk; /* NULL: none open */
    char *path;
    char *options; /* as last given, for reopen; NULL: none */
    bool misalign; /* -m: buffers are off by one page's fraction */
    bool quit;
};

struct io_command {
    const char *name, *alt;
    int (*run)(struct io_file *f, int argc, char **argv);
    int min, max; /* arguments; max -1: any */
    bool anytime; /* also without an open file */
    const char *args, *summary;
    const char *help; /* below the summary; NULL: no more to say */
};

extern const struct io_command io_rw_commands[], io_aio_commands[], io_map_commands[], io_file_commands[], io_break_commands[]; /* ends: name NULL */

/* Prints "viv-io: text" on stderr and returns 1. */
int io_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The command's usage line; returns 1. */
int io_usage(const struct io_command *c);

/* Numbers with suffixes; on failure says so. */
int io_parse(const char *text, uint64_t *out);
/* The lengths of a request, argv[from] to the last: their sum, at most IO_LEN_MAX. `vector`: there may be many. */
int io_parse_lens(int argc, char **argv, int from, bool vector, uint64_t *sum);
#define IO_LEN_MAX 2147483136u
int io_parse_pattern(const char *text, int *out);

/* "64 KiB", "40 bytes", "1.812 MiB". */
void io_size_text(double bytes, char *out, size_t size);
/* What was done, as two lines or (`machine`) one with commas. seconds: of the request. */
void io_report(const char *op, uint64_t done, uint64_t total, uint64_t offset, double seconds, bool machine);
void io_dump(const uint8_t *buf, uint64_t offset, size_t len);
double io_now(void); /* seconds of the monotonic clock */

/* How a request on this range ended: 0, or 1 after saying so in the words that scripts look for. */
int io_ended(const struct io_file *f, const char *what, uint64_t offset, uint64_t len, int ret);

/* Buffers for requests: page-aligned, or just not (-m). */
uint8_t *io_alloc(const struct io_file *f, size_t len, int fill);
void io_free(const struct io_file *f, uint8_t *buf);

/* io_file.c. options: "driver=raw,read-only=on", NULL for none. */
int io_open(struct io_file *f, const char *path, const char *options);
int io_close(struct io_file *f);
/* io_aio.c: waits for what is under way. */
void io_aio_wait(void);

#endif
