# Writes a C file that holds every src/text/templates/*.jinja as a string, and the variants: another name
# for the same file, with a line of Jinja before it.
#   cmake -DOUT=file.c -DDIR=templates -P EmbedTemplates.cmake
set(variants
    "gemma4_unified=gemma4="
    "command_a_rag=command_a={%- set variant = 'rag' -%}"
    "command_a_tool_use=command_a={%- set variant = 'tool_use' -%}")
file(GLOB files ${DIR}/*.jinja)
list(SORT files)
set(arrays "")
set(rows "")
macro(add_template name hex)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const unsigned char text_${name}[] = {${bytes}0};\n")
    string(APPEND rows "    {\"${name}\", text_${name}},\n")
endmacro()
foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    file(READ ${file} hex HEX)
    add_template(${name} "${hex}")
endforeach()
foreach(variant IN LISTS variants)
    string(REGEX MATCH "^([^=]*)=([^=]*)=(.*)$" unused "${variant}")
    set(name ${CMAKE_MATCH_1})
    set(base ${CMAKE_MATCH_2})
    string(HEX "${CMAKE_MATCH_3}" before)
    file(READ ${DIR}/${base}.jinja hex HEX)
    add_template(${name} "${before}${hex}")
endforeach()
file(WRITE ${OUT} "// Made at build time from src/text/templates.\n"
     "#include \"src/text/chat_templates_table.h\"\n\n${arrays}\n"
     "const axl_chat_template_row axl_chat_template_rows[] = {\n${rows}    {0, 0},\n};\n")
