package guest

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// network is how the guest configures its network.
type network struct {
	ifaces      []iface
	cloudInit   bool // cloud-init writes the configuration of each new server
	autoDefault bool // NetworkManager asks for an address on whatever it has no profile for
	predictable bool // cards are named by where they are, not eth0
	suse        bool // which of the two it is depends on the release
	pinned      map[string]bool
	rules       []netRule
	dhcpClient  bool // there is a program that ifupdown can ask for an address
}

// iface is the configuration of an interface, or of all that match a pattern.
type iface struct {
	name      string // or a pattern; "" for any
	dhcp      bool
	addresses []Evidence // static ones
	matchMAC  []Evidence // applies to a card of one MAC address only
	setMAC    []Evidence // gives the card a MAC address
	up        bool       // is brought up at boot
	client    bool       // needs a program to ask for an address
	byInit    bool       // cloud-init wrote it and writes it again
	where     Evidence
}

// netRule is a line of udev's that names an interface.
type netRule struct {
	Evidence
	name  string
	byMAC bool
}

// network reads the configuration, once.
func (e *exam) network() *network {
	if e.nets == nil {
		n := &network{pinned: map[string]bool{}}
		e.nets = n
		n.cloudInit = e.cloudInitNetwork()
		n.predictable = e.predictableNames()
		n.suse = strings.HasPrefix(e.report.OS.ID, "sle") || strings.HasPrefix(e.report.OS.ID, "opensuse")
		n.dhcpClient = slices.ContainsFunc([]string{"dhclient", "dhcpcd", "udhcpc", "pump", "dhclient-script"}, e.hasProgram)
		n.rules = e.netRules()
		for _, r := range n.rules {
			if r.byMAC && r.name != "" {
				n.pinned[r.name] = true
			}
		}
		n.autoDefault = e.enabled("dhcpcd.service") || e.enabled("connman.service") || e.entry != nil && strings.Contains(" "+e.entry.Options, " ip=dhcp")
		n.ifaces = slices.Concat(e.ifupdown(), e.ifcfg(), e.netplan(), e.networkManager(), e.networkd())
	}
	return e.nets
}

// hasProgram reports whether a program is installed.
func (e *exam) hasProgram(name string) bool {
	return slices.ContainsFunc([]string{"usr/sbin/", "sbin/", "usr/bin/", "bin/"}, func(dir string) bool {
		return exists(e.tree, dir+name)
	})
}

// enabled reports whether a unit of systemd is started at boot.
func (e *exam) enabled(unit string) bool {
	for _, base := range []string{"etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"} {
		if target, err := e.tree.ReadLink(path.Join(base, unit)); err == nil && target == "/dev/null" {
			return false
		}
		dirs := e.list(base)
		for _, d := range dirs {
			if !strings.HasSuffix(d.Name(), ".wants") && !strings.HasSuffix(d.Name(), ".requires") {
				continue
			}
			if _, err := e.tree.Lstat(path.Join(base, d.Name(), unit)); err == nil {
				return true
			}
		}
	}
	return e.sysvEnabled(strings.TrimSuffix(unit, ".service"))
}

// sysvEnabled reports whether a script of SysV init or OpenRC is started.
func (e *exam) sysvEnabled(name string) bool {
	for _, dir := range []string{"etc/rc3.d", "etc/rc.d/rc3.d", "etc/rc2.d", "etc/rcS.d", "etc/init.d/rc3.d", "etc/runlevels/default", "etc/runlevels/boot"} {
		list := e.list(dir)
		for _, f := range list {
			if f.Name() == name || len(f.Name()) > 3 && f.Name()[0] == 'S' && f.Name()[3:] == name {
				return true
			}
		}
	}
	return false
}

// Names that a network card of a server can have where cards are named by their
// place: slots of a virtual machine's bus end at 31, and cards on board or named by
// their MAC address are those of other machines.
var (
	placeName = regexp.MustCompile(`^(ens([1-9]|[12]\d|3[01]|0)|enp\d{1,2}s\d{1,2}(f\d)?)$`)
	firstCard = "eth0"
)

// nameMatch says whether a server has an interface of a name.
type nameMatch int

const (
	never nameMatch = iota
	maybe           // depends on where the card is
	surely
)

// matches reports whether the first card of a server has a name or matches a
// pattern.
func (n *network) matches(name string) nameMatch {
	for _, r := range n.rules {
		if !r.byMAC && r.name == name {
			return surely
		}
	}
	if strings.ContainsAny(name, "*?[! ") || name == "" {
		return n.matchesPattern(name)
	}
	switch {
	case !n.predictable && name == firstCard:
		return surely
	case n.predictable && placeName.MatchString(name), n.predictable && n.suse && name == firstCard:
		return maybe
	}
	return never
}

func (n *network) matchesPattern(pattern string) nameMatch {
	samples := []string{firstCard}
	if n.predictable {
		samples = []string{"ens3", "enp0s3", "enp1s0"}
	}
	hits := 0
	for _, p := range strings.Fields(pattern) {
		if strings.HasPrefix(p, "!") {
			return surely
		}
		for _, s := range samples {
			if ok, _ := path.Match(p, s); ok {
				hits++
			}
		}
	}
	switch {
	case strings.TrimSpace(pattern) == "" || hits >= len(samples):
		return surely
	case hits > 0:
		return maybe
	}
	return never
}

// usable says whether an interface's configuration gives a server an address by
// DHCP.
func (n *network) usable(i iface) nameMatch {
	switch {
	case i.byInit && n.cloudInit:
		return surely
	case !i.dhcp || !i.up || len(i.matchMAC) > 0 || i.client && !n.dhcpClient:
		return never
	}
	return n.matches(i.name)
}

// best says whether anything gives a server an address by DHCP.
func (n *network) best() nameMatch {
	best := never
	for _, i := range n.ifaces {
		best = max(best, n.usable(i))
	}
	return best
}

// predictableNames reports whether udev names cards by their place.
func (e *exam) predictableNames() bool {
	options := ""
	if e.entry != nil {
		options = e.entry.Options
	}
	if slices.Contains(strings.Fields(options), "net.ifnames=0") || e.nameGenerator() {
		return false
	}
	for _, rule := range []string{"80-net-setup-link.rules", "80-net-name-slot.rules"} {
		if e.masked("etc/udev/rules.d/" + rule) {
			return false
		}
		if exists(e.tree, "usr/lib/udev/rules.d/"+rule) || exists(e.tree, "lib/udev/rules.d/"+rule) {
			return !e.masked("etc/systemd/network/99-default.link") && !e.namePolicyKernel()
		}
	}
	return false
}

// nameGenerator reports whether udev writes a rule for each new card, which keeps
// the name that the kernel gave it, as it did before cards were named by place.
func (e *exam) nameGenerator() bool {
	const rules = "udev/rules.d/75-persistent-net-generator.rules"
	return exists(e.tree, "lib/"+rules) || exists(e.tree, "usr/lib/"+rules) || exists(e.tree, "lib/udev/write_net_rules")
}

// masked reports whether a file is empty or a link to /dev/null.
func (e *exam) masked(name string) bool {
	if target, err := e.tree.ReadLink(name); err == nil && target == "/dev/null" {
		return true
	}
	i, err := e.tree.Stat(name)
	return err == nil && i.Mode().IsRegular() && i.Size() == 0
}

// namePolicyKernel reports whether a .link file for all cards keeps the kernel's
// names.
func (e *exam) namePolicyKernel() bool {
	list := e.list("etc/systemd/network")
	for _, f := range list {
		if !strings.HasSuffix(f.Name(), ".link") {
			continue
		}
		all, kernel := false, false
		for _, line := range lines(e.tree, "etc/systemd/network/"+f.Name()) {
			line = strings.ReplaceAll(strings.TrimSpace(line), " ", "")
			all = all || line == "OriginalName=*" || line == "Type=ether"
			kernel = kernel || line == "NamePolicy=kernel" || line == "NamePolicy="
		}
		if all && kernel {
			return true
		}
	}
	return false
}

var (
	ruleName = regexp.MustCompile(`NAME:?="([^"]+)"`)
	ruleMAC  = regexp.MustCompile(`ATTRS?\{address\}=="|ENV\{MATCHADDR\}`)
)

// netRules reads udev's rules that name interfaces, those of the initramfs too.
func (e *exam) netRules() (list []netRule) {
	files := e.list("etc/udev/rules.d")
	for _, f := range files {
		if name := "etc/udev/rules.d/" + f.Name(); strings.Contains(f.Name(), "net") && strings.HasSuffix(f.Name(), ".rules") {
			list = append(list, rules(name, lines(e.tree, name))...)
		}
	}
	if c, _ := e.initramfs(); c != nil {
		for name, text := range c.Kept {
			if strings.Contains(name, "persistent") {
				list = append(list, rules(name+" (initramfs)", strings.Split(string(text), "\n"))...)
			}
		}
	}
	return list
}

func rules(name string, text []string) (list []netRule) {
	for i, line := range text {
		line = strings.TrimSpace(line)
		m := ruleName.FindStringSubmatch(line)
		if line == "" || strings.HasPrefix(line, "#") || m == nil {
			continue
		}
		list = append(list, netRule{Evidence{name, i + 1, line}, m[1], ruleMAC.MatchString(line)})
	}
	return list
}

// settings reads lines of KEY=value, as shells do.
func settings(t *vfs.Tree, name string) (values map[string]string, at map[string]Evidence) {
	values, at = map[string]string{}, map[string]Evidence{}
	for i, line := range lines(t, name) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			key = strings.TrimPrefix(key, "export ")
			values[key] = strings.Trim(strings.TrimSpace(value), `"'`)
			at[key] = Evidence{name, i + 1, strings.TrimSpace(line)}
		}
	}
	return values, at
}
