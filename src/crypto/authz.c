#include "crypto/authz.h"

#include "base/log.h"
#include "host/broker.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)

struct rule {
    char *match;
    bool allow, glob;
};

struct rules {
    GArray *list; /* struct rule: the first that fits counts */
    bool allow;   /* where none does */
};

struct viv_authz {
    struct viv_authz *next;
    unsigned refs;
    char *id;
    char *identity; /* authz-simple: the one who may; NULL: a list */
    char *path;
    bool refresh;
    struct rules rules;
    struct stat seen; /* of the file that the rules are from */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list, the counts, and rules that are read anew */
static struct viv_authz *all;

const struct viv_opt_def viv_authz_simple_opts[] = {
    {"id", VIV_OPT_STR, "name for tls-authz=ID", .required = true},
    {"identity", VIV_OPT_STR, "the one name that may come in, as 'CN=laptop,O=Example' (a comma is written twice here)", .required = true},
    VIV_OPT_END,
};

const struct viv_opt_def viv_authz_list_file_opts[] = {
    {"id", VIV_OPT_STR, "name for tls-authz=ID", .required = true},
    {"filename", VIV_OPT_STR, "JSON: {\"rules\": [{\"match\": NAME, \"policy\": \"allow\", \"format\": \"exact\" or \"glob\"}], \"policy\": \"deny\"}",
     .required = true},
    {"refresh", VIV_OPT_BOOL, "read it again when it has changed", "on"},
    VIV_OPT_END,
};

/* --- rules --- */

static void clear_rule(gpointer p)
{
    g_free(((struct rule *)p)->match);
}

static void free_rules(struct rules *r)
{
    if (r->list)
        g_array_unref(r->list);
    r->list = NULL;
}

/* One of two words, or nothing said. */
static int either(const json_t *object, const char *key, const char *yes, const char *no, bool *is_yes, struct viv_err *err)
{
    const json_t *v = json_object_get(object, key);
    const char *text = json_string_value(v);

    *is_yes = text && !strcmp(text, yes);
    return v && (!text || (!*is_yes && strcmp(text, no))) ? viv_fail(err, EINVAL, "'%s' is \"%s\" or \"%s\"", key, yes, no) : 0;
}

static int only_keys(const json_t *object, const char *const *keys, struct viv_err *err)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)object, key, v) {
        if (!g_strv_contains(keys, key))
            return viv_fail(err, EINVAL, "there is no '%.40s' here", key);
    }
    return 0;
}

static int parse_rule(const json_t *object, struct rules *out, struct viv_err *err)
{
    const char *match = json_string_value(json_object_get(object, "match"));
    struct rule r = {0};
    int rc = only_keys(object, (const char *const[]){"match", "policy", "format", NULL}, err);

    if (!rc && (!match || !json_object_get(object, "policy")))
        rc = viv_fail(err, EINVAL, "a rule is {\"match\": NAME, \"policy\": \"allow\" or \"deny\"}");
    if (!rc)
        rc = either(object, "policy", "allow", "deny", &r.allow, err);
    if (!rc)
        rc = either(object, "format", "glob", "exact", &r.glob, err);
    if (!rc) {
        r.match = g_strdup(match);
        g_array_append_val(out->list, r);
    }
    return rc;
}

static int parse_rules(const char *text, size_t len, struct rules *out, struct viv_err *err)
{
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why), *list, *v;
    size_t i;
    int rc = 0;

    *out = (struct rules){.list = g_array_new(FALSE, FALSE, sizeof(struct rule))};
    g_array_set_clear_func(out->list, clear_rule);
    list = json_object_get(root, "rules");
    if (!json_is_object(root))
        rc = root ? viv_fail(err, EINVAL, "it is no JSON object") : viv_fail(err, EINVAL, "line %d: %s", why.line, why.text);
    else if (list && !json_is_array(list))
        rc = viv_fail(err, EINVAL, "'rules' is an array");
    if (!rc)
        rc = only_keys(root, (const char *const[]){"rules", "policy", NULL}, err);
    if (!rc)
        rc = either(root, "policy", "allow", "deny", &out->allow, err);
    json_array_foreach(list, i, v) {
        if (rc)
            break;
        rc = parse_rule(v, out, err);
        if (rc)
            viv_err_prefix(err, "rule %zu", i + 1);
    }
    if (rc)
        free_rules(out);
    json_decref(root);
    return rc;
}

/* Of which file in *st: if it is written to meanwhile, it is another one the next time. */
static int read_rules(const char *path, struct rules *out, struct stat *st, struct viv_err *err)
{
    int fd = viv_open(path, O_RDONLY, 0, err), rc = 0;
    g_autofree char *text = NULL;
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0)
        return fd;
    if (fstat(fd, st))
        rc = viv_fail_os(err, errno, "'%s'", path);
    else if (!S_ISREG(st->st_mode) || st->st_size > FILE_MAX)
        rc = viv_fail(err, EINVAL, "'%s' is no file of at most %u bytes", path, FILE_MAX);
    text = g_malloc(FILE_MAX);
    while (!rc && len < FILE_MAX && (n = read(fd, text + len, FILE_MAX - len)) > 0)
        len += (size_t)n;
    if (!rc && n < 0)
        rc = viv_fail_os(err, errno, "'%s'", path);
    close(fd);
    if (!rc) {
        rc = parse_rules(text, len, out, err);
        if (rc)
            viv_err_prefix(err, "'%s'", path);
    }
    return rc;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Lock held. What cannot be read leaves the rules as they are. */
static void refresh(struct viv_authz *a)
{
    struct viv_err err = VIV_ERR_INIT;
    struct rules rules;
    struct stat st;

    if (!a->refresh || (stat(a->path, &st) == 0 && same_file(&st, &a->seen)))
        return;
    if (read_rules(a->path, &rules, &st, &err) < 0) {
        viv_warn("authz-list-file %s: %s; its rules stay as they were", a->id, err.text);
        return;
    }
    free_rules(&a->rules);
    a->rules = rules;
    a->seen = st;
}

static bool rules_allow(const struct rules *r, const char *name)
{
    for (guint i = 0; i < r->list->len; i++) {
        const struct rule *rule = &g_array_index(r->list, struct rule, i);

        if (rule->glob ? g_pattern_match_simple(rule->match, name) : !strcmp(rule->match, name))
            return rule->allow;
    }
    return r->allow;
}

bool viv_authz_allows(struct viv_authz *a, const char *name)
{
    bool allowed;

    if (a->identity)
        return !strcmp(a->identity, name);
    pthread_mutex_lock(&lock);
    refresh(a);
    allowed = rules_allow(&a->rules, name);
    pthread_mutex_unlock(&lock);
    return allowed;
}

int viv_authz_check(struct viv_authz *a, struct viv_tls *t, struct viv_err *err)
{
    g_autofree char *name = a ? viv_tls_peer_name(t) : NULL;

    if (!a || (name && viv_authz_allows(a, name)))
        return 0;
    return viv_fail(err, EACCES, "TLS x509 authz check for %.200s is denied", name ? name : "a client without a name");
}

/* --- objects --- */

static void authz_free(struct viv_authz *a)
{
    free_rules(&a->rules);
    g_free(a->id);
    g_free(a->identity);
    g_free(a->path);
    g_free(a);
}

/* Lock held. */
static struct viv_authz **find(const char *id)
{
    struct viv_authz **p = &all;

    while (*p && strcmp((*p)->id, id))
        p = &(*p)->next;
    return p;
}

static int add(struct viv_authz *a, const char *id, struct viv_err *err)
{
    bool taken;

    a->id = g_strdup(id);
    a->refs = 1;
    pthread_mutex_lock(&lock);
    taken = *find(id);
    if (!taken) {
        a->next = all;
        all = a;
    }
    pthread_mutex_unlock(&lock);
    if (!taken)
        return 0;
    authz_free(a);
    return viv_fail(err, EEXIST, "there is an authz object '%.60s' already", id);
}

int viv_authz_simple_add(struct viv_opts *o, struct viv_err *err)
{
    struct viv_authz *a = g_new0(struct viv_authz, 1);

    a->identity = g_strdup(viv_opts_str(o, "identity"));
    return add(a, viv_opts_str(o, "id"), err);
}

int viv_authz_list_file_add(struct viv_opts *o, struct viv_err *err)
{
    struct viv_authz *a = g_new0(struct viv_authz, 1);
    int rc;

    a->path = g_strdup(viv_opts_str(o, "filename"));
    a->refresh = viv_opts_bool(o, "refresh");
    rc = read_rules(a->path, &a->rules, &a->seen, err);
    if (rc < 0) {
        authz_free(a);
        return rc;
    }
    viv_broker_note_file(a->path);
    return add(a, viv_opts_str(o, "id"), err);
}

int viv_authz_del(const char *id, struct viv_err *err)
{
    struct viv_authz **p, *a;

    pthread_mutex_lock(&lock);
    p = find(id);
    a = *p;
    if (a)
        *p = a->next;
    pthread_mutex_unlock(&lock);
    if (!a)
        return viv_fail(err, ENOENT, "there is no authz object '%.60s'", id);
    viv_authz_put(&a);
    return 0;
}

void viv_authz_free_all(void)
{
    struct viv_authz *a;

    while ((a = all)) {
        all = a->next;
        viv_authz_put(&a);
    }
}

int viv_authz_get(const char *id, const struct viv_tls_creds *creds, struct viv_authz **out, struct viv_err *err)
{
    if (!creds || strcmp(viv_tls_creds_kind(creds), "x509") || !viv_tls_creds_knows_peer(creds))
        return viv_fail(err, EINVAL, "tls-authz=%.60s looks at the names in certificates: tls-creds= must name a tls-creds-x509 with verify-peer=on", id);
    pthread_mutex_lock(&lock);
    *out = *find(id);
    if (*out)
        (*out)->refs++;
    pthread_mutex_unlock(&lock);
    return *out ? 0 : viv_fail(err, ENOENT, "there is no authz object '%.60s'; make it with --object authz-simple,id=%.60s,identity=NAME "
                               "(or authz-list-file)", id, id);
}

struct viv_authz *viv_authz_ref(struct viv_authz *a)
{
    if (a) {
        pthread_mutex_lock(&lock);
        a->refs++;
        pthread_mutex_unlock(&lock);
    }
    return a;
}

void viv_authz_put(struct viv_authz **ap)
{
    struct viv_authz *a = *ap;
    bool last;

    if (!a)
        return;
    *ap = NULL;
    pthread_mutex_lock(&lock);
    last = --a->refs == 0;
    pthread_mutex_unlock(&lock);
    if (last)
        authz_free(a);
}
