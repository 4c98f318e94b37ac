# Writes a C file that holds every src/text/templates/*.jinja as a string.
#   cmake -DOUT=file.c -DDIR=templates -P EmbedTemplates.cmake
file(GLOB files ${DIR}/*.jinja)
list(SORT files)
set(arrays "")
set(rows "")
foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const unsigned char text_${name}[] = {${bytes}0};\n")
    string(APPEND rows "    {\"${name}\", text_${name}},\n")
endforeach()
file(WRITE ${OUT} "// Made at build time from src/text/templates.\n"
     "#include \"src/text/chat_templates_table.h\"\n\n${arrays}\n"
     "const axl_chat_template_row axl_chat_template_rows[] = {\n${rows}    {0, 0},\n};\n")
