#pragma once
/*
 * Reading what a script returned into a declaration.  Faults are collected, as
 * many as fit into one text; each names its line, which is looked for in the
 * script's text by the names that lead to it, because a Lua table does not
 * remember where it was written.
 *
 * Everything is read without metamethods, below vm_enter, into an arena.
 */
#include "vm/vm_script.h"

#define READER_MAX_DEPTH 6

struct reader {
    lua_State *L;
    struct vm *vm;
    const struct source *source;
    struct arena *arena;
    struct err *err;
    size_t faults;
    struct str path[READER_MAX_DEPTH]; /* names of the tables we are in */
    size_t depth;
};

/* Around the reading of a table that has this name. */
void reader_enter(struct reader *r, struct str name);
void reader_leave(struct reader *r);

/* Notes a fault at `key` (STR_NONE: at the table itself). */
void reader_fault(struct reader *r, struct str key, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* Notes the fault that `err` tells of. */
void reader_fault_err(struct reader *r, struct str key, const struct err *err);

/* Each key that is not in the NULL-terminated list is a fault that shows it. */
void reader_allow(struct reader *r, int table, const char *const *allowed);
/* The string keys of a table, sorted, copied; other keys are faults. */
struct str *reader_keys(struct reader *r, int table, size_t *count_out);
/* Copies the string on the stack. */
struct str reader_text(struct reader *r, int index);

/* Pushes the field; true when it is of the type, a fault when it is another
 * one or, for those that must be there, nothing. */
enum reader_need { OPTIONAL, REQUIRED };
bool reader_field(struct reader *r, int table, const char *name, int type,
                  enum reader_need need);
/* A whole number in the range; false when absent or faulty. */
bool reader_integer(struct reader *r, int table, const char *name, double min,
                    double max, double *out);
/* A list of strings, copied; absent: count 0. */
struct str *reader_list(struct reader *r, int table, const char *name,
                        size_t *count_out);

/* What the two kinds of scripts are made of (script_aggregate.c,
 * script_projection.c); `table` is what the script returned. */
void read_aggregate(struct reader *r, int table, struct aggregate_decl *out);
void read_projection(struct reader *r, int table, struct projection_decl *out);
/* The member `upcast`, checked (script_upcast.c). */
void read_upcasts(struct reader *r, int table, struct aggregate_decl *out);
/* Keeps the upcasts of the script at index 1: they are found by aggregate
 * type, for every script of the state. */
void keep_upcasts(lua_State *L, struct vm *vm, struct str type);
/* The words of inputs, with their `?`. */
bool read_input_word(struct str word, struct input_decl *out);
void input_words(struct buf *out);
