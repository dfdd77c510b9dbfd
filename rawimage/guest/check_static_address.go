package guest

// checkStaticAddress: the cloud gives addresses by DHCP, and passes no other.
var checkStaticAddress = check{"static-address", guideDHCP, isLinux, (*exam).checkStaticAddress}

func (e *exam) checkStaticAddress(f *Finding) error {
	n := e.network()
	for _, i := range n.ifaces {
		if len(i.addresses) == 0 || !i.up || i.byInit && n.cloudInit {
			continue
		}
		status, text := StatusFail, "%s has a static address: no network in the cloud"
		switch {
		case n.best() != never && n.matches(i.name) != surely:
			status, text = StatusWarn, "%s has a static address, which the cloud does not give it"
		case n.autoDefault && n.matches(i.name) == never:
			status, text = StatusWarn, "%s has a static address; NetworkManager asks for one for the card of the server, which has another name"
		}
		name := i.name
		if name == "" {
			name = "every interface"
		}
		for _, ev := range i.addresses {
			f.found(status, ev, staticFix(i.where.Path), text, name)
		}
	}
	f.ok("no interface has a static address")
	return nil
}

// staticFix says how the configuration that a file is of asks for DHCP.
func staticFix(path string) string {
	switch configKind(path) {
	case "ifcfg":
		return "set BOOTPROTO=dhcp, remove IPADDR, GATEWAY and HWADDR"
	case "netplan":
		return "set dhcp4: true, remove addresses, routes and gateway4, then run: netplan generate"
	case "NetworkManager":
		return "in [ipv4] set method=auto, remove address1 and gateway"
	case "networkd":
		return "in [Network] set DHCP=ipv4, remove Address and Gateway"
	}
	return "use \"inet dhcp\" in place of \"inet static\", remove address, netmask and gateway"
}
