/* viv-io's own: the file that is open, and the commands that open another one. The others are blkio/'s. */
#ifndef VIV_CMD_IO_H
#define VIV_CMD_IO_H

#include "blkio/blkio.h"

struct io_file {
    struct viv_blkio io; /* first: what commands get */
    char *path;
    char *options; /* as last given, for reopen; NULL: none */
    bool quit;
};

extern const struct viv_blkio_command io_file_commands[];

/* options: "driver=raw,read-only=on", NULL for none. */
int io_open(struct io_file *f, const char *path, const char *options);
int io_close(struct io_file *f);

#endif
