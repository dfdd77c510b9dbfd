package guest

import "fmt"

// checkFstabDevices: fstab must name file systems by what is on them.
var checkFstabDevices = check{"fstab-devices", guideLinux, isLinux, (*exam).checkFstabDevices}

func (e *exam) checkFstabDevices(f *Finding) error {
	for _, m := range e.fstab {
		if !m.device() || m.optional() || m.removable() {
			continue
		}
		how := nameStability(m.spec)
		if how == stable {
			continue
		}
		fix := "remove the line, or add the option nofail"
		if v := e.byDeviceName(m.spec); v != nil && v.UUID != "" {
			fix = fmt.Sprintf("use UUID=%s in place of %s", v.UUID, m.spec)
		}
		ev := Evidence{fstabPath, m.line, m.text}
		switch {
		case how == virtual:
			f.found(StatusWarn, ev, fix, "fstab names %s, which is right only while the disk has that name", m.spec)
		case e.needed(m):
			f.found(StatusFail, ev, fix, "fstab waits for %s, which the server does not have: it stops in emergency mode", m.spec)
		default:
			f.found(StatusWarn, ev, fix, "fstab names %s, which the server does not have", m.spec)
		}
	}
	f.ok("fstab names no device that depends on the machine")
	return nil
}

// needed reports whether a guest stops if it cannot mount a file system.
//
// systemd waits for the device of everything in fstab and gives up into emergency
// mode, save for swap, which nothing requires, and the root, which is mounted
// already. Upstart's mountall asks at the console what to do. Older systems check
// what has a pass number and stop if that fails.
func (e *exam) needed(m mount) bool {
	switch {
	case m.optional() || m.network() || m.kind == "swap" || m.dir == "swap" || m.kind == "ignore":
		return false
	case e.systemd(), e.hasProgram("mountall"):
		return m.dir != "/"
	}
	return m.pass > 0
}

// systemd reports whether the guest is started by systemd.
func (e *exam) systemd() bool {
	return exists(e.tree, "usr/lib/systemd/systemd") || exists(e.tree, "lib/systemd/systemd")
}
