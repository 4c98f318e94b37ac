// Shared by the formats that tokenize a prompt and a response separately (datasets.md 4.1).
#ifndef AXL_DATA_FORMATS_INSTRUCT_H
#define AXL_DATA_FORMATS_INSTRUCT_H

#include "src/data/format.h"

// Appends one sample: prompt (masked unless train_on_inputs) and response with its EOS.
//   extra_eos   further EOS tokens after the response, while there is room in sequence_len
axl_status axl_instruct_put(axl_encoder *e, const axl_str *prompt, const axl_str *response,
                            int extra_eos, axl_samples *out);

#endif
