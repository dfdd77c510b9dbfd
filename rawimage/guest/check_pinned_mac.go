package guest

// checkPinnedMAC: a server's card has a MAC address of its own.
var checkPinnedMAC = check{"pinned-mac", guideDHCP, isLinux, (*exam).checkPinnedMAC}

func (e *exam) checkPinnedMAC(f *Finding) error {
	n := e.network()
	for _, i := range n.ifaces {
		if i.byInit && n.cloudInit {
			continue
		}
		for _, ev := range i.matchMAC {
			status := StatusFail
			if n.best() != never || n.autoDefault || n.cloudInit || !i.up {
				status = StatusWarn
			}
			f.found(status, ev, pinnedFix(ev.Path), "%s is configured for one MAC address, which a server's card does not have", nameOr(i.name, "a card"))
		}
		for _, ev := range i.setMAC {
			f.found(StatusWarn, ev, "remove the line", "%s is given a MAC address; the cloud passes only its own", nameOr(i.name, "a card"))
		}
	}
	f.ok("no configuration is for one MAC address")
	return nil
}

func nameOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}

func pinnedFix(path string) string {
	switch configKind(path) {
	case "ifcfg":
		return "remove HWADDR"
	case "netplan":
		return "match by name in place of macaddress, then run: netplan generate"
	case "NetworkManager":
		return "remove mac-address from [ethernet]"
	case "networkd":
		return "in [Match] set Name= in place of MACAddress="
	}
	return "remove the line"
}
