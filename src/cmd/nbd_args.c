#include "cmd/nbd_args.h"

#include "base/program.h"
#include "cmd/objects.h"
#include "opt/opt.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum {
    OPT_CACHE = 256, OPT_AIO, OPT_DISCARD, OPT_DETECT_ZEROES, OPT_OBJECT, OPT_TLS_CREDS, OPT_TLS_HOSTNAME, OPT_TLS_AUTHZ,
    OPT_IMAGE_OPTS, OPT_FORK, OPT_PID_FILE, OPT_SELINUX, OPT_HANDSHAKE
};

static const struct option longs[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"bind", required_argument, NULL, 'b'},
    {"port", required_argument, NULL, 'p'},
    {"socket", required_argument, NULL, 'k'},
    {"offset", required_argument, NULL, 'o'},
    {"read-only", no_argument, NULL, 'r'},
    {"partition", required_argument, NULL, 'P'},
    {"connect", required_argument, NULL, 'c'},
    {"disconnect", no_argument, NULL, 'd'},
    {"list", no_argument, NULL, 'L'},
    {"snapshot", no_argument, NULL, 's'},
    {"load-snapshot", required_argument, NULL, 'l'},
    {"nocache", no_argument, NULL, 'n'},
    {"cache", required_argument, NULL, OPT_CACHE},
    {"aio", required_argument, NULL, OPT_AIO},
    {"discard", required_argument, NULL, OPT_DISCARD},
    {"detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES},
    {"shared", required_argument, NULL, 'e'},
    {"format", required_argument, NULL, 'f'},
    {"persistent", no_argument, NULL, 't'},
    {"verbose", no_argument, NULL, 'v'},
    {"object", required_argument, NULL, OPT_OBJECT},
    {"export-name", required_argument, NULL, 'x'},
    {"description", required_argument, NULL, 'D'},
    {"allocation-depth", no_argument, NULL, 'A'},
    {"bitmap", required_argument, NULL, 'B'},
    {"tls-creds", required_argument, NULL, OPT_TLS_CREDS},
    {"tls-hostname", required_argument, NULL, OPT_TLS_HOSTNAME},
    {"tls-authz", required_argument, NULL, OPT_TLS_AUTHZ},
    {"image-opts", no_argument, NULL, OPT_IMAGE_OPTS},
    {"trace", required_argument, NULL, 'T'},
    {"fork", no_argument, NULL, OPT_FORK},
    {"pid-file", required_argument, NULL, OPT_PID_FILE},
    {"selinux-label", required_argument, NULL, OPT_SELINUX},
    {"handshake-limit", required_argument, NULL, OPT_HANDSHAKE},
    {0},
};

static void print_help(void)
{
    printf("Usage: viv-nbd [OPTIONS] FILE\n  or:  viv-nbd -L [OPTIONS]\n  or:  viv-nbd -d DEVICE\n"
           "Serves a disk image over NBD.\n\n"
           "  -h, --help                this text\n"
           "  -V, --version             the version\n\n"
           "Where to listen, or with -L whom to ask:\n"
           "  -p, --port=PORT           TCP port (default 10809)\n"
           "  -b, --bind=ADDRESS        address (default: all of this host)\n"
           "  -k, --socket=PATH         UNIX socket in place of TCP\n"
           "  -e, --shared=NUM          clients at the same time (default 1, 0: any number)\n"
           "  -t, --persistent          stay when the last client has gone\n"
           "  -v, --verbose             tell of clients that come and go\n"
           "  -x, --export-name=NAME    the export's name (default: empty)\n"
           "  -D, --description=TEXT    and its description\n"
           "      --handshake-limit=N   seconds for a client to choose an export (default 10)\n"
           "      --object TYPE,id=ID,...  secret, tls-creds-x509, -psk or -anon\n"
           "      --tls-creds=ID        nothing without TLS, with these credentials\n"
           "      --tls-hostname=NAME   -L: whose certificate the server must show\n"
           "      --fork                go to the background when clients can come\n"
           "      --pid-file=PATH       write the process's number there\n\n"
           "What to serve:\n"
           "  -f, --format=FORMAT       raw, qcow2 ... (default: as the image looks)\n"
           "      --image-opts          FILE is a set of options (driver=qcow2,file.filename=a)\n"
           "  -o, --offset=OFFSET       from there on\n"
           "  -r, --read-only           nobody may write\n"
           "  -s, --snapshot            writes go to a temporary file and are lost at the end\n"
           "  -l, --load-snapshot=S     an internal snapshot, read-only: snapshot.id=ID, snapshot.name=NAME or either\n"
           "  -A, --allocation-depth    offer the context qemu:allocation-depth\n"
           "  -B, --bitmap=NAME         offer a stored dirty bitmap as qemu:dirty-bitmap:NAME\n"
           "  -n, --nocache             --cache=none\n"
           "      --cache=MODE          writeback (default), none, writethrough, directsync, unsafe\n"
           "      --aio=MODE            threads (default), io_uring, native (io_uring with O_DIRECT)\n"
           "      --discard=MODE        ignore (default) or unmap\n"
           "      --detect-zeroes=MODE  off (default), on, unmap\n\n"
           "The kernel's client:\n"
           "  -c, --connect=DEVICE      FILE becomes /dev/nbdN\n"
           "  -d, --disconnect DEVICE   and no longer is\n"
           "  -L, --list                what another server exports\n");
}

static int parse_cache(const char *text, struct nbd_args *a, struct viv_err *err)
{
    static const struct {
        const char *name;
        bool direct, no_flush, writethrough;
    } modes[] = {
        {"writeback", false, false, false},   {"none", true, false, false},      {"off", true, false, false},
        {"writethrough", false, false, true}, {"directsync", true, false, true}, {"unsafe", false, true, false},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(text, modes[i].name) == 0) {
            a->o.direct = modes[i].direct;
            a->o.no_flush = modes[i].no_flush;
            a->writethrough = modes[i].writethrough;
            return 0;
        }
    }
    return viv_fail(err, EINVAL, "Invalid cache mode `%s' (writeback, none, writethrough, directsync and unsafe work)", text);
}

static int parse_discard(const char *text, struct nbd_args *a, struct viv_err *err)
{
    a->o.unmap = strcmp(text, "unmap") == 0 || strcmp(text, "on") == 0;
    if (a->o.unmap || strcmp(text, "ignore") == 0 || strcmp(text, "off") == 0)
        return 0;
    return viv_fail(err, EINVAL, "Invalid discard mode `%s' (ignore and unmap work)", text);
}

static int parse_zeroes(const char *text, struct nbd_args *a, struct viv_err *err)
{
    static const char *const names[] = {[VIV_DETECT_OFF] = "off", [VIV_DETECT_ON] = "on", [VIV_DETECT_UNMAP] = "unmap"};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            a->o.detect_zeroes = i;
            return 0;
        }
    }
    return viv_fail(err, EINVAL, "Invalid detect-zeroes mode `%s' (off, on and unmap work)", text);
}

static int parse_number(const char *what, const char *text, uint64_t max, unsigned *out, struct viv_err *err)
{
    uint64_t v = 0;

    if (viv_parse_u64(text, &v, err) || v > max) {
        viv_err_clear(err);
        return viv_fail(err, EINVAL, "Invalid %s '%s' (a number up to %llu)", what, text, (unsigned long long)max);
    }
    *out = v;
    return 0;
}

/* "snapshot.id=1", "snapshot.name=x", or an id or a name. */
static int parse_snapshot(const char *text, struct nbd_args *a, struct viv_err *err)
{
    a->o.read_only = true;
    if (g_str_has_prefix(text, "snapshot.id="))
        text += strlen("snapshot.id=");
    else if (g_str_has_prefix(text, "snapshot.name="))
        text += strlen("snapshot.name=");
    if (strchr(text, ',') && strstr(text, "snapshot."))
        return viv_fail(err, ENOTSUP, "-l: give the snapshot's id or its name, not both");
    a->o.snapshot = text;
    return 0;
}

static int refuse(int c, struct viv_err *err)
{
    switch (c) {
    case 'P':
        return viv_fail(err, ENOTSUP, "--partition: there is no such option any more: --image-opts "
                        "driver=raw,offset=START,size=BYTES,... shows a part of a disk, and so does -o START");
    case OPT_SELINUX:
        return viv_fail(err, ENOTSUP, "--selinux-label is not implemented");
    default:
        return viv_fail(err, ENOTSUP, "--trace is not implemented; -v tells of clients");
    }
}

/* Of the image. 1: not one of those. */
static int take_image(int c, struct nbd_args *a, struct viv_err *err)
{
    switch (c) {
    case 'f':
        a->format = optarg;
        return 0;
    case 'r':
        a->o.read_only = true;
        return 0;
    case 's':
        a->snapshot = true;
        return 0;
    case 'l':
        return parse_snapshot(optarg, a, err);
    case 'n':
        return parse_cache("none", a, err);
    case OPT_CACHE:
        return parse_cache(optarg, a, err);
    case OPT_AIO:
        return viv_aio_parse(optarg, &a->o.aio) ? viv_fail(err, EINVAL, "invalid aio mode '%s'", optarg) : 0;
    case OPT_DISCARD:
        return parse_discard(optarg, a, err);
    case OPT_DETECT_ZEROES:
        return parse_zeroes(optarg, a, err);
    case OPT_IMAGE_OPTS:
        a->image_opts = true;
        return 0;
    case OPT_OBJECT:
        return viv_object_add_text("--object", optarg, err);
    }
    return 1;
}

/* Of the export. 1: not one of those. */
static int take_export(int c, struct nbd_args *a, struct viv_err *err)
{
    switch (c) {
    case 'x':
        a->name = optarg;
        return 0;
    case 'D':
        a->description = optarg;
        return 0;
    case 'o':
        if (!viv_parse_size(optarg, 1, &a->offset, err))
            return 0;
        viv_err_prefix(err, "-o");
        return -EINVAL;
    case 'A':
        a->depth = true;
        return 0;
    case 'B':
        g_ptr_array_add(a->bitmaps, optarg);
        return 0;
    }
    return 1;
}

/* The rest. */
static int take_server(int c, struct nbd_args *a, struct viv_err *err)
{
    switch (c) {
    case 'b':
        a->bind = optarg;
        return 0;
    case 'p':
        a->port = optarg;
        return 0;
    case 'k':
        a->path = optarg;
        return strlen(optarg) < 108 ? 0 : viv_fail(err, EINVAL, "socket path can be no longer than 107 bytes");
    case 'c':
        a->device = optarg;
        return 0;
    case 'd':
        a->mode = NBD_DISCONNECT;
        return 0;
    case 'L':
        a->mode = NBD_LIST;
        return 0;
    case 'e':
        return parse_number("shared device number", optarg, 100000, &a->clients, err);
    case 't':
        a->persistent = true;
        return 0;
    case 'v':
        a->verbose = true;
        return 0;
    case OPT_HANDSHAKE:
        return parse_number("handshake limit", optarg, 86400, &a->handshake_seconds, err);
    case OPT_TLS_CREDS:
        a->tls_creds = optarg;
        return 0;
    case OPT_TLS_HOSTNAME:
        a->tls_hostname = optarg;
        return 0;
    case OPT_TLS_AUTHZ:
        a->tls_authz = optarg;
        return 0;
    case OPT_FORK:
        a->fork = true;
        return 0;
    case OPT_PID_FILE:
        a->pid_file = optarg;
        return 0;
    }
    return refuse(c, err);
}

/* What does not go together. */
static int check_serve(const struct nbd_args *a, struct viv_err *err)
{
    unsigned port;

    if (!a->file)
        return viv_fail(err, EINVAL, "Invalid number of arguments: name one image (after the options)");
    if (a->image_opts && a->format)
        return viv_fail(err, EINVAL, "--image-opts and -f are mutually exclusive");
    if (a->o.snapshot && a->snapshot)
        return viv_fail(err, EINVAL, "-l and -s are mutually exclusive");
    if (a->o.detect_zeroes == VIV_DETECT_UNMAP && !a->o.unmap)
        return viv_fail(err, EINVAL, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
    if (a->path && (a->bind || a->port))
        return viv_fail(err, EINVAL, "a UNIX socket (-k) and an address (-b, -p) are mutually exclusive");
    if (a->port && parse_number("port", a->port, 65535, &port, err))
        return -EINVAL;
    if (a->tls_hostname)
        return viv_fail(err, EINVAL, "TLS hostname is only supported when listing exports (-L)");
    if (a->device && a->tls_creds)
        return viv_fail(err, EINVAL, "TLS is not supported with a device of this host's kernel (-c)");
    return 0;
}

static int check_list(const struct nbd_args *a, bool of_image, struct viv_err *err)
{
    if (a->file || a->device || of_image)
        return viv_fail(err, EINVAL, "-L (list) does not go with what concerns one image or export");
    if (a->path && (a->bind || a->port))
        return viv_fail(err, EINVAL, "a UNIX socket (-k) and an address (-b, -p) are mutually exclusive");
    return 0;
}

static int check(struct nbd_args *a, bool of_image, struct viv_err *err)
{
    if (a->mode == NBD_LIST)
        return check_list(a, of_image, err);
    if (a->mode == NBD_DISCONNECT)
        return a->file ? 0 : viv_fail(err, EINVAL, "-d: which device?");
    return check_serve(a, err);
}

int nbd_args_parse(int argc, char **argv, struct nbd_args *a, struct viv_err *err)
{
    bool of_image = false;
    int c, ret = 0;

    *a = (struct nbd_args){.clients = 1, .name = "", .bitmaps = g_ptr_array_new()};
    while (!ret && (c = getopt_long(argc, argv, ":hVb:o:p:k:rsnc:dvLe:f:tl:x:T:D:AB:P:", longs, NULL)) != -1) {
        if (c == 'h' || c == 'V') {
            a->mode = NBD_DONE;
            if (c == 'h')
                print_help();
            else
                viv_program_print_version();
            return 0;
        }
        if (c == ':')
            return viv_fail(err, EINVAL, "missing argument for option '%s'", argv[optind - 1]);
        if (c == '?')
            return viv_fail(err, EINVAL, "unrecognized option '%s' (--help lists them)", argv[optind - 1]);
        ret = take_image(c, a, err);
        if (ret == 1)
            ret = take_export(c, a, err);
        of_image |= ret == 0 && c != OPT_OBJECT;
        if (ret == 1)
            ret = take_server(c, a, err);
    }
    if (ret)
        return ret;
    if (optind < argc - 1)
        return viv_fail(err, EINVAL, "Invalid number of arguments: one image is served at a time ('%s' is too many)",
                        argv[optind + 1]);
    a->file = argv[optind];
    return check(a, of_image, err);
}

void nbd_args_fini(struct nbd_args *a)
{
    g_clear_pointer(&a->bitmaps, g_ptr_array_unref);
}
