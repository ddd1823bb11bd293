// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshm_litmus.ko: runs the memory-ordering tests of tests.c in the segment of an
 * ivshmem device, which af_vmshm must have left alone. Two VMs run one side each:
 *
 *	echo TEST SIDE ROUNDS SPREAD SESSION SECONDS > /sys/kernel/debug/vmshm_litmus/run
 *	cat /sys/kernel/debug/vmshm_litmus/run
 *
 * TEST is a name from tests.c, with "no-mb-" before it for the control. The write
 * returns when the run is over, the read tells "done N forbidden N rang N saw N".
 * No doorbell is used and nothing else of the segment touched.
 */
#include "litmus.h"

#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#define IVSHMEM_BAR 2

static DEFINE_MUTEX(lock);	/* area, result; one run at a time */
static struct litmus_area *area;
static struct pci_dev *owner;
static char result[128];
static struct dentry *dir;

static int run(char *line)
{
	struct litmus l = {};
	char test[24];
	u64 seconds;
	int err;

	if (sscanf(line, "%23s %u %llu %u %u %llu", test, &l.side, &l.rounds, &l.spread,
		   &l.session, &seconds) != 6 || l.side > 1 || !l.rounds || !l.spread ||
	    l.rounds > U32_MAX || !l.session || seconds > 3600)
		return -EINVAL;
	if (!area)
		return -ENODEV;
	l.area = area;
	l.rng = 0x9e3779b97f4a7c15ULL ^ (u64)l.session << 1 ^ l.side;
	l.deadline = ktime_get_ns() + seconds * NSEC_PER_SEC;
	err = strncmp(test, "no-mb-", 6) ? litmus_run(&l, test) : litmus_run_control(&l, test + 6);
	snprintf(result, sizeof(result), "done %llu forbidden %llu rang %llu saw %llu\n",
		 l.done, l.forbidden, l.rang, l.saw);
	return err;
}

static ssize_t run_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char line[100];
	int err;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	line[len] = 0;
	err = mutex_lock_interruptible(&lock);
	if (err)
		return err;
	err = run(line);
	mutex_unlock(&lock);
	return err ? err : len;
}

static ssize_t run_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	return simple_read_from_buffer(buf, len, pos, result, strlen(result));
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = run_read,
	.write = run_write,
};

static int litmus_probe(struct pci_dev *dev, const struct pci_device_id *id)
{
	resource_size_t len = pci_resource_len(dev, IVSHMEM_BAR);
	int err;

	BUILD_BUG_ON(sizeof(struct litmus_area) > LITMUS_AREA);
	BUILD_BUG_ON(offsetof(struct litmus_area, ring) % VMSHM_PAGE);
	err = pcim_enable_device(dev);
	if (err)
		return err;
	if (len < VMSHM_SEGMENT_MIN) {
		dev_err(&dev->dev, "BAR 2 has %pa bytes: too small for a segment\n", &len);
		return -ENODEV;
	}
	mutex_lock(&lock);
	if (owner) {
		err = -EBUSY;	/* one segment is enough */
	} else {
		area = memremap(pci_resource_start(dev, IVSHMEM_BAR) + len - LITMUS_AREA,
				LITMUS_AREA, MEMREMAP_WB);
		if (area)
			owner = dev;
		else
			err = -ENOMEM;
	}
	mutex_unlock(&lock);
	return err;
}

static void litmus_remove(struct pci_dev *dev)
{
	mutex_lock(&lock);
	if (owner == dev) {
		memunmap(area);
		area = NULL;
		owner = NULL;
	}
	mutex_unlock(&lock);
}

static const struct pci_device_id litmus_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) },
	{}
};

static struct pci_driver litmus_driver = {
	.name = "vmshm_litmus",
	.id_table = litmus_ids,
	.probe = litmus_probe,
	.remove = litmus_remove,
};

static int __init litmus_init(void)
{
	int err = pci_register_driver(&litmus_driver);

	if (err)
		return err;
	if (!owner)
		pr_err("no ivshmem device (1af4:1110) is free; unload af_vmshm first\n");
	dir = debugfs_create_dir("vmshm_litmus", NULL);
	debugfs_create_file("run", 0600, dir, NULL, &run_fops);
	return 0;
}

static void __exit litmus_exit(void)
{
	debugfs_remove(dir);
	pci_unregister_driver(&litmus_driver);
}

module_init(litmus_init);
module_exit(litmus_exit);
MODULE_DESCRIPTION("Memory-ordering tests of AF_VMSHM's ring between two VMs");
MODULE_LICENSE("GPL");
