package guest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

// distro is a guest of a distribution whose initramfs lacks virtio.
func distro(files gt.Tree) gt.Tree {
	return gt.Debian().Without("etc/os-release", "etc/debian_version", "usr/sbin/update-initramfs", "usr/sbin/update-grub").
		With(initrd("virtio_blk", "virtio_pci")).With(files)
}

func TestDistributions(t *testing.T) {
	t.Parallel()
	release := func(id, name, version, pretty string) string {
		return "NAME=\"" + name + "\"\nID=\"" + id + "\"\nVERSION_ID=\"" + version + "\"\nPRETTY_NAME=\"" + pretty + "\"\n"
	}
	for _, c := range []struct {
		name                string
		files               gt.Tree
		id, osName, version string
		fix                 string // of initramfs-virtio
	}{
		{"Debian", gt.Tree{"etc/os-release": release("debian", "Debian GNU/Linux", "11", "Debian GNU/Linux 11 (bullseye)"), "etc/debian_version": "11.7\n", "usr/sbin/update-initramfs": "x"},
			"debian", "Debian GNU/Linux", "11.7", "update-initramfs -u -k " + gt.Kernel},
		{"Ubuntu", gt.Tree{"etc/os-release": release("ubuntu", "Ubuntu", "22.04", "Ubuntu 22.04.4 LTS"), "etc/debian_version": "bookworm/sid\n", "usr/sbin/update-initramfs": "x"},
			"ubuntu", "Ubuntu", "22.04", "update-initramfs"},
		{"RHEL 8", gt.Tree{"etc/os-release": release("rhel", "Red Hat Enterprise Linux", "8.6", "Red Hat Enterprise Linux 8.6 (Ootpa)"), "etc/redhat-release": "Red Hat Enterprise Linux release 8.6 (Ootpa)\n", "usr/bin/dracut": "x"},
			"rhel", "Red Hat Enterprise Linux", "8.6", "dracut --force --add-drivers \"virtio virtio_ring virtio_pci virtio_blk virtio_scsi virtio_net\" --kver " + gt.Kernel},
		{"CentOS 7", gt.Tree{"etc/os-release": release("centos", "CentOS Linux", "7", "CentOS Linux 7 (Core)"), "etc/centos-release": "CentOS Linux release 7.9.2009 (Core)\n", "etc/redhat-release": gt.Link + "centos-release", "usr/bin/dracut": "x"},
			"centos", "CentOS Linux", "7.9.2009", "dracut"},
		{"CentOS 6, which has no os-release", gt.Tree{"etc/centos-release": "CentOS release 6.10 (Final)\n", "etc/redhat-release": "CentOS release 6.10 (Final)\n", "usr/sbin/dracut": "x"},
			"centos", "CentOS", "6.10", "dracut"},
		{"RHEL 5", gt.Tree{"etc/redhat-release": "Red Hat Enterprise Linux Server release 5.11 (Tikanga)\n", "usr/sbin/mkinitrd": "x"},
			"rhel", "Red Hat Enterprise Linux Server", "5.11", "mkinitrd -f --with=virtio --with="},
		{"Rocky", gt.Tree{"etc/os-release": release("rocky", "Rocky Linux", "9.3", "Rocky Linux 9.3 (Blue Onyx)"), "etc/rocky-release": "Rocky Linux release 9.3 (Blue Onyx)\n", "usr/bin/dracut": "x"}, "rocky", "Rocky Linux", "9.3", "dracut"},
		{"AlmaLinux", gt.Tree{"etc/os-release": release("almalinux", "AlmaLinux", "9.4", "AlmaLinux 9.4"), "usr/bin/dracut": "x"}, "almalinux", "AlmaLinux", "9.4", "dracut"},
		{"Oracle", gt.Tree{"etc/os-release": release("ol", "Oracle Linux Server", "7.6", "Oracle Linux Server 7.6"), "etc/oracle-release": "Oracle Linux Server release 7.6\n", "etc/redhat-release": "Red Hat Enterprise Linux Server release 7.6 (Maipo)\n"},
			"ol", "Oracle Linux Server", "7.6", "dracut"},
		{"Fedora", gt.Tree{"etc/os-release": release("fedora", "Fedora Linux", "39", "Fedora Linux 39 (Server Edition)"), "etc/fedora-release": "Fedora release 39 (Thirty Nine)\n"}, "fedora", "Fedora Linux", "39", "dracut"},
		{"SLES 11", gt.Tree{"etc/SuSE-release": "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n", "usr/sbin/mkinitrd": "x"}, "sles", "SUSE Linux Enterprise Server", "11.4", "INITRD_MODULES"},
		{"SLES 15", gt.Tree{"etc/os-release": release("sles", "SLES", "15.4", "SUSE Linux Enterprise Server 15 SP4"), "usr/bin/dracut": "x"}, "sles", "SLES", "15.4", "dracut"},
		{"openSUSE", gt.Tree{"etc/os-release": release("opensuse-leap", "openSUSE Leap", "15.5", "openSUSE Leap 15.5"), "usr/bin/dracut": "x"}, "opensuse-leap", "openSUSE Leap", "15.5", "dracut"},
		{"EulerOS", gt.Tree{"etc/os-release": release("euleros", "EulerOS", "2.0", "EulerOS 2.0 (SP9)"), "etc/euleros-release": "EulerOS release 2.0 (SP9)\n"}, "euleros", "EulerOS", "2.9", "dracut"},
		{"openEuler", gt.Tree{"etc/os-release": release("openEuler", "openEuler", "20.03", "openEuler 20.03 (LTS)"), "etc/openEuler-release": "openEuler release 20.03 (LTS)\n"}, "openeuler", "openEuler", "20.03", "dracut"},
		{"Amazon Linux", gt.Tree{"etc/os-release": release("amzn", "Amazon Linux", "2", "Amazon Linux 2"), "etc/system-release": "Amazon Linux release 2 (Karoo)\n"}, "amzn", "Amazon Linux", "2", "dracut"},
		{"Alpine", gt.Tree{"etc/os-release": release("alpine", "Alpine Linux", "3.19.1", "Alpine Linux v3.19"), "etc/alpine-release": "3.19.1\n", "usr/sbin/mkinitfs": "x"}, "alpine", "Alpine Linux", "3.19.1", "mkinitfs"},
		{"Arch", gt.Tree{"etc/os-release": "NAME=\"Arch Linux\"\nID=arch\nPRETTY_NAME=\"Arch Linux\"\n", "etc/arch-release": "", "usr/bin/mkinitcpio": "x"}, "arch", "Arch Linux", "", "mkinitcpio -P"},
		{"unknown", gt.Tree{"etc/os-release": "NAME=Other\nID=other\n"}, "other", "Other", "", "rebuild the initramfs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, onDisk(distro(c.files)))
			require.True(t, r.Examined, r.Reason)
			require.Equal(t, c.id, strings.ToLower(r.OS.ID))
			require.Equal(t, c.osName, r.OS.Name)
			require.Equal(t, c.version, r.OS.Version)
			require.NotEmpty(t, r.OS.String())
			f := finding(t, r, "initramfs-virtio")
			require.Equal(t, guest.StatusFail, f.Status)
			require.Contains(t, f.Fix, c.fix)
		})
	}
}
