/* read, readv, write, writev, discard: one request at a time. */
#include "cmd/io.h"

#include "block/blk.h"
#include "block/image.h"
#include "block/iov.h"

#include <errno.h>
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

static const struct io_command *self(const char *name)
{
    for (const struct io_command *c = io_rw_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

/* A flag that no command shares with another meaning. */
static int flag(struct rw *r, int c)
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
        return io_parse_pattern(optarg, &r->pattern);
    case 'b':
        r->state = true;
        return 0;
    }
    return 1;
}

/* The numbers behind the flags: offset and length, for vectors any number of lengths. */
static int operands(struct rw *r, int argc, char **argv, int from, bool vector)
{
    if (argc - from < 2 || (!vector && argc - from > 2))
        return io_usage(self(argv[0]));
    return io_parse(argv[from], &r->offset) || io_parse_lens(argc, argv, from + 1, vector, &r->len);
}

/* The peer takes whole sectors of the VM state only. */
static int check_state(const struct rw *r)
{
    uint64_t bad = r->offset % 512 ? r->offset : r->len;

    if (!r->state || bad % 512 == 0)
        return 0;
    printf("%" PRIu64 " is not a sector-aligned value for '%s'\n", bad, r->offset % 512 ? "offset" : "count");
    return 1;
}

/* What was read, compared with the pattern. */
static int verify(const struct rw *r, const uint8_t *buf)
{
    uint64_t len = r->verify_len ? r->verify_len : r->len - r->verify_from;

    for (uint64_t i = 0; i < len; i++) {
        if (buf[r->verify_from + i] == r->pattern)
            continue;
        printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n", r->offset + r->verify_from, len);
        return 1;
    }
    return 0;
}

static int check_part(const struct rw *r, const char *name)
{
    if (r->verify_part && r->pattern < 0)
        return io_usage(self(name));
    if (r->verify_from > r->len || r->verify_len > r->len - r->verify_from) {
        printf("pattern verification range exceeds end of read data\n");
        return 1;
    }
    return 0;
}

static int read_one(struct io_file *f, const struct rw *r)
{
    uint8_t *buf = io_alloc(f, r->len, 0xab);
    double start = io_now(), took;
    int ret = -ENOMEM, bad = 0;

    if (buf && r->state)
        ret = viv_node_state_read(viv_blk_node(f->blk), r->offset, buf, r->len);
    else if (buf)
        ret = viv_blk_pread(f->blk, r->offset, buf, r->len);

    took = io_now() - start;
    if (io_ended(f, "read", r->offset, r->len, ret)) {
        io_free(f, buf);
        return 1;
    }
    if (r->pattern >= 0)
        bad = verify(r, buf);
    if (!r->quiet && r->verbose)
        io_dump(buf, r->offset, r->len);
    if (!r->quiet)
        io_report("read", r->len, r->len, r->offset, took, r->machine);
    io_free(f, buf);
    return bad;
}

static int cmd_read(struct io_file *f, int argc, char **argv)
{
    struct rw r = {.pattern = -1};
    bool vector = strcmp(self(argv[0])->name, "readv") == 0;
    int c;

    while ((c = getopt(argc, argv, vector ? "CP:qv" : "abCl:pP:qs:v")) != -1) {
        if (c == 's' || c == 'l') {
            if (io_parse(optarg, c == 's' ? &r.verify_from : &r.verify_len))
                return 1;
            r.verify_part = true;
        } else if (c == '?') {
            return io_usage(self(argv[0]));
        } else if (flag(&r, c)) {
            return 1;
        }
    }
    if (operands(&r, argc, argv, optind, vector) || check_part(&r, argv[0]) || check_state(&r))
        return 1;
    return read_one(f, &r);
}

/* Fills buf with the source file's bytes, again and again. */
static int fill_from(const char *path, uint8_t *buf, size_t len)
{
    FILE *in = fopen(path, "rb");
    size_t got;

    if (!in) {
        fflush(stdout);
        fprintf(stderr, "%s: %s\n", path, g_strerror(errno));
        return 1;
    }
    got = fread(buf, 1, len, in);
    if (ferror(in) || !got) {
        fflush(stdout);
        fprintf(stderr, "%s: %s\n", path, ferror(in) ? "cannot be read" : "file is empty");
        fclose(in);
        return 1;
    }
    fclose(in);
    for (size_t at = got; at < len; at++)
        buf[at] = buf[at - got];
    return 0;
}

static int write_compressed(struct io_file *f, const struct rw *r, const uint8_t *buf)
{
    struct viv_node *n = viv_blk_node(f->blk);
    int ret = 0;

    for (uint64_t at = 0; at < r->len && !ret; at += n->granule)
        ret = viv_node_write_compressed(n, r->offset + at, buf + at, MIN(n->granule, r->len - at));
    return ret;
}

static int run_write(struct io_file *f, const struct rw *r, const uint8_t *buf)
{
    unsigned flags =
        (r->fua ? VIV_BLK_FUA : 0) | (r->unmap ? VIV_BLK_UNMAP : 0) | (r->no_fallback ? VIV_BLK_NO_FALLBACK : 0);

    if (r->state)
        return viv_node_state_write(viv_blk_node(f->blk), r->offset, buf, r->len);
    if (r->zero)
        return viv_blk_pwrite_zeroes(f->blk, r->offset, r->len, flags);
    if (r->compressed)
        return write_compressed(f, r, buf);
    return viv_blk_pwrite(f->blk, r->offset, buf, r->len, flags);
}

static int check_write(const struct rw *r)
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
        printf("%s\n", wrong);
    return wrong != NULL;
}

static int cmd_write(struct io_file *f, int argc, char **argv)
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
            return io_usage(self(argv[0]));
        else if (flag(&r, c))
            return 1;
    }
    if (check_write(&r) || operands(&r, argc, argv, optind, vector) || check_state(&r))
        return 1;
    if (!r.zero) {
        buf = io_alloc(f, r.len, r.pattern >= 0 ? r.pattern : 0xcd);
        if (!buf || (r.source && fill_from(r.source, buf, r.len))) {
            io_free(f, buf);
            return buf ? 1 : io_error("not enough memory for %" PRIu64 " bytes", r.len);
        }
    }
    start = io_now();
    ret = run_write(f, &r, buf);
    if (!io_ended(f, "write", r.offset, r.len, ret) && !r.quiet)
        io_report("wrote", r.len, r.len, r.offset, io_now() - start, r.machine);
    io_free(f, buf);
    return ret != 0;
}

static int cmd_discard(struct io_file *f, int argc, char **argv)
{
    struct rw r = {.pattern = -1};
    double start;
    int c, ret;

    while ((c = getopt(argc, argv, "Cq")) != -1)
        if (c == '?' || flag(&r, c))
            return io_usage(self(argv[0]));
    if (operands(&r, argc, argv, optind, false))
        return 1;
    start = io_now();
    ret = viv_node_discard(viv_blk_node(f->blk), r.offset, r.len);
    if (!io_ended(f, "discard", r.offset, r.len, ret) && !r.quiet)
        io_report("discard", r.len, r.len, r.offset, io_now() - start, r.machine);
    return ret != 0;
}

const struct io_command io_rw_commands[] = {
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
     " -z, -- writes zeroes, without data where the format can\n"},
    {"writev", NULL, cmd_write, 2, -1, false, "[-Cfq] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset",
     " Example:\n 'writev 512 1k 1k' - writes 2 kilobytes at 512 bytes into the open file\n\n"
     " The lengths are written as one request.\n -C, -f, -P, -q as for write\n"},
    {"discard", "d", cmd_discard, 2, -1, false, "[-Cq] off len", "discards a number of bytes at a specified offset",
     " Example:\n 'discard 512 1k' - discards 1 kilobyte from 512 bytes into the file\n\n"
     " Nothing happens when the image was opened with discard=ignore (-d ignore).\n -C, -q as for read\n"},
    {0},
};
