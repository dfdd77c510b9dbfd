package guest

import (
	"fmt"
	"slices"
	"strings"
)

// family is the way in which a distribution makes its initramfs.
type family int

const (
	unknownFamily family = iota
	initramfsTools
	dracut
	mkinitrdRedHat // RHEL 5 and older
	mkinitrdSUSE   // SLES 11 and older
	mkinitcpio
	mkinitfs
)

// family tells how the guest makes its initramfs, by the tools that it has.
func (e *exam) family() family {
	any := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return exists(e.tree, n) })
	}
	switch {
	case any("usr/sbin/update-initramfs", "sbin/update-initramfs"):
		return initramfsTools
	case any("usr/bin/dracut", "sbin/dracut", "usr/sbin/dracut"):
		return dracut
	case any("usr/bin/mkinitcpio", "usr/sbin/mkinitcpio"):
		return mkinitcpio
	case any("sbin/mkinitfs", "usr/sbin/mkinitfs"):
		return mkinitfs
	case any("etc/SuSE-release") && any("sbin/mkinitrd", "usr/sbin/mkinitrd"):
		return mkinitrdSUSE
	case any("sbin/mkinitrd", "usr/sbin/mkinitrd"):
		return mkinitrdRedHat
	}
	return e.familyByID()
}

func (e *exam) familyByID() family {
	ids := append([]string{e.report.OS.ID}, e.report.OS.IDLike...)
	for _, id := range ids {
		switch id {
		case "debian", "ubuntu":
			return initramfsTools
		case "rhel", "centos", "fedora", "rocky", "almalinux", "ol", "euleros", "openeuler", "amzn", "sles", "suse", "opensuse":
			return dracut
		case "arch":
			return mkinitcpio
		case "alpine":
			return mkinitfs
		}
	}
	return unknownFamily
}

// rebuild returns the commands that put modules into the initramfs of the kernel
// that boots.
func (e *exam) rebuild(modules ...string) string {
	all := strings.Join(modules, " ")
	v := e.kernel.version
	if v == "" {
		v = "VERSION"
	}
	switch e.family() {
	case initramfsTools:
		return fmt.Sprintf("printf '%%s\\n' %s >> /etc/initramfs-tools/modules && update-initramfs -u -k %s", all, v)
	case dracut:
		return fmt.Sprintf("dracut --force --add-drivers %q --kver %s", all, v)
	case mkinitrdRedHat:
		return fmt.Sprintf("mkinitrd -f --with=%s /boot/initrd-%s.img %s", strings.Join(modules, " --with="), v, v)
	case mkinitrdSUSE:
		return fmt.Sprintf("add %q to INITRD_MODULES in /etc/sysconfig/kernel, then run: mkinitrd", all)
	case mkinitcpio:
		return fmt.Sprintf("add %q to MODULES=() in /etc/mkinitcpio.conf, then run: mkinitcpio -P", all)
	case mkinitfs:
		return fmt.Sprintf("add \"virtio\" to features in /etc/mkinitfs/mkinitfs.conf, then run: mkinitfs %s", v)
	}
	return fmt.Sprintf("rebuild the initramfs of kernel %s with %s", v, all)
}

// bootConfigFix returns how to rewrite the boot loader's configuration.
func (e *exam) bootConfigFix() string {
	if e.boot == nil {
		return ""
	}
	switch e.boot.Loader {
	case "GRUB 2":
		switch {
		case exists(e.tree, "usr/sbin/update-grub"), exists(e.tree, "sbin/update-grub"):
			return "then run: update-grub"
		case exists(e.tree, "usr/sbin/grubby"), exists(e.tree, "sbin/grubby"):
			return fmt.Sprintf("then run: grub2-mkconfig -o /%s, and check the output of: grubby --info=DEFAULT", e.boot.Path)
		case strings.Contains(e.boot.Path, "grub2"):
			return fmt.Sprintf("then run: grub2-mkconfig -o /%s", e.boot.Path)
		}
		return fmt.Sprintf("then run: grub-mkconfig -o /%s", e.boot.Path)
	}
	return fmt.Sprintf("edit /%s", e.boot.Path)
}
