/* What only one format has to tell, as JSON. The same as text: block/image_text.c. */
#include "cmd/img.h"

#include <inttypes.h>

static bool opens(const struct viv_img_fact *f)
{
    return f->type == VIV_FACT_DICT || f->type == VIV_FACT_LIST;
}

static void put_value(const struct viv_img_fact *f)
{
    if (f->type == VIV_FACT_STR)
        img_json_string(stdout, f->str);
    else if (f->type == VIV_FACT_UINT)
        printf("%" PRIu64, f->value);
    else
        printf("%s", img_bool(f->value));
}

static void json(const struct viv_img_info *i, unsigned *at, const char *in, int indent)
{
    for (bool first = true; *at < i->facts && i->fact[*at].type != VIV_FACT_END; first = false) {
        const struct viv_img_fact *f = &i->fact[(*at)++];

        printf("%s\n%s%*s", first ? "" : ",", in, indent, "");
        if (f->key)
            printf("\"%s\": ", f->key);
        if (opens(f)) {
            printf("%c", f->type == VIV_FACT_LIST ? '[' : '{');
            json(i, at, in, indent + 4);
            printf("\n%s%*s%c", in, indent, "", f->type == VIV_FACT_LIST ? ']' : '}');
        } else {
            put_value(f);
        }
    }
    (*at)++;
}

void img_facts_json(const struct viv_img_info *i, const char *type, const char *in)
{
    unsigned at = 0;

    if (!i->facts)
        return;
    printf("%s    \"format-specific\": {\n%s        \"type\": \"%s\",\n%s        \"data\": {", in, in, type, in);
    json(i, &at, in, 12);
    printf("\n%s        }\n%s    },\n", in, in);
}
