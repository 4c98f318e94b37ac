// The table that the build makes from src/text/templates/*.jinja; used by chat_templates.c alone.
#ifndef AXL_TEXT_CHAT_TEMPLATES_TABLE_H
#define AXL_TEXT_CHAT_TEMPLATES_TABLE_H

typedef struct axl_chat_template_row {
    const char *name;
    const unsigned char *source; // NUL-terminated
} axl_chat_template_row;

extern const axl_chat_template_row axl_chat_template_rows[]; // ends with a NULL name

#endif
