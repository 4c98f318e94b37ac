// axl-dist evaluate CONFIG: loss and perplexity of a model on its evaluation set.
#include "launch/bringup.h"
#include "launch/commands.h"
#include "src/train/train.h"

#include <stdio.h>
#include <string.h>

static const char help[] = "axl-dist evaluate CONFIG.yaml [--key value ...]\n"
                           "  Loss and perplexity of base_model on test_datasets (or the "
                           "val_set_size part), as one JSON line.\n"
                           "    axl-dist evaluate run.yaml --base_model ./model-out\n";

int axl_cmd_evaluate(int argc, char **argv)
{
    axl_status status = AXL_OK;
    axl_bringup b = {0};
    axl_trainer *t = NULL;
    axl_eval_report r = {0};

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        (void)fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    AXL_TRY(axl_bringup_start(&b, argc - 1, argv + 1));
    const axl_train_env env = {
        .world = b.world, .device = b.device, .config = b.config, .start_seconds = b.start};
    AXL_TRY(axl_trainer_create_for_eval(&env, &t));
    AXL_REQUIRE(t->eval_loader != NULL, AXL_E_CONFIG,
                "%s: nothing to evaluate on; give test_datasets or val_set_size", b.config->path);
    status = axl_train_eval(t, &r);
    if (status != AXL_OK)
        axl_comm_abort(b.world, axl_status_exit_code(status), axl_error_message());
    if (axl_comm_rank(b.world) == 0)
        (void)printf(
            "{\"eval_loss\": %.9g, \"eval_perplexity\": %.9g, \"trainable_tokens\": %lld}\n",
            r.loss, r.perplexity, (long long)r.n_trained);
out:;
    int code = axl_bringup_report(&b, "evaluate", status);
    axl_trainer_destroy(t);
    axl_bringup_stop(&b);
    return code;
}
