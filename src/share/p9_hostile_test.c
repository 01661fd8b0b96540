/* Clients that want out of the folder, or the server down; and folders that change behind the server's back. */
#include "share/p9_client_test.h"
#include "share/p9_int.h"

#include <sys/resource.h>

enum { A = 10, B, C, MANY = 1000 };

static gint stop; /* threads that race */

static char *below(const struct client *c, const char *dir, const char *name)
{
    return g_build_filename(dir ? c->top : c->path, name, NULL);
}

/* A secret beside the shared folder, and links to it in there. */
static struct client *with_secret(enum viv_share_model model)
{
    struct client *c = client_new(model, false);
    g_autofree char *secret = below(c, c->top, "secret"), *out = below(c, NULL, "out"), *to = below(c, NULL, "to");
    g_autofree char *fifo = below(c, NULL, "fifo"), *dangling = below(c, NULL, "dangling"), *made = below(c, c->top, "made");

    g_assert(!g_mkdir(secret, 0755));
    g_assert(!symlink(secret, out) && !symlink("../secret", to) && !symlink(made, dangling) && !mkfifo(fifo, 0666));
    client_mount(c);
    return c;
}

static void test_escape(gconstpointer model)
{
    static const char *const names[] = {"", ".", "..", "/", "a/b", "../secret", "/etc"};
    struct client *c = with_secret(GPOINTER_TO_INT(model));
    g_autofree char *made = below(c, c->top, "made");
    char name[300];

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *n = names[i];

        if (strcmp(n, ".."))
            g_assert_cmpint(walk(c, A, n), ==, ENOENT);
        FAILS(c, EINVAL, P9_MKDIR, "dsdd", D(ROOT), n, D(0700), D(0));
        FAILS(c, EINVAL, P9_SYMLINK, "dssd", D(ROOT), n, "x", D(0));
        FAILS(c, EINVAL, P9_UNLINKAT, "dsd", D(ROOT), n, D(0));
        FAILS(c, EINVAL, P9_RENAMEAT, "dsds", D(ROOT), "out", D(ROOT), n);
        FAILS(c, EINVAL, P9_RENAMEAT, "dsds", D(ROOT), n, D(ROOT), "y");
        FAILS(c, EINVAL, P9_LINK, "dds", D(ROOT), D(ROOT), n);
        FAILS(c, EINVAL, P9_LCREATE, "dsddd", D(ROOT), n, D(O_RDWR), D(0600), D(0));
    }
    memset(name, 'x', 256);
    name[256] = 0;
    FAILS(c, ENAMETOOLONG, P9_MKDIR, "dsdd", D(ROOT), name, D(0700), D(0));
    FAILS(c, EINVAL, P9_MKDIR, "dwxdd", D(ROOT), 3, (size_t)3, "a\0b", D(0700), D(0));
    /* Up from the top is the top; links are not followed, not even to be created through. */
    OK(c, P9_WALK, "ddwsss", D(ROOT), D(A), 3, "..", "..", "..");
    g_assert_cmpuint(attr_of(c, A).path, ==, attr_of(c, ROOT).path);
    clunk(c, A);
    OK(c, P9_WALK, "ddwss", D(ROOT), D(A), 2, "out", "..");
    clunk(c, A);
    OK(c, P9_WALK, "ddwss", D(ROOT), D(A), 2, "to", "x");
    g_assert_cmpuint(p9_get16(&c->in), ==, 1); /* one step of two: no fid */
    FAILS(c, EBADF, P9_CLUNK, "d", D(A));
    g_assert_cmpint(walk(c, A, "out"), ==, 0);
    FAILS(c, ELOOP, P9_LOPEN, "dd", D(A), D(O_RDONLY));
    FAILS(c, ENOTDIR, P9_MKDIR, "dsdd", D(A), "x", D(0700), D(0));
    clunk(c, A);
    OK(c, P9_WALK, "ddw", D(ROOT), D(A), 0);
    FAILS(c, EEXIST, P9_LCREATE, "dsddd", D(A), "dangling", D(O_RDWR | O_EXCL), D(0600), D(0));
    FAILS(c, ELOOP, P9_LCREATE, "dsddd", D(A), "dangling", D(O_RDWR), D(0600), D(0));
    g_assert_false(g_file_test(made, G_FILE_TEST_EXISTS));
    clunk(c, A);
    g_assert_cmpint(walk(c, A, "fifo"), ==, 0); /* opening it would wait for ever */
    FAILS(c, ENXIO, P9_LOPEN, "dd", D(A), D(O_RDONLY));
    FAILS(c, EBUSY, P9_REMOVE, "d", D(ROOT));
    client_free(c);
}

/* aname begins below the folder, not above. */
static void test_aname(void)
{
    struct client *c = with_secret(VIV_SHARE_NONE);

    FAILS(c, ENOENT, P9_ATTACH, "ddssd", D(A), D(NOFID), "root", "../secret", D(0));
    FAILS(c, ENOTDIR, P9_ATTACH, "ddssd", D(A), D(NOFID), "root", "out/x", D(0));
    FAILS(c, EINVAL, P9_ATTACH, "ddssd", D(A), D(ROOT), "root", "/", D(0));
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "d", D(0700), D(0));
    OK(c, P9_ATTACH, "ddssd", D(A), D(NOFID), "root", "/d/", D(0));
    client_free(c);
}

/* Every message, cut at every byte, then with each byte changed: an answer, and the session lives. */
static void test_cut(void)
{
    static const struct {
        uint8_t type;
        const char *form;
    } forms[] = {
        {P9_STATFS, "d"}, {P9_LOPEN, "dd"}, {P9_LCREATE, "dsddd"}, {P9_SYMLINK, "dssd"}, {P9_MKNOD, "dsdddd"}, {P9_RENAME, "dds"},
        {P9_READLINK, "d"}, {P9_GETATTR, "dq"}, {P9_SETATTR, "dddddqqqqq"}, {P9_XATTRWALK, "dds"}, {P9_XATTRCREATE, "dsqd"},
        {P9_READDIR, "dqd"}, {P9_FSYNC, "dd"}, {P9_LOCK, "dbdqqds"}, {P9_GETLOCK, "dbqqds"}, {P9_LINK, "dds"}, {P9_MKDIR, "dsdd"},
        {P9_RENAMEAT, "dsds"}, {P9_UNLINKAT, "dsd"}, {P9_VERSION, "ds"}, {P9_ATTACH, "ddssd"}, {P9_FLUSH, "w"}, {P9_WALK, "ddwss"},
        {P9_READ, "dqd"}, {P9_WRITE, "dqdq"}, {P9_CLUNK, "d"}, {P9_REMOVE, "d"},
    };
    struct client *c = with_secret(VIV_SHARE_MAPPED_FILE);
    static uint8_t whole[CLIENT_ROOM];

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        size_t len;

        c->len = P9_HEAD;
        c->msg[4] = forms[i].type;
        viv_st_le16(c->msg + 5, 3);
        for (const char *f = forms[i].form; *f; f++) {
            static const uint8_t values[] = {ROOT, 0, 0, 0, 0, 0, 0, 0};
            size_t n = *f == 'b' ? 1 : *f == 'w' ? 2 : *f == 'd' ? 4 : 8;

            if (*f == 's') {
                memcpy(c->msg + c->len, "\3\0abc", 5);
                c->len += 5;
                continue;
            }
            memcpy(c->msg + c->len, values, n);
            c->len += n;
        }
        len = c->len;
        memcpy(whole, c->msg, len);
        for (size_t cut = 0; cut < len; cut++) {
            int rc;

            c->len = cut;
            viv_st_le32(c->msg, (uint32_t)cut);
            rc = client_send(c);
            if (cut < P9_HEAD)
                g_assert_cmpint(rc, ==, -1);
            else if (!(forms[i].type == P9_FSYNC && cut == P9_HEAD + 4)) /* the old form, without datasync */
                g_assert_cmpint(rc, >, 0);
        }
        for (size_t at = 0; at < len; at++) {
            client_mount(c);
            memcpy(c->msg, whole, len);
            c->len = len;
            viv_st_le32(c->msg, (uint32_t)len);
            c->msg[at] ^= 0xff;
            if (at >= 4 && at < 7) /* another message, another tag: the answer differs */
                continue;
            client_send(c);
        }
    }
    client_mount(c);
    client_free(c);
}

/* A message longer than its buffers, an answer that does not fit. */
static void test_room(void)
{
    struct client *c = with_secret(VIV_SHARE_NONE);
    struct iovec msg = {c->msg, 0}, room = {c->answer, 20};
    struct viv_p9_ticket t;
    size_t n;

    OK(c, P9_GETATTR, "dq", D(ROOT), Q(0x7ff));
    msg.iov_len = c->len;
    viv_p9_announce(c->p9, &t, &msg, 1);
    n = viv_p9_serve(c->p9, &t, &msg, 1, c->len, &room, 1, 20);
    viv_p9_done(c->p9, &t);
    g_assert_cmpuint(n, ==, 11);
    g_assert_cmpuint(viv_ld_le32(c->answer + 7), ==, EMSGSIZE);
    viv_p9_announce(c->p9, &t, &msg, 1);
    g_assert_cmpuint(viv_p9_serve(c->p9, &t, &msg, 1, c->len, &room, 1, 10), ==, 0);
    viv_p9_done(c->p9, &t);
    viv_st_le32(c->msg, 100);
    g_assert_cmpint(client_send(c), ==, EMSGSIZE);
    g_assert_cmpint(create(c, A, "f"), ==, 0);
    FAILS(c, EINVAL, P9_WRITE, "dqdx", D(A), Q(0), D(100), (size_t)3, "abc");
    FAILS(c, EINVAL, P9_WRITE, "dqdx", D(A), Q(-1), D(3), (size_t)3, "abc");
    FAILS(c, E2BIG, P9_XATTRCREATE, "dsqd", D(ROOT), "user.x", Q(1 << 20), D(0));
    client_free(c);
}

/* Memory for attributes is bounded over all fids. */
static void test_xattr_bound(void)
{
    struct client *c = with_secret(VIV_SHARE_NONE);
    int rc = 0, i;

    for (i = 0; i < 1000 && !rc; i++) {
        OK(c, P9_WALK, "ddw", D(ROOT), D(100 + i), 0);
        rc = call(c, P9_XATTRCREATE, "dsqd", D(100 + i), "user.x", Q(65536), D(0));
    }
    g_assert_cmpint(rc, ==, ENOSPC);
    g_assert_cmpint(i, ==, 257);
    client_free(c);
}

static void test_fid_bound(void)
{
    struct client *c = with_secret(VIV_SHARE_NONE);
    int rc = 0;
    uint32_t i;

    for (i = 2; i < 70000 && !rc; i++)
        rc = call(c, P9_WALK, "ddw", D(ROOT), i, 0);
    g_assert_cmpint(rc, ==, ENFILE);
    g_assert_cmpuint(i, ==, 65536 + 2);
    client_free(c);
}

/* More fids than descriptors: names are opened anew, under their new place when they were moved, and not when they were replaced. */
static void test_descriptors(void)
{
    struct rlimit rl, low;
    struct client *c;
    g_autofree char *f5 = NULL, *f6 = NULL, *f7 = NULL, *moved = NULL;
    unsigned stale = 0;

    g_assert(!getrlimit(RLIMIT_NOFILE, &rl));
    low = (struct rlimit){256, 256};
    g_assert(!setrlimit(RLIMIT_NOFILE, &low));
    c = with_secret(VIV_SHARE_NONE); /* 32 descriptors for names */
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "d", D(0700), D(0));
    g_assert_cmpint(walk(c, A, "d"), ==, 0);
    for (unsigned i = 0; i < MANY; i++) {
        g_autofree char *name = g_strdup_printf("f%u", i);

        OK(c, P9_MKNOD, "dsdddd", D(A), name, D(S_IFREG | 0600), D(0), D(0), D(0));
        OK(c, P9_WALK, "ddws", D(A), D(100 + i), 1, name);
    }
    OK(c, P9_RENAMEAT, "dsds", D(ROOT), "d", D(ROOT), "e");
    for (unsigned i = 0; i < MANY; i++)
        attr_of(c, 100 + i);
    f5 = below(c, NULL, "e/f5");
    f6 = below(c, NULL, "e/f6");
    f7 = below(c, NULL, "e/f7");
    moved = below(c, NULL, "elsewhere");
    g_assert(!rename(f5, moved) && !rename(f6, f7));
    for (unsigned i = 0; i < 10; i++)
        stale += call(c, P9_GETATTR, "dq", D(100 + i), Q(0x7ff)) == ESTALE;
    g_assert_cmpuint(stale, ==, 3);
    FAILS(c, ENOENT, P9_REMOVE, "d", D(106));
    FAILS(c, ESTALE, P9_REMOVE, "d", D(107));
    g_assert_true(g_file_test(f7, G_FILE_TEST_EXISTS));
    /* Open files have a bound of their own. */
    for (unsigned i = 0, rc = 0; !rc; i++) {
        g_assert_cmpuint(i, <, 40);
        rc = call(c, P9_LOPEN, "dd", D(200 + i), D(O_RDONLY));
        g_assert(!rc || (rc == EMFILE && i == 32));
    }
    client_free(c);
    g_assert(!setrlimit(RLIMIT_NOFILE, &rl) || errno == EPERM);
}

/* Owners of locks have a descriptor each: they are counted among the open files. */
static void test_lock_bound(void)
{
    struct rlimit rl, low = {256, 256};
    struct client *c;
    unsigned n = 0;
    int rc = 0;

    g_assert(!getrlimit(RLIMIT_NOFILE, &rl) && !setrlimit(RLIMIT_NOFILE, &low));
    c = with_secret(VIV_SHARE_NONE); /* 32 open files */
    g_assert_cmpint(create(c, A, "f"), ==, 0);
    for (; !rc && n < 200; n++)
        rc = call(c, P9_LOCK, "dbdqqds", D(A), 0, D(0), Q(0), Q(1), D(n), "client");
    g_assert_cmpint(rc, ==, ENOLCK);
    g_assert_cmpuint(n, ==, 32); /* the file, 31 owners, and one that was refused */
    OK(c, P9_WALK, "ddw", D(ROOT), D(B), 0);
    FAILS(c, EMFILE, P9_LOPEN, "dd", D(B), D(O_RDONLY));
    OK(c, P9_LOCK, "dbdqqds", D(A), 2, D(0), Q(0), Q(0), D(3), "client"); /* one gives all back */
    OK(c, P9_LOPEN, "dd", D(B), D(O_RDONLY));
    clunk(c, A);
    for (unsigned i = 0; i < 31; i++) {
        OK(c, P9_WALK, "ddw", D(ROOT), D(100 + i), 0);
        OK(c, P9_LOPEN, "dd", D(100 + i), D(O_RDONLY));
    }
    client_free(c);
    g_assert(!setrlimit(RLIMIT_NOFILE, &rl) || errno == EPERM);
}

/* Many shares have no more descriptors together than a few. */
static void test_many_shares(void)
{
    struct rlimit rl, low = {256, 256};
    struct viv_err err = VIV_ERR_INIT;
    struct client *c;
    int rc = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < 8; i++) {
        g_autofree char *text = g_strdup_printf("local,id=s%u,path=/tmp,security_model=none", i);
        struct viv_raw_opts *raw;

        g_assert_cmpint(viv_raw_parse("-fsdev", "fsdriver", text, &raw, &err), ==, 0);
        g_assert_cmpint(viv_fsdev_add(raw, &err), ==, 0);
        viv_raw_free(raw);
    }
    g_assert(!getrlimit(RLIMIT_NOFILE, &rl) && !setrlimit(RLIMIT_NOFILE, &low));
    c = with_secret(VIV_SHARE_NONE);
    for (; !rc; n++) {
        OK(c, P9_WALK, "ddw", D(ROOT), D(100 + n), 0);
        rc = call(c, P9_LOPEN, "dd", D(100 + n), D(O_RDONLY));
    }
    g_assert_cmpint(rc, ==, EMFILE);
    g_assert_cmpuint(n, ==, 256 / 4 / 8 + 1);
    client_free(c);
    viv_fsdev_free_all();
    g_assert(!setrlimit(RLIMIT_NOFILE, &rl) || errno == EPERM);
}

/* One node far down keeps all above it. */
static void test_node_bound(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, false);
    struct viv_share_node *n, *next;
    struct viv_share_tree *t;
    struct viv_err err = VIV_ERR_INIT;
    unsigned made = 0;
    int rc = 0;

    g_assert_cmpint(viv_share_tree_new(c->path, 16, 50, &t, &err), ==, 0);
    n = viv_share_root(t);
    for (; !rc && made < 100; made++) {
        int at = viv_share_use(t, n);

        g_assert(at >= 0 && !mkdirat(at, "d", 0700));
        viv_share_done(t, n);
        rc = viv_share_child(t, n, "d", &next);
        if (!rc) {
            viv_share_unref(t, n);
            n = next;
        }
    }
    g_assert_cmpint(rc, ==, -ENFILE);
    g_assert_cmpuint(made, ==, 50);
    viv_share_unref(t, n); /* and with it, all */
    n = viv_share_root(t);
    g_assert_cmpint(viv_share_child(t, n, "d", &next), ==, 0);
    viv_share_unref(t, next);
    viv_share_unref(t, n);
    viv_share_tree_free(t);
    client_free(c);
}

/* Requests make one new fid into different things: its memory is counted off again. */
static void *creator(void *opaque)
{
    struct client *own = g_new0(struct client, 1);

    own->p9 = ((struct client *)opaque)->p9;
    while (!g_atomic_int_get(&stop))
        call(own, P9_XATTRCREATE, "dsqd", D(A), "user.x", Q(65536), D(0));
    g_free(own);
    return NULL;
}

static void test_xattr_race(void)
{
    struct client *c = with_secret(VIV_SHARE_NONE);
    GThread *t[4];

    stop = 0;
    for (int i = 0; i < 4; i++)
        t[i] = g_thread_new("creator", creator, c);
    for (gint64 end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC; g_get_monotonic_time() < end;) {
        call(c, P9_XATTRWALK, "dds", D(ROOT), D(A), "");
        call(c, P9_CLUNK, "d", D(A));
    }
    g_atomic_int_set(&stop, 1);
    for (int i = 0; i < 4; i++)
        g_thread_join(t[i]);
    for (unsigned i = 0; i < 256; i++) {
        OK(c, P9_WALK, "ddw", D(ROOT), D(100 + i), 0);
        OK(c, P9_XATTRCREATE, "dsqd", D(100 + i), "user.x", Q(65536), D(0));
    }
    client_free(c);
}

static void *renamer(void *opaque)
{
    struct client *own = g_new0(struct client, 1);

    own->p9 = ((struct client *)opaque)->p9;
    while (!g_atomic_int_get(&stop)) {
        OK(own, P9_RENAMEAT, "dsds", D(ROOT), "here", D(B), "there");
        OK(own, P9_RENAMEAT, "dsds", D(B), "there", D(ROOT), "here");
    }
    g_free(own);
    return NULL;
}

/* Attributes that lie beside a file stay its own while it goes to and fro. */
static void test_rename_race(void)
{
    struct client *c = client_new(VIV_SHARE_MAPPED_FILE, false);
    uint32_t mode = 0640;
    GThread *t;

    client_mount(c);
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "dir", D(0700), D(2000));
    g_assert_cmpint(walk(c, B, "dir"), ==, 0);
    OK(c, P9_SYMLINK, "dssd", D(ROOT), "here", "target", D(2000));
    g_assert_cmpint(walk(c, A, "here"), ==, 0);
    stop = 0;
    t = g_thread_new("renamer", renamer, c);
    for (gint64 end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC; g_get_monotonic_time() < end;) {
        struct attr a;

        mode ^= 0111;
        OK(c, P9_SETATTR, "dddddqqqqq", D(A), D(1), mode, D(0), D(0), Q(0), Q(0), Q(0), Q(0), Q(0));
        a = attr_of(c, A);
        g_assert_cmphex(a.mode, ==, S_IFLNK | mode);
        g_assert_cmpuint(a.uid, ==, 1000);
        OK(c, P9_READLINK, "d", D(A));
    }
    g_atomic_int_set(&stop, 1);
    g_thread_join(t);
    client_free(c);
}

/* Through a link of the host's nothing outside changes, whichever call it is. */
static void test_link_calls(gconstpointer model)
{
    struct client *c = client_new(GPOINTER_TO_INT(model), false);
    g_autofree char *secret = below(c, c->top, "secret"), *to = below(c, NULL, "to"), *hard = below(c, NULL, "hard");
    struct stat before, after;

    g_assert(g_file_set_contents(secret, "secret", 6, NULL) && !symlink("../secret", to) && !stat(secret, &before));
    client_mount(c);
    g_assert_cmpint(walk(c, A, "to"), ==, 0);
    g_assert_cmphex(attr_of(c, A).mode & S_IFMT, ==, S_IFLNK);
    g_assert_cmpint(call(c, P9_SETATTR, "dddddqqqqq", D(A), D(8), D(0), D(0), D(0), Q(0), Q(0), Q(0), Q(0), Q(0)), !=, 0);
    call(c, P9_SETATTR, "dddddqqqqq", D(A), D(1), D(04777), D(0), D(0), Q(0), Q(0), Q(0), Q(0), Q(0));
    call(c, P9_SETATTR, "dddddqqqqq", D(A), D(0x1b0), D(0), D(0), D(0), Q(0), Q(1), Q(1), Q(1), Q(1));
    call(c, P9_SETATTR, "dddddqqqqq", D(A), D(6), D(0), D(55), D(66), Q(0), Q(0), Q(0), Q(0), Q(0));
    OK(c, P9_WALK, "ddw", D(A), D(B), 0);
    OK(c, P9_XATTRCREATE, "dsqd", D(B), "user.x", Q(1), D(0));
    call(c, P9_WRITE, "dqdx", D(B), Q(0), D(1), (size_t)1, "x");
    g_assert_cmpint(call(c, P9_CLUNK, "d", D(B)), !=, 0);
    call(c, P9_LINK, "dds", D(ROOT), D(A), "hard");
    g_assert(lstat(hard, &after) || S_ISLNK(after.st_mode));
    g_assert(!stat(secret, &after));
    g_assert(after.st_nlink == 1 && after.st_size == 6 && after.st_mode == before.st_mode && after.st_uid == before.st_uid &&
             after.st_gid == before.st_gid && after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    client_free(c);
}

/* A guest that cannot write opens nothing for writing, not for locks either. */
static void test_readonly(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, true);
    g_autofree char *file = below(c, NULL, "f");
    struct stat st;
    unsigned seen = 0;

    g_assert(g_file_set_contents(file, "x", 1, NULL) && !stat(file, &st));
    client_mount(c);
    g_assert_cmpint(walk(c, A, "f"), ==, 0);
    FAILS(c, EROFS, P9_LOPEN, "dd", D(A), D(O_RDWR));
    FAILS(c, EROFS, P9_LOPEN, "dd", D(A), D(O_RDONLY | O_TRUNC));
    OK(c, P9_LOPEN, "dd", D(A), D(O_RDONLY));
    OK(c, P9_LOCK, "dbdqqds", D(A), 0, D(0), Q(0), Q(1), D(1), "client");
    g_assert_cmpuint(c->in.p[0], ==, 0);
    for (int fd = 3; fd < 100; fd++) {
        struct stat s;

        if (fstat(fd, &s) < 0 || s.st_ino != st.st_ino || s.st_dev != st.st_dev)
            continue;
        seen++;
        g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    }
    g_assert_cmpuint(seen, ==, 3); /* the name, the file, the lock */
    client_free(c);
}

/* In the place of an attribute file there is something else: nothing is written to it. */
static void test_false_attributes(void)
{
    struct client *c = client_new(VIV_SHARE_MAPPED_FILE, false);
    g_autofree char *dir = below(c, NULL, ".virtfs_metadata"), *fifo = below(c, NULL, ".virtfs_metadata/f");
    int fd;

    client_mount(c);
    g_assert_cmpint(create(c, A, "f"), ==, 0);
    g_assert(!unlink(fifo) && !mkfifo(fifo, 0666));
    fd = open(fifo, O_RDWR | O_NONBLOCK);
    FAILS(c, EINVAL, P9_SETATTR, "dddddqqqqq", D(A), D(1), D(0777), D(0), D(0), Q(0), Q(0), Q(0), Q(0), Q(0));
    close(fd);
    client_free(c);
}

/* A file may be as long as its file system lets it: the qid's version is made of the size, too. */
static void test_huge(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, false);
    struct p9_qid a, b;
    struct stat st;

    g_assert(!stat(c->path, &st));
    st.st_size = INT64_MAX;
    g_assert_cmpint(p9_qid(c->p9, &st, &a), ==, 0);
    st.st_size--;
    g_assert_cmpint(p9_qid(c->p9, &st, &b), ==, 0);
    g_assert(a.version != b.version && a.path == b.path);
    client_free(c);
}

/* No answer is longer than the client has said. */
static void test_msize(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, false);
    g_autofree char *fits = below(c, NULL, "fits"), *longer = below(c, NULL, "longer");
    char target[4090];

    OK(c, P9_VERSION, "ds", D(4096), "9P2000.L");
    OK(c, P9_ATTACH, "ddssd", D(ROOT), D(NOFID), "root", "", D(1000));
    memset(target, 'x', sizeof(target));
    target[4087] = 0;
    g_assert(!symlink(target, fits));
    target[4087] = 'x';
    target[4088] = 0;
    g_assert(!symlink(target, longer));
    g_assert_cmpint(walk(c, A, "fits"), ==, 0);
    OK(c, P9_READLINK, "d", D(A));
    g_assert_cmpint(walk(c, B, "longer"), ==, 0);
    FAILS(c, EMSGSIZE, P9_READLINK, "d", D(B));
    client_free(c);
}

/* A folder is moved into one that lay in it, which somebody else had moved out: the server's tree must not become a ring. */
static void test_ring(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, false);
    g_autofree char *b = below(c, NULL, "a/b"), *out = below(c, NULL, "b");

    client_mount(c);
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "a", D(0700), D(0));
    g_assert_cmpint(walk(c, A, "a"), ==, 0);
    OK(c, P9_MKDIR, "dsdd", D(A), "b", D(0700), D(0));
    OK(c, P9_WALK, "ddws", D(A), D(B), 1, "b");
    g_assert(!rename(b, out));
    OK(c, P9_RENAMEAT, "dsds", D(ROOT), "a", D(B), "a");
    OK(c, P9_WALK, "ddws", D(B), D(C), 1, "a");
    attr_of(c, C);
    attr_of(c, A);
    clunk(c, B);
    clunk(c, A);
    clunk(c, C);
    client_free(c);
}

static int flushed;

static void *flusher(void *opaque)
{
    struct client *c = opaque;
    uint8_t msg[9] = {9, 0, 0, 0, P9_FLUSH, 8, 0, 7, 0}, answer[32];
    struct iovec m = {msg, sizeof(msg)}, room = {answer, sizeof(answer)};
    struct viv_p9_ticket t;

    viv_p9_announce(c->p9, &t, &m, 1);
    g_assert_cmpuint(viv_p9_serve(c->p9, &t, &m, 1, sizeof(msg), &room, 1, sizeof(answer)), ==, 7);
    viv_p9_done(c->p9, &t);
    g_atomic_int_inc(&flushed);
    return GINT_TO_POINTER(answer[4]);
}

/* Tflush is answered after the answer to the request that it names is sent, and at once when there is none. */
static void test_flush(void)
{
    struct client *c = with_secret(VIV_SHARE_NONE);
    uint8_t answer[256];
    struct iovec m = {c->msg, 0}, room = {answer, sizeof(answer)};
    struct viv_p9_ticket old;
    GThread *t;

    g_assert_cmpint(GPOINTER_TO_INT(flusher(c)), ==, P9_FLUSH + 1);
    OK(c, P9_GETATTR, "dq", D(ROOT), Q(0x7ff)); /* tag 7 */
    m.iov_len = c->len;
    viv_p9_announce(c->p9, &old, &m, 1);
    t = g_thread_new("flusher", flusher, c);
    g_usleep(20000);
    g_assert_cmpuint(viv_p9_serve(c->p9, &old, &m, 1, c->len, &room, 1, sizeof(answer)), >, 100);
    g_usleep(20000);
    g_assert_cmpint(g_atomic_int_get(&flushed), ==, 1);
    viv_p9_done(c->p9, &old);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(t)), ==, P9_FLUSH + 1);
    client_free(c);
}

/* Threads that walk, create and open through a name, while another one makes it a folder, a link out and nothing, in turns. */
static void one(struct client *c, uint8_t *answer, uint8_t type, uint32_t fid, const char *name)
{
    struct client *own = g_new0(struct client, 1);

    own->p9 = c->p9;
    if (type == P9_WALK)
        call(own, P9_WALK, "ddwss", D(ROOT), fid, 2, name, "inside");
    else
        call(own, P9_WALK, "ddws", D(ROOT), fid, 1, name);
    if (!call(own, P9_LOPEN, "dd", fid, D(O_RDONLY)) && !call(own, P9_READ, "dqd", fid, Q(0), D(100)) && p9_get32(&own->in))
        *answer |= !memcmp(own->in.p, "secret", 6);
    call(own, P9_CLUNK, "d", fid);
    g_free(own);
}

struct racer {
    struct client *c;
    uint32_t fid;
};

static void *racer(void *opaque)
{
    struct racer *r = opaque;
    uint8_t leaked = 0;

    while (!g_atomic_int_get(&stop)) {
        one(r->c, &leaked, P9_WALK, r->fid, "swap");
        one(r->c, &leaked, 0, r->fid, "swapfile");
    }
    return GINT_TO_POINTER(leaked);
}

static void test_race(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, false);
    g_autofree char *secret = below(c, c->top, "secret"), *inside = below(c, c->top, "secret/inside"), *file = below(c, NULL, "swapfile");
    g_autofree char *dir = below(c, NULL, "swap"), *aside = below(c, NULL, "aside"), *own = below(c, NULL, "aside/inside");
    struct racer racers[3];
    GThread *t[3];

    g_assert(!g_mkdir(secret, 0755) && !g_mkdir(aside, 0755));
    g_assert(g_file_set_contents(inside, "secret", 6, NULL) && g_file_set_contents(own, "public", 6, NULL));
    client_mount(c);
    stop = 0;
    for (int i = 0; i < 3; i++) {
        racers[i] = (struct racer){c, 50 + i};
        t[i] = g_thread_new("racer", racer, &racers[i]);
    }
    for (gint64 end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC; g_get_monotonic_time() < end;) {
        g_assert(!rename(aside, dir));
        g_assert(!symlink(inside, file));
        g_assert(!rename(dir, aside));
        g_assert(!symlink(secret, dir));
        g_assert(!unlink(dir) && !unlink(file));
        g_assert(g_file_set_contents(file, "public", 6, NULL) && !unlink(file));
    }
    g_atomic_int_set(&stop, 1);
    for (int i = 0; i < 3; i++)
        g_assert_null(g_thread_join(t[i]));
    client_free(c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/9p/escape/none", GINT_TO_POINTER(VIV_SHARE_NONE), test_escape);
    g_test_add_data_func("/9p/escape/mapped-file", GINT_TO_POINTER(VIV_SHARE_MAPPED_FILE), test_escape);
    g_test_add_func("/9p/escape/aname", test_aname);
    g_test_add_func("/9p/escape/race", test_race);
    g_test_add_func("/9p/cut", test_cut);
    g_test_add_func("/9p/room", test_room);
    g_test_add_func("/9p/bound/xattrs", test_xattr_bound);
    g_test_add_func("/9p/bound/fids", test_fid_bound);
    g_test_add_func("/9p/bound/descriptors", test_descriptors);
    g_test_add_func("/9p/bound/locks", test_lock_bound);
    g_test_add_func("/9p/bound/shares", test_many_shares);
    g_test_add_func("/9p/bound/nodes", test_node_bound);
    g_test_add_func("/9p/bound/msize", test_msize);
    g_test_add_func("/9p/race/xattrs", test_xattr_race);
    g_test_add_func("/9p/race/rename", test_rename_race);
    g_test_add_data_func("/9p/links/none", GINT_TO_POINTER(VIV_SHARE_NONE), test_link_calls);
    g_test_add_data_func("/9p/links/passthrough", GINT_TO_POINTER(VIV_SHARE_PASSTHROUGH), test_link_calls);
    g_test_add_data_func("/9p/links/mapped-xattr", GINT_TO_POINTER(VIV_SHARE_MAPPED_XATTR), test_link_calls);
    g_test_add_func("/9p/attributes", test_false_attributes);
    g_test_add_func("/9p/huge", test_huge);
    g_test_add_func("/9p/readonly", test_readonly);
    g_test_add_func("/9p/ring", test_ring);
    g_test_add_func("/9p/flush", test_flush);
    return g_test_run();
}
