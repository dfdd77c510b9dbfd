package guest

import (
	"cmp"
	"fmt"
	"slices"
)

// check is one row of what a guest needs.
type check struct {
	name  string
	guide string // section of the user guide
	needs func(*exam) bool
	run   func(*exam, *Finding) error // changes a finding that is ok; an error makes it unknown
}

// Sections of the service's user guide.
const (
	guideLinux    = "Optimizing a Linux Private Image"
	guideWindows  = "Optimizing a Windows Private Image"
	guidePrepare  = "Preparing an Image File"
	guideDHCP     = "Configuring DHCP"
	guideNetRules = "Deleting Files from the Network Rule Directory"
	guideInit     = "Installing Cloud-Init"
	guideBaseInit = "Installing and Configuring Cloudbase-Init"
	guideRegister = "What Will the System Do to an Image File When I Use the File to Register a Private Image?"
)

// What checks need.
func scanned(e *exam) bool   { return e.vols != nil }
func isLinux(e *exam) bool   { return e.report.Examined && e.win == nil }
func isWindows(e *exam) bool { return e.report.Examined && e.win != nil }
func anyGuest(e *exam) bool  { return e.report.Examined }

var severity = []Status{StatusOK, StatusNote, StatusUnknown, StatusWarn, StatusFail}

// found records something that a check found. The summary and fix of the first of
// the worst status stay, and its evidence comes first.
func (f *Finding) found(s Status, ev Evidence, fix, format string, args ...any) {
	ev.Text = clip(ev.Text)
	switch {
	case ev == Evidence{}:
	case f.worse(s):
		f.Evidence = slices.Insert(f.Evidence, 0, ev)
	case len(f.Evidence) < maxEvidence:
		f.Evidence = append(f.Evidence, ev)
	}
	if f.Summary == "" || f.worse(s) {
		f.Summary = clip(fmt.Sprintf(format, args...))
		f.Fix = fix
	}
	if f.worse(s) {
		f.Status = s
	}
}

func (f *Finding) worse(s Status) bool {
	return cmp.Compare(slices.Index(severity, s), slices.Index(severity, f.Status)) > 0
}

// ok records what is well, if nothing worse was found.
func (f *Finding) ok(format string, args ...any) {
	if f.Summary == "" {
		f.Summary = clip(fmt.Sprintf(format, args...))
	}
}

const (
	maxEvidence = 20
	maxText     = 300
)

// clip shortens text from a guest, and makes it printable.
func clip(s string) string {
	out := make([]rune, 0, min(len(s), maxText))
	for _, r := range s {
		if len(out) == maxText {
			return string(out) + "..."
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}

// checks are made in this order.
var checks = []check{
	checkArchitecture, checkBootLoader, checkRootDevice, checkInitramfsVirtio, checkVirtioNet, checkInitramfsRoot,
	checkFstabDevices, checkMissingDevices, checkOneDisk, checkEncrypted, checkCleanShutdown,
	checkPersistentNet, checkStaticAddress, checkDHCP, checkPinnedMAC,
	checkWindowsDisk, checkWindowsNet, checkWindowsBalloon, checkWindowsDHCP, checkWindowsRDP, checkWindowsInit, checkWindowsHibernation,
	checkCloudInit, checkForeignTools, checkHostIdentity, checkLVM, checkSerialConsole, checkOSVersion,
}
