/* A hostile 9P client on a folder that somebody else changes meanwhile. The first byte chooses security model and read-only; then come
 * records: a message whose fields are taken from short tables, one of raw bytes, or a change of the folder by the host.
 *
 * What must hold: no crash, every answer is well formed, and whatever happens nothing beside the shared folder is read or changed. */
#include "fuzz/fuzz.h"

#include "share/p9.h"
#include "share/p9_wire.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM = 1 << 16, RECORDS = 64, STR_MAX = 200 };

static char *top, *shared;
static unsigned long answered, refused; /* VIV_FUZZ_STATS=1 prints them */

static const char *const names[] = {
    "a", "b", "c", "d", "out", "a", "b", "..", ".", "", "a/b", "../secret", ".virtfs_metadata", ".virtfs_metadata_root", "user.x", "user.virtfs.uid",
    "system.posix_acl_access", "security.x", "9P2000.L", "9P2000.u", "/etc/passwd", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
};

static const struct {
    uint8_t type;
    const char *form; /* f: fid, s: name, b w d q: 8 to 64 bits, x: data to the end */
} forms[] = {
    {P9_STATFS, "f"}, {P9_LOPEN, "fd"}, {P9_LCREATE, "fsddd"}, {P9_SYMLINK, "fssd"}, {P9_MKNOD, "fsdddd"}, {P9_RENAME, "ffs"},
    {P9_READLINK, "f"}, {P9_GETATTR, "fq"}, {P9_SETATTR, "fdddqqqqq"}, {P9_XATTRWALK, "ffs"}, {P9_XATTRCREATE, "fsqd"},
    {P9_READDIR, "fqd"}, {P9_FSYNC, "fd"}, {P9_LOCK, "fbdqqds"}, {P9_GETLOCK, "fbqqds"}, {P9_LINK, "ffs"}, {P9_MKDIR, "fsdd"},
    {P9_RENAMEAT, "fsfs"}, {P9_UNLINKAT, "fsd"}, {P9_VERSION, "ds"}, {P9_ATTACH, "fdssd"}, {P9_FLUSH, "w"}, {P9_WALK, "ffws"},
    {P9_WALK, "ffwss"}, {P9_WALK, "ffw"}, {P9_READ, "fqd"}, {P9_WRITE, "fqdx"}, {P9_CLUNK, "f"}, {P9_REMOVE, "f"},
};

struct input {
    const uint8_t *p;
    size_t left;
};

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t v = 0;

    while (bytes-- && in->left) {
        v = v << 8 | *in->p++;
        in->left--;
    }
    return v;
}

/* Small numbers mostly: offsets, lengths, modes and flags that mean something. */
static uint64_t number(struct input *in)
{
    uint8_t kind = (uint8_t)take(in, 1);

    return kind < 128 ? kind : kind < 192 ? take(in, 2) : kind < 224 ? take(in, 4) : kind < 240 ? take(in, 8) : UINT64_MAX;
}

static void put_field(struct input *in, struct p9_out *o, char c)
{
    const char *s = c == 's' ? names[take(in, 1) % G_N_ELEMENTS(names)] : NULL;

    if (s)
        p9_put_str(o, s, strlen(s));
    else if (c == 'f')
        p9_put32(o, (uint32_t)take(in, 1) % 8);
    else if (c == 'b')
        p9_put8(o, (uint8_t)take(in, 1));
    else if (c == 'w')
        p9_put16(o, (uint16_t)(take(in, 1) % 5));
    else if (c == 'd')
        p9_put32(o, (uint32_t)number(in));
    else if (c == 'q')
        p9_put64(o, number(in));
    for (unsigned n = c == 'x' ? (unsigned)take(in, 1) : 0; n; n--)
        p9_put8(o, (uint8_t)take(in, 1));
}

static void send(struct viv_p9 *p, struct p9_out *o)
{
    static uint8_t answer[ROOM];
    struct iovec msg[2] = {{o->p, o->len / 2}, {o->p + o->len / 2, o->len - o->len / 2}}, room = {answer, ROOM};
    struct viv_p9_ticket t;
    size_t n;

    viv_p9_announce(p, &t, msg, 2);
    n = viv_p9_serve(p, &t, msg, 2, o->len, &room, 1, ROOM);
    viv_p9_done(p, &t);
    if (!n) {
        g_assert(o->len < P9_HEAD);
        return;
    }
    g_assert(n >= P9_HEAD && n <= ROOM && viv_ld_le32(answer) == n);
    g_assert(answer[4] == P9_LERROR + 1 || answer[4] == o->p[4] + 1);
    g_assert(answer[4] != P9_LERROR + 1 || (n == P9_HEAD + 4 && viv_ld_le32(answer + P9_HEAD) > 0 && viv_ld_le32(answer + P9_HEAD) < 4096));
    *(answer[4] == P9_LERROR + 1 ? &refused : &answered) += 1;
    g_assert(!memmem(answer, n, "the secret", 10));
}

static void message(struct viv_p9 *p, struct input *in, uint8_t what)
{
    static uint8_t buf[ROOM];
    struct p9_out o = {buf, P9_HEAD};

    if (what < 120) {
        buf[4] = forms[what % G_N_ELEMENTS(forms)].type;
        for (const char *c = forms[what % G_N_ELEMENTS(forms)].form; *c; c++)
            put_field(in, &o, *c);
        viv_st_le32(buf, (uint32_t)o.len);
    } else {
        o.len = take(in, 1);
        for (size_t i = 0; i < o.len; i++)
            buf[i] = (uint8_t)take(in, 1);
    }
    viv_st_le16(buf + 5, 1);
    send(p, &o);
}

/* Somebody with rights on the host: also links that lead out. */
static void host_change(struct input *in)
{
    g_autofree char *from = g_build_filename(shared, names[take(in, 1) % 5], NULL);
    g_autofree char *to = g_build_filename(shared, names[take(in, 1) % 5], NULL);
    g_autofree char *sub = g_build_filename(to, names[take(in, 1) % 4], NULL);
    uint8_t what = (uint8_t)take(in, 1) % 8;
    int rc = 0;

    /* Not through a link that leads out: that would be the host's own doing. */
    if (g_file_test(to, G_FILE_TEST_IS_SYMLINK) && (what == 1 || what == 2 || what == 7))
        return;
    switch (what) {
    case 0:
        rc = rename(from, to);
        break;
    case 1:
        rc = rename(from, sub);
        break;
    case 2:
        rc = rename(sub, from);
        break;
    case 3:
        rc = symlink("../secret", to);
        break;
    case 4:
        rc = mkfifo(to, 0600);
        break;
    case 5:
        rc = mkdir(to, 0755);
        break;
    case 6:
        rc = remove(from);
        break;
    default:
        rc = symlink(top, sub);
    }
    (void)rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return ftw->level ? remove(path) : 0;
}

static void check_outside(void)
{
    g_autofree char *secret = g_build_filename(top, "secret", NULL), *text = NULL;
    DIR *d = opendir(top);
    unsigned n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    g_assert(n == 4 && g_file_get_contents(secret, &text, NULL, NULL) && !strcmp(text, "the secret"));
}

static void clean_up(void)
{
    nftw(shared, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    rmdir(shared);
    g_autofree char *secret = g_build_filename(top, "secret", NULL);

    unlink(secret);
    rmdir(top);
    if (g_getenv("VIV_FUZZ_STATS"))
        fprintf(stderr, "%lu requests done, %lu refused\n", answered, refused);
}

static void set_up(void)
{
    g_autofree char *secret = NULL;

    top = g_strdup(access("/dev/shm", W_OK) ? "/tmp/viv-9p-fuzz-XXXXXX" : "/dev/shm/viv-9p-fuzz-XXXXXX");
    g_assert(g_mkdtemp(top));
    shared = g_build_filename(top, "shared", NULL);
    secret = g_build_filename(top, "secret", NULL);
    g_assert(!mkdir(shared, 0755) && g_file_set_contents(secret, "the secret", -1, NULL));
    atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hello[] = {21, 0, 0, 0, P9_VERSION, 1, 0, 0, 0x80, 0, 0, 8, 0, '9', 'P', '2', '0', '0', '0', '.', 'L'};
    static const uint8_t attach[] = {23, 0, 0, 0, P9_ATTACH, 1, 0, 1, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0};
    struct input in = {data, size};
    struct viv_fsdev dev = {.id = "f", .fmode = 0600, .dmode = 0700};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_p9 *p;
    uint8_t how;

    if (!top)
        set_up();
    how = (uint8_t)take(&in, 1);
    dev.path = shared;
    dev.model = how & 3;
    dev.readonly = (how & 0x1c) == 0x1c;
    dev.multidevs = how >> 5 & 1;
    if (viv_p9_new(&dev, &p, &err))
        g_error("%s", err.text);
    send(p, &(struct p9_out){(uint8_t *)hello, sizeof(hello)});
    send(p, &(struct p9_out){(uint8_t *)attach, sizeof(attach)});
    for (unsigned i = 0; i < RECORDS && in.left; i++) {
        uint8_t what = (uint8_t)take(&in, 1);

        if (what >= 128)
            what < 160 ? host_change(&in) : message(p, &in, what - 160);
        else
            message(p, &in, what);
    }
    viv_p9_free(p);
    check_outside();
    nftw(shared, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
