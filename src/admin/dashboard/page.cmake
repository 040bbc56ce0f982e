# SPDX-License-Identifier: MIT
# The dashboard as a C array: page.html with style.css and the scripts put in.
#   cmake -D FOLDER=src/admin/dashboard -D OUT=page.c -P page.cmake
file(READ ${FOLDER}/page.html page)
file(READ ${FOLDER}/style.css style)
set(script)
foreach(name base plots head nodes pools detail scaling main)
  file(READ ${FOLDER}/${name}.js part)
  string(APPEND script "${part}\n")
endforeach()
string(REPLACE "/*STYLE*/" "${style}" page "${page}")
string(REPLACE "/*SCRIPT*/" "${script}" page "${page}")
file(WRITE ${OUT}.html "${page}")
file(READ ${OUT}.html bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR len "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "/* made by dashboard/page.cmake */
#include <stddef.h>
extern const char dashboard_page[];
extern const size_t dashboard_page_len;
const char dashboard_page[] = {
${bytes}0};
const size_t dashboard_page_len = ${len};
")
