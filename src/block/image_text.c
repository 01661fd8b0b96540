/* What only one format has to tell, for people. */
#include "block/image.h"

#include <glib.h>
#include <inttypes.h>

static bool opens(const struct viv_img_fact *f)
{
    return f->type == VIV_FACT_DICT || f->type == VIV_FACT_LIST;
}

static void put_value(FILE *out, const struct viv_img_fact *f)
{
    if (f->type == VIV_FACT_STR)
        fprintf(out, "%s", f->str);
    else if (f->type == VIV_FACT_UINT)
        fprintf(out, "%" PRIu64, f->value);
    else
        fprintf(out, "%s", f->value ? "true" : "false");
}

/* Facts from *at to the end of what was opened. */
static void human(FILE *out, const struct viv_img_info *i, unsigned *at, int indent)
{
    for (unsigned item = 0; *at < i->facts; item++) {
        const struct viv_img_fact *f = &i->fact[(*at)++];

        if (f->type == VIV_FACT_END)
            return;
        if (f->key) {
            g_autofree char *label = g_strdelimit(g_strdup(f->key), "-", ' ');

            fprintf(out, "%*s%s:", indent, "", label);
        } else {
            fprintf(out, "%*s[%u]:", indent, "", item);
        }
        if (opens(f)) {
            fprintf(out, "\n");
            human(out, i, at, indent + 4);
        } else {
            fprintf(out, " ");
            put_value(out, f);
            fprintf(out, "\n");
        }
    }
}

void viv_img_facts_human(FILE *out, const struct viv_img_info *i)
{
    unsigned at = 0;

    if (i->facts)
        fprintf(out, "Format specific information:\n");
    human(out, i, &at, 4);
}
