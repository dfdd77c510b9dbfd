package guest

// checkWindowsDHCP: interfaces must take their address by DHCP. Windows gives a
// new card an interface of its own with DHCP, so that an old one's address is no
// failure.
var checkWindowsDHCP = check{"windows-dhcp", guideDHCP, isWindows, (*exam).checkWindowsDHCP}

func (e *exam) checkWindowsDHCP(f *Finding) error {
	path := e.win.control + `\Services\Tcpip\Parameters\Interfaces`
	k, err := e.win.system.Find(path)
	if err != nil {
		return err
	}
	if k == nil {
		f.found(StatusUnknown, Evidence{Path: windowsHive, Text: path}, "", "the registry has no interfaces")
		return nil
	}
	keys, err := k.Keys(256)
	if err != nil {
		return err
	}
	for _, i := range keys {
		dhcp, _, err := i.Value("EnableDHCP")
		if err != nil {
			return err
		}
		address, _, _ := i.Value("IPAddress")
		n, ok := dhcp.Number()
		if a := address.Text(); ok && n == 0 && a != "" && a != "0.0.0.0" {
			f.found(StatusWarn, Evidence{Path: windowsHive, Text: path + `\` + i.Name() + ": IPAddress " + a},
				`netsh interface ip set address name="Ethernet" source=dhcp`, "an interface has the static address %s", a)
		}
	}
	f.ok("no interface has a static address")
	return nil
}
