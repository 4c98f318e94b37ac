// Shared by the formats of preference data: from the texts of a row to tokenized samples (datasets.md 7, 8.1).
//
// A format leaves the prompt, the chosen and the rejected text (kto: the completion) in e->texts and calls one of
// the functions below, which applies the length rules and tokenizes as TRL does.
#ifndef AXL_DATA_FORMATS_PREFERENCE_H
#define AXL_DATA_FORMATS_PREFERENCE_H

#include "src/data/format.h"

enum { AXL_TEXT_PROMPT, AXL_TEXT_CHOSEN, AXL_TEXT_REJECTED };

// Empties the texts for a row.
void axl_preference_begin(axl_encoder *e);

// Ends a pair of the three texts, or a single completion with its verdict; or counts the row as too long.
//   AXL_E_INPUT: a text is empty, or the row is too long and excess_length_strategy is raise.
axl_status axl_preference_put_pair(axl_encoder *e, axl_samples *out);
axl_status axl_preference_put_single(axl_encoder *e, bool desirable, axl_samples *out);

// Ends two documents that are tokenized already, as the open sample holds them; second is where the second one
// begins in it. Both must fit into sequence_len; the rules are those of pairs.
axl_status axl_preference_end_pair(axl_encoder *e, int64_t second, axl_samples *out);

// The verdict of a kto row: true, false, 1 or 0.
axl_status axl_preference_label(const axl_json *row, const char *column, bool *out);

#endif
