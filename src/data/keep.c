// One place for a prepared set and for a stream, so that both train on the same samples.
#include "src/data/keep.h"

// The tokenizer may know more tokens than the model has rows for.
static axl_status check_ids(const axl_data_options *o, const int32_t *ids, int64_t n,
                            const char *where)
{
    axl_status status = AXL_OK;

    for (int64_t t = 0; o->vocab_size > 0 && t < n; t++)
        AXL_REQUIRE(
            ids[t] < o->vocab_size, AXL_E_INPUT,
            "%s: token %d is beyond the %lld tokens of the model (vocab_size of config.json); "
            "tokenizer and model do not belong together",
            where, ids[t], (long long)o->vocab_size);

out:
    return status;
}

static axl_status keep_one(axl_samples *out, const axl_samples *record, int64_t i,
                           const axl_data_options *o, const char *where, axl_prepare_counts *counts)
{
    axl_status status = AXL_OK;
    const axl_sample_info *info = &record->info[i];
    const int64_t begin = axl_samples_begin(record, i), n = axl_samples_length(record, i);
    // the length rules of two documents were applied where their texts are known
    const bool plain = info->role == AXL_SAMPLE_PLAIN, excess = plain && n > o->sequence_len;

    AXL_REQUIRE(!excess || o->excess != AXL_EXCESS_RAISE, AXL_E_INPUT,
                "%s: the sample has %lld tokens, sequence_len is %lld; raise it, or set "
                "excess_length_strategy to drop or truncate",
                where, (long long)n, (long long)o->sequence_len);
    if ((plain && n < o->min_sample_len) || n < 1) {
        counts->too_short++;
        goto out;
    }
    if (excess && o->excess == AXL_EXCESS_DROP) {
        counts->too_long++;
        goto out;
    }
    AXL_TRY(check_ids(o, record->ids + begin, n, where));
    AXL_TRY(axl_samples_put(out, record->ids + begin, record->labels + begin,
                            excess ? o->sequence_len : n, true));
    AXL_TRY(
        axl_samples_end_as(out, (axl_sample_role)info->role, info->second, info->file, info->line));
    counts->truncated += excess;
    if (o->drop_untrained && plain && out->info[out->n - 1].trained == 0) {
        out->n--;
        axl_samples_drop_open(out);
        counts->untrained++;
    }

out:
    return status;
}

axl_status axl_samples_keep(axl_samples *out, const axl_samples *record,
                            const axl_data_options *options, const char *where,
                            axl_prepare_counts *counts)
{
    axl_status status = AXL_OK;

    for (int64_t i = 0; i < record->n; i++)
        AXL_TRY(keep_one(out, record, i, options, where, counts));

out:
    return status;
}
