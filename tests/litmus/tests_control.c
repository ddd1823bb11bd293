// SPDX-License-Identifier: GPL-2.0-only
/*
 * The positive control: tests.c compiled once more, with full barriers that hold
 * back the compiler alone. What it finds shows that the tests can fail.
 */
#define LITMUS_CONTROL
#include "tests.c"
