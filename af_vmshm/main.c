// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module: parameters, this VM's CID, the order in which parts come and go.
 */
#include <linux/dmi.h>
#include "vmshm.h"

int vmshm_family = AF_VMSHM;
module_param_named(family, vmshm_family, int, 0444);
MODULE_PARM_DESC(family, "address family number (default 22)");

static unsigned int cid_param;
module_param_named(cid, cid_param, uint, 0444);
MODULE_PARM_DESC(cid, "this VM's CID (default: SMBIOS OEM string vmshm.cid=N, else what the segment says)");

int vmshm_busy_poll_default = VMSHM_BUSY_POLL_ADAPTIVE;
unsigned int vmshm_busy_poll_max_us = 200;

static int set_busy_poll(const char *val, const struct kernel_param *kp)
{
	int us, err = kstrtoint(val, 0, &us);

	if (err)
		return err;
	if (us < VMSHM_BUSY_POLL_ADAPTIVE || us > VMSHM_BUSY_POLL_MAX_US)
		return -EINVAL;
	WRITE_ONCE(vmshm_busy_poll_default, us);
	return 0;
}

static int set_busy_poll_max(const char *val, const struct kernel_param *kp)
{
	unsigned int us;
	int err = kstrtouint(val, 0, &us);

	if (err)
		return err;
	if (us > VMSHM_BUSY_POLL_MAX_US)
		return -EINVAL;
	WRITE_ONCE(vmshm_busy_poll_max_us, us);
	return 0;
}

static const struct kernel_param_ops busy_poll_max_ops = {
	.set = set_busy_poll_max,
	.get = param_get_uint,
};

static const struct kernel_param_ops busy_poll_ops = {
	.set = set_busy_poll,
	.get = param_get_int,
};

module_param_cb(busy_poll, &busy_poll_ops, &vmshm_busy_poll_default, 0644);
MODULE_PARM_DESC(busy_poll, "of new sockets: -1 adaptive (default), 0 off, else microseconds up to 1000");
module_param_cb(busy_poll_max_us, &busy_poll_max_ops, &vmshm_busy_poll_max_us, 0644);
MODULE_PARM_DESC(busy_poll_max_us, "longest adaptive busy-poll, microseconds up to 1000 (default 200)");

struct workqueue_struct *vmshm_wq;

/* This VM's CID, and whether a segment may still choose it. */
static u32 local_cid = VMSHM_CID_ANY;
static bool cid_from_host;
static DEFINE_MUTEX(cid_mutex);

/* This VM's CID; VMSHM_CID_ANY when nobody has said it yet. */
u32 vmshm_local_cid(void)
{
	return READ_ONCE(local_cid);
}

/*
 * A device's segment says that this VM is @cid.  True when that agrees with
 * the host's word, or with what the first device said where the host says
 * nothing.
 */
bool vmshm_claim_cid(u32 cid)
{
	bool agreed;

	if (cid <= VMSHM_CID_HOST || cid > VMSHM_CID_MAX)
		return false;
	mutex_lock(&cid_mutex);
	if (local_cid == VMSHM_CID_ANY) {
		pr_notice("CID %u, unauthenticated: start the VM with -smbios type=11,value=vmshm.cid=%u\n",
			  cid, cid);
		WRITE_ONCE(local_cid, cid);
	}
	agreed = local_cid == cid;
	mutex_unlock(&cid_mutex);
	return agreed;
}

static int find_cid(void)
{
	static const char key[] = "vmshm.cid=";
	const struct dmi_device *dev = NULL;
	u32 cid;

	if (cid_param) {
		if (cid_param <= VMSHM_CID_HOST || cid_param > VMSHM_CID_MAX) {
			pr_err("cid=%u: a VM's CID is 3 to %u\n", cid_param, VMSHM_CID_MAX);
			return -EINVAL;
		}
		local_cid = cid_param;
		cid_from_host = true;
		return 0;
	}
	while ((dev = dmi_find_device(DMI_DEV_TYPE_OEM_STRING, NULL, dev))) {
		if (strncmp(dev->name, key, sizeof(key) - 1))
			continue;
		if (kstrtou32(dev->name + sizeof(key) - 1, 10, &cid) ||
		    cid <= VMSHM_CID_HOST || cid > VMSHM_CID_MAX) {
			pr_err("SMBIOS string \"%s\": a VM's CID is 3 to %u\n",
			       dev->name, VMSHM_CID_MAX);
			return -EINVAL;
		}
		local_cid = cid;
		cid_from_host = true;
		return 0;
	}
	return 0;
}

static int __init vmshm_init(void)
{
	int err;

	if (vmshm_family <= 0 || vmshm_family >= AF_MAX) {
		pr_err("family=%d: a family number is 1 to %d\n", vmshm_family, AF_MAX - 1);
		return -EINVAL;
	}
	err = find_cid();
	if (err)
		return err;
	vmshm_wq = alloc_workqueue("vmshm", WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	if (!vmshm_wq)
		return -ENOMEM;
	vmshm_turn_start();
	vmshm_debugfs_register();
	err = vmshm_loopback_register();
	if (err)
		goto no_loopback;
	err = vmshm_proc_register();
	if (err)
		goto no_proc;
	err = vmshm_sock_register();
	if (err)
		goto no_sock;
	err = vmshm_diag_register();
	if (err)
		goto no_diag;
	err = vmshm_dev_register();
	if (err)
		goto no_dev;
	err = vmshm_pci_register();
	if (err)
		goto no_pci;
	if (cid_from_host)
		pr_info("family %d, CID %u\n", vmshm_family, local_cid);
	else
		pr_info("family %d\n", vmshm_family);
	return 0;

no_pci:
	vmshm_dev_unregister();
no_dev:
	vmshm_diag_unregister();
no_diag:
	vmshm_sock_unregister();
no_sock:
	vmshm_proc_unregister();
no_proc:
	vmshm_loopback_unregister();
no_loopback:
	vmshm_debugfs_unregister();
	vmshm_turn_end();
	destroy_workqueue(vmshm_wq);
	return err;
}

static void __exit vmshm_exit(void)
{
	vmshm_dev_unregister();
	vmshm_diag_unregister();
	vmshm_sock_unregister();
	vmshm_pci_unregister();
	vmshm_proc_unregister();
	vmshm_loopback_unregister();
	vmshm_debugfs_unregister();
	vmshm_turn_end();
	destroy_workqueue(vmshm_wq);
}

module_init(vmshm_init);
module_exit(vmshm_exit);

MODULE_DESCRIPTION("Sockets between virtual machines through shared memory");
MODULE_LICENSE("GPL");
MODULE_VERSION(VMSHM_VERSION);
MODULE_ALIAS_NETPROTO(AF_VMSHM);
