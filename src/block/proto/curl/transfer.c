/* One range of the file by libcurl, and what may go wrong with it. */
#include "block/proto/curl/curl_int.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PAGE_MAX (1u << 20)     /* of an error's page */
#define PROGRESS 65536u         /* bytes after which failures are counted anew */

struct transfer {
    struct viv_curl *c;
    CURL *easy;
    char text[CURL_ERROR_SIZE];
    uint8_t *buf;
    uint64_t offset, from; /* of the whole; of this try */
    size_t len, got, drained;
    /* From the headers of the last answer. */
    bool has_range, too_much;
    uint64_t range_start, total; /* UINT64_MAX: not known */
    char etag[CURL_ETAG_MAX];
    /* What is wrong with the answer, for people; NULL: nothing. */
    const char *complaint;
    bool changed; /* it is another file now */
};

/* --- answers --- */

static long status_of(const struct transfer *t)
{
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* "bytes 0-99/1234", "bytes 0-99/" followed by a star, or, with status 416, "bytes " star "/1234". */
static void read_content_range(struct transfer *t, const char *v)
{
    const char *slash = strchr(v, '/');

    if (strncasecmp(v, "bytes ", 6) != 0 || !slash)
        return;
    t->has_range = v[6] >= '0' && v[6] <= '9';
    t->range_start = t->has_range ? strtoull(v + 6, NULL, 10) : 0;
    t->total = slash[1] >= '0' && slash[1] <= '9' ? strtoull(slash + 1, NULL, 10) : UINT64_MAX;
}

static bool has_name(const char *line, size_t len, const char *name, char *value, size_t room)
{
    size_t n = strlen(name), end = len;

    if (len <= n || strncasecmp(line, name, n) != 0)
        return false;
    while (end > n && (line[end - 1] == '\r' || line[end - 1] == '\n' || line[end - 1] == ' '))
        end--;
    while (n < end && line[n] == ' ')
        n++;
    g_strlcpy(value, "", room);
    if (end - n < room) {
        memcpy(value, line + n, end - n);
        value[end - n] = 0;
    }
    return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *opaque)
{
    struct transfer *t = opaque;
    size_t len = size * count;
    char value[CURL_ETAG_MAX];

    if (!t) /* an idle connection says good-bye */
        return len;
    if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) { /* a new answer: after a redirect, or 401 */
        t->has_range = false;
        t->total = UINT64_MAX;
        t->etag[0] = 0;
    } else if (has_name(line, len, "Content-Range:", value, sizeof(value))) {
        read_content_range(t, value);
    } else if (has_name(line, len, "ETag:", value, sizeof(value)) && strncmp(value, "W/", 2) != 0) {
        g_strlcpy(t->etag, value, sizeof(t->etag)); /* weak ones may stay while bytes change */
    }
    return len;
}

/* Is this the range that we asked for, of the file that we opened? */
static bool check_answer(struct transfer *t)
{
    struct viv_curl *c = t->c;

    if (!c->http)
        return true;
    t->complaint = NULL;
    if (status_of(t) == 200)
        t->complaint = "the server does not support 'range' (byte ranges)";
    else if (status_of(t) != 206)
        t->complaint = "the answer is not the range that was asked for";
    else if (!t->has_range || t->range_start != t->from)
        t->complaint = "the server sends another range than it was asked for";
    else if (t->total != UINT64_MAX && c->size != UINT64_MAX && t->total != c->size)
        t->complaint = "the file has another length than when it was opened";
    else if (c->etag[0] && t->etag[0] && strcmp(c->etag, t->etag) != 0)
        t->complaint = "the file on the server is another one than when it was opened";
    t->changed = t->complaint != NULL;
    return !t->complaint;
}

static size_t on_body(char *data, size_t size, size_t count, void *opaque)
{
    struct transfer *t = opaque;
    size_t len = size * count;

    if (!t->buf) /* ftp tells its length here too */
        return len;
    if (t->c->http && status_of(t) >= 300) { /* a page for people; the status says what is wrong */
        t->drained += len;
        return t->drained > PAGE_MAX ? 0 : len;
    }
    if (!check_answer(t))
        return 0;
    if (len > t->len - t->got) {
        t->too_much = true;
        return 0;
    }
    memcpy(t->buf + t->got, data, len);
    t->got += len;
    return len;
}

/* --- handles --- */

static void set_up(struct viv_curl *c, CURL *e)
{
    const struct viv_curl_config *o = &c->conf;

    curl_easy_setopt(e, CURLOPT_URL, o->url);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, c->allow);
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, c->allow);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(e, CURLOPT_MAXREDIRS, 8L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)o->timeout);
    curl_easy_setopt(e, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)o->timeout);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)o->timeout);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, o->no_verify ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, o->no_verify ? 0L : 2L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "vivarium/" VIV_VERSION);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    if (o->username)
        curl_easy_setopt(e, CURLOPT_USERNAME, o->username);
    if (o->password)
        curl_easy_setopt(e, CURLOPT_PASSWORD, o->password);
    if (o->proxy_username)
        curl_easy_setopt(e, CURLOPT_PROXYUSERNAME, o->proxy_username);
    if (o->proxy_password)
        curl_easy_setopt(e, CURLOPT_PROXYPASSWORD, o->proxy_password);
    if (o->cookie)
        curl_easy_setopt(e, CURLOPT_COOKIE, o->cookie);
}

static CURL *take(struct viv_curl *c)
{
    CURL *e;

    pthread_mutex_lock(&c->lock);
    e = g_queue_pop_head(&c->idle);
    pthread_mutex_unlock(&c->lock);
    if (!e && (e = curl_easy_init()) != NULL)
        set_up(c, e);
    return e;
}

static void give_back(struct viv_curl *c, CURL *e)
{
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, NULL);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, NULL);
    pthread_mutex_lock(&c->lock);
    if (c->idle.length < CURL_POOL_MAX) {
        g_queue_push_head(&c->idle, e);
        e = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    curl_easy_cleanup(e);
}

/* --- transfers --- */

/* The rest of the range, once. */
static CURLcode perform(struct transfer *t)
{
    char range[64];

    t->from = t->offset + t->got;
    g_snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, t->from, t->offset + t->len - 1);
    t->text[0] = 0;
    t->etag[0] = 0;
    t->total = UINT64_MAX;
    t->drained = 0;
    t->has_range = t->too_much = t->changed = false;
    t->complaint = NULL;
    curl_easy_setopt(t->easy, CURLOPT_RANGE, range);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->text);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    return curl_easy_perform(t->easy);
}

static bool is_done(const struct transfer *t, CURLcode code)
{
    return code == CURLE_OK && t->got == t->len && (!t->c->http || status_of(t) == 206);
}

/* May it work the next time? What the server says about us will not. */
static bool may_pass(const struct transfer *t, CURLcode code)
{
    long status = status_of(t);

    if (t->changed)
        return false;
    switch (code) {
    case CURLE_OK:
        return !t->c->http || status == 206 || status == 408 || status == 429 || status >= 500; /* 206: cut short */
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_FTP_ACCEPT_TIMEOUT:
        return true;
    default:
        return false;
    }
}

static char *describe(const struct transfer *t, CURLcode code)
{
    long status = status_of(t);

    if (t->complaint)
        return g_strdup_printf("%s (HTTP status %ld)", t->complaint, status);
    if (t->too_much)
        return g_strdup("the server sends more than it was asked for");
    if (code != CURLE_OK)
        return g_strdup(t->text[0] ? t->text : curl_easy_strerror(code));
    if (t->c->http && status != 206)
        return g_strdup_printf("HTTP status %ld%s", status,
                               status == 401   ? " (username and password-secret, or cookie, are for that)"
                               : status == 404 ? " (there is no such file)"
                                               : "");
    return g_strdup("the transfer ended early");
}

static int errno_of(const struct transfer *t, CURLcode code)
{
    long status = status_of(t);

    if (code == CURLE_OPERATION_TIMEDOUT)
        return ETIMEDOUT;
    if (code == CURLE_OUT_OF_MEMORY)
        return ENOMEM;
    if (code == CURLE_REMOTE_FILE_NOT_FOUND || (code == CURLE_OK && (status == 404 || status == 410)))
        return ENOENT;
    if (code == CURLE_LOGIN_DENIED || code == CURLE_REMOTE_ACCESS_DENIED || (code == CURLE_OK && (status == 401 || status == 403)))
        return EACCES;
    return EIO;
}

/* Said once until something works again: a guest may ask for ever. */
static void tell(struct viv_curl *c, uint64_t offset, const char *why)
{
    bool told;

    pthread_mutex_lock(&c->lock);
    told = c->told;
    c->told = true;
    pthread_mutex_unlock(&c->lock);
    if (!told)
        viv_error("'%s': reading at byte %" PRIu64 ": %s", c->shown, offset, why);
}

int viv_curl_fetch(struct viv_curl *c, uint64_t offset, uint8_t *buf, size_t len)
{
    struct transfer t = {.c = c, .easy = take(c), .buf = buf, .offset = offset, .len = len};
    CURLcode code;
    int ret = 0;

    if (!t.easy)
        return -ENOMEM;
    for (int tries = 1;; tries++) {
        size_t before = t.got;

        code = perform(&t);
        if (is_done(&t, code))
            break;
        if (t.got - before >= PROGRESS)
            tries = 0; /* it goes on, from where it stopped */
        tries += code == CURLE_OPERATION_TIMEDOUT; /* that took long enough */
        if (!may_pass(&t, code) || tries >= CURL_TRIES)
            ret = -errno_of(&t, code);
        if (ret)
            break;
        g_usleep(50000u << CLAMP(2 * (tries - 1), 0, 4)); /* 0.05 to 0.8 s */
    }
    if (ret) {
        g_autofree char *why = describe(&t, code);

        tell(c, offset, why);
    } else if (__atomic_load_n(&c->told, __ATOMIC_RELAXED)) {
        pthread_mutex_lock(&c->lock);
        c->told = false;
        pthread_mutex_unlock(&c->lock);
    }
    give_back(c, t.easy);
    return ret;
}

/* --- at open --- */

/* The first byte: the answer tells the whole length, and that there are ranges. */
static int look_http(struct viv_curl *c, struct transfer *t, struct viv_err *err)
{
    uint8_t byte;
    CURLcode code;

    t->buf = &byte;
    t->len = 1;
    code = perform(t);
    if (code == CURLE_OK && status_of(t) == 416 && t->total == 0) {
        c->size = 0;
        return 0;
    }
    if (!is_done(t, code) || t->total == UINT64_MAX) {
        g_autofree char *why = is_done(t, code) ? g_strdup("the server does not tell the file's length") : describe(t, code);

        return viv_fail(err, errno_of(t, code), "'%s': %s", c->shown, why);
    }
    c->size = t->total;
    g_strlcpy(c->etag, t->etag, sizeof(c->etag));
    return 0;
}

static int look_ftp(struct viv_curl *c, struct transfer *t, struct viv_err *err)
{
    curl_off_t size = -1;
    CURLcode code;

    curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->text);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    code = curl_easy_perform(t->easy);
    curl_easy_setopt(t->easy, CURLOPT_NOBODY, 0L);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    if (code != CURLE_OK) {
        g_autofree char *why = describe(t, code);

        return viv_fail(err, errno_of(t, code), "'%s': %s", c->shown, why);
    }
    if (size < 0)
        return viv_fail(err, EIO, "'%s': the server does not tell the file's length", c->shown);
    c->size = size;
    return 0;
}

int viv_curl_look(struct viv_curl *c, struct viv_err *err)
{
    struct transfer t = {.c = c, .easy = take(c)};
    int ret;

    if (!t.easy)
        return viv_fail(err, ENOMEM, "'%s': libcurl does not start", c->shown);
    c->size = UINT64_MAX;
    ret = c->http ? look_http(c, &t, err) : look_ftp(c, &t, err);
    if (!ret && c->size > INT64_MAX)
        ret = viv_fail(err, EFBIG, "'%s': the file is larger than any disk", c->shown);
    give_back(c, t.easy);
    return ret;
}

struct viv_curl *viv_curl_new(struct viv_curl_config *conf_take)
{
    struct viv_curl *c = g_new0(struct viv_curl, 1);

    c->conf = *conf_take;
    *conf_take = (struct viv_curl_config){0};
    pthread_mutex_init(&c->lock, NULL);
    g_queue_init(&c->idle);
    return c;
}

void viv_curl_free(struct viv_curl *c)
{
    CURL *e;

    while ((e = g_queue_pop_head(&c->idle)) != NULL)
        curl_easy_cleanup(e);
    viv_chunks_fini(&c->chunks);
    pthread_mutex_destroy(&c->lock);
    viv_curl_config_fini(&c->conf);
    g_free(c->shown);
    g_free(c);
}
