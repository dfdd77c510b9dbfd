package guest

import (
	"slices"
	"strings"
)

// setting is a line of a file with sections.
type setting struct {
	section, key, value string
	at                  Evidence
}

// sections reads a file with sections, as NetworkManager and systemd have them.
func (e *exam) sections(name string) (list []setting) {
	section := ""
	for i, line := range lines(e.tree, name) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = strings.ToLower(strings.Trim(line, "[]"))
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			list = append(list, setting{section, strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value), Evidence{name, i + 1, line}})
		}
	}
	return list
}

// networkManager reads the profiles of NetworkManager.
func (e *exam) networkManager() (list []iface) {
	if !e.hasProgram("NetworkManager") {
		return nil
	}
	running := e.enabled("NetworkManager.service") || !e.systemd()
	e.nets.autoDefault = e.nets.autoDefault || running && !e.noAutoDefault()
	for _, dir := range []string{"usr/lib/NetworkManager/system-connections", "etc/NetworkManager/system-connections"} {
		files := e.list(dir)
		for _, f := range files {
			if i, ok := e.profile(dir + "/" + f.Name()); ok {
				i.up = i.up && running
				list = append(list, i)
			}
		}
	}
	return list
}

func (e *exam) profile(name string) (iface, bool) {
	i := iface{up: true, where: Evidence{Path: name}, byInit: strings.Contains(name, "cloud-init")}
	wired := false
	for _, s := range e.sections(name) {
		switch s.section + "." + s.key {
		case "connection.type":
			wired = s.value == "ethernet" || s.value == "802-3-ethernet"
		case "connection.interface-name":
			i.name = s.value
		case "connection.autoconnect":
			i.up = s.value != "false"
		case "ethernet.mac-address", "802-3-ethernet.mac-address":
			i.matchMAC = append(i.matchMAC, s.at)
		case "ethernet.cloned-mac-address", "802-3-ethernet.cloned-mac-address":
			if strings.Count(s.value, ":") == 5 {
				i.setMAC = append(i.setMAC, s.at)
			}
		case "ipv4.method":
			i.dhcp, i.where = s.value == "auto", s.at
		case "ipv4.address1", "ipv4.addresses", "ipv4.addresses1", "ipv4.address":
			i.addresses = append(i.addresses, s.at)
		}
	}
	if i.dhcp {
		i.addresses = nil // in addition to the one from DHCP
	}
	return i, wired
}

// noAutoDefault reports whether NetworkManager leaves cards without a profile
// alone.
func (e *exam) noAutoDefault() bool {
	names := []string{"etc/NetworkManager/NetworkManager.conf"}
	for _, dir := range []string{"usr/lib/NetworkManager/conf.d", "etc/NetworkManager/conf.d"} {
		files := e.list(dir)
		for _, f := range files {
			if strings.HasSuffix(f.Name(), ".conf") {
				names = append(names, dir+"/"+f.Name())
			}
		}
	}
	for _, name := range names {
		for _, s := range e.sections(name) {
			if s.section == "main" && s.key == "no-auto-default" && strings.Contains(s.value, "*") {
				return true
			}
			if s.section == "keyfile" && s.key == "unmanaged-devices" && strings.HasPrefix(s.value, "*") && !strings.Contains(s.value, "ethernet") {
				return true
			}
		}
	}
	return false
}

// networkd reads the .network files of systemd-networkd.
func (e *exam) networkd() (list []iface) {
	if !e.enabled("systemd-networkd.service") {
		return nil
	}
	for _, dir := range []string{"usr/lib/systemd/network", "lib/systemd/network", "etc/systemd/network"} {
		if dir == "lib/systemd/network" && exists(e.tree, "usr/lib/systemd/network") {
			continue
		}
		files := e.list(dir)
		for _, f := range files {
			name := dir + "/" + f.Name()
			if !strings.HasSuffix(name, ".network") || dir != "etc/systemd/network" && e.overridden(f.Name()) {
				continue
			}
			if i, ok := e.networkFile(name); ok {
				list = append(list, i)
			}
		}
	}
	return list
}

// overridden reports whether a file of the vendor's has one of the same name in
// /etc.
func (e *exam) overridden(name string) bool {
	_, err := e.tree.Lstat("etc/systemd/network/" + name)
	return err == nil
}

func (e *exam) networkFile(name string) (iface, bool) {
	i := iface{up: true, where: Evidence{Path: name}, byInit: strings.Contains(name, "cloud-init")}
	other, matched := false, false
	for _, s := range e.sections(name) {
		switch s.section + "." + s.key {
		case "match.name":
			i.name, matched = s.value, true
		case "match.macaddress", "match.permanentmacaddress":
			i.matchMAC, matched = append(i.matchMAC, s.at), true
		case "match.type":
			matched = true
			other = other || !slices.Contains(strings.Fields(s.value), "ether")
		case "match.driver":
			matched = true
			other = other || !strings.Contains(s.value, "virtio")
		case "match.virtualization":
			other = other || strings.HasPrefix(s.value, "container")
		case "match.kind":
			other = other || !strings.HasPrefix(s.value, "!")
		case "network.dhcp":
			switch strings.ToLower(s.value) {
			case "yes", "true", "on", "1", "both", "ipv4", "v4":
				i.dhcp, i.where = true, s.at
			}
		case "network.address", "address.address":
			if !strings.Contains(s.value, ":") {
				i.addresses = append(i.addresses, s.at)
			}
		case "link.macaddress":
			i.setMAC = append(i.setMAC, s.at)
		case "link.unmanaged":
			other = other || s.value == "yes" || s.value == "true"
		}
	}
	if i.dhcp {
		i.addresses = nil
	}
	return i, matched && !other && i.name != "lo"
}
