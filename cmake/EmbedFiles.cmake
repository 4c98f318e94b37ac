# Writes a C file that holds every DIR/*.EXT as a string, in a table that ends with a NULL name.
#   cmake -DOUT=file.c -DDIR=configs/clusters -DEXT=yaml -DHEADER=src/plan/cluster_table.h
#         -DTABLE="const axl_cluster_row axl_cluster_rows" -P EmbedFiles.cmake
file(GLOB files ${DIR}/*.${EXT})
list(SORT files)
set(arrays "")
set(rows "")
foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    string(MAKE_C_IDENTIFIER ${name} id)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const unsigned char text_${id}[] = {${bytes}0};\n")
    string(APPEND rows "    {\"${name}\", text_${id}},\n")
endforeach()
file(WRITE ${OUT} "// Made at build time from ${DIR}.\n"
     "#include \"${HEADER}\"\n\n${arrays}\n${TABLE}[] = {\n${rows}    {0, 0},\n};\n")
