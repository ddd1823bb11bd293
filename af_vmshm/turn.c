// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a call goes on moving the bytes of a stream while other threads want its
 * CPU, and who is next.
 *
 * Left to itself, a sender goes on until its ring is full: a megabyte, and many
 * more if its reader is awake at the time.  Among more streams than CPUs each then
 * gets few and long turns, and in a window of some seconds one gets several times
 * what another gets.  So, among more connections than CPUs, while others want the
 * CPU, a turn ends after so many bytes.
 *
 * Who is next is not left to the scheduler, which divides time.  In a VM the time that
 * the host gave to somebody else is charged to whoever was running, who is then not
 * run until all others have used up as much: hundreds of milliseconds, among a hundred
 * streams.  So those who send stand in line, and those who receive in another one.
 * There are four places a CPU, one to run and some to be woken meanwhile; whose turn is
 * over goes to the end of the line and gives its place to the first.  With no more
 * streams than places nobody waits, and who has a CPU alone has all of its ring.
 *
 * A line is of threads that the scheduler treats alike: of one control group, one
 * session, one policy and one nice value.  Between lines it divides as it does between
 * all threads, and who may run little does not keep others waiting.
 *
 * Who waits for the peer gives its place back, and so does a sender that fails, and an
 * end that is freed.  Who sleeps elsewhere, is not let run, or is busy elsewhere for
 * PLACE_MOST, loses it: the next who comes to the line looks at the oldest place, and in
 * every tick in which somebody waits a work does.  So whatever a holder does, or is kept
 * from doing, others go on.
 *
 * A call that may not wait stands in no line; whoever is due has the CPU in between.
 *
 * line->lock is held for a few instructions, by threads alone, and nothing is taken
 * under it but the scheduler's own locks.
 */
#include <linux/cpumask.h>
#include <linux/hash.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/workqueue.h>
#include "vmshm.h"

/* Long enough that a switch of threads costs little beside the copy. */
unsigned int vmshm_turn_bytes = 256 * 1024;
module_param_named(turn_bytes, vmshm_turn_bytes, uint, 0644);
MODULE_PARM_DESC(turn_bytes, "a stream's turn while others want its CPU, bytes (default 262144; 0: no turns)");

/* On all channels; those with this VM itself count once. */
atomic_t vmshm_connections = ATOMIC_INIT(0);

/* How long a place may be kept, jiffies: 50 ms, many times what a turn takes. */
#define PLACE_MOST	(HZ / 20 + 1)

struct waiter {
	struct list_head node;
	struct task_struct *task;
	struct vmshm_turn *turn;
	bool has_place;
};

/* Of one direction.  Which others share it is chance. */
#define LINES_BITS	6

static struct vmshm_line {
	spinlock_t lock;		/* of all but mean; of turns that have a place here */
	struct list_head waiters;	/* who came first is first */
	struct list_head places;	/* the oldest first */
	unsigned int nr_places;
	bool moves;			/* a turn was over since the last look */
	unsigned long mean;		/* from turn to turn on average, jiffies / 256 */
	struct delayed_work look;
} tx_lines[1 << LINES_BITS], rx_lines[1 << LINES_BITS];

/* The line for threads like the caller.  No pointer is followed. */
static struct vmshm_line *line_of(struct vmshm_line *lines)
{
	unsigned long key = current->normal_prio | current->policy << 8;

#ifdef CONFIG_CGROUP_SCHED
	key ^= (unsigned long)READ_ONCE(current->sched_task_group);
#endif
#ifdef CONFIG_SCHED_AUTOGROUP
	key ^= (unsigned long)READ_ONCE(current->signal->autogroup) << 1;
#endif
	return &lines[hash_long(key, LINES_BITS)];
}

/*
 * Does anybody else want this CPU, and may that be another stream?  A turn that ends
 * for a passing kernel thread would bring nobody anything; with few connections it can
 * be nobody else.  With many it can: how many of them are idle, and who it is that
 * waits, is not known here.
 */
static bool others_wait(void)
{
	return !single_task_running() && atomic_read(&vmshm_connections) > num_online_cpus();
}

/* Under line->lock.  Nothing if it has its place in another line. */
static void leave(struct vmshm_line *line, struct vmshm_turn *turn)
{
	struct task_struct *task;

	if (READ_ONCE(turn->line) != line)
		return;
	task = turn->task;
	line->nr_places--;
	list_del(&turn->node);
	smp_store_release(&turn->line, NULL);	/* pairs with vmshm_turn_leave(): it may be freed */
	put_task_struct(task);
}

/* What sleeps needs no CPU, wherever it sleeps.  Under line->lock. */
static bool is_lost(const struct vmshm_turn *turn)
{
	return READ_ONCE(turn->task->__state) & TASK_NORMAL ||
	       time_after_eq(jiffies, turn->since + PLACE_MOST);
}

static bool is_on_cpu(const struct task_struct *task)
{
#ifdef CONFIG_SMP
	return READ_ONCE(task->on_cpu);
#else
	return task == current;
#endif
}

/*
 * Who is not let run, for its CPU is somebody else's or its control group has used up
 * what it may, is not known here.  But where no turn was over for a tick, all who are
 * not on a CPU lose their places, to others who might be; else who waits for a CPU
 * keeps its own.  Under line->lock.
 */
static void take_back(struct vmshm_line *line)
{
	struct vmshm_turn *turn, *next;

	list_for_each_entry_safe(turn, next, &line->places, node) {
		if (time_after(jiffies, turn->since) && !is_on_cpu(turn->task))
			leave(line, turn);
	}
}

/* Let in whom there is a place for.  Under line->lock. */
static void let_in(struct vmshm_line *line)
{
	unsigned int most = 4 * num_online_cpus();
	struct vmshm_turn *oldest;
	struct waiter *w;

	while (!list_empty(&line->waiters)) {
		if (line->nr_places >= most) {
			oldest = list_first_entry(&line->places, struct vmshm_turn, node);
			if (!is_lost(oldest))
				break;
			leave(line, oldest);
		}
		w = list_first_entry(&line->waiters, struct waiter, node);
		list_del_init(&w->node);
		/* Two threads may use one socket: they share its place, wherever that is. */
		leave(line, w->turn);
		if (!cmpxchg(&w->turn->line, NULL, line)) {
			w->turn->task = get_task_struct(w->task);
			w->turn->since = jiffies;
			list_add_tail(&w->turn->node, &line->places);
			line->nr_places++;
		}
		WRITE_ONCE(w->has_place, true);
		if (w->task != current)
			wake_up_process(w->task);
	}
	if (!list_empty(&line->waiters))
		queue_delayed_work(vmshm_wq, &line->look, 1);
}

static void look_again(struct work_struct *work)
{
	struct vmshm_line *line = container_of(to_delayed_work(work), struct vmshm_line, look);

	spin_lock(&line->lock);
	if (!line->moves)
		take_back(line);
	line->moves = false;
	let_in(line);
	spin_unlock(&line->lock);
}

/**
 * vmshm_turn_leave - give back the place, if there is one
 * @turn: of an end that waits for its peer, that has failed, or that is to be freed
 *
 * Does not sleep.  Afterwards no line knows the turn, unless another thread sends or
 * receives at this end.
 */
void vmshm_turn_leave(struct vmshm_turn *turn)
{
	struct vmshm_line *line = READ_ONCE(turn->line);

	if (likely(!line)) {
		smp_acquire__after_ctrl_dep();	/* pairs with leave() */
		return;
	}
	spin_lock(&line->lock);
	leave(line, turn);
	let_in(line);
	spin_unlock(&line->lock);
}

/* At the end of the line, and until there is a place.  Was there none at first? */
static bool stand_in(struct vmshm_line *line, struct vmshm_turn *turn, long *timeo)
{
	struct waiter me = { .task = current, .turn = turn };
	bool waits;

	/* Its threads differ, or this one has been moved. */
	if (unlikely(READ_ONCE(turn->line) && READ_ONCE(turn->line) != line))
		vmshm_turn_leave(turn);
	spin_lock(&line->lock);
	line->moves = true;
	leave(line, turn);
	list_add_tail(&me.node, &line->waiters);
	let_in(line);
	waits = !me.has_place;
	spin_unlock(&line->lock);
	if (!waits)
		return false;
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (READ_ONCE(me.has_place) || !*timeo || signal_pending(current))
			break;
		*timeo = schedule_timeout(*timeo);
	}
	__set_current_state(TASK_RUNNING);
	spin_lock(&line->lock);
	/* Also: who let us in has woken us, and looks at us no more. */
	list_del(&me.node);
	spin_unlock(&line->lock);
	return true;
}

/*
 * Requests and answers move little: a stream that takes less than a quarter of what
 * others take on average waits for nobody.
 */
static bool takes_little(struct vmshm_line *line, struct vmshm_turn *turn)
{
	unsigned long mean = READ_ONCE(line->mean), most = 4 * mean + 256;
	unsigned long lasted = min(jiffies - READ_ONCE(turn->over), (unsigned long)HZ) * 256;

	WRITE_ONCE(turn->over, jiffies);
	WRITE_ONCE(line->mean, mean - mean / 8 + min(lasted, most) / 8);
	return lasted > most;
}

static void turn_over(struct vmshm_line *line, struct vmshm_turn *turn, struct vmshm_stats *stats,
		      long *timeo)
{
	bool may_wait = *timeo && READ_ONCE(vmshm_turn_bytes);
	bool little = takes_little(line, turn);
	bool others = others_wait();

	if (may_wait && !little &&
	    (others || !list_empty_careful(&line->waiters)) && stand_in(line, turn, timeo))
		stats->sleeps++;
	else if (may_wait && others)
		schedule();
	else
		cond_resched();
}

/**
 * vmshm_turn_tx_over - a sender's turn is over
 * @end: its end
 * @timeo: what the call may wait, jiffies; goes down by what it has waited here
 *
 * A signal, or a limit that is over, ends the wait, and the caller goes on without a
 * place: a full ring is where a call ends that has sent something.  May sleep.
 */
void vmshm_turn_tx_over(struct vmshm_end *end, long *timeo)
{
	WRITE_ONCE(end->tx_turn, 0);
	turn_over(line_of(tx_lines), &end->tx_in_turn, &end->tx_stats, timeo);
}

/* A reader's is. */
void vmshm_turn_rx_over(struct vmshm_end *end, long *timeo)
{
	WRITE_ONCE(end->rx_turn, 0);
	turn_over(line_of(rx_lines), &end->rx_in_turn, &end->rx_stats, timeo);
}

static void start(struct vmshm_line *line)
{
	spin_lock_init(&line->lock);
	INIT_LIST_HEAD(&line->waiters);
	INIT_LIST_HEAD(&line->places);
	INIT_DELAYED_WORK(&line->look, look_again);
}

/* Before there are sockets. */
void vmshm_turn_start(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(tx_lines); i++) {
		start(&tx_lines[i]);
		start(&rx_lines[i]);
	}
}

/* When there are none any more. */
void vmshm_turn_end(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(tx_lines); i++) {
		cancel_delayed_work_sync(&tx_lines[i].look);
		cancel_delayed_work_sync(&rx_lines[i].look);
	}
}
