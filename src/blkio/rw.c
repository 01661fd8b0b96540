/* read, readv, write, writev, discard: one request at a time. */
#include "blkio/blkio.h"

#include "block/graph.h"
#include "block/image.h"
#include "block/iov.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

struct rw {
    bool machine, quiet, verbose, fua, zero, unmap, no_fallback, compressed, state;
    int pattern; /* -1: none */
    const char *source;
    bool verify_part; /* -s or -l with a read */
    uint64_t verify_from, verify_len;
    uint64_t offset, len;
};

static const struct viv_blkio_command *self(const char *name)
{
    for (const struct viv_blkio_command *c = viv_blkio_rw_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

/* A flag that no command shares with another meaning. */
static int flag(const struct viv_blkio *f, struct rw *r, int c)
{
    switch (c) {
    case 'C':
        r->machine = true;
        return 0;
    case 'q':
        r->quiet = true;
        return 0;
    case 'v':
        r->verbose = true;
        return 0;
    case 'f':
        r->fua = true;
        return 0;
    case 'z':
        r->zero = true;
        return 0;
    case 'u':
        r->unmap = true;
        return 0;
    case 'n':
        r->no_fallback = true;
        return 0;
    case 'c':
        r->compressed = true;
        return 0;
    case 'a':
    case 'p':
        return 0; /* without meaning since long */
    case 'P':
        return viv_blkio_parse_pattern(f, optarg, &r->pattern);
    case 'b':
        r->state = true;
        return 0;
    }
    return 1;
}

/* The numbers behind the flags: offset and length, for vectors any number of lengths. */
static int operands(const struct viv_blkio *f, struct rw *r, int argc, char **argv, int from, bool vector)
{
    if (argc - from < 2 || (!vector && argc - from > 2))
        return viv_blkio_usage(f, self(argv[0]));
    return viv_blkio_parse(f, argv[from], &r->offset) || viv_blkio_parse_lens(f, argc, argv, from + 1, vector, &r->len);
}

/* The peer takes whole sectors of the VM state only. */
static int check_state(const struct viv_blkio *f, const struct rw *r)
{
    uint64_t bad = r->offset % 512 ? r->offset : r->len;

    if (!r->state || bad % 512 == 0)
        return 0;
    fprintf(f->out, "%" PRIu64 " is not a sector-aligned value for '%s'\n", bad, r->offset % 512 ? "offset" : "count");
    return 1;
}

/* What was read, compared with the pattern. */
static int verify(const struct viv_blkio *f, const struct rw *r, const uint8_t *buf)
{
    uint64_t len = r->verify_len ? r->verify_len : r->len - r->verify_from;

    for (uint64_t i = 0; i < len; i++) {
        if (buf[r->verify_from + i] == r->pattern)
            continue;
        fprintf(f->out, "Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n", r->offset + r->verify_from, len);
        return 1;
    }
    return 0;
}

static int check_part(const struct viv_blkio *f, const struct rw *r, const char *name)
{
    if (r->verify_part && r->pattern < 0)
        return viv_blkio_usage(f, self(name));
    if (r->verify_from > r->len || r->verify_len > r->len - r->verify_from) {
        fprintf(f->out, "pattern verification range exceeds end of read data\n");
        return 1;
    }
    return 0;
}

static int read_one(struct viv_blkio *f, const struct rw *r)
{
    uint8_t *buf = viv_blkio_alloc(f, r->len, 0xab);
    double start = viv_blkio_now(), took;
    int ret = -ENOMEM, bad = 0;

    if (buf && r->state) {
        viv_graph_enter();
        ret = viv_node_state_read(viv_blk_node(f->blk), r->offset, buf, r->len);
        viv_graph_leave();
    } else if (buf) {
        ret = viv_blk_pread(f->blk, r->offset, buf, r->len);
    }

    took = viv_blkio_now() - start;
    if (viv_blkio_ended(f, "read", r->offset, r->len, ret)) {
        viv_blkio_free(f, buf);
        return 1;
    }
    if (r->pattern >= 0)
        bad = verify(f, r, buf);
    if (!r->quiet && r->verbose)
        viv_blkio_dump(f, buf, r->offset, r->len);
    if (!r->quiet)
        viv_blkio_report(f, "read", r->len, r->len, r->offset, took, r->machine);
    viv_blkio_free(f, buf);
    return bad;
}

static int cmd_read(struct viv_blkio *f, int argc, char **argv)
{
    struct rw r = {.pattern = -1};
    bool vector = strcmp(self(argv[0])->name, "readv") == 0;
    int c;

    while ((c = getopt(argc, argv, vector ? "CP:qv" : "abCl:pP:qs:v")) != -1) {
        if (c == 's' || c == 'l') {
            if (viv_blkio_parse(f, optarg, c == 's' ? &r.verify_from : &r.verify_len))
                return 1;
            r.verify_part = true;
        } else if (c == '?') {
            return viv_blkio_usage(f, self(argv[0]));
        } else if (flag(f, &r, c)) {
            return 1;
        }
    }
    if (operands(f, &r, argc, argv, optind, vector) || check_part(f, &r, argv[0]) || check_state(f, &r))
        return 1;
    return read_one(f, &r);
}

/* Fills buf with the source file's bytes, again and again. */
static int fill_from(const struct viv_blkio *f, const char *path, uint8_t *buf, size_t len)
{
    int fd = viv_open(path, O_RDONLY, 0, NULL);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "rb");
    size_t got;

    if (!in) {
        fflush(f->out);
        fprintf(f->err, "%s: %s\n", path, g_strerror(fd < 0 ? -fd : errno));
        return 1;
    }
    got = fread(buf, 1, len, in);
    if (ferror(in) || !got) {
        fflush(f->out);
        fprintf(f->err, "%s: %s\n", path, ferror(in) ? "cannot be read" : "file is empty");
        fclose(in);
        return 1;
    }
    fclose(in);
    for (size_t at = got; at < len; at++)
        buf[at] = buf[at - got];
    return 0;
}

static int write_compressed(struct viv_blkio *f, const struct rw *r, const uint8_t *buf)
{
    struct viv_node *n;
    int ret = 0;

    viv_graph_enter();
    n = viv_blk_node(f->blk);
    for (uint64_t at = 0; at < r->len && !ret; at += n->granule)
        ret = viv_node_write_compressed(n, r->offset + at, buf + at, MIN(n->granule, r->len - at));
    viv_graph_leave();
    return ret;
}

static int write_state(struct viv_blkio *f, const struct rw *r, const uint8_t *buf)
{
    int ret;

    viv_graph_enter();
    ret = viv_node_state_write(viv_blk_node(f->blk), r->offset, buf, r->len);
    viv_graph_leave();
    return ret;
}

static int run_write(struct viv_blkio *f, const struct rw *r, const uint8_t *buf)
{
    unsigned flags =
        (r->fua ? VIV_BLK_FUA : 0) | (r->unmap ? VIV_BLK_UNMAP : 0) | (r->no_fallback ? VIV_BLK_NO_FALLBACK : 0);

    if (r->state)
        return write_state(f, r, buf);
    if (r->zero)
        return viv_blk_pwrite_zeroes(f->blk, r->offset, r->len, flags);
    if (r->compressed)
        return write_compressed(f, r, buf);
    return viv_blk_pwrite(f->blk, r->offset, buf, r->len, flags);
}

static int check_write(const struct viv_blkio *f, const struct rw *r)
{
    const char *wrong = NULL;

    if (r->state && r->zero)
        wrong = "-b and -z cannot be specified at the same time";
    else if (r->zero + (r->pattern >= 0) + (r->source != NULL) > 1)
        wrong = "Only one of -z, -P, and -s can be specified at the same time";
    else if (r->compressed && r->zero)
        wrong = "-c and -z cannot be specified at the same time";
    else if ((r->compressed || r->state) && r->fua)
        wrong = "-f and -b or -c cannot be specified at the same time";
    else if (r->unmap && !r->zero)
        wrong = "-u requires -z to be specified";
    else if (r->no_fallback && !r->zero)
        wrong = "-n requires -z to be specified";
    if (wrong)
        fprintf(f->out, "%s\n", wrong);
    return wrong != NULL;
}

static int cmd_write(struct viv_blkio *f, int argc, char **argv)
{
    struct rw r = {.pattern = -1};
    bool vector = strcmp(self(argv[0])->name, "writev") == 0;
    uint8_t *buf = NULL;
    double start;
    int c, ret;

    while ((c = getopt(argc, argv, vector ? "CfqP:" : "bcCfnpP:qs:uz")) != -1) {
        if (c == 's')
            r.source = optarg;
        else if (c == '?')
            return viv_blkio_usage(f, self(argv[0]));
        else if (flag(f, &r, c))
            return 1;
    }
    if (check_write(f, &r) || operands(f, &r, argc, argv, optind, vector) || check_state(f, &r))
        return 1;
    if (!r.zero) {
        buf = viv_blkio_alloc(f, r.len, r.pattern >= 0 ? r.pattern : 0xcd);
        if (!buf || (r.source && fill_from(f, r.source, buf, r.len))) {
            viv_blkio_free(f, buf);
            return buf ? 1 : viv_blkio_error(f, "not enough memory for %" PRIu64 " bytes", r.len);
        }
    }
    start = viv_blkio_now();
    ret = run_write(f, &r, buf);
    if (!viv_blkio_ended(f, "write", r.offset, r.len, ret) && !r.quiet)
        viv_blkio_report(f, "wrote", r.len, r.len, r.offset, viv_blkio_now() - start, r.machine);
    viv_blkio_free(f, buf);
    return ret != 0;
}

static int cmd_discard(struct viv_blkio *f, int argc, char **argv)
{
    struct rw r = {.pattern = -1};
    double start;
    int c, ret;

    while ((c = getopt(argc, argv, "Cq")) != -1)
        if (c == '?' || flag(f, &r, c))
            return viv_blkio_usage(f, self(argv[0]));
    if (operands(f, &r, argc, argv, optind, false))
        return 1;
    start = viv_blkio_now();
    viv_graph_enter();
    ret = viv_node_discard(viv_blk_node(f->blk), r.offset, r.len);
    viv_graph_leave();
    if (!viv_blkio_ended(f, "discard", r.offset, r.len, ret) && !r.quiet)
        viv_blkio_report(f, "discard", r.len, r.len, r.offset, viv_blkio_now() - start, r.machine);
    return ret != 0;
}

const struct viv_blkio_command viv_blkio_rw_commands[] = {
    {"read", "r", cmd_read, 2, -1, false, "[-abCqv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset",
     " Example:\n 'read -v 512 1k' - dumps 1 kilobyte from 512 bytes into the file\n\n"
     " -b, -- the VM state that lies behind the disk\n"
     " -C, -- one line of figures, for programs: bytes, requests, time, bytes/s, requests/s\n"
     " -l, -- length to compare with the pattern (only with -P)\n"
     " -P, -- every byte read must be this one\n"
     " -q, -- no figures\n"
     " -s, -- where the comparison starts, from off (only with -P)\n"
     " -v, -- dumps what was read\n"},
    {"readv", NULL, cmd_read, 2, -1, false, "[-Cqv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset",
     " Example:\n 'readv -v 512 1k 1k' - dumps 2 kilobytes from 512 bytes into the file\n\n"
     " The lengths are read as one request.\n -C, -P, -q, -v as for read\n"},
    {"write", "w", cmd_write, 2, -1, false, "[-bcCfnquz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset",
     " Example:\n 'write 512 1k' - writes 1 kilobyte at 512 bytes into the open file\n\n"
     " -b, -- the VM state that lies behind the disk\n"
     " -c, -- stores compressed clusters\n"
     " -C, -- one line of figures, for programs\n"
     " -f, -- the write is durable when it ends\n"
     " -n, -- with -z: fails rather than writing zeroes as data\n"
     " -P, -- the byte to write (else 0xcd)\n"
     " -q, -- no figures\n"
     " -s, -- a file whose bytes are written, again and again\n"
     " -u, -- with -z: the space may be freed\n"
     " -z, -- writes zeroes, without data where the format can\n", VIV_PERM_WRITE},
    {"writev", NULL, cmd_write, 2, -1, false, "[-Cfq] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset",
     " Example:\n 'writev 512 1k 1k' - writes 2 kilobytes at 512 bytes into the open file\n\n"
     " The lengths are written as one request.\n -C, -f, -P, -q as for write\n", VIV_PERM_WRITE},
    {"discard", "d", cmd_discard, 2, -1, false, "[-Cq] off len", "discards a number of bytes at a specified offset",
     " Example:\n 'discard 512 1k' - discards 1 kilobyte from 512 bytes into the file\n\n"
     " Nothing happens when the image was opened with discard=ignore (-d ignore).\n -C, -q as for read\n", VIV_PERM_WRITE},
    {0},
};
