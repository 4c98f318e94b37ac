// README.md of the result: what it is, what it was made from, and the configuration that made it.
#include "src/train/train.h"

#include "src/io/file.h"

#include <math.h>
#include <string.h>

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

axl_status axl_write_card(const axl_trainer *t)
{
    axl_status status = AXL_OK;
    const axl_config *c = t->env.config;
    axl_str card = {0};
    axl_str yaml = {0};
    axl_str path = {0};

    if (axl_comm_rank(t->env.world) != 0)
        goto out;
    AXL_TRY(axl_file_read(c->path, &yaml));
    AXL_TRY(axl_str_printf(
        &card,
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n"
        "- axl-dist\n---\n# %s\n\nFine-tuned from %s with axl-dist: %lld steps, %lld "
        "tokens",
        last_part(c->output_dir), last_part(c->base_model), (long long)t->step,
        (long long)t->total_tokens));
    if (t->steer.best_step > 0)
        AXL_TRY(axl_str_printf(&card, ", best %s %.4f at step %lld", axl_steer_metric(c),
                               t->steer.best, (long long)t->steer.best_step));
    AXL_TRY(axl_str_printf(&card,
                           ".\n\n<details><summary>Configuration</summary>\n\n```yaml\n%s```\n\n"
                           "</details>\n",
                           yaml.data));
    AXL_TRY(axl_str_printf(&path, "%s/README.md", c->output_dir));
    AXL_TRY(axl_file_write(path.data, card.data, card.len));
out:
    axl_str_fini(&card);
    axl_str_fini(&yaml);
    axl_str_fini(&path);
    return status;
}
