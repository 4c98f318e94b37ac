// The built-in chat templates by name.
#ifndef AXL_TEXT_CHAT_TEMPLATES_H
#define AXL_TEXT_CHAT_TEMPLATES_H

#include "src/base/status.h"

// The Jinja source of a built-in template. *out is borrowed and lives as long as the program.
//   AXL_E_CONFIG with the nearest name and all others when there is none of that name.
axl_status axl_chat_template_find(const char *name, const char **out);

#endif
