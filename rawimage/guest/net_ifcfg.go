package guest

import (
	"slices"
	"strings"
)

// ifcfg reads the files of Red Hat's and SUSE's network scripts, which
// NetworkManager and wicked read too.
func (e *exam) ifcfg() (list []iface) {
	for _, dir := range []string{"etc/sysconfig/network-scripts", "etc/sysconfig/network"} {
		files := e.list(dir)
		for _, f := range files {
			suffix, ok := strings.CutPrefix(f.Name(), "ifcfg-")
			if !ok || suffix == "lo" || slices.ContainsFunc([]string{".bak", ".orig", ".rpmnew", ".rpmsave", "~", ".old", ".template"},
				func(s string) bool { return strings.HasSuffix(suffix, s) }) {
				continue
			}
			if i, ok := e.ifcfgFile(dir+"/"+f.Name(), suffix, dir == "etc/sysconfig/network"); ok {
				list = append(list, i)
			}
		}
	}
	return list
}

func (e *exam) ifcfgFile(name, suffix string, suse bool) (iface, bool) {
	v, at := settings(e.tree, name)
	if len(v) == 0 || v["TYPE"] == "Bond" && v["BOOTPROTO"] == "" || v["MASTER"] != "" || v["SLAVE"] == "yes" || v["BRIDGE"] != "" {
		return iface{}, false
	}
	i := iface{name: v["DEVICE"], where: Evidence{Path: name}}
	if i.name == "" && (suse || v["HWADDR"] == "") {
		i.name = suffix
	}
	first, _, _ := strings.Cut(strings.ToLower(v["BOOTPROTO"]), "+")
	i.dhcp = first == "dhcp" || first == "dhcp4" || first == "bootp"
	if ev, ok := at["BOOTPROTO"]; ok {
		i.where = ev
	}
	for _, key := range []string{"IPADDR", "IPADDR0", "IPADDR_0", "IPADDR1"} {
		if v[key] != "" && !i.dhcp && !strings.HasPrefix(v[key], "127.") {
			i.addresses = append(i.addresses, at[key])
		}
	}
	if v["HWADDR"] != "" {
		i.matchMAC = append(i.matchMAC, at["HWADDR"])
	}
	for _, key := range []string{"MACADDR", "LLADDR"} {
		if v[key] != "" {
			i.setMAC = append(i.setMAC, at[key])
		}
	}
	mode := strings.ToLower(v["ONBOOT"])
	i.up = mode != "no" && mode != "false" && mode != "0"
	if suse {
		mode = strings.ToLower(v["STARTMODE"])
		i.up = mode == "auto" || mode == "onboot" || mode == "boot" || mode == "on" || mode == "hotplug" || mode == "nfsroot" || mode == "ifplugd" || mode == ""
	}
	for _, line := range lines(e.tree, name) {
		i.byInit = i.byInit || strings.Contains(line, "Created by cloud-init")
	}
	return i, true
}
