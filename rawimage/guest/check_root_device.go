package guest

import (
	"fmt"
	"strings"
)

// checkRootDevice: the boot loader must name the root by what is on it.
var checkRootDevice = check{"root-device", guideLinux, isLinux, (*exam).checkRootDevice}

func (e *exam) checkRootDevice(f *Finding) error {
	if e.entry == nil || e.entry.Options == "" && e.entry.Kernel == "" {
		f.found(StatusUnknown, Evidence{}, "", "no boot loader entry was found")
		return nil
	}
	ev := Evidence{e.entry.Path, e.entry.Line, e.entry.Options}
	spec := rootSpec(e.entry.Options)
	fix := fmt.Sprintf("use root=UUID=%s in place of root=%s, %s", e.root.UUID, spec, e.bootConfigFix())
	if e.root.Group != nil {
		fix = fmt.Sprintf("use root=/dev/%s in place of root=%s, %s", e.root.Name, spec, e.bootConfigFix())
	}
	switch {
	case spec == "":
		// systemd finds a root partition by its type on a GPT; dracut has it in the initramfs.
		f.found(StatusWarn, ev, fmt.Sprintf("add root=UUID=%s, %s", e.root.UUID, e.bootConfigFix()),
			"the default entry does not say where the root file system is")
	case nameStability(spec) == unstable:
		f.found(StatusFail, ev, fix, "the boot loader looks for the root file system on %s, which the server does not have", spec)
	case nameStability(spec) == virtual:
		f.found(StatusWarn, ev, fix, "the boot loader looks for the root file system on %s: right only while the disk has that name", spec)
	default:
		f.ok("the boot loader names the root file system by %s", kindOfName(spec))
	}
	for i, line := range lines(e.tree, "etc/default/grub") {
		if strings.HasPrefix(strings.TrimSpace(line), "GRUB_DISABLE_LINUX_UUID=") && strings.Contains(line, "true") {
			f.found(StatusWarn, Evidence{"etc/default/grub", i + 1, line}, "remove the line, "+e.bootConfigFix(),
				"the next update of the boot loader's configuration will name the root by its device")
		}
	}
	return nil
}

// kindOfName says how a device is named.
func kindOfName(spec string) string {
	for _, k := range []struct{ prefix, name string }{
		{"UUID=", "UUID"}, {"LABEL=", "label"}, {"PARTUUID=", "partition UUID"}, {"PARTLABEL=", "partition label"},
		{"/dev/disk/by-uuid/", "UUID"}, {"/dev/disk/by-label/", "label"}, {"/dev/md", "array"},
	} {
		if strings.HasPrefix(spec, k.prefix) {
			return k.name
		}
	}
	return spec
}
