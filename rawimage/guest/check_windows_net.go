package guest

// checkWindowsNet: Windows must have the driver of its network card.
var checkWindowsNet = check{"windows-virtio-net", guideWindows, isWindows, (*exam).checkWindowsNet}

func (e *exam) checkWindowsNet(f *Finding) error {
	s, err := e.service("netkvm")
	switch {
	case err != nil:
		return err
	case !s.exists && !isFile(e.tree, s.file):
		f.found(StatusFail, s.evidence("is not installed"), virtioFix, "there is no driver for virtio network cards: no network in the cloud")
	case s.start == 4 && s.exists:
		f.found(StatusFail, s.evidence("is disabled"), virtioFix, "the driver for virtio network cards is disabled: no network in the cloud")
	case !s.hasFile:
		f.found(StatusFail, s.evidence("has no file "+s.file), virtioFix, "the file of the driver for virtio network cards is missing")
	}
	f.ok("netkvm is installed")
	return nil
}
