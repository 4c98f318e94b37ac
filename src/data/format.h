// Data set formats: from one record to token ids and labels.
//
// A format is a row of formats.def with one file under formats/. It is opened once a worker thread for an
// entry of the YAML (opening checks the entry) and then encodes records; a record may give no, one or
// several samples.
#ifndef AXL_DATA_FORMAT_H
#define AXL_DATA_FORMAT_H

#include "src/data/dataset.h"
#include "src/data/samples.h"
#include "src/text/tokenizer.h"

typedef struct axl_format axl_format;

// Which methods a format serves, as bits; `rl` of the configuration chooses one.
enum {
    AXL_FOR_SFT = 0, // also reward and process reward models
    AXL_FOR_DPO = 1, // dpo, ipo, simpo
    AXL_FOR_KTO = 2,
    AXL_FOR_ORPO = 4
};

#define AXL_MAX_TEXTS 3

typedef struct axl_encoder {
    const axl_format *format;
    const axl_dataset_spec *spec;    // borrowed
    const axl_data_options *options; // borrowed
    const axl_tokenizer *tokenizer;  // borrowed; NULL only for tokenized data
    char *type_copy;                 // owned; `type`, its first colon replaced by NUL
    const char *base, *style; // in type_copy: what stood before and behind it; style NULL when none
    int32_t bos, eos;         // -1: the tokenizer has none
    int64_t n_lost;           // turns of conversations whose tokens were not found
    int64_t n_too_long;       // pairs left out: longer than sequence_len
    int64_t n_truncated;      // pairs cut to sequence_len
    axl_str texts
        [AXL_MAX_TEXTS]; // of the last row of preference data: the prompt, the chosen text (kto: the
                         // completion), the rejected one
    int n_texts;         // 0: the format makes ids alone
    void *state;         // owned by the format
    axl_token_buffer tokens; // scratch
    axl_str text, text2;     // scratch
} axl_encoder;

struct axl_format {
    const char *name;
    const char *const *types; // base names it answers to, NULL at the end
    int methods;              // AXL_FOR_...
    bool needs_tokenizer;
    axl_status (*open)(axl_encoder *e); // may be NULL
    axl_status (*encode)(axl_encoder *e, const axl_json *row,
                         axl_samples *out); // ends its samples by
                                            // axl_encoder_end
    void (*close)(axl_encoder *e);          // may be NULL
};

// Finds the format of the entry and opens it. AXL_E_CONFIG for an unknown type, with the nearest name.
axl_status axl_encoder_open(const axl_dataset_spec *spec, const axl_data_options *options,
                            const axl_tokenizer *tokenizer, axl_encoder **out);
void axl_encoder_close(axl_encoder *e); // NULL-safe

// Makes *e the encoder of this entry: it stays when it is already, else it is closed and another one opened.
axl_status axl_encoder_take(const axl_dataset_spec *spec, const axl_data_options *options,
                            const axl_tokenizer *tokenizer, axl_encoder **e);

// Encodes one record. file, line: where it stands; where: the same as text. On failure (AXL_E_INPUT, the
// message begins with where) no sample of it is left in out.
axl_status axl_encoder_row(axl_encoder *e, const axl_json *row, int32_t file, int64_t line,
                           const char *where, axl_samples *out);

// For the formats ---------------------------------------------------------------------------------

// The text tokenization of datasets.md 4.1: special tokens on, cut to sequence_len, EOS appended when asked
// for and there is room, a leading BOS removed when asked for. The ids stand in e->tokens.
axl_status axl_encoder_text(axl_encoder *e, const char *text, size_t n, bool add_eos,
                            bool strip_bos);

// Appends the column as text. Numbers and booleans are written as JSON. AXL_E_INPUT when it is missing and
// not optional (then it is empty), or an array or object.
axl_status axl_row_column(const axl_json *row, const char *column, bool optional, axl_str *out);

// Ends the open sample of out; its place is filled in by axl_encoder_row.
axl_status axl_encoder_end(axl_samples *out);

#endif
