// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoints' bodies; what they show is in trace.h. */
#define CREATE_TRACE_POINTS
#include "trace.h"
