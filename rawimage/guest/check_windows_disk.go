package guest

// checkWindowsDisk: Windows must load the driver of its disk before it has one.
var checkWindowsDisk = check{"windows-virtio-disk", guideWindows, isWindows, (*exam).checkWindowsDisk}

const virtioFix = "install the virtio drivers (virtio-win guest tools or the service's vmtools) and start the guest once"

func (e *exam) checkWindowsDisk(f *Finding) error {
	usable := map[string]bool{}
	for _, name := range []string{"viostor", "vioscsi"} {
		s, err := e.service(name)
		if err != nil {
			return err
		}
		why := ""
		switch {
		case !s.exists:
			why = "is not installed"
		case s.start != 0:
			why = "is not started at boot"
		case !s.hasFile:
			why = "has no file " + s.file
		}
		usable[name] = why == ""
		if why != "" {
			f.Evidence = append(f.Evidence, s.evidence(why))
		}
	}
	switch {
	case usable["viostor"]:
		f.Evidence = nil
		f.ok("viostor is started at boot")
	case usable["vioscsi"]:
		f.found(StatusWarn, Evidence{}, virtioFix, "there is no viostor, only vioscsi: the system disk must be of the type SCSI")
	default:
		f.found(StatusFail, Evidence{}, virtioFix, "no virtio disk driver is started at boot: the server stops with INACCESSIBLE_BOOT_DEVICE")
	}
	return nil
}
