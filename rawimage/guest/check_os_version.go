package guest

import "strings"

// checkOSVersion: os_version is taken as it is, and decides about drivers and
// devices of servers.
var checkOSVersion = check{"os-version", guideRegister, anyGuest, (*exam).checkOSVersion}

func (e *exam) checkOSVersion(f *Finding) error {
	r := e.report
	best, ok, closest := MatchOSVersion(r, nil)
	fix := ""
	switch {
	case ok:
		fix = "use os_version " + best
	case len(closest) > 0:
		fix = "use one of " + strings.Join(closest, ", ")
	}
	if want := e.opts.osVersion; want != "" {
		if why := r.contradicts(want); why != "" {
			f.found(StatusWarn, Evidence{Path: "etc/os-release", Text: r.OS.String()}, fix, "os_version %q means %s; the guest is %s", want, why, r.OS)
			return nil
		}
		f.ok("os_version %q is right for %s", want, r.OS)
		return nil
	}
	switch {
	case ok:
		f.ok("%s is os_version %q", r.OS, best)
	default:
		f.found(StatusNote, Evidence{}, fix, "the service's documents list no os_version for %s; the region's list may", r.OS)
	}
	return nil
}
