// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI bus: an ivshmem-doorbell device of QEMU (docs/specs/ivshmem-spec.txt
 * there), its BARs, interrupts and the channels that are in its segment.  What
 * the segment's tables say is checked in segment.c, what a channel does is in
 * chan.c.
 */
#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/panic_notifier.h>
#include <linux/pci.h>
#include <linux/reboot.h>
#include <linux/sched/clock.h>
#include "vmshm.h"
#include "pci.h"

#define IVSHMEM_VENDOR		0x1af4	/* Red Hat */
#define IVSHMEM_DEVICE		0x1110

/* BAR0 */
#define IVSHMEM_IVPOSITION	8
#define IVSHMEM_DOORBELL	12

/*
 * A peer that rings without end: a vector is masked and looked at by timer for
 * a while when its interrupts take so much of a jiffy, or when so many of them in
 * a jiffy were for nothing, and hardly any was not.  A peer that keeps to the
 * protocol rings for something; two rings for one thing are the exception.
 */
#define STORM_IDLE		32
#define STORM_IDLE_RATIO	4	/* to those that were for something */
#define STORM_NS		(TICK_NSEC / 4 * 3)
#define STORM_ENTRY_NS		1000	/* an interrupt's entry and exit, about */
#define STORM_MS		100

static LIST_HEAD(vmshm_devs);		/* for the notifiers; RCU */
static DEFINE_SPINLOCK(vmshm_devs_lock);
static int last_cpu = -1;		/* that was given a vector; a hint */

static void pci_doorbell(struct vmshm_chan *ch, u32 vector)
{
	struct vmshm_pci *dev = ch->bus_priv;

	/* writel(), never relaxed: what was stored before is seen first. */
	writel(ch->doorbell_id << 16 | vector, dev->regs + IVSHMEM_DOORBELL);
}

static struct vmshm_ring_hdr *pci_ring_alloc(struct vmshm_chan *ch, u32 order, u64 *off)
{
	struct vmshm_pci_chan *pch = container_of(ch, struct vmshm_pci_chan, ch);

	if (!vmshm_half_alloc(pch->pool, order, off))
		return NULL;
	return (void *)(pch->my_half + *off);
}

static void pci_ring_free(struct vmshm_chan *ch, struct vmshm_ring_hdr *hdr, u64 off, u32 order)
{
	struct vmshm_pci_chan *pch = container_of(ch, struct vmshm_pci_chan, ch);

	vmshm_half_free(pch->pool, order, off);
}

static struct vmshm_ring_hdr *pci_ring_peer(struct vmshm_chan *ch, u64 off, u32 order)
{
	struct vmshm_pci_chan *pch = container_of(ch, struct vmshm_pci_chan, ch);

	return (void *)(pch->peer_half + off);
}

static void pci_release(struct vmshm_chan *ch)
{
	struct vmshm_pci_chan *pch = container_of(ch, struct vmshm_pci_chan, ch);

	kfree(pch);
}

static const struct vmshm_bus pci_bus = {
	.name = "pci",
	.doorbell = pci_doorbell,
	.ring_alloc = pci_ring_alloc,
	.ring_free = pci_ring_free,
	.ring_peer = pci_ring_peer,
	.release = pci_release,
};

/* Returns whether there was something to see. */
static bool look_at_all(struct vmshm_pci *dev)
{
	bool any = false;
	int i;

	for (i = 0; i < dev->nr_chans; i++)
		any |= vmshm_chan_irq(&dev->chans[i]->ch);
	return any;
}

static bool storms(const struct vmshm_vector *vec)
{
	return vec->busy_ns > STORM_NS ||
	       (vec->idle >= STORM_IDLE && vec->idle > vec->useful * STORM_IDLE_RATIO);
}

static irqreturn_t pci_irq(int irq, void *data)
{
	struct vmshm_vector *vec = data;
	int *cpu = &vec->dev->vector_cpu[vec - vec->dev->vectors];
	u64 began = local_clock();
	bool any = look_at_all(vec->dev);

	/* Somebody else than spread_vector() may have moved it. */
	if (unlikely(READ_ONCE(*cpu) != smp_processor_id()))
		WRITE_ONCE(*cpu, smp_processor_id());
	if (time_after(jiffies, vec->jiffy)) {
		vec->jiffy = jiffies;
		vec->busy_ns = 0;
		vec->useful = 0;
		vec->idle = 0;
	}
	vec->busy_ns += local_clock() - began + STORM_ENTRY_NS;
	if (any)
		vec->useful++;
	else
		vec->idle++;
	if (storms(vec)) {
		vec->until = jiffies + msecs_to_jiffies(STORM_MS);
		disable_irq_nosync(irq);
		queue_delayed_work(vmshm_wq, &vec->storm, 1);
	}
	return IRQ_HANDLED;
}

static void storm_work(struct work_struct *work)
{
	struct vmshm_vector *vec = container_of(work, struct vmshm_vector, storm.work);
	int i;

	look_at_all(vec->dev);
	if (time_before(jiffies, vec->until)) {
		queue_delayed_work(vmshm_wq, &vec->storm, 1);
		return;
	}
	for (i = 0; i < vec->dev->nr_chans; i++) {
		struct vmshm_chan *ch = &vec->dev->chans[i]->ch;

		/* A statistic: a count that is lost to another vector does no harm. */
		WRITE_ONCE(ch->storms, ch->storms + 1);
	}
	vec->busy_ns = 0;
	vec->useful = 0;
	vec->idle = 0;
	enable_irq(vec->irq);
}

/*
 * A CPU for each vector, of all devices in turn, among those that the operator
 * leaves for interrupts (irqaffinity=, isolcpus=): left alone, the kernel goes by
 * how many vectors a CPU has to spare, and may put two on one.  Returns the CPU, or
 * -1 where it is left to the kernel.
 */
static int spread_vector(int irq)
{
	const struct cpumask *allowed = irq_get_affinity_mask(irq);
	unsigned int cpu;

	if (!allowed)
		return -1;
	cpu = cpumask_next_and(READ_ONCE(last_cpu), allowed, cpu_online_mask);
	if (cpu >= nr_cpu_ids)
		cpu = cpumask_first_and(allowed, cpu_online_mask);
	if (cpu >= nr_cpu_ids)
		return -1;
	WRITE_ONCE(last_cpu, cpu);
	return irq_set_affinity(irq, cpumask_of(cpu)) ? -1 : cpu;
}

static int get_vectors(struct vmshm_pci *dev)
{
	struct pci_dev *pdev = dev->pdev;
	int n = pci_msix_vec_count(pdev);
	int i, err;

	if (n < 1) {
		dev_err(&pdev->dev, "no MSI-X: give the device vectors=1 or more, and ioeventfd=on\n");
		return -ENODEV;
	}
	/* All of them: the peer rings each, and one without a handler is lost. */
	n = min(n, VMSHM_PCI_VECTORS);
	n = pci_alloc_irq_vectors(pdev, n, n, PCI_IRQ_MSIX);
	if (n < 0) {
		dev_err(&pdev->dev, "can't get an MSI-X vector: error %d\n", n);
		return n;
	}
	for (i = 0; i < n; i++) {
		struct vmshm_vector *vec = &dev->vectors[i];

		vec->dev = dev;
		vec->irq = pci_irq_vector(pdev, i);
		INIT_DELAYED_WORK(&vec->storm, storm_work);
		snprintf(vec->name, sizeof(vec->name), "vmshm-%s-%d", pci_name(pdev), i);
		dev->vector_cpu[i] = spread_vector(vec->irq);
		err = request_irq(vec->irq, pci_irq, 0, vec->name, vec);
		if (err) {
			dev_err(&pdev->dev, "can't use interrupt %d: error %d\n", vec->irq, err);
			return err;	/* the caller puts what there is */
		}
		dev->nr_vectors++;
	}
	return 0;
}

static void put_vectors(struct vmshm_pci *dev)
{
	int i;

	for (i = 0; i < dev->nr_vectors; i++) {
		struct vmshm_vector *vec = &dev->vectors[i];

		/* No interrupt after this, so nobody queues the work again. */
		disable_irq(vec->irq);
		cancel_delayed_work_sync(&vec->storm);
		free_irq(vec->irq, vec);
	}
	dev->nr_vectors = 0;
	pci_free_irq_vectors(dev->pdev);
}

static void put_chans(struct vmshm_pci *dev)
{
	int i;

	for (i = 0; i < dev->nr_chans; i++) {
		struct vmshm_pci_chan *pch = dev->chans[i];

		vmshm_debugfs_remove(&pch->ch);
		vmshm_chan_remove(&pch->ch);
		vmshm_half_destroy(pch->pool);
		pch->pool = NULL;
		vmshm_chan_put(&pch->ch);
	}
	dev->nr_chans = 0;
}

/* One channel of the segment that this VM is a side of. */
static int add_chan(struct vmshm_pci *dev, const struct vmshm_place *place)
{
	struct vmshm_pci_chan *pch = kzalloc(sizeof(*pch), GFP_KERNEL);
	struct vmshm_chan *ch;
	char name[32];
	int err;

	if (!pch)
		return -ENOMEM;
	ch = &pch->ch;
	vmshm_chan_init(ch, &pci_bus);
	ch->bus_priv = dev;
	ch->local_cid = place->local_cid;
	ch->peer_cid = place->peer_cid;
	ch->peer_vectors = place->peer_vectors;
	ch->vector_cpu = dev->vector_cpu;
	ch->doorbell_id = place->doorbell_id;
	ch->half_size = place->half_size;
	ch->mine = (struct vmshm_side *)(dev->mem + place->my_side);
	ch->theirs = (struct vmshm_side *)(dev->mem + place->peer_side);
	ch->presence = (const u64 *)(dev->mem + place->presence);
	ch->drain[0] = (const u32 *)(dev->mem + place->drain[0]);
	ch->drain[1] = (const u32 *)(dev->mem + place->drain[1]);
	pch->my_half = dev->mem + place->my_half;
	pch->peer_half = dev->mem + place->peer_half;
	pch->pool = vmshm_half_create(place->half_size);
	if (!pch->pool) {
		err = -ENOMEM;
		goto put;
	}
	err = vmshm_chan_add(ch);
	if (err) {
		dev_err(&dev->pdev->dev, "there is a device for CID %u already: this one is refused\n",
			place->peer_cid);
		goto destroy;
	}
	snprintf(name, sizeof(name), "cid-%u", ch->peer_cid);
	vmshm_debugfs_add(ch, name);
	dev->chans[dev->nr_chans++] = pch;
	return 0;

destroy:
	vmshm_half_destroy(pch->pool);
put:
	vmshm_chan_put(ch);
	return err;
}

static int add_chans(struct vmshm_pci *dev)
{
	struct vmshm_place place;
	int i, err;

	for (i = 0; i < VMSHM_MEMBERS_MAX; i++) {
		err = vmshm_segment_place(dev, i, &place);
		if (err == -ENOENT)
			continue;
		if (!err)
			err = add_chan(dev, &place);
		if (err)
			return err;
	}
	if (dev->nr_chans)
		return 0;
	dev_err(&dev->pdev->dev, "no channel of the segment is this VM's: it was damaged, restart vmshmd and the VMs\n");
	return -ENODEV;
}

static int pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vmshm_pci *dev;
	int err, i;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	dev->pdev = pdev;
	INIT_LIST_HEAD(&dev->node);
	err = pci_enable_device(pdev);
	if (err)
		goto free_dev;
	err = pci_request_regions(pdev, "af_vmshm");
	if (err)
		goto disable;
	err = -ENODEV;
	if (!pci_resource_len(pdev, 2)) {
		dev_err(&pdev->dev, "no shared memory (BAR2): is this an ivshmem-doorbell device?\n");
		goto release;
	}
	dev->regs = pci_iomap(pdev, 0, 0);
	if (!dev->regs)
		goto release;
	/* An ivshmem-plain device has no doorbell, and says so by having no vectors. */
	if (pci_msix_vec_count(pdev) < 1) {
		dev_err(&pdev->dev, "no MSI-X: af_vmshm wants an ivshmem-doorbell device with vectors=1 or more\n");
		goto unmap_regs;
	}
	dev->position = readl(dev->regs + IVSHMEM_IVPOSITION);
	err = vmshm_segment_map(dev);
	if (err)
		goto unmap_regs;
	err = vmshm_segment_check(dev);
	if (err)
		goto unmap_mem;
	pci_set_master(pdev);		/* MSI-X is written by the device */
	err = add_chans(dev);
	if (err)
		goto put;
	err = get_vectors(dev);
	if (err)
		goto put;
	pci_set_drvdata(pdev, dev);
	spin_lock(&vmshm_devs_lock);
	list_add_tail_rcu(&dev->node, &vmshm_devs);
	spin_unlock(&vmshm_devs_lock);
	/* The name is the peer's to forge: escaped. */
	dev_info(&pdev->dev, "segment %*pE, %llu MiB, %d vectors, %d peers\n",
		 (int)strlen(dev->header->name), dev->header->name, dev->size >> 20,
		 dev->nr_vectors, dev->nr_chans);
	for (i = 0; i < dev->nr_chans; i++) {
		struct vmshm_chan *ch = &dev->chans[i]->ch;

		WRITE_ONCE(ch->nr_vectors, dev->nr_vectors);
		/* What rang before there was an interrupt. */
		queue_work(vmshm_wq, &ch->work);
	}
	return 0;

put:
	put_vectors(dev);
	put_chans(dev);
	pci_clear_master(pdev);
unmap_mem:
	vmshm_segment_unmap(dev);
unmap_regs:
	pci_iounmap(pdev, dev->regs);
release:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
free_dev:
	kfree(dev);
	return err;
}

static void pci_remove(struct pci_dev *pdev)
{
	struct vmshm_pci *dev = pci_get_drvdata(pdev);

	spin_lock(&vmshm_devs_lock);
	list_del_rcu(&dev->node);
	spin_unlock(&vmshm_devs_lock);
	put_vectors(dev);
	put_chans(dev);			/* waits for RCU */
	vmshm_segment_unmap(dev);
	pci_clear_master(pdev);
	pci_iounmap(pdev, dev->regs);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
	kfree(dev);
}

static void leave_all(void)
{
	struct vmshm_pci *dev;
	int i;

	rcu_read_lock();
	list_for_each_entry_rcu(dev, &vmshm_devs, node)
		for (i = 0; i < dev->nr_chans; i++)
			vmshm_chan_leave(&dev->chans[i]->ch);
	rcu_read_unlock();
}

/* Reboot, halt, kexec: the bus calls it for each device. */
static void pci_shutdown(struct pci_dev *pdev)
{
	struct vmshm_pci *dev = pci_get_drvdata(pdev);
	int i;

	for (i = 0; i < dev->nr_chans; i++)
		vmshm_chan_leave(&dev->chans[i]->ch);
}

static int on_panic(struct notifier_block *nb, unsigned long event, void *data)
{
	leave_all();
	return NOTIFY_DONE;
}

static struct notifier_block panic_block = { .notifier_call = on_panic };

static int on_reboot(struct notifier_block *nb, unsigned long event, void *data)
{
	leave_all();
	return NOTIFY_DONE;
}

static struct notifier_block reboot_block = { .notifier_call = on_reboot };

static const struct pci_device_id pci_ids[] = {
	{ PCI_DEVICE(IVSHMEM_VENDOR, IVSHMEM_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, pci_ids);

static struct pci_driver pci_driver = {
	.name = "af_vmshm",
	.id_table = pci_ids,
	.probe = pci_probe,
	.remove = pci_remove,
	.shutdown = pci_shutdown,
};

int vmshm_pci_register(void)
{
	int err = pci_register_driver(&pci_driver);

	if (err)
		return err;
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	register_reboot_notifier(&reboot_block);
	return 0;
}

void vmshm_pci_unregister(void)
{
	unregister_reboot_notifier(&reboot_block);
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_block);
	pci_unregister_driver(&pci_driver);
}
