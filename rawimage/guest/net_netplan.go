package guest

import (
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// netplan reads the files of netplan. Later ones add to earlier ones; here each is
// taken by itself.
func (e *exam) netplan() (list []iface) {
	if !e.hasProgram("netplan") && !exists(e.tree, "usr/lib/netplan") && !exists(e.tree, "lib/netplan") && !isDir(e.tree, "etc/netplan") {
		return nil
	}
	for _, dir := range []string{"usr/lib/netplan", "etc/netplan"} {
		files := e.list(dir)
		for _, f := range files {
			if strings.HasSuffix(f.Name(), ".yaml") {
				list = append(list, e.netplanFile(path.Join(dir, f.Name()))...)
			}
		}
	}
	return list
}

func (e *exam) netplanFile(name string) (list []iface) {
	text, err := e.tree.ReadSmall(name, 256<<10)
	var doc yaml.Node
	if err != nil || yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	p := &netplanFile{name: name, text: strings.Split(string(text), "\n"), byInit: strings.Contains(name, "50-cloud-init")}
	network := member(doc.Content[0], "network")
	cards := member(network, "ethernets")
	for id, n := range members(cards) {
		list = append(list, p.card(id, n))
	}
	for _, kind := range []string{"bonds", "bridges"} {
		for id, n := range members(member(network, kind)) {
			i := p.card(id, n)
			if m := member(n, "interfaces"); m != nil && len(m.Content) > 0 {
				i.name = m.Content[0].Value
				if c := member(cards, i.name); c != nil {
					i.name = p.card(i.name, c).name
				}
			}
			list = append(list, i)
		}
	}
	return list
}

type netplanFile struct {
	name   string
	text   []string
	byInit bool
}

func (p *netplanFile) at(n *yaml.Node) Evidence {
	text := ""
	if n.Line > 0 && n.Line <= len(p.text) {
		text = strings.TrimSpace(p.text[n.Line-1])
	}
	return Evidence{p.name, n.Line, text}
}

func (p *netplanFile) card(id string, n *yaml.Node) iface {
	i := iface{name: id, up: true, byInit: p.byInit, where: p.at(n)}
	if m := member(n, "match"); m != nil {
		i.name = ""
		if v := member(m, "name"); v != nil {
			i.name = v.Value
		}
		if v := member(m, "macaddress"); v != nil {
			i.matchMAC = append(i.matchMAC, p.at(v))
		}
	}
	if v := member(n, "macaddress"); v != nil {
		i.setMAC = append(i.setMAC, p.at(v))
	}
	if v := member(n, "dhcp4"); v != nil {
		switch strings.ToLower(v.Value) {
		case "true", "yes", "on", "y":
			i.dhcp = true
		}
	}
	if v := member(n, "addresses"); v != nil && !i.dhcp {
		for _, a := range v.Content {
			if a.Kind == yaml.MappingNode && len(a.Content) > 0 {
				a = a.Content[0]
			}
			if !strings.Contains(a.Value, ":") {
				i.addresses = append(i.addresses, p.at(a))
			}
		}
	}
	return i
}

// member returns a value of a mapping, nil if there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	for k, v := range members(n) {
		if k == key {
			return v
		}
	}
	return nil
}

// members iterates over a mapping; aliases are resolved once.
func members(n *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v := n.Content[i+1]
			if v.Kind == yaml.AliasNode && v.Alias != nil {
				v = v.Alias
			}
			if !yield(n.Content[i].Value, v) {
				return
			}
		}
	}
}
