// SPDX-License-Identifier: GPL-2.0-only
/* /dev/vmshm: answers what /dev/vsock answers, this VM's CID. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/uaccess.h>
#include "vmshm.h"

static long cid_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	u32 cid = vmshm_local_cid();

	if (cmd != IOCTL_VMSHM_GET_LOCAL_CID)
		return -ENOTTY;
	/* As AF_VSOCK with nothing but its loopback. */
	if (cid == VMSHM_CID_ANY)
		cid = VMSHM_CID_LOCAL;
	return put_user(cid, (u32 __user *)arg);
}

static const struct file_operations dev_ops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = cid_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.open = nonseekable_open,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmshm",
	.mode = 0666,
	.fops = &dev_ops,
};

int vmshm_dev_register(void)
{
	return misc_register(&dev);
}

void vmshm_dev_unregister(void)
{
	misc_deregister(&dev);
}
