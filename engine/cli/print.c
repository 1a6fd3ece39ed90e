#include "cli/print.h"

#include "base/mem.h"

#include <stdio.h>

/* ---- text ---- */

void print_clean(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        /* U+0080 to U+009F are control characters in two bytes. */
        bool is_c1 = c == 0xC2 && i + 1 < text.len &&
                     (unsigned char)text.ptr[i + 1] < 0xA0;

        if (is_c1)
            i++;
        buf_char(out, is_c1 || c < 0x20 || c == 0x7F ? '?' : (char)c);
    }
}

void print_value(struct json value, struct buf *out)
{
    struct buf text = {0};

    if (value.kind == JSON_STRING)
        json_unescape(value, &text);
    else if (value.kind != JSON_NULL && value.kind != JSON_END)
        buf_str(&text, value.raw);
    print_clean(buf_as_str(&text), out);
    buf_done(&text);
}

void print_line(struct str text)
{
    fwrite(text.ptr, 1, text.len, stdout);
    putchar('\n');
}

/* ---- tables ---- */

/* Characters on a terminal, near enough: bytes that begin one. */
static size_t width_of(struct str text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return width;
}

/* A sign, digits and one point; a date or an id of digits is no number. */
static bool is_number(struct str text)
{
    size_t points = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        points += c == '.';
        if (!(c >= '0' && c <= '9') && c != '.' && !(c == '-' && i == 0))
            return false;
    }
    return points <= 1;
}

/* Rows live in an arena, so a table that grows leaves its old array there. */
void print_cell(struct print_table *table, struct str text)
{
    if (table->cell_count == table->capacity) {
        size_t capacity = MAX(table->capacity * 2, 256);
        struct str *cells = ARENA_ARRAY(table->arena, struct str, capacity);

        if (table->cell_count > 0)
            memcpy(cells, table->cells, table->cell_count * sizeof(*cells));
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->cell_count++] = arena_str(table->arena, text);
}

void print_json_cell(struct print_table *table, struct json value)
{
    struct buf text = {0};

    print_value(value, &text);
    print_cell(table, buf_as_str(&text));
    buf_done(&text);
}

struct column {
    size_t width;
    bool to_the_right;
};

static struct column measure(const struct print_table *table, size_t at)
{
    struct column column = {
        .to_the_right = !table->headless && table->cell_count > table->columns,
    };

    for (size_t i = at; i < table->cell_count; i += table->columns) {
        column.width = MAX(column.width, width_of(table->cells[i]));
        if (i >= table->columns && !is_number(table->cells[i]))
            column.to_the_right = false;
    }
    return column;
}

static void write_cell(struct str text, const struct column *column, bool last)
{
    int padding = (int)(column->width - width_of(text));

    if (column->to_the_right)
        printf("%*s%.*s", padding, "", STR_ARG(text));
    else
        printf("%.*s%*s", STR_ARG(text), last ? 0 : padding, "");
    fputs(last ? "\n" : "  ", stdout);
}

void print_table(struct print_table *table)
{
    struct column *columns =
        ARENA_ARRAY(table->arena, struct column, table->columns);

    for (size_t i = 0; i < table->columns; i++)
        columns[i] = measure(table, i);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->columns;
        write_cell(table->cells[i], &columns[column],
                   column + 1 == table->columns);
    }
}

/* ---- JSON ---- */

void print_members(struct json object)
{
    struct arena arena = {0};
    struct print_table table = {
        .arena = &arena, .columns = 2, .headless = true};
    struct json_in in = json_open(object);
    struct json value;
    struct str key;

    while (json_next(&in, &key, &value)) {
        print_cell(&table, key);
        print_json_cell(&table, value);
    }
    if (table.cell_count > 0)
        print_table(&table);
    arena_done(&arena);
}

void print_json_lines(struct json array)
{
    struct json_in in = json_open(array);
    struct json item;
    struct str key;

    while (json_next(&in, &key, &item))
        print_line(item.raw);
}
