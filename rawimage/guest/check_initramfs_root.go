package guest

import (
	"slices"
	"strings"
)

// checkInitramfsRoot: the initramfs must be able to mount the root file system: it
// needs the file system's driver, and what assembles volume groups and arrays.
var checkInitramfsRoot = check{"initramfs-root", guideLinux, isLinux, (*exam).checkInitramfsRoot}

// rootDrivers lists, for a type of file system, the modules of which one will do.
var rootDrivers = map[string][]string{
	"ext2": {"ext4", "ext2", "ext3"}, "ext3": {"ext4", "ext3"}, "ext4": {"ext4"}, "xfs": {"xfs"},
}

func (e *exam) checkInitramfsRoot(f *Finding) error {
	k := &e.kernel
	if k.version == "" {
		f.found(StatusUnknown, Evidence{}, "", "no kernel was found")
		return nil
	}
	for _, name := range k.missing {
		f.found(StatusFail, Evidence{e.entry.Path, e.entry.Line, "initrd " + name}, e.rebuild(virtioModules...),
			"the boot loader's default entry names an initramfs that does not exist: %s", name)
	}
	if e.entry != nil && e.entry.Kernel != "" && k.path == "" {
		f.found(StatusFail, Evidence{e.entry.Path, e.entry.Line, e.entry.Kernel}, "install the kernel again, "+e.bootConfigFix(),
			"the boot loader's default entry names a kernel that does not exist: %s", e.entry.Kernel)
	}
	c, err := e.initramfs()
	if err != nil {
		return err
	}
	where := k.where()
	drivers := rootDrivers[e.root.Type]
	if k.known && len(drivers) > 0 && !slices.ContainsFunc(drivers, func(m string) bool { return len(e.driver(m, c).missing) == 0 }) {
		f.found(StatusFail, Evidence{Path: where, Text: "has no " + drivers[0]}, e.rebuild(drivers[0]),
			"the initramfs has no driver for the root file system (%s)", e.root.Type)
	}
	if len(k.initrd) == 0 {
		e.withoutInitramfs(f)
		return nil
	}
	if e.root.Group != nil && !c.HasCommand("lvm") && !c.HasCommand("lvm.static") {
		f.found(StatusFail, Evidence{Path: where, Text: "has no lvm"}, e.rebuildFor("lvm2", "lvm"),
			"the initramfs cannot assemble volume group %s, which the root file system is on", e.root.Group.Name)
	}
	// The kernel itself assembles only old metadata, and only with a driver built in.
	self := e.root.Array != nil && e.root.Array.Version == "0.90" && k.builtin["raid1"]
	if e.root.Array != nil && !self && !c.HasCommand("mdadm") {
		f.found(StatusFail, Evidence{Path: where, Text: "has no mdadm"}, e.rebuildFor("mdadm", "mdraid"),
			"the initramfs cannot assemble %s, which the root file system is on", e.root.Name)
	}
	f.ok("the initramfs can mount the root file system (%s)", e.root.Type)
	return nil
}

// withoutInitramfs checks what only an initramfs can do.
func (e *exam) withoutInitramfs(f *Finding) {
	if e.entry == nil || len(e.kernel.missing) > 0 {
		f.ok("there is no initramfs")
		return
	}
	spec := rootSpec(e.entry.Options)
	if e.root.Group != nil || strings.HasPrefix(spec, "UUID=") || strings.HasPrefix(spec, "LABEL=") {
		f.found(StatusFail, Evidence{e.entry.Path, e.entry.Line, e.entry.Options}, e.rebuild(virtioModules...),
			"the default entry has no initramfs, and the kernel alone cannot find root=%s", spec)
		return
	}
	f.ok("there is no initramfs, and the kernel mounts the root file system itself")
}

// rebuildFor returns the commands that add what a feature needs to the initramfs.
func (e *exam) rebuildFor(pkg, dracutModule string) string {
	switch e.family() {
	case dracut:
		return "dracut --force --add " + dracutModule + " --kver " + e.kernel.version
	case initramfsTools:
		return "apt-get install " + pkg + " && update-initramfs -u -k " + e.kernel.version
	}
	return "install " + pkg + " and rebuild the initramfs"
}

// rootSpec returns the value of root= on a kernel's command line, the last one if
// there are several.
func rootSpec(options string) (spec string) {
	for _, o := range strings.Fields(options) {
		if v, ok := strings.CutPrefix(o, "root="); ok {
			spec = strings.Trim(v, `"'`)
		}
	}
	return strings.TrimPrefix(spec, "block:")
}
