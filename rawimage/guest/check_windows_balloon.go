package guest

// checkWindowsBalloon: the guide asks for the balloon driver too.
var checkWindowsBalloon = check{"windows-balloon", guideWindows, isWindows, (*exam).checkWindowsBalloon}

func (e *exam) checkWindowsBalloon(f *Finding) error {
	s, err := e.service("balloon")
	if err != nil {
		return err
	}
	if !s.exists {
		f.found(StatusNote, s.evidence("is not installed"), virtioFix, "the balloon driver is not installed")
	}
	f.ok("the balloon driver is installed")
	return nil
}
