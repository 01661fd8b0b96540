/* The TLB of instruction fetches; what it is for stands in code_space.h.
 *
 * Open addressing, linear probing. Tags hold the generation of the table they were made in, so that dropping a table is
 * one increment; a slot of another generation is a free slot, and probing stops there. Entries are never
 * removed one by one: that keeps probing right, and makes a table the exact list of what its value promises. */
#include "cpu/x86/code_space.h"

#include "mem/ram.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define GENS      2048u /* generations that fit below the page number, with a bit for the privilege */
#define MOST_USED (VIV_CODE_SLOTS / 4 * 3)

/* splitmix64: a bijection, so different serials give different values. */
static uint64_t next_value(struct viv_code_spaces *s)
{
    uint64_t z = ++s->serial * 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t tag_of(const struct viv_code_table *t, uint64_t lin, bool user)
{
    return (lin & VIV_PAGE_MASK) | t->gen << 1 | user;
}

static unsigned slot_of(uint64_t lin)
{
    return (unsigned)(lin >> 12 ^ lin >> 24) & (VIV_CODE_SLOTS - 1);
}

/* The page's slot, or the free one where it would go. There is always a free one. */
static unsigned probe(const struct viv_code_table *t, uint64_t lin, bool user)
{
    uint64_t tag = tag_of(t, lin, user);
    unsigned n = slot_of(lin);

    while (t->e[n].tag != tag && (t->e[n].tag >> 1 & (GENS - 1)) == t->gen)
        n = (n + 1) & (VIV_CODE_SLOTS - 1);
    return n;
}

static uint8_t *find(const struct viv_code_table *t, uint64_t lin, bool user)
{
    unsigned n;

    if (!t->used)
        return NULL;
    n = probe(t, lin, user);
    return t->e[n].tag == tag_of(t, lin, user) ? t->e[n].hva : NULL;
}

static void publish(struct viv_x86 *c, const struct viv_code_spaces *s)
{
    bool user = c->cpl == 3;
    const struct viv_code_table *t = &s->local[s->cur][user];

    c->code_space = user || t->used ? t->value : s->nothing_local;
    c->code_space_global = s->global.value;
}

/* False: it was empty, so its value has promised nothing. */
static bool clear(struct viv_code_table *t)
{
    if (!t->used)
        return false;
    t->used = 0;
    t->regions = 0;
    if (++t->gen == GENS) {
        memset(t->e, 0, sizeof(t->e));
        t->gen = 1;
    }
    return true;
}

static void drop_local(struct viv_code_spaces *s, struct viv_code_table *t)
{
    if (clear(t))
        t->value = next_value(s);
}

static void new_values(struct viv_code_spaces *s)
{
    s->global.value = next_value(s);
    s->nothing_local = next_value(s);
    for (unsigned n = 0; n < s->banks; n++)
        for (unsigned user = 0; user < 2; user++)
            s->local[n][user].value = next_value(s);
}

/* Global pages are part of what every other value promises. */
static void drop_global(struct viv_code_spaces *s)
{
    if (!clear(&s->global))
        return;
    new_values(s);
}

int viv_code_init(struct viv_x86 *c, struct viv_code_spaces *s, unsigned banks)
{
    s->local = g_try_malloc0(banks * sizeof(s->local[0]));
    if (!s->local)
        return -ENOMEM;
    s->banks = banks;
    s->global.gen = 1;
    for (unsigned n = 0; n < banks; n++)
        s->local[n][0].gen = s->local[n][1].gen = 1;
    new_values(s);
    publish(c, s);
    return 0;
}

void viv_code_fini(struct viv_code_spaces *s)
{
    g_free(s->local);
    s->local = NULL;
}

/* A page can be in both: one PCID saw it before it became global, another one after, without an INVLPG between. What the
 * PCID's own value has promised comes first. */
uint8_t *viv_code_find(const struct viv_code_spaces *s, uint64_t lin, bool user)
{
    uint8_t *hva = find(&s->local[s->cur][user], lin, user);

    return hva ? hva : find(&s->global, lin, user);
}

bool viv_code_is_global(const struct viv_code_spaces *s, uint64_t lin, bool user)
{
    return !find(&s->local[s->cur][user], lin, user) && find(&s->global, lin, user);
}

static bool in_region(const struct viv_code_table *t, uint64_t lin)
{
    if (t->regions > VIV_CODE_REGIONS)
        return true;
    for (unsigned n = 0; n < t->regions; n++)
        if ((t->region[n].lin ^ lin) >> t->region[n].shift == 0)
            return true;
    return false;
}

static void note_region(struct viv_code_table *t, uint64_t lin, unsigned shift)
{
    if (shift <= VIV_PAGE_SHIFT || in_region(t, lin))
        return;
    if (t->regions < VIV_CODE_REGIONS) {
        t->region[t->regions].lin = lin;
        t->region[t->regions].shift = shift;
    }
    t->regions++;
}

void viv_code_fill(struct viv_x86 *c, struct viv_code_spaces *s, uint64_t lin, unsigned shift, bool user,
                   bool global, uint8_t *hva)
{
    struct viv_code_table *t = global ? &s->global : &s->local[s->cur][user];
    unsigned n;

    if (t->used >= MOST_USED) {
        if (global)
            drop_global(s);
        else
            drop_local(s, t);
    }
    n = probe(t, lin, user);
    t->e[n].tag = tag_of(t, lin, user);
    t->e[n].hva = hva;
    t->used++;
    note_region(t, lin, shift);
    publish(c, s);
}

void viv_code_select(struct viv_x86 *c, struct viv_code_spaces *s, unsigned bank)
{
    s->cur = bank;
    publish(c, s);
}

static void flush(struct viv_code_spaces *s, unsigned bank)
{
    drop_local(s, &s->local[bank][0]);
    drop_local(s, &s->local[bank][1]);
}

void viv_code_flush(struct viv_x86 *c, struct viv_code_spaces *s, unsigned bank)
{
    flush(s, bank);
    publish(c, s);
}

void viv_code_flush_all(struct viv_x86 *c, struct viv_code_spaces *s)
{
    drop_global(s);
    for (unsigned n = 0; n < s->banks; n++)
        flush(s, n);
    publish(c, s);
}

static bool holds(const struct viv_code_table *t, uint64_t lin)
{
    return t->used && (in_region(t, lin) || find(t, lin, false) || find(t, lin, true));
}

void viv_code_drop(struct viv_x86 *c, struct viv_code_spaces *s, unsigned bank, uint64_t lin, bool global)
{
    if (global && holds(&s->global, lin))
        drop_global(s);
    for (unsigned user = 0; user < 2; user++)
        if (holds(&s->local[bank][user], lin))
            drop_local(s, &s->local[bank][user]);
    publish(c, s);
}
