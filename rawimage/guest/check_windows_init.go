package guest

// checkWindowsInit: without Cloudbase-Init a server gets no password or host name.
var checkWindowsInit = check{"windows-cloudbase-init", guideBaseInit, isWindows, (*exam).checkWindowsInit}

func (e *exam) checkWindowsInit(f *Finding) error {
	s, err := e.service("cloudbase-init")
	switch {
	case err != nil:
		return err
	case !s.exists:
		f.found(StatusWarn, s.evidence("is not installed"), "install Cloudbase-Init", "not installed: the cloud cannot inject passwords or the host name")
	case s.start == 4:
		f.found(StatusWarn, s.evidence("is disabled"), "sc config cloudbase-init start= auto", "disabled: the cloud cannot inject passwords or the host name")
	}
	f.ok("installed")
	return nil
}
