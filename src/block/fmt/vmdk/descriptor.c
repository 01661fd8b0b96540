/* The descriptor's text ("The Descriptor File"): keys of the header, lines of extents; the disk database (ddb.*) is about
 * hardware and read by nobody here. Nothing in it is believed: names and numbers are checked where they are used. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/checked.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* A line, and the place of the next character in it. */
struct cursor {
    const char *at, *end;
};

static bool at_space(const struct cursor *c)
{
    return c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r');
}

static void skip_space(struct cursor *c)
{
    while (at_space(c))
        c->at++;
}

/* Cuts a line off the text; white space around it goes. */
static struct cursor next_line(struct cursor *text)
{
    const char *nl = memchr(text->at, '\n', text->end - text->at);
    struct cursor line = {text->at, nl ? nl : text->end};

    text->at = nl ? nl + 1 : text->end;
    skip_space(&line);
    while (line.end > line.at && strchr(" \t\r", line.end[-1]))
        line.end--;
    return line;
}

static bool is_comment(const struct cursor *line)
{
    return line->at == line->end || *line->at == '#';
}

bool vmdk_is_descriptor(const uint8_t *text, size_t len)
{
    const uint8_t *nul = memchr(text, 0, len);
    struct cursor all = {(const char *)text, (const char *)(nul ? nul : text + len)};

    while (all.at < all.end) {
        struct cursor line = next_line(&all);

        if (is_comment(&line))
            continue;
        return line.end - line.at == 9 && memcmp(line.at, "version=", 8) == 0 && line.at[8] >= '1' && line.at[8] <= '3';
    }
    return false;
}

/* --- extents --- */

static bool take_word(struct cursor *c, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
        return false;
    if (c->at + len < c->end && !strchr(" \t", c->at[len]))
        return false;
    c->at += len;
    skip_space(c);
    return true;
}

static bool take_number(struct cursor *c, uint64_t *out)
{
    uint64_t n = 0;
    bool any = false;

    for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++, any = true)
        if (!viv_mul_u64(n, 10, &n) || !viv_add_u64(n, *c->at - '0', &n))
            return false;
    skip_space(c);
    *out = n;
    return any;
}

/* What stands between two quotes; g_free. */
static char *take_quoted(struct cursor *c)
{
    const char *from, *to;

    if (c->at == c->end || *c->at != '"')
        return NULL;
    from = c->at + 1;
    to = memchr(from, '"', c->end - from);
    if (!to)
        return NULL;
    c->at = to + 1;
    skip_space(c);
    return g_strndup(from, to - from);
}

static const struct {
    const char *name;
    enum vmdk_type type;
    const char *refused;
} types[] = {
    {"FLAT", VMDK_FLAT, NULL},
    {"SPARSE", VMDK_SPARSE, NULL},
    {"ZERO", VMDK_ZERO, NULL},
    {"VMFS", VMDK_FLAT, NULL},
    {"VMFSSPARSE", VMDK_COWD, NULL},
    {"SESPARSE", VMDK_COWD, "ESX's space-efficient sparse extents are not implemented: 'vmkfstools -i' on the ESX host makes a "
                            "copy with others"},
    {"VMFSRDM", VMDK_FLAT, "it stands for a device of the ESX host"},
    {"VMFSRAW", VMDK_FLAT, "it stands for a device of the ESX host"},
    {"VMFSPASSTHROUGHRDM", VMDK_FLAT, "it stands for a device of the ESX host"},
};

static int bad_line(const struct cursor *line, const char *name, const char *why, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "'%s': invalid extent line: %.*s (%s)", name, (int)MIN(line->end - line->at, 200), line->at,
                    why);
}

static int parse_type(struct cursor *c, const struct cursor *line, const char *name, struct vmdk_line *l,
                      struct viv_err *err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        if (!take_word(c, types[i].name))
            continue;
        l->type = types[i].type;
        l->format = types[i].name;
        return types[i].refused ? bad_line(line, name, types[i].refused, err) : 0;
    }
    return bad_line(line, name, "its type is not known; FLAT, SPARSE, ZERO, VMFS and VMFSSPARSE are", err);
}

/* ACCESS SECTORS TYPE "FILE" OFFSET; what comes behind tells devices apart and is of no use here. */
static int parse_extent(struct cursor c, const char *name, struct vmdk_line *l, struct viv_err *err)
{
    const struct cursor line = c;
    int ret;

    if (!take_word(&c, "RW") && !take_word(&c, "RDONLY"))
        return bad_line(&line, name, "an extent without access cannot be read", err);
    l->access = line.at[1] == 'W' ? VMDK_RW : VMDK_RDONLY;
    if (!take_number(&c, &l->sectors))
        return bad_line(&line, name, "its size is to be a number of sectors", err);
    ret = parse_type(&c, &line, name, l, err);
    if (ret || l->type == VMDK_ZERO)
        return ret;
    l->file = take_quoted(&c);
    if (!l->file || !*l->file)
        return bad_line(&line, name, "it names no file", err);
    if (l->type == VMDK_FLAT && c.at < c.end && !take_number(&c, &l->offset))
        return bad_line(&line, name, "its offset is to be a number of sectors", err);
    return 0;
}

static bool is_extent(struct cursor c)
{
    return take_word(&c, "RW") || take_word(&c, "RDONLY") || take_word(&c, "NOACCESS");
}

/* --- keys --- */

/* KEY = VALUE or KEY = "VALUE": is it this key? The cursor is at the value then. */
static bool take_key(struct cursor *line, const char *key)
{
    struct cursor c = *line;
    size_t len = strlen(key);

    if ((size_t)(c.end - c.at) < len || g_ascii_strncasecmp(c.at, key, len) != 0)
        return false;
    c.at += len;
    skip_space(&c);
    if (c.at == c.end || *c.at++ != '=')
        return false;
    skip_space(&c);
    *line = c;
    return true;
}

static void set_text(char **out, struct cursor c)
{
    char *value = c.at < c.end && *c.at == '"' ? take_quoted(&c) : g_strndup(c.at, c.end - c.at);

    if (*out)
        g_free(value); /* the first one counts */
    else
        *out = value;
}

static bool parse_hex(const struct cursor *c, uint32_t *out)
{
    size_t len = c->end - c->at;
    uint32_t n = 0;

    if (!len || len > 8)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isxdigit((unsigned char)c->at[i]))
            return false;
        n = n << 4 | (uint32_t)g_ascii_xdigit_value(c->at[i]);
    }
    *out = n;
    return true;
}

static int parse_key(struct cursor line, const char *text, const char *name, struct vmdk_descriptor *d, struct viv_err *err)
{
    if (take_key(&line, "CID")) {
        if (d->cid_digits)
            return 0;
        if (!parse_hex(&line, &d->cid))
            return viv_fail(err, EINVAL, "'%s': the descriptor's CID is no hexadecimal number of at most 8 digits", name);
        d->cid_at = line.at - text;
        d->cid_digits = line.end - line.at;
    } else if (take_key(&line, "parentCID")) {
        if (d->parent_digits)
            return 0;
        if (!parse_hex(&line, &d->parent_cid))
            return viv_fail(err, EINVAL, "'%s': the descriptor's parentCID is no hexadecimal number of at most 8 digits",
                            name);
        d->parent_at = line.at - text;
        d->parent_digits = line.end - line.at;
    } else if (take_key(&line, "createType")) {
        set_text(&d->type, line);
    } else if (take_key(&line, "parentFileNameHint")) {
        set_text(&d->parent, line);
    } else if (take_key(&line, "encryptionKeys")) {
        return viv_fail(err, ENOTSUP, "'%s' is encrypted by VMware: remove the encryption there first", name);
    }
    return 0;
}

int vmdk_descriptor_parse(const char *text, size_t len, const char *name, struct vmdk_descriptor *d, struct viv_err *err)
{
    const char *nul = memchr(text, 0, len);
    struct cursor all = {text, nul ? nul : text + len};
    int ret = 0;

    *d = (struct vmdk_descriptor){.parent_cid = VMDK_NO_PARENT};
    d->lines = g_array_new(FALSE, FALSE, sizeof(struct vmdk_line));
    while (!ret && all.at < all.end) {
        struct cursor line = next_line(&all);
        struct vmdk_line l = {0};

        if (is_comment(&line))
            continue;
        if (!is_extent(line)) {
            ret = parse_key(line, text, name, d, err);
            continue;
        }
        ret = parse_extent(line, name, &l, err);
        g_array_append_val(d->lines, l);
        if (!ret && d->lines->len > VMDK_EXTENTS_MAX)
            ret = viv_fail(err, EFBIG, "'%s' has more than %u extents", name, VMDK_EXTENTS_MAX);
    }
    if (ret)
        vmdk_descriptor_free(d);
    return ret;
}

void vmdk_descriptor_free(struct vmdk_descriptor *d)
{
    for (guint i = 0; d->lines && i < d->lines->len; i++)
        g_free(g_array_index(d->lines, struct vmdk_line, i).file);
    if (d->lines)
        g_array_free(d->lines, TRUE);
    g_free(d->type);
    g_free(d->parent);
    *d = (struct vmdk_descriptor){0};
}

/* "Version information": all ones is "no parent", one less what VMware gives new images. */
int vmdk_new_cid(unsigned digits, uint32_t *out)
{
    do {
        if (getentropy(out, sizeof(*out)) < 0)
            return -errno;
        if (digits < 8)
            *out &= (1u << (4 * digits)) - 1;
    } while (*out >= VMDK_NO_PARENT - 1);
    return 0;
}
