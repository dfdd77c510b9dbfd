package guest

import "strings"

// checkDHCP: something must ask for an address for the card that a server has,
// whatever that card is called.
var checkDHCP = check{"dhcp", guideDHCP, isLinux, (*exam).checkDHCP}

func (e *exam) checkDHCP(f *Finding) error {
	n := e.network()
	switch n.best() {
	case surely:
		f.ok("the first card of a server takes its address by DHCP")
		return nil
	case maybe:
		if n.autoDefault || n.cloudInit {
			break
		}
		for _, i := range n.ifaces {
			if n.usable(i) == maybe {
				f.found(StatusWarn, i.where, e.anyNameFix(i.where.Path),
					"only %s takes its address by DHCP: a server's card may be in another place and have another name", i.name)
			}
		}
		return nil
	}
	switch {
	case n.autoDefault:
		f.ok("whatever card a server has takes its address by DHCP")
		return nil
	case n.cloudInit:
		f.ok("cloud-init configures the network of each server")
		return nil
	}
	e.noDHCP(f)
	return nil
}

// noDHCP says why nothing asks for an address.
func (e *exam) noDHCP(f *Finding) {
	n := e.network()
	for _, i := range n.ifaces {
		switch {
		case !i.dhcp:
		case len(i.matchMAC) > 0:
			f.found(StatusNote, i.where, "", "the configuration is for one MAC address: see pinned-mac")
			return
		case !i.up:
			f.found(StatusFail, i.where, "bring it up at boot", "%s takes its address by DHCP, but is not brought up at boot: no network in the cloud", i.name)
		case i.client && !n.dhcpClient:
			f.found(StatusFail, i.where, "install a DHCP client such as isc-dhcp-client", "there is no DHCP client that asks for the address of %s: no network in the cloud", i.name)
		default:
			f.found(StatusFail, i.where, e.anyNameFix(i.where.Path), "only %s takes its address by DHCP, and a server's card is called %s: no network in the cloud",
				i.name, n.cardName())
		}
	}
	if f.Status == StatusOK && e.hasStatic() {
		f.found(StatusNote, Evidence{}, "", "static addresses only: see static-address")
		return
	}
	if f.Status == StatusOK {
		f.found(StatusFail, Evidence{}, e.dhcpFix(), "nothing configures a network card: no network in the cloud")
	}
}

func (e *exam) hasStatic() bool {
	for _, i := range e.network().ifaces {
		if len(i.addresses) > 0 && i.up {
			return true
		}
	}
	return false
}

// cardName says what the first card of a server is called.
func (n *network) cardName() string {
	if n.predictable {
		return "ens3 or the like"
	}
	return firstCard
}

// anyNameFix says how to write a configuration that does not depend on the name
// of the card.
func (e *exam) anyNameFix(path string) string {
	switch configKind(path) {
	case "netplan":
		return "match: {name: \"e*\"}, then run: netplan generate"
	case "networkd":
		return "in [Match] set Name=en* eth*"
	case "NetworkManager":
		return "remove interface-name from [connection]"
	}
	return "add net.ifnames=0 to the kernel's command line and configure eth0, " + e.bootConfigFix()
}

func (e *exam) dhcpFix() string {
	switch {
	case e.hasProgram("netplan"):
		return "write /etc/netplan/01-dhcp.yaml with dhcp4: true and match: {name: \"e*\"}"
	case isDir(e.tree, "etc/sysconfig/network-scripts"):
		return "write /etc/sysconfig/network-scripts/ifcfg-eth0 with DEVICE=eth0, BOOTPROTO=dhcp and ONBOOT=yes"
	case isDir(e.tree, "etc/sysconfig/network"):
		return "write /etc/sysconfig/network/ifcfg-eth0 with BOOTPROTO='dhcp' and STARTMODE='auto'"
	}
	return "write \"auto eth0\" and \"iface eth0 inet dhcp\" to /etc/network/interfaces"
}

// configKind tells a network configuration by the path of its file.
func configKind(path string) string {
	switch {
	case strings.Contains(path, "/ifcfg-"):
		return "ifcfg"
	case strings.Contains(path, "netplan/"):
		return "netplan"
	case strings.Contains(path, "NetworkManager/"):
		return "NetworkManager"
	case strings.Contains(path, "systemd/network/"):
		return "networkd"
	}
	return "ifupdown"
}
