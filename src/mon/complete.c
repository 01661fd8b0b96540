/* What Tab offers: command names, and words of the kinds that hmp_args names. */
#include "mon/form.h"
#include "mon/mon_int.h"

#include "block/job.h"
#include "block/registry.h"
#include "bus/dev.h"
#include "chr/chr.h"
#include "net/net.h"
#include "ui/keys.h"

#include <string.h>

#define MOST 1000 /* answers */

struct offer {
    const char *begin; /* of the line, */
    size_t keep;       /* of which so much stays */
    const char *word;  /* what has been typed of the word */
    GPtrArray *found;
};

static void offer(struct offer *f, const char *word)
{
    if (word && g_str_has_prefix(word, f->word) && f->found->len < MOST)
        g_ptr_array_add(f->found, g_strdup_printf("%.*s%s", (int)f->keep, f->begin, word));
}

/* --- kinds --- */

static void drives(struct offer *f)
{
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d))
        offer(f, d->id);
}

static void nodes(struct offer *f)
{
    g_auto(GStrv) names = viv_mon_node_names();

    for (char **n = names; *n; n++)
        offer(f, *n);
}

static void netdevs(struct offer *f)
{
    for (struct viv_netdev *n = viv_netdev_next(NULL); n; n = viv_netdev_next(n))
        offer(f, viv_netdev_id(n));
}

/* Cards and back ends. */
static void links(struct offer *f)
{
    netdevs(f);
    for (struct viv_nic *n = viv_nic_next(NULL); n; n = viv_nic_next(n))
        offer(f, viv_nic_name(n));
}

static void devices(struct offer *f)
{
    for (struct viv_dev *d = viv_dev_first(); d; d = d->next)
        offer(f, d->id);
}

static void chardevs(struct offer *f)
{
    for (struct viv_chr *c = viv_chr_next(NULL); c; c = viv_chr_next(c))
        offer(f, viv_chr_id(c));
}

static void jobs(struct offer *f)
{
    struct viv_job_info i;

    for (struct viv_job *j = NULL; (j = viv_job_next(j)) != NULL;) {
        viv_job_info(j, &i);
        offer(f, i.id);
    }
}

/* The last of keys that are joined by '-'. */
static void keys(struct offer *f)
{
    const char *dash = strrchr(f->word, '-'), *name;

    if (dash) {
        f->keep += (size_t)(dash + 1 - f->word);
        f->word = dash + 1;
    }
    for (unsigned i = 0; (name = viv_key_at(i)) != NULL; i++)
        offer(f, name);
}

static void files(struct offer *f)
{
    g_autofree char *folder = g_path_get_dirname(*f->word ? f->word : "x");
    const char *slash = strrchr(f->word, '/'), *name;
    GDir *dir = g_dir_open(slash ? folder : ".", 0, NULL);

    if (!dir)
        return;
    if (slash) {
        f->keep += (size_t)(slash + 1 - f->word);
        f->word = slash + 1;
    }
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(slash ? folder : ".", name, NULL);
        g_autofree char *shown = g_strdup_printf("%s/", name);

        if (*name == '.' && *f->word != '.')
            continue;
        offer(f, g_file_test(path, G_FILE_TEST_IS_DIR) ? shown : name);
    }
    g_dir_close(dir);
}

static void switches(struct offer *f)
{
    offer(f, "on");
    offer(f, "off");
}

static void commands(struct offer *f)
{
    const struct viv_mon_cmd *c;
    struct viv_mon_iter it;

    viv_mon_iter_init(&it);
    while ((c = viv_mon_next(&it)))
        offer(f, c->hmp);
}

static const struct {
    const char *name;
    void (*fill)(struct offer *f);
} kinds[] = {
    {"drive", drives}, {"node", nodes}, {"netdev", netdevs}, {"link", links}, {"device", devices}, {"chardev", chardevs},
    {"job", jobs},     {"keys", keys},  {"file", files},     {"switch", switches}, {"command", commands},
};

bool viv_complete_knows(const char *kind)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!strcmp(kinds[i].name, kind))
            return true;
    }
    return false;
}

/* --- a line --- */

/* The slot that the last of `words` (what is behind the command's name) is for; NULL: none. */
static const struct viv_slot *slot_at(const struct viv_slot *slots, unsigned n, char **words)
{
    unsigned next = 0;

    for (; *words; words++) {
        const struct viv_slot *s = NULL;

        while (next < n && slots[next].letter)
            next++;
        for (unsigned i = 0; words[0][0] == '-' && i < n; i++)
            s = slots[i].letter == words[0][1] ? &slots[i] : s;
        if (words[0][0] != '-' && !(words[0][0] == '/' && slots[0].letter == '/'))
            s = next < n ? &slots[next++] : NULL;
        else if (s && s->value && words[1])
            words++;
        else
            s = NULL;
        if (!words[1])
            return s;
    }
    return NULL;
}

static void complete_word(const struct viv_mon_cmd *c, struct offer *f, const char *rest)
{
    struct viv_slot slots[VIV_FORM_MAX];
    unsigned n = viv_form_read(c, slots);
    g_auto(GStrv) words = NULL;
    g_autofree char *text = g_strstrip(g_strdup(rest));
    const struct viv_slot *s;
    GStrvBuilder *b = g_strv_builder_new();
    g_auto(GStrv) typed = g_strsplit_set(text, " \t", -1);

    for (char **t = typed; *t; t++)
        if (**t)
            g_strv_builder_add(b, *t);
    if (!*f->word) /* a new one begins */
        g_strv_builder_add(b, "");
    words = g_strv_builder_end(b);
    g_strv_builder_unref(b);
    s = slot_at(slots, n, words);
    for (unsigned i = 0; s && s->def && s->def->type == VIV_OPT_ENUM && s->def->values[i]; i++)
        offer(f, s->def->values[i]);
    for (unsigned i = 0; s && i < G_N_ELEMENTS(kinds); i++) {
        if (!strcmp(kinds[i].name, s->kind))
            kinds[i].fill(f);
    }
}

static gint by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *viv_hmp_complete(const char *text)
{
    const char *line = text + strspn(text, " \t"), *rest, *word = line + strlen(line);
    const struct viv_mon_cmd *c = viv_hmp_find(line, &rest);
    struct offer f = {text, (size_t)(line - text), line, g_ptr_array_new_with_free_func(g_free)};

    if (!c || !*rest || *rest == '/') {
        commands(&f);
    } else {
        while (word > rest && word[-1] != ' ' && word[-1] != '\t')
            word--;
        f.word = word;
        f.keep = (size_t)(f.word - text);
        complete_word(c, &f, rest);
    }
    g_ptr_array_sort(f.found, by_name);
    return f.found;
}
