package guest_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

const mib = 1 << 20

// extents cuts a file system into extents of 1 MiB.
func extents(content []byte) (list [][]byte) {
	for len(content) > 0 {
		e := make([]byte, mib)
		copy(e, content)
		list = append(list, e)
		content = content[min(mib, len(content)):]
	}
	return list
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func lvmDisk(pvs ...[]byte) []byte {
	var parts []gt.Partition
	for _, p := range pvs {
		parts = append(parts, gt.Partition{Type: 0x8e, Content: p})
	}
	return gt.MBR(true, parts...)
}

// lvmTree is a Debian on LVM.
func lvmTree() gt.Tree {
	return gt.Debian().With(grub("root=/dev/mapper/my--group-root ro net.ifnames=0 console=ttyS0")).
		With(gt.Tree{"etc/fstab": "/dev/mapper/my--group-root / ext4 defaults 0 1\n"})
}

func TestLVM(t *testing.T) {
	t.Parallel()
	root := gt.Ext2(gt.RootUUID, "", lvmTree())
	parts := extents(root)
	n := len(parts)
	require.GreaterOrEqual(t, n, 1)
	linear := gt.Logical("root", "striped", n, "stripe_count = 1\nstripes = [\n\"pv0\", 2\n]\n")
	stripe := 64 << 10
	var even, odd []byte
	for i, c := range chunks(root, stripe) {
		if i%2 == 0 {
			even = append(even, c...)
		} else {
			odd = append(odd, c...)
		}
	}
	striped := gt.Logical("root", "striped", n+n%2, "stripe_count = 2\nstripe_size = 128\nstripes = [\n\"pv0\", 0,\n\"pv1\", 1\n]\n")
	pv := func(i, of int, volumes string, data ...[]byte) []byte {
		return join(append([][]byte{gt.Physical(gt.PVID(i), gt.Group("my-group", of, volumes))}, data...)...)
	}
	for name, c := range map[string]struct {
		disk           []byte
		examined       bool
		oneDisk, exist guest.Status
	}{
		"linear":                              {lvmDisk(pv(0, 1, linear, make([]byte, 2*mib), root)), true, guest.StatusOK, guest.StatusOK},
		"striped":                             {lvmDisk(pv(0, 2, striped, even), pv(1, 2, striped, make([]byte, mib), odd)), true, guest.StatusOK, guest.StatusOK},
		"a volume that nothing needs is lost": {lvmDisk(pv(0, 2, linear, make([]byte, 2*mib), root)), true, guest.StatusFail, guest.StatusOK},
		"half of the root is lost":            {lvmDisk(pv(0, 2, striped, even)), false, guest.StatusFail, ""},
		"mirrored": {lvmDisk(pv(0, 2, gt.Logical("root", "raid1", n, "device_count = 2\nraids = [\n\"m0\", \"i0\", \"m1\", \"i1\"\n]\n")+
			strings.ReplaceAll(gt.Logical("i0", "striped", n, "stripe_count = 1\nstripes = [\"pv1\", 0]\n")+gt.Logical("i1", "striped", n, "stripe_count = 1\nstripes = [\"pv0\", 1]\n"), `, "VISIBLE"`, ""),
			make([]byte, mib), root)), true, guest.StatusFail, guest.StatusOK},
		"thin": {lvmDisk(pv(0, 1, gt.Logical("root", "thin", n, "thin_pool = \"pool\"\n"), root)), false, guest.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, c.disk)
			require.Equal(t, c.examined, r.Examined, r.Reason)
			require.Equal(t, c.oneDisk, finding(t, r, "one-disk").Status, "%+v", r.Findings)
			require.Len(t, r.VolumeGroups, 1)
			require.Equal(t, "my-group", r.VolumeGroups[0].Name)
			if !c.examined {
				require.Contains(t, r.Reason, "could not be examined: my-group/root")
				return
			}
			require.Equal(t, "my-group/root", r.Root.Name)
			require.Equal(t, c.exist, finding(t, r, "missing-devices").Status, "%+v", r.Findings)
			require.Equal(t, guest.StatusNote, finding(t, r, "lvm-system-disk").Status)
			require.Equal(t, guest.StatusOK, finding(t, r, "root-device").Status)
			p, err := fs.ReadFile(r.FS(), "boot/initrd.img-"+gt.Kernel)
			require.NoError(t, err)
			require.Equal(t, lvmTree()["boot/initrd.img-"+gt.Kernel], string(p))
		})
	}
	noLVM := gt.VirtioModules(gt.Kernel).Without("usr/sbin/lvm")
	tree := lvmTree().With(gt.Tree{"boot/initrd.img-" + gt.Kernel: string(gt.CPIO(noLVM))})
	r := examine(t, lvmDisk(pv(0, 1, linear, make([]byte, 2*mib), gt.Ext2(gt.RootUUID, "", tree))))
	f := finding(t, r, "initramfs-root")
	require.Equal(t, guest.StatusFail, f.Status)
	require.Contains(t, f.Summary, "volume group my-group")
}

func chunks(p []byte, n int) (list [][]byte) {
	for len(p) > 0 {
		c := make([]byte, n)
		copy(c, p)
		list = append(list, c)
		p = p[min(n, len(p)):]
	}
	return list
}

func TestRAID1(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.90", "1.0", "1.1", "1.2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			tree := gt.Debian().With(gt.Tree{"etc/fstab": "UUID=" + gt.RootUUID + " / ext4 defaults 0 1\n"})
			r := examine(t, gt.MBR(true, gt.Partition{Type: 0xfd, Content: gt.RAID1(version, gt.Ext2(gt.RootUUID, "", tree))}))
			require.True(t, r.Examined, r.Reason)
			name := "md/root"
			if version == "0.90" {
				name = "md127"
			}
			require.Equal(t, name, r.Root.Name)
			f := finding(t, r, "one-disk")
			require.Equal(t, guest.StatusWarn, f.Status)
			require.Contains(t, f.Summary, "starts degraded")
			require.Equal(t, guest.StatusFail, finding(t, r, "initramfs-root").Status, "nothing in it assembles arrays")
		})
	}
}

func TestNotExamined(t *testing.T) {
	t.Parallel()
	luks := make([]byte, mib)
	copy(luks, "LUKS\xba\xbe\x00\x02")
	btrfs := make([]byte, mib)
	copy(btrfs[0x10040:], "_BHRfS_M")
	refs := make([]byte, mib)
	copy(refs[3:], "ReFS\x00\x00\x00\x00")
	bitlocker := make([]byte, mib)
	copy(bitlocker[3:], "-FVE-FS-")
	zfs := make([]byte, mib)
	copy(zfs[132<<10:], "\x0c\xb1\xba\x00\x00\x00\x00\x00")
	for name, c := range map[string]struct {
		content []byte
		reason  string
	}{
		"LUKS": {luks, "encrypted (crypto_LUKS)"}, "btrfs": {btrfs, "btrfs"}, "ReFS": {refs, "ReFS"}, "BitLocker": {bitlocker, "encrypted (BitLocker)"},
		"ZFS": {zfs, "zfs_member"}, "empty": {make([]byte, mib), "no operating system"},
		"no root": {gt.Ext2(gt.RootUUID, "", gt.Tree{"file": "x"}), "no operating system"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, gt.MBR(true, gt.Partition{Content: c.content}))
			require.False(t, r.Examined)
			require.False(t, r.Ready())
			require.Nil(t, r.FS())
			require.Contains(t, r.Reason, "could not be examined: ")
			require.Contains(t, r.Reason, c.reason)
			if strings.Contains(c.reason, "encrypted") {
				require.Equal(t, guest.StatusWarn, finding(t, r, "encrypted").Status)
			}
			require.Equal(t, guest.StatusOK, finding(t, r, "boot-loader").Status)
		})
	}
	r := examine(t, nil)
	require.False(t, r.Examined)
}

func TestBootPartitions(t *testing.T) {
	t.Parallel()
	const bootUUID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	all := gt.Debian()
	boot := gt.Tree{}
	for name, content := range all {
		if rest, ok := strings.CutPrefix(name, "boot/"); ok {
			boot[rest] = strings.ReplaceAll(strings.ReplaceAll(content, "/boot/", "/"), "--set=root "+gt.RootUUID, "--set=root "+bootUUID)
		}
	}
	for name, line := range map[string]string{"in fstab": "UUID=" + bootUUID + " /boot ext4 defaults 0 2\n", "not in fstab": "", "by name": "/dev/sda1 /boot ext4 nofail 0 2\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := all.Without("boot").With(gt.Tree{"etc/fstab": "UUID=" + gt.RootUUID + " / ext4 defaults 0 1\n" + line})
			r := examine(t, gt.MBR(true, gt.Partition{Active: true, Content: gt.Ext2(bootUUID, "boot", boot)}, gt.Partition{Content: gt.Ext2(gt.RootUUID, "", root)}))
			require.True(t, r.Examined, r.Reason)
			require.True(t, r.Ready(), "%+v", r.Findings)
			require.Equal(t, "/boot/grub/grub.cfg", r.BootLoader.Config)
			require.Equal(t, "/boot/initrd.img-"+gt.Kernel, r.BootLoader.Initrd)
			require.Equal(t, "/boot", r.Volumes[0].Mount)
		})
	}
}
