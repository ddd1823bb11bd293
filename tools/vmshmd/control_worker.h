/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The threads that serve the control socket, and what passes between them and
 * the main thread. See control.h.
 */
#ifndef VMSHMD_CONTROL_WORKER_H
#define VMSHMD_CONTROL_WORKER_H

#include "control.h"

#include <urcu/wfcqueue.h>

struct worker;
struct connection;

/* An order on its way to the main thread, and its outcome on the way back. */
struct order {
	struct cds_wfcq_node node;
	struct worker *worker;		/* whose connection */
	struct connection *connection;
	enum control_order what;
	char member[VMSHM_NAME_LEN];
	char segment[VMSHM_NAME_LEN];	/* "" for all */
	int done;			/* seats, or -1 */
	char said[3072];
};

/* A queue of orders that nobody is held up by, and its bell. */
struct order_queue {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	int bell;			/* eventfd */
};

int order_queue_init(struct order_queue *queue);
void order_queue_end(struct order_queue *queue);
void order_push(struct order_queue *queue, struct order *order);

/* The next one, or NULL; rings its own bell again when one is just being pushed. */
struct order *order_pop(struct order_queue *queue);

/* Serve @listen_fd until worker_stop(); NULL with errno. */
struct worker *worker_start(int listen_fd, struct order_queue *orders);
void worker_answer(struct order *order);
void worker_stop(struct worker *worker);

#endif
