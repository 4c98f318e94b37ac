// What became of the rows of a prepared set, for people and for programs.
#ifndef AXL_DATA_SUMMARY_H
#define AXL_DATA_SUMMARY_H

#include "src/data/prepared.h"

// Appends some lines: rows, what was dropped and why, tokens, lengths; each entry by itself when there are several.
axl_status axl_summary_text(const axl_prepared *p, axl_str *out);

// Appends a JSON object without a line end: path, rows, samples, bad, too_short, too_long, truncated, untrained,
// duplicates, lost_turns, tokens, trained_tokens, lengths {mean, p50, p90, p99, max}, histogram [{up_to, samples}],
// entries [the same of each, with the name of its first file].
axl_status axl_summary_json(const axl_prepared *p, axl_str *out);

#endif
