package guest

import (
	"path"
	"slices"
	"strings"
)

// ifupdown reads /etc/network/interfaces and what it includes.
func (e *exam) ifupdown() []iface {
	if !e.hasProgram("ifup") && !exists(e.tree, "etc/network/if-up.d") && e.systemd() {
		if e.hasProgram("netplan") || e.enabled("NetworkManager.service") || e.enabled("systemd-networkd.service") {
			return nil // left over from an older release
		}
	}
	p := &ifupdownParser{e: e, up: map[string]bool{}}
	p.file("etc/network/interfaces", 0)
	for i := range p.list {
		p.list[i].up = p.up[p.list[i].name]
		if p.ports[p.list[i].name] != "" {
			p.list[i].name = p.ports[p.list[i].name]
		}
	}
	return p.list
}

type ifupdownParser struct {
	e       *exam
	list    []iface
	current int // index in list, -1 for none
	up      map[string]bool
	ports   map[string]string // first card of a bridge or bond
	files   int
}

func (p *ifupdownParser) file(name string, depth int) {
	if p.files++; p.files > 200 || depth > 8 {
		return
	}
	p.current = -1
	byInit := strings.Contains(name, "50-cloud-init")
	for i, line := range lines(p.e.tree, name) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		p.line(f, Evidence{name, i + 1, strings.TrimSpace(line)}, byInit, depth)
	}
}

func (p *ifupdownParser) line(f []string, ev Evidence, byInit bool, depth int) {
	switch f[0] {
	case "source", "source-directory":
		if len(f) > 1 {
			p.include(f[0], f[1], depth)
			p.current = -1
		}
	case "auto", "allow-auto", "allow-hotplug":
		for _, n := range f[1:] {
			p.up[strings.TrimPrefix(n, "/")] = true
		}
	case "iface":
		p.current = -1
		if len(f) < 4 || f[1] == "lo" || f[3] == "loopback" || f[2] != "inet" {
			return
		}
		p.list = append(p.list, iface{name: f[1], dhcp: f[3] == "dhcp", byInit: byInit, client: true, where: ev})
		p.current = len(p.list) - 1
		if f[3] == "static" {
			p.list[p.current].addresses = []Evidence{ev}
		}
	case "mapping", "rename", "template":
		p.current = -1
	default:
		if p.current >= 0 {
			p.option(&p.list[p.current], f, ev)
		}
	}
}

func (p *ifupdownParser) option(i *iface, f []string, ev Evidence) {
	switch strings.ReplaceAll(f[0], "-", "_") {
	case "address":
		if len(i.addresses) > 0 {
			i.addresses[0] = ev
		}
	case "hwaddress":
		i.setMAC = append(i.setMAC, ev)
	case "bridge_ports", "bond_slaves", "slaves":
		if len(f) > 1 && f[1] != "none" {
			if p.ports == nil {
				p.ports = map[string]string{}
			}
			p.ports[i.name] = f[1]
		}
	}
}

// include reads the files of a pattern or a directory.
func (p *ifupdownParser) include(how, pattern string, depth int) {
	pattern = strings.TrimPrefix(pattern, "/")
	if !strings.HasPrefix(pattern, "etc/") {
		pattern = path.Join("etc/network", pattern)
	}
	dir, glob := path.Split(pattern)
	if how == "source-directory" || isDir(p.e.tree, pattern) {
		dir, glob = pattern, "*"
	}
	files := p.e.list(strings.Trim(dir, "/"))
	for _, f := range files {
		if ok, _ := path.Match(glob, f.Name()); !ok || slices.Contains([]string{"README"}, f.Name()) {
			continue
		}
		p.file(path.Join(dir, f.Name()), depth+1)
	}
}
