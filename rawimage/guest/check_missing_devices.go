package guest

import (
	"fmt"
	"strings"
)

// checkMissingDevices: what the boot loader and fstab name by UUID, label or
// volume group must be on this disk.
var checkMissingDevices = check{"missing-devices", guideLinux, isLinux, (*exam).checkMissingDevices}

func (e *exam) checkMissingDevices(f *Finding) error {
	if e.entry != nil {
		if spec := rootSpec(e.entry.Options); spec != "" {
			e.missing(f, spec, StatusFail, Evidence{e.entry.Path, e.entry.Line, e.entry.Options},
				fmt.Sprintf("use root=UUID=%s, %s", e.root.UUID, e.bootConfigFix()),
				"the boot loader looks for the root file system at %s, which is not on the disk")
		}
	}
	e.missingVolumes(f)
	for _, m := range e.fstab {
		if !m.device() || m.optional() || m.removable() {
			continue
		}
		status := StatusWarn
		text := "fstab names %s, which is not on the disk"
		if e.needed(m) {
			status, text = StatusFail, "fstab waits for %s, which is not on the disk: the server stops in emergency mode"
		}
		e.missing(f, m.spec, status, Evidence{fstabPath, m.line, m.text}, "remove the line, or add the option nofail", text)
	}
	f.ok("everything that the boot loader and fstab name is on the disk")
	return nil
}

// missingVolumes looks at what the kernel's command line has dracut wait for. It
// gives up if one of them does not appear, even one that nothing needs.
func (e *exam) missingVolumes(f *Finding) {
	if e.entry == nil || e.family() != dracut {
		return
	}
	for _, o := range strings.Fields(e.entry.Options) {
		if name, ok := strings.CutPrefix(o, "rd.lvm.lv="); ok {
			e.missing(f, "/dev/"+name, StatusFail, Evidence{e.entry.Path, e.entry.Line, e.entry.Options},
				"remove "+o+" from the kernel's command line, "+e.bootConfigFix(),
				"the initramfs waits for %s, which is not on the disk")
		}
	}
}

// missing records a name that nothing on the disk has. Where parts of the disk
// cannot be looked into, nothing is certain.
func (e *exam) missing(f *Finding, spec string, s Status, ev Evidence, fix, format string) {
	v, known := e.vols.Find(spec)
	switch {
	case v != nil || !known:
		return
	case e.vols.Opaque():
		s = StatusWarn
	}
	f.found(s, ev, fix, format, spec)
}
