package guest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

func gptDisk(esp, root gt.Tree) []byte {
	return gt.GPT(false, gt.Partition{GUID: gt.TypeESP, Content: gt.FAT(esp)}, gt.Partition{GUID: gt.TypeLinux, Content: gt.Ext2(gt.RootUUID, "", root)})
}

// espGrub is Debian's EFI system partition, with a menu that leads to the one in
// /boot.
func espGrub() gt.Tree {
	return gt.Tree{
		"EFI/BOOT/BOOTX64.EFI": "shim", "EFI/debian/grubx64.efi": "grub",
		"EFI/debian/grub.cfg": "search.fs_uuid " + gt.RootUUID + " root hd0,gpt2 \nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n",
	}
}

func TestUEFI(t *testing.T) {
	t.Parallel()
	r := examine(t, gptDisk(espGrub(), gt.Debian()))
	require.True(t, r.Ready(), "%+v", r.Findings)
	require.Equal(t, []guest.Firmware{guest.FirmwareUEFI}, r.Firmware)
	require.Equal(t, gt.Kernel, r.Kernel)
	require.Equal(t, "/boot/efi", r.Volumes[0].Mount)

	for name, c := range map[string]struct {
		esp    gt.Tree
		opts   []guest.Option
		status guest.Status
	}{
		"fallback":              {espGrub(), []guest.Option{guest.WithFirmware(guest.FirmwareUEFI)}, guest.StatusOK},
		"no fallback":           {espGrub().Without("EFI/BOOT"), []guest.Option{guest.WithFirmware(guest.FirmwareUEFI)}, guest.StatusFail},
		"no fallback, any":      {espGrub().Without("EFI/BOOT"), nil, guest.StatusFail},
		"fallback for arm only": {espGrub().Without("EFI/BOOT").With(gt.Tree{"EFI/BOOT/BOOTAA64.EFI": "x"}), nil, guest.StatusFail},
		"BIOS asked for":        {espGrub(), []guest.Option{guest.WithFirmware(guest.FirmwareBIOS)}, guest.StatusFail},
	} {
		f := finding(t, examine(t, gptDisk(c.esp, gt.Debian()), c.opts...), "boot-loader")
		require.Equal(t, c.status, f.Status, "%s: %+v", name, f)
	}
}

// RHEL 7 has its menu on the EFI system partition only.
func TestMenuOnESP(t *testing.T) {
	t.Parallel()
	menu := gt.Debian()["boot/grub/grub.cfg"]
	r := examine(t, gptDisk(gt.Tree{"EFI/BOOT/BOOTX64.EFI": "shim", "EFI/centos/grub.cfg": menu}, gt.Debian().Without("boot/grub")))
	require.True(t, r.Ready(), "%+v", r.Findings)
	require.Equal(t, "/boot/efi/EFI/centos/grub.cfg", r.BootLoader.Config)
}

func TestSystemdBoot(t *testing.T) {
	t.Parallel()
	root := gt.Debian().Without("boot")
	esp := gt.Tree{
		"EFI/BOOT/BOOTX64.EFI": "systemd-boot", "EFI/systemd/systemd-bootx64.efi": "systemd-boot",
		"loader/loader.conf":       "default arch.conf\n",
		"loader/entries/arch.conf": "title Arch\nlinux /vmlinuz-linux\ninitrd /initramfs-linux.img\noptions root=PARTUUID=00000000-0000-4000-8000-000000000002 rw net.ifnames=0 console=ttyS0\n",
		"vmlinuz-linux":            "kernel", "initramfs-linux.img": string(gt.CPIO(gt.VirtioModules(gt.Kernel))),
	}
	r := examine(t, gptDisk(esp, root))
	require.True(t, r.Ready(), "%+v", r.Findings)
	require.Equal(t, "systemd-boot", r.BootLoader.Type)
	require.Equal(t, "/boot/initramfs-linux.img", r.BootLoader.Initrd)
	require.Equal(t, gt.Kernel, r.Kernel)
	require.Equal(t, guest.StatusOK, finding(t, r, "root-device").Status)
	require.Equal(t, guest.StatusOK, finding(t, r, "missing-devices").Status)
}
