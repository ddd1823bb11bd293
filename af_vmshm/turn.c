// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a call goes on moving the bytes of a stream while other threads want its
 * CPU.
 *
 * Left to itself, a sender goes on until its ring is full: a megabyte, and many
 * more if its reader is awake at the time.  Among more streams than CPUs each then
 * gets few and long turns, and in a window of some seconds one gets several times
 * what another gets.  So, among more connections than CPUs, while others want the
 * CPU, a turn ends after so many bytes: a sender sleeps until they were read, a
 * reader lets the scheduler choose anew.  Who has a CPU alone has all of its ring.
 * A call that may not wait goes on; whoever is due has the CPU in between.
 */
#include <linux/cpumask.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include "vmshm.h"

/* Long enough that a switch of threads costs little beside the copy. */
unsigned int vmshm_turn_bytes = 128 * 1024;
module_param_named(turn_bytes, vmshm_turn_bytes, uint, 0644);
MODULE_PARM_DESC(turn_bytes, "a stream's turn while others want its CPU, bytes (default 131072; 0: no turns)");

/* On all channels; those with this VM itself count once. */
atomic_t vmshm_connections = ATOMIC_INIT(0);

/*
 * Does anybody else want this CPU, and may that be another stream?  A turn that ends
 * for a passing kernel thread would cost a sleep and bring nobody anything; with few
 * connections it can be nobody else.  With many it can: how many of them are idle,
 * and who it is that waits, is not known here.
 */
static bool others_wait(void)
{
	return READ_ONCE(vmshm_turn_bytes) && !single_task_running() &&
	       atomic_read(&vmshm_connections) > num_online_cpus();
}

/*
 * So much was sent.  May sleep, if the call may wait (@timeo), for a tick at the
 * most: what the ring holds can be sent before anybody reads.
 */
void vmshm_turn_tx_over(struct sock *sk, struct vmshm_end *end, long timeo)
{
	WRITE_ONCE(end->tx_turn, 0);
	if (!timeo || !others_wait())
		cond_resched();
	else if (!vmshm_pause_tx(sk, end))
		schedule();
}

/* Likewise of those who receive. */
void vmshm_turn_rx_over(struct vmshm_end *end, long timeo)
{
	WRITE_ONCE(end->rx_turn, 0);
	if (timeo && others_wait())
		schedule();
	else
		cond_resched();
}
