package guest

import "strings"

// checkPersistentNet: rules that keep a name for the old machine's card give the
// new one another.
var checkPersistentNet = check{"persistent-net", guideNetRules, isLinux, (*exam).checkPersistentNet}

func (e *exam) checkPersistentNet(f *Finding) error {
	for _, r := range e.network().rules {
		fix := "rm /" + strings.TrimSuffix(r.Path, " (initramfs)")
		if strings.HasSuffix(r.Path, " (initramfs)") {
			fix += ", and rebuild the initramfs: " + e.rebuild(virtioModules...)
		}
		switch {
		case !r.byMAC:
			continue
		case e.nameGenerator() && r.name == firstCard && !e.network().autoDefault:
			f.found(StatusFail, r.Evidence, fix, "%s is kept for the old machine's card: the server's is called eth1 and has no network", r.name)
		default:
			f.found(StatusWarn, r.Evidence, fix, "%s is kept for the old machine's card", r.name)
		}
	}
	f.ok("no interface name is kept for a MAC address")
	return nil
}
