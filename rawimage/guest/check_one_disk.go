package guest

import (
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/lvm"
)

// checkOneDisk: everything that the guest needs to boot must be on this disk.
var checkOneDisk = check{"one-disk", guidePrepare, scanned, (*exam).checkOneDisk}

func (e *exam) checkOneDisk(f *Finding) error {
	for _, g := range e.vols.Groups {
		if len(g.Missing) > 0 {
			s := StatusWarn
			if e.root == nil || e.needsLost(g) {
				s = StatusFail
			}
			f.found(s, Evidence{Path: g.Name, Text: "missing: " + strings.Join(g.Missing, ", ")},
				"move everything to one disk (pvmove, vgreduce)",
				"volume group %s has %d of its %d physical volumes on other disks", g.Name, len(g.Missing), g.PVs)
		}
	}
	for _, a := range e.vols.Arrays {
		switch {
		case a.Level != 1 && a.Devices > a.Found:
			f.found(StatusFail, Evidence{Path: a.String(), Text: a.UUID}, "copy the system to a single disk",
				"an array of RAID level %d has %d of its %d members on other disks", a.Level, a.Devices-a.Found, a.Devices)
		case a.Devices > a.Found:
			f.found(StatusWarn, Evidence{Path: a.String(), Text: a.UUID}, "mdadm --grow --raid-devices=1 --force",
				"a mirror has %d of its %d members on this disk: it starts degraded", a.Found, a.Devices)
		}
	}
	f.ok("nothing needs another disk")
	return nil
}

// needsLost reports whether the root or a file system that fstab needs is on a group
// that is not whole. udev activates whole groups only: a volume that is complete itself
// stays away all the same (a real guest of Debian 12 ended in "ALERT! /dev/mapper/vg0-root
// does not exist").
func (e *exam) needsLost(g *lvm.Group) bool {
	if e.root.Group == g {
		return true
	}
	for _, m := range e.fstab {
		if v, _ := e.vols.Find(m.spec); v != nil && v.Group == g && e.needed(m) {
			return true
		}
	}
	return false
}
