package guest

// checkArchitecture: a server of another architecture cannot run the guest.
var checkArchitecture = check{"architecture", guidePrepare, anyGuest, (*exam).checkArchitecture}

func (e *exam) checkArchitecture(f *Finding) error {
	own := map[string]string{"x86_64": "x86", "i686": "x86", "aarch64": "arm"}[e.report.Architecture]
	want := e.opts.architecture
	switch {
	case e.report.Architecture == "":
		f.found(StatusUnknown, Evidence{}, "", "no program was found that tells the architecture")
	case own == "":
		f.found(StatusFail, Evidence{Text: e.report.Architecture}, "", "the guest is made for %s, which the cloud does not have", e.report.Architecture)
	case want != "" && want != own:
		f.found(StatusFail, Evidence{Text: e.report.Architecture}, "register the image as "+own,
			"the guest is made for %s and cannot run on servers of the architecture %s", e.report.Architecture, want)
	}
	f.ok("the guest is made for %s", e.report.Architecture)
	return nil
}
