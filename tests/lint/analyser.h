#pragma once
/*
 * For static analysers only, which look at one file at a time: what setting an
 * error gives back.  Without it they follow "the callee failed, and yet its
 * result was true" into uninitialised memory.
 */
#include "base/err.h"

#define err_set(...)  ((void)err_set(__VA_ARGS__), false)
#define err_vset(...) ((void)err_vset(__VA_ARGS__), false)
#define err_wrap(...) ((void)err_wrap(__VA_ARGS__), false)
