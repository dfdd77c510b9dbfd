package guest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

const (
	interfaces = "etc/network/interfaces.d/50-cloud-init"
	grubCfg    = "boot/grub/grub.cfg"
	goodRoot   = "root=UUID=" + gt.RootUUID + " ro net.ifnames=0 console=ttyS0"
)

// grub is a tree's boot loader configuration with a command line.
func grub(options string) gt.Tree { return gt.Tree{grubCfg: gt.GrubConfig(options)} }

// fstab is a tree's fstab with a line more.
func fstab(line string) gt.Tree {
	return gt.Tree{"etc/fstab": "UUID=" + gt.RootUUID + " / ext4 defaults 0 1\n" + line + "\n"}
}

// initrd is a tree's initramfs without some modules.
func initrd(without ...string) gt.Tree {
	mods := gt.VirtioModules(gt.Kernel)
	for name := range mods {
		for _, m := range without {
			if strings.HasSuffix(name, "/"+m+".ko") {
				delete(mods, name)
			}
		}
	}
	return gt.Tree{"boot/initrd.img-" + gt.Kernel: string(gt.CPIO(mods))}
}

// withoutInit is a Debian without cloud-init, whose network is configured by hand.
func withoutInit(ifaces string) gt.Tree {
	return gt.Debian().Without("usr/bin/cloud-init", "etc/cloud", interfaces, "etc/systemd/system").With(gt.Tree{"etc/network/interfaces": ifaces})
}

// networkManager is NetworkManager, enabled.
var networkManager = gt.Tree{"usr/sbin/NetworkManager": "x", "etc/systemd/system/multi-user.target.wants/NetworkManager.service": "x"}

const modDir = "usr/lib/modules/" + gt.Kernel

// TestChecks breaks one thing at a time.
func TestChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, check string
		status      guest.Status
		tree        gt.Tree
		path        string // of the evidence
		summary     string // part of it
	}{
		{"no virtio_blk", "initramfs-virtio", guest.StatusFail, gt.Debian().With(initrd("virtio_blk")), "boot/initrd.img-" + gt.Kernel, "will not find its disk"},
		{"no virtio_pci", "initramfs-virtio", guest.StatusFail, gt.Debian().With(initrd("virtio_pci")), "boot/initrd.img-" + gt.Kernel, "virtio_pci"},
		{"no virtio_ring, which others need", "initramfs-virtio", guest.StatusFail, gt.Debian().With(initrd("virtio_ring")), "boot/initrd.img-" + gt.Kernel, ""},
		{"no virtio_scsi", "initramfs-virtio", guest.StatusNote, gt.Debian().With(initrd("virtio_scsi")), "boot/initrd.img-" + gt.Kernel, "SCSI"},
		{"virtio built in", "initramfs-virtio", guest.StatusOK, gt.Debian().With(initrd("virtio_blk", "virtio_pci", "virtio", "virtio_ring", "virtio_scsi")).
			With(gt.Tree{"boot/config-" + gt.Kernel: "CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_PCI=y\nCONFIG_SCSI_VIRTIO=y\n"}), "", "built into"},
		{"virtio built in by modules.builtin", "initramfs-virtio", guest.StatusOK, gt.Debian().With(initrd("virtio_blk", "virtio_pci", "virtio", "virtio_ring", "virtio_scsi")).
			With(gt.Tree{modDir + "/modules.builtin": "kernel/drivers/block/virtio_blk.ko\nkernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/scsi/virtio_scsi.ko\n"}), "", "built into"},
		{"virtio_net on the root only", "virtio-net", guest.StatusOK, gt.Debian().With(initrd("virtio_net")), "lib/modules/" + gt.Kernel + "/kernel/drivers/net/virtio_net.ko", ""},
		{"no virtio_net", "virtio-net", guest.StatusFail, gt.Debian().With(initrd("virtio_net")).Without(modDir + "/kernel"), "lib/modules/" + gt.Kernel, "no network"},
		{"virtio_net blacklisted", "virtio-net", guest.StatusFail, gt.Debian().With(gt.Tree{"etc/modprobe.d/x.conf": "# no network\nblacklist virtio_net\n"}), "etc/modprobe.d/x.conf", "not to be loaded"},
		{"no ext4", "initramfs-root", guest.StatusFail, gt.Debian().With(initrd("ext4")), "boot/initrd.img-" + gt.Kernel, "root file system"},
		{"no initramfs file", "initramfs-root", guest.StatusFail, gt.Debian().Without("boot/initrd.img-" + gt.Kernel), grubCfg, "initramfs that does not exist"},
		{"no kernel file", "initramfs-root", guest.StatusFail, gt.Debian().Without("boot/vmlinuz-" + gt.Kernel), grubCfg, "kernel that does not exist"},

		{"root=/dev/sda1", "root-device", guest.StatusFail, gt.Debian().With(grub("root=/dev/sda1 ro")), grubCfg, "/dev/sda1"},
		{"root=/dev/xvda1", "root-device", guest.StatusFail, gt.Debian().With(grub("root=/dev/xvda1 ro")), grubCfg, ""},
		{"root=/dev/hda1", "root-device", guest.StatusFail, gt.Debian().With(grub("root=/dev/hda1 ro")), grubCfg, ""},
		{"root=/dev/nvme0n1p1", "root-device", guest.StatusFail, gt.Debian().With(grub("root=/dev/nvme0n1p1 ro")), grubCfg, ""},
		{"root by path", "root-device", guest.StatusFail, gt.Debian().With(grub("root=/dev/disk/by-path/pci-0000:00:10.0-scsi-0:0:0:0-part1 ro")), grubCfg, ""},
		{"root=/dev/vda1", "root-device", guest.StatusWarn, gt.Debian().With(grub("root=/dev/vda1 ro")), grubCfg, ""},
		{"root by label", "root-device", guest.StatusOK, gt.Debian().With(grub("root=LABEL=root ro")), "", "label"},
		{"GRUB without UUIDs next time", "root-device", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/default/grub": "GRUB_TIMEOUT=1\nGRUB_DISABLE_LINUX_UUID=true\n"}), "etc/default/grub", ""},

		{"/dev/sda2 in fstab", "fstab-devices", guest.StatusFail, gt.Debian().With(fstab("/dev/sda2 /home ext4 defaults 0 2")), "etc/fstab", "emergency mode"},
		{"/dev/sda2 with nofail", "fstab-devices", guest.StatusOK, gt.Debian().With(fstab("/dev/sda2 /home ext4 defaults,nofail 0 2")), "", ""},
		{"/dev/sr0 noauto", "fstab-devices", guest.StatusOK, gt.Debian().With(fstab("/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0")), "", ""},
		{"swap on /dev/sda5", "fstab-devices", guest.StatusWarn, gt.Debian().With(fstab("/dev/sda5 none swap sw 0 0")), "etc/fstab", ""},
		{"root on /dev/sda1 in fstab", "fstab-devices", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n"}), "etc/fstab", ""},
		{"/dev/vdb1 in fstab", "fstab-devices", guest.StatusWarn, gt.Debian().With(fstab("/dev/vda2 /home ext4 defaults 0 2")), "etc/fstab", ""},

		{"UUID of another disk in fstab", "missing-devices", guest.StatusFail, gt.Debian().With(fstab("UUID=11111111-2222-3333-4444-555555555555 /data ext4 defaults 0 2")), "etc/fstab", "emergency mode"},
		{"UUID of another disk with nofail", "missing-devices", guest.StatusOK, gt.Debian().With(fstab("UUID=11111111-2222-3333-4444-555555555555 /data ext4 nofail 0 2")), "", ""},
		{"label of another disk in fstab", "missing-devices", guest.StatusFail, gt.Debian().With(fstab("LABEL=data /data ext4 defaults 0 2")), "etc/fstab", ""},
		{"volume group of another disk in fstab", "missing-devices", guest.StatusFail, gt.Debian().With(fstab("/dev/mapper/data-lv--one /data ext4 defaults 0 2")), "etc/fstab", ""},
		{"swap of another disk", "missing-devices", guest.StatusWarn, gt.Debian().With(fstab("UUID=11111111-2222-3333-4444-555555555555 none swap sw 0 0")), "etc/fstab", ""},
		{"root's UUID not on the disk", "missing-devices", guest.StatusFail, gt.Debian().With(grub("root=UUID=11111111-2222-3333-4444-555555555555")), grubCfg, ""},
		{"a network file system", "missing-devices", guest.StatusOK, gt.Debian().With(fstab("server:/export /data nfs defaults 0 0")), "", ""},

		{"persistent net rule", "persistent-net", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/udev/rules.d/70-persistent-net.rules": "# card\nSUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"00:0c:29:11:22:33\", NAME=\"eth0\"\n"}), "etc/udev/rules.d/70-persistent-net.rules", "eth0"},
		{"persistent net rule with a generator", "persistent-net", guest.StatusFail, gt.Debian().With(gt.Tree{
			"usr/lib/udev/rules.d/75-persistent-net-generator.rules": "# generator\n",
			"etc/udev/rules.d/70-persistent-net.rules":               "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"00:0c:29:11:22:33\", NAME=\"eth0\"\n"}), "etc/udev/rules.d/70-persistent-net.rules", "eth1"},

		{"persistent net rule in the initramfs", "persistent-net", guest.StatusWarn, gt.Debian().With(gt.Tree{"boot/initrd.img-" + gt.Kernel: string(gt.CPIO(gt.VirtioModules(gt.Kernel).With(gt.Tree{
			"etc/udev/rules.d/70-persistent-net.rules": "SUBSYSTEM==\"net\", ATTR{address}==\"00:0c:29:11:22:33\", NAME=\"eth0\"\n"})))}), "etc/udev/rules.d/70-persistent-net.rules (initramfs)", "eth0"},
		{"rule that is only a comment", "persistent-net", guest.StatusOK, gt.Debian().With(gt.Tree{"etc/udev/rules.d/70-persistent-net.rules": "# nothing\n"}), "", ""},

		{"static address", "static-address", guest.StatusFail, withoutInit("auto eth0\niface eth0 inet static\n  address 10.1.2.3/24\n  gateway 10.1.2.1\n"), "etc/network/interfaces", "eth0 has a static address"},
		{"static address in ifcfg", "static-address", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/sysconfig/network-scripts/ifcfg-ens192": "NAME=ens192\nDEVICE=ens192\nBOOTPROTO=none\nIPADDR=10.1.2.3\nONBOOT=yes\n"}), "etc/sysconfig/network-scripts/ifcfg-ens192", "static address"},
		{"static address in netplan", "static-address", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/netplan/01.yaml": "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses:\n        - 10.1.2.3/24\n"}), "etc/netplan/01.yaml", ""},
		{"static address for networkd", "static-address", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/systemd/network/a.network": "[Match]\nName=eth0\n[Network]\nAddress=10.1.2.3/24\n",
			"etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "x"}), "etc/systemd/network/a.network", ""},
		{"static address for NetworkManager", "static-address", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/NetworkManager/system-connections/a.nmconnection": "[connection]\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=manual\naddress1=10.1.2.3/24\n",
			"usr/sbin/NetworkManager": "x", "etc/systemd/system/multi-user.target.wants/NetworkManager.service": "x"}), "etc/NetworkManager/system-connections/a.nmconnection", ""},
		{"DHCP", "static-address", guest.StatusOK, withoutInit("auto eth0\niface eth0 inet dhcp\n"), "", ""},
		{"DHCP and a second card", "static-address", guest.StatusWarn, withoutInit("auto eth0\niface eth0 inet dhcp\nauto eth1\niface eth1 inet static\n address 1.2.3.4\n"), "etc/network/interfaces", "eth1"},

		{"DHCP on eth0", "dhcp", guest.StatusOK, withoutInit("allow-hotplug eth0\niface eth0 inet dhcp\n"), "", ""},
		{"DHCP on ens33 only", "dhcp", guest.StatusFail, withoutInit("auto ens33\niface ens33 inet dhcp\n"), "etc/network/interfaces", "ens33"},
		{"no network at all", "dhcp", guest.StatusFail, withoutInit("auto lo\niface lo inet loopback\n"), "", "nothing configures"},
		{"not brought up", "dhcp", guest.StatusFail, withoutInit("iface eth0 inet dhcp\n"), "etc/network/interfaces", "not brought up"},
		{"no DHCP client", "dhcp", guest.StatusFail, withoutInit("auto eth0\niface eth0 inet dhcp\n").Without("usr/sbin/dhclient"), "etc/network/interfaces", "no DHCP client"},
		{"eth0 where cards are named by place", "dhcp", guest.StatusFail, withoutInit("auto eth0\niface eth0 inet dhcp\n").With(gt.Tree{"usr/lib/udev/rules.d/80-net-setup-link.rules": "x"}).With(grub("root=UUID=" + gt.RootUUID)), "etc/network/interfaces", "eth0"},
		{"ens3 where cards are named by place", "dhcp", guest.StatusWarn, withoutInit("auto ens3\niface ens3 inet dhcp\n").With(gt.Tree{"usr/lib/udev/rules.d/80-net-setup-link.rules": "x"}).With(grub("root=UUID=" + gt.RootUUID)), "etc/network/interfaces", "ens3"},
		{"any name for networkd", "dhcp", guest.StatusOK, withoutInit("#").With(gt.Tree{"etc/systemd/network/a.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n",
			"etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "x"}), "", ""},

		{"NetworkManager without a profile", "dhcp", guest.StatusOK, withoutInit("#").With(networkManager), "", "whatever card"},
		{"NetworkManager that leaves cards alone", "dhcp", guest.StatusFail, withoutInit("#").With(networkManager).With(gt.Tree{"etc/NetworkManager/conf.d/a.conf": "[main]\nno-auto-default=*\n"}), "", "nothing configures"},
		{"a profile of NetworkManager for another card", "dhcp", guest.StatusOK, withoutInit("#").With(networkManager).With(gt.Tree{"etc/NetworkManager/system-connections/a.nmconnection": "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=auto\n"}), "", "whatever card"},
		{"netplan for any card", "dhcp", guest.StatusOK, withoutInit("#").With(gt.Tree{"etc/netplan/a.yaml": "network:\n  version: 2\n  ethernets:\n    any:\n      match: {name: \"e*\"}\n      dhcp4: true\n"}), "", ""},
		{"ifcfg of SUSE", "dhcp", guest.StatusOK, withoutInit("#").With(gt.Tree{"etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n"}), "", ""},
		{"eth0 of SUSE, where it depends on the release", "dhcp", guest.StatusWarn, withoutInit("#").With(gt.Tree{"etc/os-release": "ID=sles\nNAME=SLES\nVERSION_ID=15.4\n", "usr/lib/udev/rules.d/80-net-setup-link.rules": "x",
			"etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n"}).With(grub("root=UUID=" + gt.RootUUID)), "etc/sysconfig/network/ifcfg-eth0", ""},
		{"ifcfg that is not brought up", "dhcp", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=no\n"}), "etc/sysconfig/network-scripts/ifcfg-eth0", "not brought up"},
		{"a name from a .link file for another card", "dhcp", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/systemd/network/a.link": "[Match]\nMACAddress=00:0c:29:11:22:33\n[Link]\nName=lan0\n", "etc/systemd/network/a.network": "[Match]\nName=lan0\n[Network]\nDHCP=yes\n",
			"etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "x"}), "etc/systemd/network/a.network", "lan0"},
		{"cloud-init leaves the network alone", "dhcp", guest.StatusFail, gt.Debian().Without(interfaces).With(gt.Tree{"etc/cloud/cloud.cfg.d/99.cfg": "network: {config: disabled}\n"}), "", "nothing configures"},
		{"cloud-init without a configuration", "dhcp", guest.StatusOK, gt.Debian().Without(interfaces), "", "cloud-init"},

		{"HWADDR", "pinned-mac", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nHWADDR=00:0c:29:11:22:33\nBOOTPROTO=dhcp\nONBOOT=yes\n"}), "etc/sysconfig/network-scripts/ifcfg-eth0", ""},
		{"macaddress in netplan", "pinned-mac", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/netplan/01.yaml": "network:\n  ethernets:\n    id0:\n      match:\n        macaddress: 00:0c:29:11:22:33\n      dhcp4: true\n"}), "etc/netplan/01.yaml", ""},
		{"MACAddress for networkd", "pinned-mac", guest.StatusFail, withoutInit("#").With(gt.Tree{"etc/systemd/network/a.network": "[Match]\nMACAddress=00:0c:29:11:22:33\n[Network]\nDHCP=yes\n",
			"etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "x"}), "etc/systemd/network/a.network", ""},
		{"cloud-init's own netplan", "pinned-mac", guest.StatusOK, gt.Debian().With(gt.Tree{"etc/netplan/50-cloud-init.yaml": "network:\n  ethernets:\n    eth0:\n      match:\n        macaddress: 00:0c:29:11:22:33\n      dhcp4: true\n"}), "", ""},

		{"no cloud-init", "cloud-init", guest.StatusWarn, gt.Debian().Without("usr/bin/cloud-init"), "", "not installed: the cloud cannot inject"},
		{"cloud-init disabled", "cloud-init", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/cloud/cloud-init.disabled": "x"}), "etc/cloud/cloud-init.disabled", "disabled"},
		{"cloud-init not started", "cloud-init", guest.StatusWarn, gt.Debian().Without("etc/systemd/system"), "", "nothing starts it"},
		{"cloud-init for another cloud", "cloud-init", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/cloud/cloud.cfg.d/90.cfg": "datasource_list: [ Ec2 ]\n"}), "etc/cloud/cloud.cfg.d/90.cfg", "data sources"},

		{"VMware Tools", "foreign-tools", guest.StatusWarn, gt.Debian().With(gt.Tree{"usr/bin/vmtoolsd": "x"}), "usr/bin/vmtoolsd", "VMware"},
		{"xorg.conf", "foreign-tools", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/X11/xorg.conf": "Section \"Device\"\n Driver \"vmware\"\n"}), "etc/X11/xorg.conf", "graphics"},
		{"host keys", "host-identity", guest.StatusWarn, withoutInit("#").With(gt.Tree{"etc/ssh/ssh_host_rsa_key": "x"}), "etc/ssh/ssh_host_rsa_key", "SSH host keys"},
		{"machine-id", "host-identity", guest.StatusWarn, gt.Debian().With(gt.Tree{"etc/machine-id": "0123456789abcdef0123456789abcdef\n"}), "etc/machine-id", "machine ID"},
		{"authorized keys", "host-identity", guest.StatusWarn, gt.Debian().With(gt.Tree{"root/.ssh/authorized_keys": "ssh-rsa x"}), "root/.ssh/authorized_keys", "authorized keys"},
		{"history", "host-identity", guest.StatusWarn, gt.Debian().With(gt.Tree{"home/a/.bash_history": "ls"}), "home/a/.bash_history", "history"},
		{"no serial console", "serial-console", guest.StatusNote, gt.Debian().With(grub("root=UUID=" + gt.RootUUID + " quiet")), grubCfg, "console=ttyS0"},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, onDisk(c.tree))
			require.True(t, r.Examined, r.Reason)
			f := finding(t, r, c.check)
			require.Equal(t, c.status, f.Status, "%+v", f)
			require.Contains(t, f.Summary, c.summary)
			if c.path != "" {
				require.NotEmpty(t, f.Evidence)
				require.Equal(t, "/"+c.path, f.Evidence[0].Path, "%+v", f)
			}
			if c.status == guest.StatusFail {
				require.NotEmpty(t, f.Fix)
				require.False(t, r.Ready())
			}
		})
	}
}

func TestBootLoader(t *testing.T) {
	t.Parallel()
	root := gt.Partition{Active: true, GUID: gt.TypeLinux, Content: gt.Ext2(gt.RootUUID, "", gt.Debian())}
	bios := gt.Partition{GUID: gt.TypeBIOS, Content: []byte("core")}
	for name, c := range map[string]struct {
		disk     []byte
		firmware guest.Firmware
		status   guest.Status
	}{
		"BIOS":                        {gt.MBR(true, root), guest.FirmwareBIOS, guest.StatusOK},
		"BIOS, no boot code":          {gt.MBR(false, root), guest.FirmwareBIOS, guest.StatusFail},
		"any, no boot code":           {gt.MBR(false, root), guest.FirmwareAuto, guest.StatusFail},
		"UEFI, no ESP":                {gt.MBR(true, root), guest.FirmwareUEFI, guest.StatusFail},
		"BIOS on a GPT":               {gt.GPT(true, bios, root), guest.FirmwareBIOS, guest.StatusOK},
		"BIOS on a GPT, no boot code": {gt.GPT(false, bios, root), guest.FirmwareBIOS, guest.StatusFail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := finding(t, examine(t, c.disk, guest.WithFirmware(c.firmware)), "boot-loader")
			require.Equal(t, c.status, f.Status, "%+v", f)
		})
	}
}

func TestOSVersionContradicts(t *testing.T) {
	t.Parallel()
	disk := onDisk(gt.Debian())
	for value, status := range map[string]guest.Status{
		"Debian GNU/Linux 12.9.0 64bit": guest.StatusOK, "CentOS 7.6 64bit": guest.StatusWarn, "Debian GNU/Linux 10.0.0 64bit": guest.StatusWarn,
		"Debian GNU/Linux 12.9.0 32bit": guest.StatusWarn, "Other Linux(64 bit)": guest.StatusOK,
	} {
		f := finding(t, examine(t, disk, guest.WithOSVersion(value)), "os-version")
		require.Equal(t, status, f.Status, "%s: %+v", value, f)
	}
}

func TestMatchOSVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		os      guest.OS
		arch    string
		list    []string
		best    string
		closest string // the first of them
	}{
		{guest.OS{ID: "centos", Name: "CentOS Linux", Version: "7.6.1810"}, "x86_64", nil, "CentOS 7.6 64bit", "CentOS 7.6 64bit"},
		{guest.OS{ID: "centos", Name: "CentOS Linux", Version: "7.9.2009"}, "x86_64", nil, "", "CentOS 7.7 64bit"},
		{guest.OS{ID: "centos", Name: "CentOS", Version: "6.10"}, "i686", nil, "CentOS 6.10 32bit", "CentOS 6.10 32bit"},
		{guest.OS{ID: "debian", Version: "10.0"}, "x86_64", nil, "Debian GNU/Linux 10.0.0 64bit", "Debian GNU/Linux 10.0.0 64bit"},
		{guest.OS{ID: "debian", Version: "12.9"}, "x86_64", nil, "", "Debian GNU/Linux 10.0.0 64bit"},
		{guest.OS{ID: "ubuntu", Version: "18.04", Pretty: "Ubuntu 18.04.2 LTS"}, "x86_64", nil, "Ubuntu 18.04.2 server 64bit", "Ubuntu 18.04.2 server 64bit"},
		{guest.OS{ID: "ubuntu", Version: "18.04", Pretty: "Ubuntu 18.04.6 LTS"}, "x86_64", nil, "Ubuntu 18.04 server 64bit", "Ubuntu 18.04.2 server 64bit"},
		{guest.OS{ID: "rhel", Version: "7.6"}, "x86_64", []string{"Redhat 7.6 64bit", "CentOS 7.6 64bit"}, "Redhat 7.6 64bit", "Redhat 7.6 64bit"},
		{guest.OS{ID: "rhel", Version: "7.6"}, "x86_64", []string{"Redhat Linux Enterprise 7.6 64bit"}, "Redhat Linux Enterprise 7.6 64bit", "Redhat Linux Enterprise 7.6 64bit"},
		{guest.OS{ID: "sles", Version: "12.5"}, "x86_64", nil, "SUSE Linux Enterprise Server 12 SP5 64bit", "SUSE Linux Enterprise Server 12 SP5 64bit"},
		{guest.OS{ID: "sles", Version: "12"}, "x86_64", nil, "SUSE Linux Enterprise Server 12 64bit", "SUSE Linux Enterprise Server 12 64bit"},
		{guest.OS{ID: "opensuse-leap", Version: "15.0"}, "x86_64", nil, "openSUSE 15.0 64bit", "openSUSE 15.0 64bit"},
		{guest.OS{ID: "euleros", Version: "2.9"}, "x86_64", nil, "EulerOS 2.9 64bit", "EulerOS 2.9 64bit"},
		{guest.OS{ID: "openeuler", Version: "20.03"}, "aarch64", nil, "openEuler 20.03 64bit", "openEuler 20.03 64bit"},
		{guest.OS{ID: "fedora", Version: "30"}, "x86_64", nil, "Fedora 30 64bit", "Fedora 30 64bit"},
		{guest.OS{ID: "ol", Version: "7.6"}, "x86_64", nil, "Oracle Linux Server release 7.6 64bit", "Oracle Linux Server release 7.6 64bit"},
		{guest.OS{ID: "rocky", Version: "9.4"}, "x86_64", []string{"Rocky Linux 9.4 64bit", "Rocky Linux 9.3 64bit"}, "Rocky Linux 9.4 64bit", "Rocky Linux 9.4 64bit"},
		{guest.OS{ID: "centos", Name: "CentOS Stream", Version: "8"}, "x86_64", nil, "", ""},
		{guest.OS{ID: "windows", Name: "Windows Server 2012 R2 Standard"}, "x86_64", nil, "Windows Server 2012 R2 Standard 64bit", "Windows Server 2012 R2 Standard 64bit"},
		{guest.OS{ID: "windows", Name: "Windows Server 2012 Standard"}, "x86_64", nil, "Windows Server 2012 Standard 64bit", "Windows Server 2012 Standard 64bit"},
		{guest.OS{ID: "windows", Name: "Windows 10 Pro"}, "x86_64", nil, "Windows 10 64bit", "Windows 10 64bit"},
		{guest.OS{ID: "windows", Name: "Windows Server 2022 Datacenter"}, "x86_64", nil, "", "Windows Server 2016 Datacenter 64bit"},
	} {
		best, ok, closest := guest.MatchOSVersion(&guest.Report{OS: c.os, Architecture: c.arch}, c.list)
		require.Equal(t, c.best, best, "%+v", c)
		require.Equal(t, c.best != "", ok)
		if c.closest == "" {
			require.Empty(t, closest)
			continue
		}
		require.Equal(t, c.closest, closest[0], "%+v: %q", c, closest)
		require.LessOrEqual(t, len(closest), 5)
	}
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	disk := onDisk(gt.Debian())
	require.Equal(t, guest.StatusOK, finding(t, examine(t, disk, guest.WithArchitecture("x86")), "architecture").Status)
	require.Equal(t, guest.StatusFail, finding(t, examine(t, disk, guest.WithArchitecture("arm")), "architecture").Status)
}

// Of two systems on a disk the one that is booted is examined.
func TestTwoRoots(t *testing.T) {
	t.Parallel()
	const other = "99999999-9999-4999-8999-999999999999"
	old := gt.Ext2(other, "old", gt.Debian().With(gt.Tree{"etc/debian_version": "11.1\n"}))
	r := examine(t, gt.MBR(true, gt.Partition{Content: old}, gt.Partition{Active: true, Content: gt.Ext2(gt.RootUUID, "root", gt.Debian())}))
	require.True(t, r.Examined)
	require.Equal(t, "partition 2", r.Root.Name)
	require.Equal(t, "12.9", r.OS.Version)
}

func TestDracutWaits(t *testing.T) {
	t.Parallel()
	tree := gt.Debian().Without("usr/sbin/update-initramfs").With(gt.Tree{"usr/bin/dracut": "x"}).With(grub(goodRoot + " rd.lvm.lv=vg/swap"))
	f := finding(t, examine(t, onDisk(tree)), "missing-devices")
	require.Equal(t, guest.StatusFail, f.Status)
	require.Contains(t, f.Summary, "/dev/vg/swap")
}
