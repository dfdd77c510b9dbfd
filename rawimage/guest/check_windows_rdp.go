package guest

// checkWindowsRDP: without remote desktop nobody gets into a server.
var checkWindowsRDP = check{"windows-remote-desktop", guideWindows, isWindows, (*exam).checkWindowsRDP}

func (e *exam) checkWindowsRDP(f *Finding) error {
	path := e.win.control + `\Control\Terminal Server`
	if n, ok := e.win.number(e.win.system, path, "fDenyTSConnections"); !ok || n != 0 {
		f.found(StatusWarn, Evidence{Path: windowsHive, Text: path + ": fDenyTSConnections"},
			`reg add "HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server" /v fDenyTSConnections /t REG_DWORD /d 0 /f`,
			"remote desktop is off")
	}
	f.ok("remote desktop is on")
	return nil
}
