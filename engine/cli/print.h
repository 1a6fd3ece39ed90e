#pragma once
/*
 * Records for people: aligned tables and plain values.  What came from outside
 * is printed without its control characters, so that no stored text can drive
 * a terminal.  (`--json` prints the records as they are, one a line.)
 */
#include "base/arena.h"
#include "base/json.h"

/* A table that is filled row by row, then printed with every column as wide
 * as its widest cell.  Zeroed memory with an arena is an empty table. */
struct print_table {
    struct arena *arena; /* borrowed; owns the cells */
    bool headless;       /* no header, everything to the left */
    struct str *cells;   /* row by row, the header first */
    size_t columns;
    size_t cell_count;
    size_t capacity;
};

/* Adds the next cell; `columns` of them make a row.  Copied. */
void print_cell(struct print_table *table, struct str text);
void print_json_cell(struct print_table *table, struct json value);
/* Columns whose cells below the header are all numbers are set to the right. */
void print_table(struct print_table *table);

/* Appends a value as people read it: strings without quotes, null as nothing,
 * the rest as JSON. */
void print_value(struct json value, struct buf *out);
/* Appends text, each control character as `?`. */
void print_clean(struct str text, struct buf *out);
/* Prints an object's members, one a line, names aligned. */
void print_members(struct json object);
/* Prints each item of an array on a line of its own, as it is. */
void print_json_lines(struct json array);
/* Writes the bytes and a line's end to stdout. */
void print_line(struct str text);
